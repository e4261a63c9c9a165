"""Turned squares of photos, as pose networks want people: upright and centred.

Points are x, y with pixel centres at integers, x to the right and y down.
"""

import dataclasses

import cv2
import numpy as np

from viton_jax.perception import fitting


@dataclasses.dataclass(frozen=True, eq=False)
class Region:
  """A square of a photo.

  Attributes:
    centre: (2,) x, y in pixels of the photo.
    side: in pixels of the photo.
    angle: radians that it is turned clockwise by, as one sees the photo.
  """

  centre: np.ndarray
  side: float
  angle: float

  @property
  def usable(self) -> bool:
    return bool(np.isfinite(self.centre).all() and 1 < self.side < 1e6)


def around(hips: np.ndarray, end: np.ndarray, padding: float) -> Region:
  """The region of a body.

  Args:
    hips: (2,) the middle of the body.
    end: (2,) where the circle around the whole body ends, above the head.
    padding: how much larger than that circle.
  """
  x, y = end - hips
  return Region(hips, 2 * float(np.hypot(x, y)) * padding, np.arctan2(x, -y))


def matrix(region: Region, size: int) -> np.ndarray:
  """(2, 3): from pixels of a square input of `size` to those of the photo."""
  cos, sin = np.cos(region.angle), np.sin(region.angle)
  turn = np.array([[cos, -sin], [sin, cos]]) * (region.side / size)
  offset = region.centre - turn @ np.full(2, (size - 1) / 2)
  return np.concatenate([turn, offset[:, None]], axis=1)


def cut(photo: np.ndarray, region: Region, size: int) -> np.ndarray:
  """A region as a square input; the photo's border goes on outside.

  Args:
    photo: (h, w, 3) uint8.
    region: of it.
    size: of the input, in pixels.

  Returns:
    (size, size, 3) uint8.
  """
  to_photo = matrix(region, size)
  shrink = region.side / size
  if shrink > 2:
    # Interpolation reads 2 x 2 pixels and would miss most of them.
    h, w = photo.shape[:2]
    columns, rows = max(round(w / shrink), 1), max(round(h / shrink), 1)
    photo = cv2.resize(photo, (columns, rows), interpolation=cv2.INTER_AREA)
    zoom = np.array([columns / w, rows / h])
    to_photo[:, 2] += 0.5
    to_photo *= zoom[:, None]
    to_photo[:, 2] -= 0.5
  return cv2.warpAffine(
    photo,
    to_photo,
    (size, size),
    flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    borderMode=cv2.BORDER_REPLICATE,
  )


def paste(
  values: np.ndarray,
  region: Region,
  shape: tuple[int, int],
  place: fitting.Placement | None = None,
) -> np.ndarray:
  """The inverse of `cut` for a map.

  Args:
    values: (size, size) float32 of the region.
    region: of a photo.
    shape: (height, width) of the photo, or of the input that it was placed in.
    place: where in that.

  Returns:
    (height, width) float32, 0 outside the region.
  """
  there = matrix(region, values.shape[0])
  if place is not None:
    there = there * np.array(place.scale)[:, None]
    there[:, 2] += place.offset
  return cv2.warpAffine(
    values,
    there,
    shape[::-1],
    flags=cv2.INTER_LINEAR,
    borderMode=cv2.BORDER_CONSTANT,
    borderValue=0.0,
  )


def to_photo(points: np.ndarray, region: Region, size: int) -> np.ndarray:
  """(..., 2) x, y in an input -> the same in the photo."""
  there = matrix(region, size)
  return points @ there[:, :2].T + there[:, 2]
