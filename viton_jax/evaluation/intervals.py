"""Intervals of figures, and the comparison of two runs on the same pairs.

The Poisson bootstrap gives every pair, in every replicate, a weight drawn from
the Poisson distribution of mean 1. The weights of a pair are a function of its
name alone: shards need not know of each other, and two runs are resampled
alike, so that their difference has an interval of its own.

A figure of a whole set (FID, KID, IS) comes as the value of the set and the
influence of each pair on it; its replicates are those of the linearised figure.

References:
  Chamandy, Muralidharan, Najmi and Naidu, Estimating Uncertainty for Massive
  Data Streams, Google technical report, 2012: the Poisson bootstrap.
  Hesterberg, What Teachers Should Know about the Bootstrap, The American
  Statistician 69, 2015: the expanded percentile interval.
  Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 22:
  the influence function and what is linear in it.
  Holm, Scandinavian Journal of Statistics 6, 1979.
"""

from collections.abc import Iterable, Iterator, Sequence
import dataclasses
import math
from typing import Any
import zlib

from jaxtyping import Float, Shaped
import numpy as np
from scipy import special, stats

REPLICATES = 1000
LEVEL = 0.95
SMALLEST_GROUP = 20
_CHUNK = 1024  # Pairs whose weights are in memory at a time.
_MOST = 12  # A larger weight has a probability of 6e-11.


@dataclasses.dataclass(frozen=True)
class Interval:
  """A figure with its 95 % interval.

  Attributes:
    value: of the figure.
    low, high: ends of the interval; NaN where there is none (n < 2).
    n: pairs or pictures that it is of.
  """

  value: float
  low: float
  high: float
  n: int


@dataclasses.dataclass(frozen=True)
class Difference:
  """Two runs on the same pairs: ours minus theirs.

  Attributes:
    interval: of the difference.
    win_rate: share of the pairs in which ours is better; a tie counts half.
      NaN where no pair has a value of its own.
    p_value: of Wilcoxon's signed-rank test, two-sided, corrected by Holm's
      method for the number of figures. NaN likewise.
  """

  interval: Interval
  win_rate: float = math.nan
  p_value: float = math.nan


def weights(names: Sequence[str]) -> Float[np.ndarray, 'n replicates']:
  """Poisson weights of pairs, (n, REPLICATES) float64 of whole numbers.

  Counts that a table of probabilities gives for Philox's raw numbers: these
  are the same in every version of NumPy, what a distribution draws is not.
  """
  cumulative = np.cumsum(np.exp(-1 - special.gammaln(np.arange(1, _MOST + 1))))
  limits = (cumulative * 2.0**64).astype(np.uint64)
  rows = [
    np.searchsorted(
      limits,
      np.random.Philox(key=zlib.crc32(name.encode())).random_raw(REPLICATES),
      side='right',
    )
    for name in names
  ]
  return np.stack(rows).astype(np.float64)


def _chunks(names: Sequence[str]) -> Iterator[tuple[slice, np.ndarray]]:
  for start in range(0, len(names), _CHUNK):
    part = slice(start, start + _CHUNK)
    yield part, weights(names[part])


def replicates_of_mean(
  names: Sequence[str],
  values: Float[np.ndarray, 'n columns'],
) -> Float[np.ndarray, 'replicates columns']:
  """The weighted mean of each column in each replicate.

  Args:
    names: of the pairs.
    values: (n, columns); NaN: the pair has no such value and does not count.
  """
  there = ~np.isnan(values)
  filled = np.where(there, values, 0.0)
  totals = np.zeros((REPLICATES, values.shape[1]))
  counts = np.zeros_like(totals)
  for part, drawn in _chunks(names):
    totals += drawn.T @ filled[part]
    counts += drawn.T @ there[part].astype(np.float64)
  with np.errstate(invalid='ignore', divide='ignore'):
    return totals / counts


