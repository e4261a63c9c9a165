"""Intervals and comparisons: coverage, shards, what must not depend on what."""

import math

import numpy as np
import pytest
from scipy import stats

from viton_jax.evaluation import comparison, distances, intervals, protocols
from viton_jax.evaluation.intervals import Interval
from viton_jax.evaluation.tables import Table
from viton_jax.metrics import frechet


def names_of(trial, n):
  return [f'{trial}_{i}' for i in range(n)]


def covered(draw, mean, *, n, trials=500):
  """The share of trials whose interval has the true mean in it."""
  found = 0
  for trial in range(trials):
    values = draw(np.random.default_rng(trial), n)
    (one,) = intervals.of_means(names_of(trial, n), values[:, None])
    found += one.low <= mean <= one.high
  return found / trials


@pytest.mark.parametrize(
  'draw, mean',
  [
    (lambda rng, n: rng.beta(8, 2, size=n), 0.8),
    (lambda rng, n: rng.exponential(size=n), 1.0),
  ],
  ids=['like SSIM', 'skewed'],
)
def test_intervals_of_means_cover(draw, mean):
  assert 0.92 <= covered(draw, mean, n=40) <= 0.98


def fid(fake, real):
  return distances.measure(protocols.find('pf-afn').figures, fake, real)['fid']


def test_intervals_of_fid_cover_what_it_is_on_average():
  """At this number of pictures: its bias is no matter of the interval."""
  n, d, trials = 60, 8, 500
  found = []
  for trial in range(trials):
    rng = np.random.default_rng(trial)
    real = rng.normal(size=(n, d)).astype(np.float32)
    fake = (rng.normal(size=(n, d)) * 1.5 + 0.7).astype(np.float32)
    measured = fid(fake, real)
    both = np.stack([measured.fake, measured.real], axis=1)
    found.append(intervals.of_set(measured.value, names_of(trial, n), both))
  mean = np.mean([x.value for x in found])
  assert 0.92 <= np.mean([x.low <= mean <= x.high for x in found]) <= 0.98


def weighted_fid(fake, weights, real):
  """By its definition, with eigenvalues of a product of covariances."""
  mean = weights @ fake / weights.sum()
  apart = (fake - mean) * np.sqrt(weights)[:, None]
  ours = apart.T @ apart / (weights.sum() - 1)
  theirs = np.cov(real, rowvar=False)
  roots = np.sqrt(np.maximum(np.linalg.eigvals(ours @ theirs).real, 0))
  difference = mean - real.mean(axis=0)
  return (
    difference @ difference
    + np.trace(ours)
    + np.trace(theirs)
    - 2 * roots.sum()
  )


@pytest.mark.parametrize('n, m, d', [(40, 40, 8), (12, 12, 30), (12, 40, 20)])
def test_fid_is_that_of_metrics(n, m, d):
  rng = np.random.default_rng(4)
  fake = rng.normal(size=(n, d)).astype(np.float32)
  real = (rng.normal(size=(m, d)) * 2 + 1).astype(np.float32)
  assert fid(fake, real).value == pytest.approx(
    frechet.frechet_distance(*map(frechet.moments, (real, fake))), rel=1e-7
  )
  assert 0 <= fid(real, real).value < 1e-6


@pytest.mark.parametrize('n, d', [(40, 8), (30, 12)])
def test_influences_on_fid_are_its_derivatives(n, d):
  """Against finite differences of the weighted figure."""
  rng = np.random.default_rng(0)
  fake = rng.normal(size=(n, d)) + 1
  real = rng.normal(size=(n, d)) * rng.uniform(0.5, 2, d)
  measured = fid(fake.astype(np.float32), real.astype(np.float32))
  step = 1e-4

  def weighted(i, weight):
    weights = np.ones(n)
    weights[i] = weight
    return weighted_fid(fake, weights, real)

  slopes = np.array(
    [
      (weighted(i, 1 + step) - weighted(i, 1 - step)) / (2 * step)
      for i in range(n)
    ]
  )
  # The divisor n - 1 instead of n moves all of them alike.
  np.testing.assert_allclose(
    (slopes - slopes.mean()) * n,
    measured.fake,
    atol=0.06 * np.abs(measured.fake).max(),
  )


