"""What every pose backend gives: a function that finds people in photos."""

from collections.abc import Callable, Iterable, Sequence
import dataclasses

import numpy as np

from viton_jax.perception.pose.regions import Region


@dataclasses.dataclass(frozen=True, eq=False)
class Person:
  """A person in a photo of (h, w) pixels.

  Attributes:
    keypoints: (18, 3) float32 in COCO-18 order: x, y in pixels and a
      confidence, which is 0 (and so are x and y) where a joint is missing.
    mask: (h, w) float32 in 0..1, how surely each pixel is this person; None:
      the model does not say.
    region: where to look for them in the next frame of a video; None: the
      model searches whole photos.
  """

  keypoints: np.ndarray
  mask: np.ndarray | None = None
  region: Region | None = None


Photos = Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True)
class PoseEstimator:
  """A pose model of any kind.

  Attributes:
    description: which model, of which file, and how it is used.
    find_many: (h, w, 3) uint8 RGB photos of any sizes -> the people in each,
      largest first.
    follow: the next frame of a video and a person of the last one, with a
      region -> the same person, or None: not there any more. Several times as
      fast as a search; None: the model can only search.
  """

  description: str
  find_many: Callable[[Photos], list[list[Person]]]
  follow: Callable[[np.ndarray, Person], Person | None] | None = None

  def find(self, photo: np.ndarray) -> list[Person]:
    """The people in one photo, largest first."""
    return self.find_many([photo])[0]


def one_by_one(
  find: Callable[[np.ndarray], list[Person]],
) -> Callable[[Photos], list[list[Person]]]:
  """Makes `find_many` of a function for one photo."""
  return lambda photos: [find(photo) for photo in photos]


def largest_first(people: Iterable[tuple[Person, float]]) -> list[Person]:
  """Sorts (person, score) by the box that the joints span, then score."""

  def order(found):
    keypoints = found[0].keypoints
    seen = keypoints[keypoints[:, 2] > 0, :2]
    extent = np.ptp(seen, axis=0) if len(seen) else np.zeros(2)
    return -float(extent[0] * extent[1]), -found[1]

  return [person for person, _ in sorted(people, key=order)]
