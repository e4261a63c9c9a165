"""Shape contexts: histograms, matching cost and assignment.

Source: Belongie, Malik, Puzicha, "Shape Matching and Object Recognition Using
Shape Contexts", PAMI 2002, with the constants VITON uses. Coordinates are
pixels, x then y.

Each formula is written once over an array module `xp`: NumPy in float64 on the
host, the reference, or jax.numpy in float32 on the device.

Where two implementations of this can differ although both are right:
  * a distance or an angle that falls on the edge of a bin, to the last bit;
  * assignments of equal total cost (symmetric garments have several);
  * which of two equally close points the sampling drops.
"""

from types import ModuleType
from typing import Any

import numpy as np
from scipy import optimize

from viton_jax.geometry import spline

ANGLE_BINS = 12
RADIUS_BINS = 5
RADIUS_EDGES = np.logspace(np.log10(1 / 8), np.log10(2), RADIUS_BINS)
_BINS = ANGLE_BINS * RADIUS_BINS
_EPSILON = float(np.finfo(np.float64).eps)
ANGLE_WEIGHT = 0.1
DUMMY_COST = 0.25
DUMMY_FRACTION = 0.25

Array = Any  # np.ndarray or jax.Array, as the array module says.


def histograms(
  points_px: Array, inliers: np.ndarray | None = None, *, xp: ModuleType = np
) -> tuple[Array, Array]:
  """Shape contexts of all points over the inliers.

  Args:
    points_px: (n, 2) float.
    inliers: (n,) bool; only these are counted and set the scale. None: all
      points. With jax.numpy it must be None.
    xp: array module.

  Returns:
    (n, 60) counts in the dtype of the points, flat index angle + 12 * radius;
    and the mean distance that scaled the radii, over all ordered pairs of
    inliers, a point with itself included.
  """
  distances = xp.sqrt(spline.squared_distances(points_px, points_px))
  if inliers is None:
    scale = distances.mean()
  else:
    scale = distances[np.ix_(inliers, inliers)].mean()
  # The number of edges a point is inside of, less one: the innermost ring is
  # the last, and a point beyond all edges (-1) is not counted.
  edges = xp.asarray(RADIUS_EDGES, points_px.dtype)
  ring = xp.sum((distances / scale)[None] < edges[:, None, None], axis=0) - 1
  offsets = points_px[None] - points_px[:, None]
  angle = xp.arctan2(offsets[..., 1], offsets[..., 0])
  angle = xp.mod(xp.mod(angle, 2 * np.pi) + 2 * np.pi, 2 * np.pi)
  sector = xp.floor(angle / (2 * np.pi / ANGLE_BINS)).astype(ring.dtype)
  sector = xp.minimum(sector, ANGLE_BINS - 1)
  counted = ring >= 0 if inliers is None else (ring >= 0) & inliers[None]
  bins = xp.where(counted, sector + ANGLE_BINS * ring, _BINS)
  return _counts(bins, xp).astype(points_px.dtype), scale


def _counts(bins: Array, xp: ModuleType) -> Array:
  """Rows of (n, m) int bins to (n, 60) counts; bin 60 is not counted."""
  if xp is np:
    rows = np.arange(len(bins))[:, None] * (_BINS + 1)
    counts = np.bincount(
      (rows + bins).ravel(), minlength=rows.size * (_BINS + 1)
    )
    return counts.reshape(len(bins), _BINS + 1)[:, :_BINS]
  # Scattering is slow on a TPU, comparing is not.
  return xp.sum(bins[..., None] == xp.arange(_BINS)[None, None], axis=1)


def matching_cost(
  histograms_1: Array,
  histograms_2: Array,
  tangents_1: Array,
  tangents_2: Array,
  *,
  xp: ModuleType = np,
) -> Array:
  """Chi-squared distance of histograms, mixed with that of the tangents.

  Args:
    histograms_1, histograms_2: (n, k) and (m, k) counts.
    tangents_1, tangents_2: (n,) and (m,) radians.
    xp: array module.

  Returns:
    (n, m) in 0..1, in the dtype of the histograms.
  """
  h1 = histograms_1 / (_EPSILON + histograms_1.sum(axis=1, keepdims=True))
  h2 = histograms_2 / (_EPSILON + histograms_2.sum(axis=1, keepdims=True))
  a, b = h1[:, None], h2[None]
  chi2 = 0.5 * xp.sum((a - b) ** 2 / (a + b + _EPSILON), axis=-1)
  angle = 0.5 * (1 - xp.cos(tangents_1[:, None] - tangents_2[None]))
  return (1 - ANGLE_WEIGHT) * chi2 + ANGLE_WEIGHT * angle


def assign(
  cost: np.ndarray,
  *,
  dummy_cost: float = DUMMY_COST,
) -> tuple[np.ndarray, float]:
  """Solves the assignment exactly, with dummies that take the outliers.

  On a device see `sinkhorn.assign`.

  Args:
    cost: (n, m), n == m.
    dummy_cost: price of leaving a point unmatched.

  Returns:
    (m,) int: the row matched to each column, -1 for a dummy; and the total
    cost of the padded problem.
  """
  n = len(cost)
  dummies = round(DUMMY_FRACTION * n)
  padded = np.pad(cost, (0, dummies), constant_values=dummy_cost)
  rows, columns = optimize.linear_sum_assignment(padded)
  matched = rows[np.argsort(columns)][:n]
  return np.where(matched < n, matched, -1), padded[rows, columns].sum()