def expanded_percentiles(n: int) -> tuple[float, float]:
  """Which percentiles of the replicates are the ends of the interval.

  Those of the normal distribution, moved outwards as Student's t and the
  divisor n - 1 ask for: plain percentiles are too narrow for small n.
  """
  t = stats.t.ppf((1 + LEVEL) / 2, n - 1) * math.sqrt(n / (n - 1))
  tail = float(stats.norm.cdf(-t))
  return 100 * tail, 100 * (1 - tail)


def interval(
  value: float, replicates: Float[np.ndarray, ' replicates'], n: int
) -> Interval:
  """The interval that replicates of a figure give."""
  known = replicates[np.isfinite(replicates)]
  if n < 2 or not len(known):
    return Interval(value, math.nan, math.nan, n)
  low, high = np.percentile(known, expanded_percentiles(n))
  return Interval(value, float(low), float(high), n)


def of_means(
  names: Sequence[str], values: Float[np.ndarray, 'n columns']
) -> list[Interval]:
  """The mean of each column with its interval, over the pairs that have it."""
  counts = (~np.isnan(values)).sum(axis=0)
  replicates = replicates_of_mean(names, values)
  return [
    interval(
      math.fsum(column[~np.isnan(column)]) / count if count else math.nan,
      replicates[:, i],
      int(count),
    )
    for i, (column, count) in enumerate(zip(values.T, counts, strict=True))
  ]


def of_set(
  value: float,
  names: Sequence[str],
  influences: Float[np.ndarray, 'n sets'],
) -> Interval:
  """The interval of a figure of one or two whole sets.

  Args:
    value: of the figure.
    names: of the pictures.
    influences: of each result and each true picture on the figure, with means
      of 0; NaN where a name has none in a set.
  """
  there = ~np.isnan(influences).all(axis=0)
  moved = replicates_of_mean(names, influences[:, there]).sum(axis=1)
  n = int((~np.isnan(influences[:, 0])).sum())
  return interval(value, value + moved, n)


def differences_of_means(
  names: Sequence[str],
  ours: Float[np.ndarray, 'n columns'],
  theirs: Float[np.ndarray, 'n columns'],
  *,
  higher: Sequence[bool | None],
) -> list[Difference]:
  """Ours minus theirs, column by column, over the pairs that both have.

  Args:
    names: of the pairs.
    ours: (n, columns); NaN: a pair has no such value.
    theirs: the same.
    higher: of each column, whether higher is better; None: neither, so that
      nobody wins.

  Returns:
    a difference for each column; its p-value is not corrected yet, see `holm`.
  """
  apart = ours - theirs
  found = of_means(names, apart)
  differences = []
  for column, one, up in zip(apart.T, found, higher, strict=True):
    known = column[~np.isnan(column)]
    win_rate = p_value = math.nan
    if len(known) and up is not None:
      wins = known > 0 if up else known < 0
      win_rate = float((wins + 0.5 * (known == 0)).mean())
    if len(known) >= 2:
      # zsplit: pairs that are equal count half for each side.
      tested: Any = None
      if known.any():
        tested = stats.wilcoxon(known, zero_method='zsplit')
      p_value = float(tested.pvalue) if tested else 1.0
    differences.append(Difference(one, win_rate, p_value))
  return differences


def holm(p_values: Iterable[float]) -> list[float]:
  """p-values of several tests, corrected by Holm's method; NaN stays."""
  found = np.array(list(p_values), np.float64)
  order = [i for i in np.argsort(found) if not math.isnan(found[i])]
  largest = 0.0
  for rank, i in enumerate(order):
    largest = max(largest, found[i] * (len(order) - rank))
    found[i] = min(largest, 1.0)
  return found.tolist()


def groups(
  names: Sequence[str],
  values: Float[np.ndarray, 'n columns'],
  labels: Shaped[np.ndarray, ' n'],
) -> dict[str, list[Interval]]:
  """Means with intervals within each group of pairs that is large enough.

  Args:
    names: of the pairs.
    values: (n, columns).
    labels: of each pair, text; '': it is in no group.
  """
  found = {}
  for label in sorted(set(labels.tolist()) - {''}):
    inside = np.flatnonzero(labels == label)
    if len(inside) >= SMALLEST_GROUP:
      found[label] = of_means([names[int(i)] for i in inside], values[inside])
  return found
