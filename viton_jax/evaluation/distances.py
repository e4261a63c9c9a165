"""Figures of whole sets: FID, KID and IS from stored features, with influences.

The influence of a picture is the derivative of the figure by the picture's
weight, times the number of pictures; it has a mean of 0. `intervals.of_set`
makes intervals of it. What it does not show is bias: FID falls with more
pictures, whatever the pictures are.

References:
  Heusel et al., NeurIPS 2017: FID. Binkowski et al., ICLR 2018: KID. Salimans
  et al., NeurIPS 2016: IS.
  Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 22.
"""

from collections.abc import Sequence
import dataclasses
import mmap
from typing import Any

from jaxtyping import Float
import numpy as np
from scipy import special
import scipy.linalg

from viton_jax.evaluation.protocols import Figure
from viton_jax.metrics import inception_score, kernel_distance

Features = Float[np.ndarray, 'n d']
_BLOCK = 1024  # Rows that are in memory as float64 at a time.


@dataclasses.dataclass(frozen=True)
class OfSet:
  """A figure of a set.

  Attributes:
    value: of the figure, scaled as the protocol says.
    fake: (n,) influence of each result.
    real: (m,) influence of each true picture, or None where none counts.
    spread: over splits or subsets, as libraries print it, or None.
  """

  value: float
  fake: np.ndarray
  real: np.ndarray | None = None
  spread: float | None = None


def measure(
  figures: Sequence[Figure], fake: Features, real: Features | None
) -> dict[str, OfSet]:
  """Figures of sets, as their libraries compute them.

  Args:
    figures: FID, KID and IS of these features.
    fake: features of the results, one row each, at least 2.
    real: of the true pictures; IS needs none.

  Returns:
    name of a figure -> its value and influences.
  """
  found = {}
  kernels = None
  for figure in figures:
    if figure.kind == 'is':
      one = _inception_score(figure, fake)
    else:
      assert real is not None  # FID and KID compare.
      if figure.kind == 'fid':
        one = _fid(fake, real)
      else:
        # Of all pairs of pictures, so once for all kinds of KID.
        kernels = kernels or _kernel_means(fake, real)
        one = _kid(figure, fake, real, kernels)
    found[figure.name] = OfSet(
      one.value * figure.scale,
      one.fake * figure.scale,
      None if one.real is None else one.real * figure.scale,
      None if one.spread is None else one.spread * figure.scale,
    )
  return found


# ---------------------------------------------------------------------- FID


def _fid(fake: Features, real: Features) -> OfSet:
  """As `metrics.frechet`, which has the value alone.

  ||m1 - m2||^2 + tr S1 + tr S2 - 2 ||A1 A2'||_*, where Ai' Ai = Si. With the
  singular vectors of A1 A2' the derivative of the last term by the weight of a
  row is half of its part of the nuclear norm.
  """
  sides = [_Side(x) for x in (fake, real)]
  product = sides[0].root @ sides[1].root.T
  for side in sides:
    del side.root
  left, singular, right = scipy.linalg.svd(
    product, full_matrices=False, overwrite_a=True, check_finite=False
  )
  apart = sides[0].mean - sides[1].mean
  value = apart @ apart - 2 * singular.sum()
  influences = []
  for side, vectors, sign in (
    (sides[0], left, 1.0),
    (sides[1], right.T, -1.0),
  ):
    shared = side.parts_of(vectors * np.sqrt(singular))
    squares, across = side.sums(apart)
    value += squares.sum() / (side.count - 1)
    found = 2 * sign * across + squares - shared
    influences.append(found - found.mean())
  # Rounding may leave a little less than nothing.
  return OfSet(max(float(value), 0.0), *influences)


