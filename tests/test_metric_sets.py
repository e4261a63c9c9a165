"""FID, KID and IS against the reference libraries, from stored features."""

import functools

import metric_goldens as goldens
import numpy as np
import pytest

from viton_jax.errors import InputError
from viton_jax.metrics import frechet, inception_score, kernel_distance


def features():
  arrays = goldens.arrays()
  return arrays['features/real'], arrays['features/fake']


def case(name):
  real, fake = features()
  return {
    'full_rank': (real, fake),
    'rank_deficient_40': (real[:40], fake[:40]),
    'same': (real, real),
  }[name]


@pytest.mark.parametrize('name', ['full_rank', 'rank_deficient_40', 'same'])
def test_fid_of_every_library(name):
  real, fake = case(name)
  found = frechet.frechet_distance(real, fake)
  references = {
    place: value
    for place, value in goldens.arrays().items()
    if place.startswith(f'fid/{name}/')
  }
  assert len(references) == 3
  for place, value in references.items():
    np.testing.assert_allclose(found, value, rtol=0, atol=1e-6, err_msg=place)
  # Sums of parts, in any order, are as good as the features.
  parts = [frechet.moments(x) for x in np.array_split(fake, [7, 7, 20])]
  merged = frechet.merge(*parts[::-1])
  assert merged.count == len(fake)
  by_sums = frechet.frechet_distance(frechet.moments(real), merged)
  np.testing.assert_allclose(by_sums, found, rtol=0, atol=1e-9)
  mixed = frechet.frechet_distance(real, frechet.moments(fake))
  np.testing.assert_allclose(mixed, found, rtol=0, atol=1e-9)


def test_fid_of_fewer_pictures_than_features():
  """Where the library's root of a product is not even real."""
  rng = np.random.default_rng(0)
  real, fake = rng.uniform(size=(30, 200)), rng.uniform(size=(40, 200))
  found = frechet.frechet_distance(real, fake)
  by_sums = frechet.frechet_distance(
    frechet.moments(real), frechet.moments(fake)
  )
  np.testing.assert_allclose(by_sums, found, rtol=0, atol=1e-9)
  assert abs(frechet.frechet_distance(real, real.copy())) <= 1e-6
  with pytest.raises(InputError, match='1 pictures .* at least 2'):
    frechet.frechet_distance(real, fake[:1])


def test_fid_infinity_takes_the_bias_away():
  rng = np.random.default_rng(0)
  real, fake = rng.normal(size=(2, 400, 16))
  biased = frechet.frechet_distance(real, fake)
  found = frechet.fid_infinity(real, fake)
  # The truth is 0, and FID of 400 of 16 dimensions about 16 * 17 / 2 / 400.
  assert biased > 0.2 and abs(found) < biased / 2
  assert found == frechet.fid_infinity(real, fake)
  # The distance of the means stays.
  apart = frechet.fid_infinity(real, fake + 1)
  np.testing.assert_allclose(apart, 16, atol=3)
  with pytest.raises(InputError, match='too few'):
    frechet.fid_infinity(real[:7], fake)


def test_kid_of_every_library():
  real, fake = features()
  expected = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-6)
  arrays = goldens.arrays()
  subsets = kernel_distance.torch_fidelity(real, fake, subset_size=100)
  for kind in ('', '_float64'):
    expected(subsets, arrays[f'kid/torch_fidelity_100x100_seed2020{kind}'])
  # Subsets of 1000 are cut to all of the smaller set.
  expected(
    kernel_distance.clean_fid(real, fake),
    arrays['kid/clean_fid_100x250_seed0_float64'],
  )
  expected(
    kernel_distance.clean_fid(real, fake, subset_size=100),
    arrays['kid/clean_fid_100x100_seed0_float64'],
  )
  expected(
    kernel_distance.torchmetrics(real[:250], fake, subsets=2, subset_size=250),
    [arrays['kid/torchmetrics_first_250_float64'], 0],
  )
  expected(
    kernel_distance.unbiased(real, fake),
    arrays['kid/unbiased_all_300x250_float64'],
  )
  expected(
    kernel_distance.blocks(real, fake), arrays['kid/blocks_of_50_float64']
  )


def test_kid_of_large_sets_is_that_of_small_ones(monkeypatch):
  real, fake = features()
  whole = kernel_distance.torch_fidelity(real, fake, subset_size=60, subsets=9)
  monkeypatch.setattr(kernel_distance, '_WHOLE_ROWS', 10)
  monkeypatch.setattr(kernel_distance, '_ROWS', 7)
  np.testing.assert_allclose(
    kernel_distance.torch_fidelity(real, fake, subset_size=60, subsets=9),
    whole,
    rtol=1e-12,
  )


def test_kid_of_too_few_pictures():
  real, fake = features()
  with pytest.raises(InputError, match='250 pictures .* subsets of 1000'):
    kernel_distance.torch_fidelity(real, fake)
  with pytest.raises(InputError, match='1 pictures'):
    kernel_distance.unbiased(real, fake[:1])


@pytest.mark.parametrize(
  'name, options',
  [
    ('torch_fidelity_10_shuffle_seed2020', {'shuffle_seed': 2020}),
    ('torch_fidelity_10_in_order', {}),
    ('torch_fidelity_1', {'splits': 1}),
    ('sbarratt_1', {'variant': 'sbarratt', 'splits': 1}),
    ('sbarratt_10', {'variant': 'sbarratt'}),
    ('openai_10', {'variant': 'openai'}),
    ('torchmetrics_1_9_10_in_order', {'variant': 'torchmetrics'}),
  ],
)
def test_inception_score_of_every_library(name, options):
  arrays = goldens.arrays()
  found = inception_score.inception_score(arrays['logits'], **options)
  np.testing.assert_allclose(found, arrays[f'is/{name}'], rtol=0, atol=1e-6)


def test_inception_score_has_its_bounds():
  one_class = np.zeros((20, 8))
  assert inception_score.inception_score(one_class) == (1, 0)
  certain = 1000 * np.eye(8)
  value, _ = inception_score.inception_score(certain, splits=1)
  np.testing.assert_allclose(value, 8)
  _, spread = inception_score.inception_score(
    certain, splits=1, variant='torchmetrics'
  )
  assert np.isnan(spread)
  with pytest.raises(InputError, match='8 pictures .* 10 parts'):
    inception_score.inception_score(certain)
