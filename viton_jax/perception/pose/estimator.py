"""What every pose backend gives: a function that finds people in a photo."""

from collections.abc import Callable
import dataclasses

import numpy as np

# (18, 3) x, y in pixels of the photo, confidence; and a score.
People = list[tuple[np.ndarray, float]]


@dataclasses.dataclass(frozen=True)
class PoseEstimator:
  """A pose model of any kind.

  Attributes:
    description: which model, of which file, and how it is used.
    find: (h, w, 3) uint8 RGB -> (18, 3) of each person, largest first.
  """

  description: str
  find: Callable[[np.ndarray], list[np.ndarray]]


def largest_first(people: People) -> list[np.ndarray]:
  """Sorts (key points, score) by the box that the joints span, then score."""
  found = []
  for keypoints, score in people:
    extent = np.ptp(keypoints[keypoints[:, 2] > 0, :2], axis=0)
    found.append((-float(extent[0] * extent[1]), -score, keypoints))
  return [x[2] for x in sorted(found, key=lambda x: x[:2])]
