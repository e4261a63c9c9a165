"""The original's matching, number for number.

Six rounds of shape contexts, assignment and a regularised spline from the
garment to the person, then a nearest-neighbour inverse of that spline. Its
coordinates are one-based pixels, x then y.
"""

import dataclasses

import numpy as np
from scipy import spatial

from viton_jax.geometry import shape_context
from viton_jax.geometry.spline import squared_distances

GRID = 10
ITERATIONS = 6
_BLOCK = 4


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
  squared = squared_distances(points, centres)
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
) -> Matches:
  """The original's matching: rounds of contexts, assignment and spline.

  Args:
    garment_px, person_px: (n, 2) boundary points.
    garment_tangents, person_tangents: (n,) radians.

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
  for k in range(ITERATIONS):
    context_1, _ = shape_context.histograms(points, garment_inliers)
    context_2, scale = shape_context.histograms(person_px, person_inliers)
    cost_matrix = shape_context.matching_cost(
      context_1, context_2, tangents, person_tangents
    )
    rows, cost = shape_context.assign(cost_matrix)
    if first is None:
      first = (cost_matrix, rows, float(cost))
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
  assert first is not None  # There are several iterations.
  return Matches(rows, spline, float(cost), *first)


def control_points(spline: Spline, size: tuple[int, int]) -> np.ndarray:
  """The original's inverse of the spline: the nearest integer grid point.

  Args:
    spline: garment to person, one-based pixels.
    size: (h, w).

  Returns:
    (100, 2) float64 one-based x, y on the garment; y outer.
  """
  h, w = size
  x, y = np.meshgrid(np.linspace(1, w, GRID), np.linspace(1, h, GRID))
  targets = np.stack([x.ravel(), y.ravel()], axis=1)
  # Column-major as in MATLAB, where the first of equally near points wins.
  x, y = np.meshgrid(
    np.arange(-2 * w, 2 * w + 1),
    np.arange(-2 * h, 2 * h + 1),
    indexing='ij',
  )
  # A quarter of the grid in each direction first: each coarse point stands
  # for its 4 x 4 block, whose image lies within `reach` of its own. Only
  # blocks that may hold something nearer than the nearest coarse point are
  # evaluated in full. That gives the same points as evaluating everything.
  coarse = np.stack([x[::_BLOCK, ::_BLOCK], y[::_BLOCK, ::_BLOCK]], axis=2)
  image = spline(coarse.reshape(-1, 2).astype(np.float64))
  image = image.reshape(coarse.shape)
  step_x = np.linalg.norm(np.diff(image, axis=0), axis=2)
  step_y = np.linalg.norm(np.diff(image, axis=1), axis=2)
  reach = np.zeros(image.shape[:2])
  for step, axis in ((step_x, 0), (step_y, 1)):
    low = np.concatenate([step, np.take(step, [-1], axis)], axis)
    high = np.concatenate([np.take(step, [0], axis), step], axis)
    reach += np.maximum(low, high)
  distances = spatial.distance.cdist(targets, image.reshape(-1, 2))
  wanted = distances - reach.ravel() <= distances.min(axis=1, keepdims=True)
  offsets = np.arange(-(_BLOCK // 2), _BLOCK - _BLOCK // 2)
  centres = coarse.reshape(-1, 2)[wanted.any(axis=0)]
  columns = np.clip(centres[:, 0, None] + offsets, -2 * w, 2 * w)
  rows = np.clip(centres[:, 1, None] + offsets, -2 * h, 2 * h)
  order = np.unique(
    (columns[:, :, None] + 2 * w) * len(y[0]) + rows[:, None, :] + 2 * h
  )
  candidates = np.stack([x.ravel()[order], y.ravel()[order]], axis=1)
  candidates = candidates.astype(np.float64)
  squared = spatial.distance.cdist(targets, spline(candidates), 'sqeuclidean')
  return candidates[squared.argmin(axis=1)]
