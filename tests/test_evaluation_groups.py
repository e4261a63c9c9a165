"""Groups of pairs, on drawn people whose garments are known."""

import collections

import numpy as np
import pytest

from input_pipeline.synthetic import render_pair, styles
from viton_jax.evaluation import groups

SEED, HEIGHT, PEOPLE = 5, 128, 40


def of_exchange(before, after):
  return groups.of_pair(
    garment=after.garment,
    garment_mask=after.garment_mask,
    photo=after.person,
    parse=after.parse,
    keypoints=after.keypoints,
    parse_before=before.parse,
  )


@pytest.fixture(scope='module')
def exchanges():
  """(names of the sleeves before and after, groups) of drawn exchanges."""
  found = []
  for index in range(1, PEOPLE + 1):
    other = index % PEOPLE + 1
    made = [
      styles.style_of('plain').make_garment(SEED, i, height=HEIGHT)
      for i in (index, other)
    ]
    before, after = (
      render_pair(SEED, index, HEIGHT, garment_index=i) for i in (index, other)
    )
    names = tuple(garment.sleeves for garment in made)
    found.append((names, of_exchange(before, after)))
  return found


def test_sleeves_before_and_after_are_those_that_were_drawn(exchanges):
  told = collections.Counter()
  for (before, after), found in exchanges:
    if 'sleeve_change' in found:
      told[found['sleeve_change'] == f'{before} to {after}'] += 1
      assert found['sleeve_change'].endswith(f' to {found["sleeves"]}')
  assert told[True] >= 0.8 * told.total() and told.total() >= 0.9 * PEOPLE


def test_hems_before_and_after_are_those_of_either_picture(exchanges):
  pair = render_pair(SEED, 3, HEIGHT)
  hips = pair.keypoints[[8, 11], 1].mean()
  torso = hips - pair.keypoints[[2, 5], 1].mean()
  rows = np.arange(HEIGHT)[:, None]
  cropped = np.where(rows > hips - 0.2 * torso, 9, pair.parse)
  long = np.where(
    (rows > hips - 0.3 * torso) & (rows < hips + 0.3 * torso), 5, pair.parse
  )
  first, second = (
    groups.of_pair(
      garment=pair.garment,
      garment_mask=None,
      photo=pair.person,
      parse=after.astype(np.uint8),
      keypoints=pair.keypoints,
      parse_before=before.astype(np.uint8),
    )['hem_change']
    for before, after in ((cropped, long), (long, cropped))
  )
  assert (first, second) == ('cropped to long', 'long to cropped')
  assert len({found['hem_change'] for _, found in exchanges}) >= 4


def test_of_one_garment_there_is_no_change():
  pair = render_pair(SEED, 3, HEIGHT)
  found = groups.of_pair(
    garment=pair.garment,
    garment_mask=pair.garment_mask,
    photo=pair.person,
    parse=pair.parse,
    keypoints=pair.keypoints,
  )
  assert 'sleeves' in found
  assert not {'sleeve_change', 'hem_change'} & found.keys()
