"""From any photo to the networks' frame around the upper body, and back.

The networks know images of 3 : 4 with the head near the upper border and the
hips at three quarters of the height, as the VITON data set frames people.
"""

import dataclasses
from typing import TypeVar

import numpy as np

from viton_jax.composition.body import SHOULDERS, TORSO
from viton_jax.errors import InputError
from viton_jax.labels import (
  L_EYE,
  L_HIP,
  L_SHOULDER,
  NECK,
  NOSE,
  R_EYE,
  R_HIP,
  R_SHOULDER,
)

_Person = TypeVar('_Person')
_FACE = (NOSE, R_EYE, L_EYE)
# Of the frame's height from its upper border: the median of the drawn people,
# which are framed as VITON's.
_NECK_Y = 0.35
# A photo whose own frame is nearly that one is taken whole.
_NEARLY = 0.15
# By how much of its height the frame gives way to the photo's borders.
_NUDGE = 0.06
# Of the box's height: over so much a change fades where the box ends within
# the photo.
_FADE = 0.008


@dataclasses.dataclass(frozen=True)
class Box:
  """A rectangle of a photo in whole pixels; it may reach beyond the borders."""

  left: int
  top: int
  width: int
  height: int

  def inside(self, frame: tuple[int, int]) -> 'Box':
    """The part within a photo of (height, width)."""
    left, top = max(self.left, 0), max(self.top, 0)
    right = min(self.left + self.width, frame[1])
    bottom = min(self.top + self.height, frame[0])
    return Box(left, top, right - left, bottom - top)


def choose_person(people: list[_Person], index: int, name: str) -> _Person:
  """One of the people that were found, or a sentence on why not.

  Args:
    people: largest first.
    index: which one.
    name: of the photo, for errors.

  Raises:
    InputError: nobody, or not so many.
  """
  if not people:
    raise InputError(
      f'{name}: nobody was found in the photo; give one that shows a person '
      'from the front, upright and large, or the joints with --pose FILE'
    )
  if not 0 <= index < len(people):
    raise InputError(
      f'{name}: person_index is {index}, but the people found in the photo '
      f'are 0 to {len(people) - 1} (0 is the largest); choose one of them, '
      'or give the joints with --pose FILE'
    )
  return people[index]


def check_view(
  keypoints: np.ndarray, frame: tuple[int, int], name: str
) -> None:
  """Refuses people who do not show what is to be dressed.

  Args:
    keypoints: (18, 3) x, y in pixels, confidence.
    frame: (height, width) of the photo.
    name: of the photo, for errors.

  Raises:
    InputError: no shoulders, seen from behind, or mostly outside the photo.
  """
  seen = keypoints[:, 2] > 0
  way_out = 'give another photo, or better joints with --pose FILE'
  missing = [
    what
    for joint, what in (
      (NECK, 'neck'),
      (R_SHOULDER, 'right shoulder'),
      (L_SHOULDER, 'left shoulder'),
    )
    if not seen[joint]
  ]
  if missing:
    raise InputError(
      f'{name}: the {" and the ".join(missing)} cannot be seen, and without '
      f'them nobody can be dressed; {way_out}'
    )
  # From the front a person's right is on the image's left.
  turned = keypoints[R_SHOULDER, 0] > keypoints[L_SHOULDER, 0]
  if turned and not seen[list(_FACE)].any():
    raise InputError(
      f'{name}: the person seems to be seen from behind (no face, right '
      f'shoulder on the right); try-on is made for front views; {way_out}'
    )
  x, y = keypoints[[NECK, R_SHOULDER, L_SHOULDER], :2].T
  width = np.abs(np.diff(x[1:])).item()
  below = frame[0] - y.mean()
  if below < 0.6 * width:
    raise InputError(
      f'{name}: the photo ends {max(below, 0):.0f} pixels below the '
      f'shoulders, which are {width:.0f} pixels wide, so there is no upper '
      f'body to dress; {way_out}'
    )


