"""Where bodies are and how they are turned: BlazePose's detector.

The network answers for each of 2254 anchors: cells of three grids, some of them
more than once. Boxes and points are relative to the middle of the cell.
"""

import dataclasses

import numpy as np

from viton_jax.perception import fitting
from viton_jax.perception.pose import regions
from viton_jax.perception.runners.tflite_model import TfliteModel, sigmoid
from viton_jax.perception.spec_types import Anchors, fixed_size

# Cells a side and anchors a cell of the detector's three grids.
_GRIDS = ((28, 2), (14, 2), (7, 6))
_POINTS = 4  # Of a detected person: middle of the hips, circle's end; others.
_MAX_OVERLAP = 0.3
_PADDING = 1.25  # Of a detected body's region; the network saw such.


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
  """What the detector says of a photo.

  Attributes:
    regions: where bodies seem to be, surest first.
    scores: of these, 0..1.
  """

  regions: list[regions.Region]
  scores: list[float]


def detect(
  views: list[tuple[np.ndarray, fitting.Placement]], detector: TfliteModel
) -> list[Found]:
  """Where bodies seem to be in photos.

  Args:
    views: photos as `fitting.fit_photo` gives them.
    detector: of the kind 'anchors'.
  """
  spec = detector.spec
  content = spec.output.content
  assert isinstance(content, Anchors)  # The spec was checked.
  tensors = [fitting.to_tensor(view, spec.input) for view, _ in views]
  values, logits = detector.run(np.concatenate(tensors))
  size = fixed_size(spec).size[0]
  found = []
  for (_, place), row, logit in zip(views, values, logits, strict=True):
    points, scores = decode_anchors(
      row, logit[:, 0], size=size, min_score=content.min_score
    )
    in_photo = place.to_photo(points - 0.5)
    around = [regions.around(x[0], x[1], _PADDING) for x in in_photo]
    found.append(Found(around, scores.tolist()))
  return found


def output_shapes() -> list[tuple[int, ...]]:
  """Of the network's outputs, for one photo."""
  count = len(anchors())
  return [(count, 4 + 2 * _POINTS), (count, 1)]


def anchors() -> np.ndarray:
  """(2254, 2) x, y in 0..1: the centres of the cells, for each anchor."""
  rows = []
  for cells, count in _GRIDS:
    at = (np.arange(cells) + 0.5) / cells
    x, y = np.meshgrid(at, at)
    grid = np.stack([x.ravel(), y.ravel()], axis=-1)
    rows.append(np.repeat(grid, count, axis=0))
  return np.concatenate(rows)


def decode_anchors(
  values: np.ndarray, logits: np.ndarray, *, size: int, min_score: float
) -> tuple[np.ndarray, np.ndarray]:
  """The points of the people that a detector has found.

  Boxes that overlap are one person, whose points are their mean, weighted by
  the scores.

  Args:
    values: (2254, 12) float32: centre, width and height of a box and four
      points, in pixels relative to the anchor.
    logits: (2254,) float32 of the scores.
    size: of the input, in pixels.
    min_score: what is less sure is dropped.

  Returns:
    (n, 4, 2) float64 x, y in the input, whose left border is 0 and whose right
    one is `size`; and (n,) their scores, highest first.
  """
  scores = sigmoid(logits)
  sure = np.flatnonzero(scores >= min_score)
  sure = sure[np.argsort(-scores[sure], kind='stable')]
  pairs = values[sure].astype(np.float64).reshape(-1, 2 + _POINTS, 2)
  anchor = anchors()[sure] * size
  centres, sides = pairs[:, 0] + anchor, np.maximum(pairs[:, 1], 0)
  points = pairs[:, 2:] + anchor[:, None]
  low, high = centres - sides / 2, centres + sides / 2
  free, found, best = np.ones(len(sure), bool), [], []
  for k in range(len(sure)):
    if not free[k]:
      continue
    common = np.minimum(high[k], high) - np.maximum(low[k], low)
    inner = np.prod(np.maximum(common, 0), axis=-1)
    union = np.prod(sides[k]) + np.prod(sides, axis=-1) - inner
    same = free & (inner > _MAX_OVERLAP * union)
    same[k] = True
    free &= ~same
    best.append(scores[sure[k]])
    found.append(np.average(points[same], axis=0, weights=scores[sure][same]))
  return np.array(found).reshape(-1, _POINTS, 2), np.array(best)
