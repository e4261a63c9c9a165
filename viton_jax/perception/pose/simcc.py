"""Joints of one person from rows of scores for x and for y (SimCC [1]).

Each joint has a score for each half pixel of its x and of its y; where both
are highest is the joint.

References:
  [1] Li et al.: "SimCC: a simple coordinate classification perspective for
      human pose estimation", ECCV 2022.
"""

import numpy as np

from viton_jax.perception.fitting import Placement
from viton_jax.perception.spec_types import SimCC, Spec

# With fewer joints it is no person, as in the other decoders.
MIN_JOINTS = 4
# Around joints, for the head's top, the hands and the feet; in parts of the
# larger side.
_MARGIN = 0.1


def decode_simcc(x: np.ndarray, y: np.ndarray, *, split: float) -> np.ndarray:
  """Finds where both scores of each joint are highest.

  Args:
    x: (k, n) float32, a score for each 1 / split pixel of the width.
    y: (k, m) float32, the same of the height.
    split: scores a pixel.

  Returns:
    (k, 3) float32: x, y in pixels of the network's input, and the mean of the
    two scores.
  """
  at = np.stack([x.argmax(-1), y.argmax(-1)], -1) / split
  score = (x.max(-1) + y.max(-1)) / 2
  return np.concatenate([at, score[:, None]], -1).astype(np.float32)


def to_coco18(
  joints: np.ndarray,
  sources: tuple[tuple[int, ...], ...],
  *,
  min_score: float,
) -> np.ndarray:
  """Joints of a model's own order in COCO-18's.

  Args:
    joints: (k, 3) x, y, score.
    sources: of each of the 18 the model's joint, or several to take the middle
      of.
    min_score: a joint below it is missing; the middle of two also if one is.

  Returns:
    (18, 3) float32; zero where missing. The middle has the lower of the two
    scores, and none is above 1.
  """
  result = np.zeros((len(sources), 3), np.float32)
  for joint, source in enumerate(sources):
    parts = joints[list(source)]
    score = parts[:, 2].min()
    if score >= min_score and score > 0:
      result[joint] = *parts[:, :2].mean(0), min(score, 1)
  return result


def joints_in_photo(
  tensors: list[np.ndarray], place: Placement, spec: Spec
) -> np.ndarray:
  """What the network says of one box, as joints of the photo.

  Args:
    tensors: the scores of x and y, (1, k, n) and (1, k, m).
    place: where the photo went.
    spec: of the model.

  Returns:
    (18, 3) float32: x, y in pixels of the photo, confidence; zero where
    missing, or where it is not in the photo.
  """
  content = spec.output.content
  assert isinstance(content, SimCC)  # The spec was checked.
  joints = decode_simcc(tensors[0][0], tensors[1][0], split=content.split)
  joints[:, :2] = place.to_photo(joints[:, :2])
  joints = to_coco18(joints, spec.to_coco18, min_score=content.min_score)
  height, width = place.photo
  points = joints[:, :2]
  inside = np.all((points >= 0) & (points < (width, height)), axis=1)
  return np.where(inside[:, None], joints, 0).astype(np.float32)


def box_of_joints(joints: np.ndarray) -> tuple[float, float, float, float]:
  """x0, y0, x1, y1 around a person's joints, with a margin.

  Args:
    joints: (18, 3) x, y, confidence; at least one is there.
  """
  points = joints[joints[:, 2] > 0, :2]
  low, high = points.min(0), points.max(0)
  margin = _MARGIN * (high - low).max()
  return (*(low - margin).tolist(), *(high + margin).tolist())
