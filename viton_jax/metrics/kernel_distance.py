"""KID: the squared maximum mean discrepancy of two sets of features, float64.

The kernel is (x . y / d + 1)^3. `unbiased` takes every pair of rows and has no
chance in it. Libraries average over random subsets, each with draws of its own,
which at 2,032 pictures and unseeded has a spread of 3e-6. Papers print 1000
times these values.

References:
  Binkowski, Sutherland, Arbel and Gretton, Demystifying MMD GANs, ICLR 2018,
  equation 4.
"""

from jaxtyping import Float
import numpy as np

from viton_jax.errors import InputError

Features = Float[np.ndarray, 'n d']
Others = Float[np.ndarray, 'm d']
_ROWS = 1024  # Of a kernel in memory at a time.
_WHOLE_ROWS = 3000


def unbiased(real: Features, fake: Others) -> float:
  """The U-statistic over all pairs of rows of (n, d) and (m, d)."""
  for side in (real, fake):
    if len(side) < 2:
      raise InputError(f'{len(side)} pictures are too few for KID; give 2')
  among = sum(
    (_total(x, x) - _diagonal(x)) / (len(x) * (len(x) - 1))
    for x in (real, fake)
  )
  return float(among - 2 * _total(real, fake) / (len(real) * len(fake)))


def torch_fidelity(
  real: Features,
  fake: Others,
  *,
  subsets: int = 100,
  subset_size: int = 1000,
  seed: int = 2020,
) -> tuple[float, float]:
  """Mean and spread over random subsets as torch-fidelity draws them.

  Args:
    real: (n, d) features.
    fake: (m, d).
    subsets: how many.
    subset_size: rows of each, no more than either set has.
    seed: of the draws; torch-fidelity's default is 2020.

  Returns:
    the mean, and the standard deviation with n in its denominator.

  Raises:
    InputError: a set is smaller than the subsets.
  """
  return _over_subsets(
    real, fake, subsets, subset_size, np.random.RandomState(seed).choice
  )


def torchmetrics(
  real: Features,
  fake: Others,
  *,
  subsets: int = 100,
  subset_size: int = 1000,
  seed: int = 0,
) -> tuple[float, float]:
  """As `torch_fidelity`; torchmetrics itself draws without a seed."""
  return _over_subsets(
    real, fake, subsets, subset_size, np.random.default_rng(seed).choice
  )


def clean_fid(
  real: Features,
  fake: Others,
  *,
  subsets: int = 100,
  subset_size: int = 1000,
  seed: int = 0,
) -> float:
  """The mean over random subsets as clean-fid draws them.

  Args:
    real: (n, d) features.
    fake: (m, d).
    subsets: how many.
    subset_size: rows of each, at most all of the smaller set.
    seed: of the draws; clean-fid itself has none.
  """
  size = min(subset_size, len(real), len(fake))
  draw = np.random.RandomState(seed).choice
  # The first draw is of the fake.
  mean, _ = _over_subsets(fake, real, subsets, size, draw)
  return mean


def blocks(
  real: Features, fake: Others, *, block_size: int = 50
) -> Float[np.ndarray, ' k']:
  """KID of each block of rows in order; what is left over counts nowhere."""
  count = min(len(real), len(fake)) // block_size
  parts = (slice(i * block_size, (i + 1) * block_size) for i in range(count))
  return np.asarray([unbiased(real[x], fake[x]) for x in parts])


def _over_subsets(first, second, subsets, size, draw) -> tuple[float, float]:
  smaller = min(len(first), len(second))
  if smaller < size:
    raise InputError(
      f'{smaller} pictures are too few for subsets of {size} of KID; give '
      'smaller subsets'
    )
  # Of sets of usual sizes every kernel is computed once.
  whole = None
  if max(len(first), len(second)) <= _WHOLE_ROWS:
    whole = (
      _kernel(first, first),
      _kernel(second, second),
      _kernel(first, second),
    )
  values = []
  for _ in range(subsets):
    a, b = (draw(len(x), size, replace=False) for x in (first, second))
    if whole is None:
      values.append(unbiased(first[a], second[b]))
      continue
    within = sum(
      part.sum() - np.trace(part)
      for part in (whole[0][np.ix_(a, a)], whole[1][np.ix_(b, b)])
    )
    between = whole[2][np.ix_(a, b)].sum()
    values.append(within / (size * (size - 1)) - 2 * between / size**2)
  return float(np.mean(values)), float(np.std(values))


def _kernel(x: Features, y: Others) -> Float[np.ndarray, 'n m']:
  kernel = np.asarray(x, np.float64) @ np.asarray(y, np.float64).T
  kernel /= np.shape(x)[1]
  kernel += 1
  square = kernel * kernel  # By products: a power takes ten times as long.
  square *= kernel
  return square


def _total(x: Features, y: Others) -> float:
  """The sum of the kernel over all pairs."""
  rows = (x[i : i + _ROWS] for i in range(0, len(x), _ROWS))
  return float(sum(_kernel(part, y).sum() for part in rows))


def _diagonal(x: Features) -> float:
  squares = np.square(np.asarray(x, np.float64)).sum(axis=1)
  return float(((squares / np.shape(x)[1] + 1) ** 3).sum())
