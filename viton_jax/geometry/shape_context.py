"""Shape contexts: histograms, costs, assignment and the spline between points.

Source: Belongie, Malik, Puzicha, "Shape Matching and Object Recognition Using
Shape Contexts", PAMI 2002, with the constants VITON uses. Everything here is
NumPy on small arrays of points; coordinates are pixels, x then y.

Where two implementations of this can differ although both are right:
  * a distance or an angle that falls on the edge of a bin, to the last bit;
  * assignments of equal total cost (symmetric garments have several);
  * which of two equally close points the sampling drops.
"""

import dataclasses

import numpy as np
from scipy import optimize

ANGLE_BINS = 12
RADIUS_BINS = 5
_RADIUS_EDGES = np.logspace(np.log10(1 / 8), np.log10(2), RADIUS_BINS)
_EPSILON = np.finfo(np.float64).eps
ANGLE_WEIGHT = 0.1
DUMMY_COST = 0.25
DUMMY_FRACTION = 0.25
ITERATIONS = 6


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
  ring = RADIUS_BINS - 1 - np.searchsorted(
      _RADIUS_EDGES, (distances / scale).ravel(), side='right'
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


@dataclasses.dataclass(frozen=True)
class Spline:
  """A thin-plate spline from the plane to the plane.

  Attributes:
    centres: (n, 2) float64.
    coefficients: (n + 3, 2) float64: n radial ones, then those of 1, x, y.
  """

  centres: np.ndarray
  coefficients: np.ndarray

  def __call__(self, points: np.ndarray) -> np.ndarray:
    """Maps (m, 2) points to (m, 2)."""
    n = len(self.centres)
    bent = _radial(points, self.centres) @ self.coefficients[:n]
    return bent + self.coefficients[n] + points @ self.coefficients[n + 1 :]


def _radial(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
  """r^2 log r^2 between (m, 2) and (n, 2), 0 at r = 0."""
  squared = (points[:, :1] - centres[:, 0]) ** 2
  squared += (points[:, 1:] - centres[:, 1]) ** 2
  return squared * np.log(np.where(squared > 0, squared, 1.0))


def fit_spline(
    source: np.ndarray,
    target: np.ndarray,
    *,
    regularisation: float | np.ndarray,
) -> Spline:
  """Fits a regularised thin-plate spline (Bookstein 1989).

  Args:
    source, target: (n, 2) pixels.
    regularisation: added to the diagonal of the kernel, in squared pixels;
      one number, or one a point.

  Returns:
    The spline from source to target.

  Raises:
    numpy.linalg.LinAlgError: the source points lie on one line.
  """
  n = len(source)
  system = np.zeros((n + 3, n + 3))
  system[:n, :n] = _radial(source, source)
  system[range(n), range(n)] += regularisation
  system[:n, n] = 1
  system[:n, n + 1 :] = source
  system[n:, :n] = system[:n, n:].T
  right = np.zeros((n + 3, 2))
  right[:n] = target
  return Spline(source, np.linalg.solve(system, right))


@dataclasses.dataclass(frozen=True)
class Matches:
  """What the rounds of the original leave behind.

  Attributes:
    rows: (n,) int, the garment point matched to each person point, or -1.
    spline: the last spline, garment to person.
    cost: total cost of the last assignment.
    first_cost_matrix: (n, n), of the first iteration.
    first_rows: (n,) int, of the first iteration.
    first_cost: total cost of the first assignment.
  """

  rows: np.ndarray
  spline: Spline
  cost: float
  first_cost_matrix: np.ndarray
  first_rows: np.ndarray
  first_cost: float


def match_iteratively(
    garment_px: np.ndarray,
    garment_tangents: np.ndarray,
    person_px: np.ndarray,
    person_tangents: np.ndarray,
    *,
    iterations: int = ITERATIONS,
) -> Matches:
  """The original's matching: rounds of contexts, assignment and spline.

  Args:
    garment_px, person_px: (n, 2) boundary points.
    garment_tangents, person_tangents: (n,) radians.
    iterations: number of rounds, 6 in the original.

  Returns:
    Matches.

  Raises:
    numpy.linalg.LinAlgError: the matched points lie on one line.
  """
  n = len(garment_px)
  points, tangents = garment_px, garment_tangents
  garment_inliers = np.ones(n, dtype=bool)
  person_inliers = np.ones(n, dtype=bool)
  first = None
  for k in range(iterations):
    context_1, _ = histograms(points, garment_inliers)
    context_2, scale = histograms(person_px, person_inliers)
    cost_matrix = matching_cost(
        context_1, context_2, tangents, person_tangents
    )
    rows, cost = assign(cost_matrix)
    if first is None:
      first = (cost_matrix, rows, cost)
    person_inliers = rows >= 0
    garment_inliers = np.isin(np.arange(n), rows)
    spline = fit_spline(
        garment_px[rows[person_inliers]],
        person_px[person_inliers],
        regularisation=(1000 if k == 0 else 1) * scale**2,
    )
    points = spline(garment_px)
    heads = spline(
        garment_px
        + np.stack([np.cos(garment_tangents), np.sin(garment_tangents)], 1)
    )
    tangents = np.arctan2(
        heads[:, 1] - points[:, 1], heads[:, 0] - points[:, 0]
    )
  return Matches(rows, spline, cost, *first)