def upper_body(
  keypoints: np.ndarray, frame: tuple[int, int], aspect: float
) -> Box:
  """The networks' frame around a person.

  Args:
    keypoints: (18, 3) with neck and both shoulders.
    frame: (height, width) of the photo.
    aspect: width / height of the frame.

  Returns:
    the box; the whole photo where that is framed nearly so already.
  """
  points = keypoints[:, :2].astype(np.float64)
  neck = points[NECK]
  heights = [
    np.linalg.norm(points[R_SHOULDER] - points[L_SHOULDER]) / SHOULDERS
  ]
  hips = points[[j for j in (R_HIP, L_HIP) if keypoints[j, 2] > 0]]
  centre = neck[0]
  if len(hips):
    # The larger of both: a turned person has narrow shoulders, one who
    # leans forward a short torso.
    heights.append(np.linalg.norm(hips.mean(axis=0) - neck) / TORSO)
    centre = (neck[0] + hips[:, 0].mean()) / 2
  height = max(heights)
  whole = Box(0, 0, frame[1], frame[0])
  if (
    abs(frame[1] / frame[0] / aspect - 1) < 0.02
    and abs(height / frame[0] - 1) < _NEARLY
    and abs(neck[1] / frame[0] - _NECK_Y) < _NEARLY
  ):
    return whole
  width = height * aspect
  top = neck[1] - _NECK_Y * height
  # Rather a little off than beyond the photo, where there is nothing to see.
  beyond = max(top + height - frame[0], 0) or min(top, 0)
  top -= np.clip(beyond, -_NUDGE * height, _NUDGE * height)
  return Box(
    round(centre - width / 2),
    round(top),
    max(round(width), 1),
    max(round(height), 1),
  )


def cut(image: np.ndarray, box: Box, *, fill: str) -> np.ndarray:
  """The pixels of a box; beyond the photo 'edge' repeats its border, 'zero' 0.

  Args:
    image: (h, w) or (h, w, c).
    box: within or partly outside the photo.
    fill: 'edge' or 'zero'.
  """
  inner = box.inside(image.shape[:2])
  part = image[
    inner.top : inner.top + inner.height,
    inner.left : inner.left + inner.width,
  ]
  before = inner.top - box.top, inner.left - box.left
  after = (
    box.height - inner.height - before[0],
    box.width - inner.width - before[1],
  )
  margins = [*zip(before, after, strict=True)] + [(0, 0)] * (image.ndim - 2)
  return np.pad(part, margins, mode='edge' if fill == 'edge' else 'constant')


def paste_back(
  photo: np.ndarray, crop: np.ndarray, weight: np.ndarray, box: Box
) -> np.ndarray:
  """Lays a changed crop into its photo; where weight is 0 no pixel changes.

  Args:
    photo: (h, w, 3) uint8.
    crop: (box.height, box.width, 3) uint8.
    weight: (box.height, box.width) float32 in [0, 1].
    box: where the crop is from.

  Returns:
    (h, w, 3) uint8.
  """
  inner = box.inside(photo.shape[:2])
  rows = slice(inner.top, inner.top + inner.height)
  columns = slice(inner.left, inner.left + inner.width)
  part = (
    slice(inner.top - box.top, inner.top - box.top + inner.height),
    slice(inner.left - box.left, inner.left - box.left + inner.width),
  )
  share = (weight[part] * _fade(inner, photo.shape[:2]))[..., None]
  old = photo[rows, columns].astype(np.float32)
  result = photo.copy()
  result[rows, columns] = np.rint(old + share * (crop[part] - old))
  return result


def _fade(inner: Box, frame: tuple[int, int]) -> np.ndarray:
  """1 within a box, falling to 0 at sides that run through the photo."""
  reach = max(_FADE * inner.height, 1.0)
  sides = []
  for start, length, end in (
    (inner.top, inner.height, frame[0]),
    (inner.left, inner.width, frame[1]),
  ):
    at = np.arange(length) + 0.5
    low = at / reach if start > 0 else np.ones(length)
    high = (length - at) / reach if start + length < end else np.ones(length)
    sides.append(np.minimum(np.minimum(low, high), 1).astype(np.float32))
  return sides[0][:, None] * sides[1]