@pytest.mark.parametrize('kind', ['kid', 'is'])
def test_influences_of_other_sets_have_the_spread_of_the_figure(kind):
  """Over repeated draws: the interval is as wide as the figure moves."""
  name = kind
  protocol = protocols.find('viton_jax')
  (figure,) = (x for x in protocol.figures if x.name == name)
  n, d, values, widths = 80, 6, [], []
  for trial in range(150):
    rng = np.random.default_rng(trial)
    fake = (rng.normal(size=(n, d)) + 0.5).astype(np.float32)
    real = rng.normal(size=(n, d)).astype(np.float32)
    measured = distances.measure(
      [figure], fake, None if kind == 'is' else real
    )[name]
    parts = [measured.fake] + ([measured.real] if kind == 'kid' else [])
    values.append(measured.value)
    widths.append(math.sqrt(sum(np.var(x) for x in parts) / n))
  assert np.mean(widths) == pytest.approx(np.std(values), rel=0.25)


def test_weights_are_a_function_of_the_name_alone():
  names = names_of(0, 400)
  drawn = intervals.weights(names)
  np.testing.assert_array_equal(drawn[7:9], intervals.weights(names[7:9]))
  # Poisson of mean 1.
  observed = np.array([(drawn == k).mean() for k in range(5)])
  np.testing.assert_allclose(
    observed, stats.poisson.pmf(np.arange(5), 1), atol=3e-3
  )


def test_replicates_add_up_over_shards():
  rng = np.random.default_rng(1)
  names, values = names_of(0, 300), rng.normal(size=(300, 2))
  whole = intervals.replicates_of_mean(names, values)
  parts = [slice(0, 10), slice(10, 200), slice(200, 300)]
  counts = [intervals.weights(names[x]).sum(axis=0) for x in parts]
  means = [intervals.replicates_of_mean(names[x], values[x]) for x in parts]
  merged = sum(m * c[:, None] for m, c in zip(means, counts, strict=True))
  np.testing.assert_allclose(
    merged / sum(counts)[:, None], whole, rtol=0, atol=1e-12
  )


def test_holm_as_in_his_paper():
  found = intervals.holm([0.01, 0.04, 0.03, math.nan])
  assert found[:3] == pytest.approx([0.03, 0.06, 0.06])
  assert math.isnan(found[3])


def test_small_groups_are_hidden():
  n = 45
  labels = np.array(['a'] * 26 + ['b'] * 19)
  found = intervals.groups(names_of(0, n), np.zeros((n, 1)), labels)
  assert list(found) == ['a'] and found['a'][0].n == 26


def table(label, ssim, *, names=None, fid_value=None, influence=None):
  names = names or names_of(0, len(ssim))
  (one,) = intervals.of_means(names, ssim[:, None])
  figures = {'ssim': one}
  influences = {}
  if fid_value is not None:
    influences['fid'] = influence
    figures['fid'] = Interval(fid_value, 0, 1, len(names))
  return Table(
    label,
    'viton_jax',
    tuple(names),
    {'ssim': ssim},
    influences,
    figures,
    {'ssim': True, 'fid': False},
  )


def test_pairs_show_what_means_do_not():
  """The runs differ by less than pairs do, but always in one direction."""
  rng = np.random.default_rng(2)
  base = rng.normal(0.8, 0.1, 100)
  ours = table('ours', base + rng.uniform(0, 0.004, 100))
  theirs = table('theirs', base)
  found = comparison.compare(ours, theirs).differences['ssim']
  assert found.interval.low > 0 and found.interval.high < 0.004
  assert found.win_rate == 1.0 and found.p_value < 1e-10
  assert ours.figures['ssim'].low < theirs.figures['ssim'].high
  assert comparison.winners(
    [theirs, ours], {(0, 1): comparison.compare(theirs, ours)}
  ) == {'ssim': 1}
  # And where nothing differs nobody wins.
  same = comparison.compare(ours, ours)
  assert same.differences['ssim'].win_rate == 0.5
  assert same.differences['ssim'].p_value == 1.0
  assert comparison.winners([ours, ours], {(0, 1): same}) == {}


def test_sets_of_other_sizes_are_not_compared():
  rng = np.random.default_rng(3)
  values = rng.normal(size=30)
  moved = rng.normal(size=(30, 2))
  ours = table('a', values, fid_value=3.0, influence=moved)
  theirs = table(
    'b',
    values[:25],
    names=list(ours.names[:25]),
    fid_value=2.0,
    influence=moved[:25],
  )
  found = comparison.compare(ours, theirs)
  assert list(found.differences) == ['ssim']
  assert found.differences['ssim'].interval.n == 25
  assert any('fid' in note for note in found.notes)
  again = comparison.compare(ours, ours).differences['fid']
  assert again.interval.low == again.interval.high == 0
