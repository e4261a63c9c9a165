"""The rectangle of a photo that the body parser looks at."""

import dataclasses

import cv2
from jaxtyping import Float
import numpy as np

from viton_jax.labels import (
  L_EAR,
  L_EYE,
  L_HIP,
  L_KNEE,
  L_SHOULDER,
  NECK,
  NOSE,
  R_EAR,
  R_EYE,
  R_HIP,
  R_KNEE,
  R_SHOULDER,
)
from viton_jax.models.body_parser import HEIGHT, WIDTH

# How far two joints lie apart, in heights of the head.
_HEADS = (
  (R_SHOULDER, L_SHOULDER, 1.34),
  (NECK, R_HIP, 2.3),
  (NECK, L_HIP, 2.3),
  (NOSE, NECK, 0.95),
  (R_EYE, L_EYE, 0.32),
  (R_EAR, L_EAR, 0.68),
)
# Added on every side of the joints, and below where joints are missing, in
# heights of the head.
_MARGIN, _NO_HIPS, _NO_KNEES = 1.1, 3.2, 1.4


@dataclasses.dataclass(frozen=True)
class BodyFrame:
  """A rectangle of 3 : 4 in a photo, which may reach beyond its borders.

  Attributes:
    left, top: of its first pixel's border, in pixels of the photo.
    scale: pixels of the network's input for one of the photo.
  """

  left: float
  top: float
  scale: float

  @property
  def matrix(self) -> Float[np.ndarray, '2 3']:
    """From pixel centres of the photo to those of the network's input."""
    k = self.scale
    x, y = (k * (0.5 - at) - 0.5 for at in (self.left, self.top))
    return np.array([[k, 0, x], [0, k, y]])

  def points(self, keypoints: Float[np.ndarray, 'k 3']) -> np.ndarray:
    """Key points in pixels of the network's input, float32."""
    placed = np.array(keypoints, np.float32)
    placed[:, :2] = placed[:, :2] @ self.matrix[:, :2].T + self.matrix[:, 2]
    return placed

  def cut(self, image: np.ndarray) -> np.ndarray:
    """The photo, or a map of it, at the network's size; 0 beyond borders."""
    size = (WIDTH, HEIGHT)
    if self.scale < 0.5:
      # Bilinear sampling alone would skip pixels.
      step = 1 / int(1 / self.scale)
      small = cv2.resize(
        image, None, fx=step, fy=step, interpolation=cv2.INTER_AREA
      )
      zoom = np.array(small.shape[1::-1]) / image.shape[1::-1]
      matrix = self.matrix
      matrix[:, 2] += (matrix[:, :2] / zoom) @ (0.5 - 0.5 * zoom)
      matrix[:, :2] /= zoom
      return cv2.warpAffine(small, matrix, size)
    return cv2.warpAffine(image, self.matrix, size)


def frame_person(
  keypoints: Float[np.ndarray, 'k 3'] | None,
  size: tuple[int, int],
  mask: Float[np.ndarray, 'h w'] | None = None,
) -> BodyFrame:
  """Frames the person by the joints, else by the mask, else the whole photo.

  Args:
    keypoints: (18, 3) x, y in pixels, confidence (0: missing), or None.
    size: (h, w) of the photo.
    mask: (h, w) probability of the person, or None.
  """
  h, w = size
  box = np.array([0.0, 0.0, w, h])
  seen = keypoints is not None and keypoints[:, 2] > 0
  unit = None if keypoints is None else head_height(keypoints)
  if keypoints is not None and unit:
    points = keypoints[seen, :2]
    low, high = points.min(axis=0), points.max(axis=0)
    low, high = low - _MARGIN * unit, high + _MARGIN * unit
    if not keypoints[[R_HIP, L_HIP], 2].any():
      high[1] += _NO_HIPS * unit
    elif not keypoints[[R_KNEE, L_KNEE], 2].any():
      high[1] += _NO_KNEES * unit
    box = np.concatenate([low, high])
  if mask is not None and (mask > 0.5).any():
    rows, columns = (np.flatnonzero((mask > 0.5).any(axis=k)) for k in (1, 0))
    body = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1.0])
    if keypoints is None or not unit:
      box = body + 0.04 * h * np.array([-1, -1, 1, 1])
  x0, y0 = np.clip(box[:2], 0, (w - 1, h - 1))
  x1, y1 = np.clip(box[2:], (x0 + 1, y0 + 1), (w, h))
  height = max(y1 - y0, (x1 - x0) * HEIGHT / WIDTH)
  width = height * WIDTH / HEIGHT
  # What the frame is larger than the box shows the photo where there is some.
  left = _within((x0 + x1 - width) / 2, width, w)
  top = _within((y0 + y1 - height) / 2, height, h)
  return BodyFrame(float(left), float(top), float(HEIGHT / height))


def _within(start: float, length: float, limit: float) -> float:
  """Moves a stretch into 0 to limit, or centres it if it is longer."""
  if length >= limit:
    return (limit - length) / 2
  return min(max(start, 0.0), limit - length)


def head_height(keypoints: Float[np.ndarray, 'k 3']) -> float | None:
  """The height of the head in pixels, from distances of joints.

  The largest of all estimates, for turning shortens distances; None where no
  two joints tell.
  """
  found = [
    float(np.hypot(*(keypoints[a, :2] - keypoints[b, :2]))) / heads
    for a, b, heads in _HEADS
    if keypoints[a, 2] > 0 and keypoints[b, 2] > 0
  ]
  return max(found) or None if found else None
