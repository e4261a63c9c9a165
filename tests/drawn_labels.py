"""What the labels of any parser of drawn people are checked for."""

import cv2
import numpy as np

from input_pipeline.synthetic.pairs import SyntheticPair, render_pair


def overlap(found, true, labels) -> float:
  """Intersection over union of some labels."""
  found, true = np.isin(found, labels), np.isin(true, labels)
  return (found & true).sum() / max((found | true).sum(), 1)


def people(parse) -> tuple[list[SyntheticPair], list[np.ndarray]]:
  """Five drawn people, and what `parse(photo, keypoints)` finds of each."""
  pairs = [render_pair(31, index, 320) for index in range(1, 6)]
  return pairs, [parse(pair.person, pair.keypoints) for pair in pairs]


def check_floor(pairs, found, *, labels, floor) -> None:
  """Labels taken together overlap with the true ones by more than a floor."""
  true, found = np.stack([pair.parse for pair in pairs]), np.stack(found)
  assert overlap(found, true, labels) > floor
  # The floor is high enough to notice labels that are 3 % of a person off.
  assert overlap(np.roll(found, 10, axis=1), true, labels) < floor


def check_left_and_right(pairs, found) -> None:
  """Left is the person's left."""
  for pair, labels in zip(pairs, found, strict=True):
    both = np.isin(labels, (14, 15)) & np.isin(pair.parse, (14, 15))
    assert (labels == pair.parse)[both].mean() > 0.9


def resized(pair: SyntheticPair, height: int, width: int):
  """A pair's photo, true labels and joints in a frame of (height, width).

  In a wide one the person stands on the right.
  """
  size = (width, height) if height > width else (round(height * 0.75), height)
  photo = cv2.resize(pair.person, size, interpolation=cv2.INTER_AREA)
  true = cv2.resize(pair.parse, size, interpolation=cv2.INTER_NEAREST_EXACT)
  joints = pair.keypoints.copy()
  joints[:, :2] *= np.array(size) / pair.person.shape[1::-1]
  wide = ((0, 0), (width - size[0], 0))
  photo = np.pad(photo, (*wide, (0, 0)), mode='edge')
  joints[joints[:, 2] > 0, 0] += width - size[0]
  return photo, np.pad(true, wide), joints
