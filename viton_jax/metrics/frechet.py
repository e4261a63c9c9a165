"""FID: the Frechet distance of two sets of features, as Gaussians, in float64.

||m1 - m2||^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2). With any Ri of Ri' Ri = Si,
the last trace is the sum of the singular values of R1 R2' (the nuclear norm),
which needs no root of a product of matrices that may be singular: pytorch-fid
adds 1e-6 to the diagonals where its root is not finite, and its root of
matrices without full rank is right to 5e-7 in the example of the tests.

FID is biased: two samples of one distribution are the further apart the smaller
they are (47 at 96 pictures, 4.5 at 2,032), so values of different numbers of
pictures cannot be compared; `fid_infinity` extrapolates.

References:
  Heusel, Ramsauer, Unterthiner, Nessler and Hochreiter, GANs Trained by a Two
  Time-Scale Update Rule, NeurIPS 2017, equation 6.
  Chong and Forsyth, Effectively Unbiased FID and Inception Score, CVPR 2020.
"""

import dataclasses
import math

from jaxtyping import Float
import numpy as np

from viton_jax.errors import InputError

Features = Float[np.ndarray, 'n d']
Others = Float[np.ndarray, 'm d']
# Eigenvalues below it, over the largest, are what rounding leaves of 0.
_RANK_TOLERANCE = 1e-12


@dataclasses.dataclass(frozen=True)
class Moments:
  """Sums over rows of features, which those of more rows are added to.

  Attributes:
    count: rows.
    total: (d,) float64, their sum.
    outer: (d, d) float64, the sum of their outer products.
  """

  count: int
  total: np.ndarray
  outer: np.ndarray

  def __add__(self, other: 'Moments') -> 'Moments':
    return Moments(
      self.count + other.count,
      self.total + other.total,
      self.outer + other.outer,
    )


def moments(features: Features) -> Moments:
  """The sums of (n, d) features, in float64."""
  rows = np.asarray(features, np.float64)
  return Moments(len(rows), rows.sum(axis=0), rows.T @ rows)


def merge(first: Moments, *more: Moments) -> Moments:
  """The sums over all rows."""
  return sum(more, first)


def frechet_distance(real: Features | Moments, fake: Others | Moments) -> float:
  """FID of two sets, at least 2 rows each; 0 for equal ones, but for rounding.

  Args:
    real: (n, d) features, or their sums.
    fake: (m, d).

  Raises:
    InputError: a set of fewer than 2.
  """
  (mean_a, root_a), (mean_b, root_b) = (_root(x) for x in (real, fake))
  singular = np.linalg.svd(root_a @ root_b.T, compute_uv=False)
  traces = np.square(root_a).sum() + np.square(root_b).sum()
  return float(np.square(mean_a - mean_b).sum() + traces - 2 * singular.sum())


def fid_infinity(
  real: Features, fake: Others, *, seed: int = 0, points: int = 15
) -> float:
  """FID at endlessly many pictures: a line through FID over 1 / n.

  Both sets are thinned to the same n, from half of the smaller to all of it.

  Args:
    real: (n, d) features.
    fake: (m, d).
    seed: of which rows.
    points: sizes, evenly spread.

  Returns:
    where the line of least squares meets 1 / n = 0.

  Raises:
    InputError: a set of fewer than 8.
  """
  largest = min(len(real), len(fake))
  if largest < 8:
    raise InputError(
      f'{largest} pictures are too few for FID-infinity; give at least 8'
    )
  sizes = np.linspace(largest / 2, largest, points).round().astype(int)
  rng = np.random.default_rng(seed)
  values = [
    frechet_distance(
      *(x[rng.choice(len(x), n, replace=False)] for x in (real, fake))
    )
    for n in sizes
  ]
  _, at_zero = np.polyfit(1 / sizes, values, 1)
  return float(at_zero)


def _root(side: Features | Moments) -> tuple[np.ndarray, np.ndarray]:
  """The mean, and R (k, d) with R' R the covariance."""
  if isinstance(side, Moments):
    count, width = side.count, len(side.total)
  else:
    count, width = np.shape(side)
  if count < 2:
    raise InputError(f'{count} pictures have no covariance; give at least 2')
  if not isinstance(side, Moments):
    if count <= width:
      rows = np.asarray(side, np.float64)
      mean = rows.mean(axis=0)
      return mean, (rows - mean) / math.sqrt(count - 1)
    side = moments(side)
  mean = side.total / count
  covariance = (side.outer - np.outer(side.total, mean)) / (count - 1)
  values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
  kept = values > _RANK_TOLERANCE * max(values[-1], 0.0)
  return mean, (vectors[:, kept] * np.sqrt(values[kept])).T