class _Side:
  """Features of one set: their mean, and a root of their covariance.

  Of few rows the root is the rows themselves, (n, d); of many that of the
  matrix of covariances, so that memory does not grow with them.
  """

  def __init__(self, features: Features):
    self._features = features
    self.count, size = features.shape
    total = np.zeros(size)
    for _, rows in _blocks(features):
      total += rows.sum(axis=0)
    self.mean = total / self.count
    self._vectors = None
    if self.count <= size:
      self.root = np.asarray(features, np.float64) - self.mean
      self.root /= np.sqrt(self.count - 1)
      return
    outer = np.zeros((size, size))
    for rows in self._centred():
      outer += rows.T @ rows
    outer /= self.count - 1
    # In place: of 2,048 features each such matrix has 34 MB.
    values, vectors = scipy.linalg.eigh(
      outer, overwrite_a=True, check_finite=False
    )
    # What rounding leaves of eigenvalues that are 0.
    kept = values > max(values.max(), 0.0) * 1e-10
    spans = np.sqrt(values[kept])
    self._vectors = vectors[:, kept]
    self._vectors /= spans
    self.root = (self._vectors * spans**2).T

  def _centred(self):
    """Blocks of rows minus the mean, float64."""
    for _, rows in _blocks(self._features):
      yield rows - self.mean

  def sums(self, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(squared length, projection on a direction) of each centred row."""
    found = [
      (np.square(rows).sum(axis=1), rows @ direction)
      for rows in self._centred()
    ]
    squares, across = zip(*found, strict=True)
    return np.concatenate(squares), np.concatenate(across)

  def parts_of(self, vectors: np.ndarray) -> np.ndarray:
    """What each row has of the nuclear norm, times n - 1.

    Args:
      vectors: singular vectors, a column each, times the root of their value.
    """
    if self._vectors is None:
      return np.square(vectors).sum(axis=1) * (self.count - 1)
    basis = self._vectors @ vectors
    return np.concatenate(
      [np.square(rows @ basis).sum(axis=1) for rows in self._centred()]
    )


# ---------------------------------------------------------------------- KID


def _kid(figure: Figure, fake: Features, real: Features, kernels) -> OfSet:
  spread = None
  among_fake, among_real, between_fake, between_real = kernels
  if figure.variant == 'unbiased':
    value = among_fake.mean() + among_real.mean() - 2 * between_fake.mean()
  elif figure.variant == 'clean-fid':
    value = kernel_distance.clean_fid(real, fake)
  else:
    size = min(1000, len(fake), len(real))
    value, spread = kernel_distance.torch_fidelity(real, fake, subset_size=size)
  of_fake = 2 * (among_fake - between_fake)
  of_real = 2 * (among_real - between_real)
  return OfSet(
    float(value), of_fake - of_fake.mean(), of_real - of_real.mean(), spread
  )


def _kernel_means(fake, real):
  """Mean kernel of each row with the others of its set, and with the other's.

  Returns:
    (n,) fake with fake, (m,) real with real, (n,) fake with real, (m,) real
    with fake; float64.
  """
  among_fake = np.zeros(len(fake))
  among_real = np.zeros(len(real))
  between_fake, between_real = np.zeros(len(fake)), np.zeros(len(real))
  for a, rows in _blocks(fake):
    for b, others in _blocks(real):
      kernel = _kernel(rows, others)
      between_fake[a] += kernel.sum(axis=1)
      between_real[b] += kernel.sum(axis=0)
  for features, total in ((fake, among_fake), (real, among_real)):
    for a, rows in _blocks(features):
      for _, others in _blocks(features):
        total[a] += _kernel(rows, others).sum(axis=1)
      total[a] -= (np.square(rows).sum(axis=1) / rows.shape[1] + 1) ** 3
  return (
    among_fake / (len(fake) - 1),
    among_real / (len(real) - 1),
    between_fake / len(real),
    between_real / len(fake),
  )


def _blocks(features):
  """(place, rows as float64) of some rows at a time."""
  for i in range(0, len(features), _BLOCK):
    part = slice(i, i + _BLOCK)
    yield part, np.asarray(features[part], np.float64)
    if isinstance(features, np.memmap):
      # The file has them; without a word the system keeps them in memory.
      mapped: Any = features
      mapped._mmap.madvise(mmap.MADV_DONTNEED)


def _kernel(a, b):
  kernel = a @ b.T / a.shape[1] + 1
  return kernel * kernel * kernel  # A power takes ten times as long.


# ----------------------------------------------------------------------- IS


def _inception_score(figure: Figure, fake: Features) -> OfSet:
  splits = min(figure.splits or 1, len(fake))
  value, spread = inception_score.inception_score(
    fake,
    variant=figure.variant,
    splits=splits,
    shuffle_seed=figure.seed,
  )
  p = np.concatenate(
    [special.softmax(rows, axis=1) for _, rows in _blocks(fake)]
  )
  divergence = special.rel_entr(p, p.mean(axis=0)).sum(axis=1)
  influence = value * (divergence - divergence.mean())
  return OfSet(value, influence, spread=spread if splits > 1 else None)
