"""Shape contexts: histograms, costs, assignment and the spline between points.

Source: Belongie, Malik, Puzicha, "Shape Matching and Object Recognition Using
Shape Contexts", PAMI 2002, with the constants VITON uses. Everything here is
NumPy on small arrays of points; coordinates are pixels, x then y.

Where two implementations of this can differ although both are right:
  * a distance or an angle that falls on the edge of a bin, to the last bit;
  * assignments of equal total cost (symmetric garments have several);
  * which of two equally close points the sampling drops.
"""

import numpy as np
from scipy import optimize

ANGLE_BINS = 12
RADIUS_BINS = 5
RADIUS_EDGES = np.logspace(np.log10(1 / 8), np.log10(2), RADIUS_BINS)
_EPSILON = np.finfo(np.float64).eps
ANGLE_WEIGHT = 0.1
DUMMY_COST = 0.25
DUMMY_FRACTION = 0.25


def pairwise_distances(points_px: np.ndarray) -> np.ndarray:
  """(n, n) Euclidean distances of (n, 2) points."""
  offsets = points_px[:, None] - points_px[None]
  return np.sqrt(np.sum(offsets**2, axis=-1))


def mean_distance(distances: np.ndarray, inliers: np.ndarray) -> float:
  """Mean over all ordered pairs of inliers, a point with itself included."""
  return float(distances[np.ix_(inliers, inliers)].mean())


def histograms(
  points_px: np.ndarray, inliers: np.ndarray
) -> tuple[np.ndarray, float]:
  """Shape contexts of all points over the inliers.

  Args:
    points_px: (n, 2) float.
    inliers: (n,) bool; only these are counted and set the scale.

  Returns:
    (n, 60) float64 counts, flat index angle + 12 * radius, and the mean
    distance that scaled the radii.
  """
  n = len(points_px)
  distances = pairwise_distances(points_px)
  scale = mean_distance(distances, inliers)
  # The number of edges a point is inside of, less one: the innermost ring is
  # the last, and a point beyond all edges (-1) is not counted.
  ring = (
    RADIUS_BINS
    - 1
    - np.searchsorted(RADIUS_EDGES, (distances / scale).ravel(), side='right')
  )
  ring = ring.reshape(n, n)
  offsets = points_px[None] - points_px[:, None]
  angle = np.arctan2(offsets[..., 1], offsets[..., 0])
  angle = np.mod(np.mod(angle, 2 * np.pi) + 2 * np.pi, 2 * np.pi)
  sector = np.floor(angle / (2 * np.pi / ANGLE_BINS)).astype(np.int64)
  sector = np.minimum(sector, ANGLE_BINS - 1)
  bins = ANGLE_BINS * RADIUS_BINS
  flat = np.arange(n)[:, None] * bins + sector + ANGLE_BINS * ring
  counted = (ring >= 0) & inliers[None]
  counts = np.bincount(flat[counted], minlength=n * bins)
  return counts.reshape(n, bins).astype(np.float64), scale


def matching_cost(
  histograms_1: np.ndarray,
  histograms_2: np.ndarray,
  tangents_1: np.ndarray,
  tangents_2: np.ndarray,
) -> np.ndarray:
  """Chi-squared distance of histograms, mixed with that of the tangents.

  Args:
    histograms_1, histograms_2: (n, k) and (m, k) counts.
    tangents_1, tangents_2: (n,) and (m,) radians.

  Returns:
    (n, m) float64 in 0..1.
  """
  h1 = histograms_1 / (_EPSILON + histograms_1.sum(axis=1, keepdims=True))
  h2 = histograms_2 / (_EPSILON + histograms_2.sum(axis=1, keepdims=True))
  a, b = h1[:, None], h2[None]
  chi2 = 0.5 * np.sum((a - b) ** 2 / (a + b + _EPSILON), axis=-1)
  angle = 0.5 * (1 - np.cos(tangents_1[:, None] - tangents_2[None]))
  return (1 - ANGLE_WEIGHT) * chi2 + ANGLE_WEIGHT * angle


def assign(
  cost: np.ndarray, *, dummy_cost: float = DUMMY_COST
) -> tuple[np.ndarray, float]:
  """Solves the assignment exactly, with dummies that take the outliers.

  Args:
    cost: (n, m), n == m.
    dummy_cost: price of leaving a point unmatched.

  Returns:
    (m,) int: the row matched to each column, -1 for a dummy; and the total
    cost of the padded problem.
  """
  n = len(cost)
  dummies = round(DUMMY_FRACTION * n)
  padded = np.full((n + dummies, n + dummies), dummy_cost)
  padded[:n, :n] = cost
  rows, columns = optimize.linear_sum_assignment(padded)
  total = float(padded[rows, columns].sum())
  row_of_column = np.empty(n + dummies, dtype=np.int64)
  row_of_column[columns] = rows
  matched = row_of_column[:n]
  return np.where(matched < n, matched, -1), total
