"""Training pairs as a mirror shows them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import stage1
from input_pipeline import batches, prepare, sample
from input_pipeline.layouts import open_layout
from input_pipeline.synthetic.dataset import write_dataset
from viton_jax import flow_levels, geometry
from viton_jax.errors import InputError
from viton_jax.representation import to_norm
from viton_jax.training import config as training_config
from viton_jax.training.mirroring import mirror, mirror_some

_SIZE = 128, 64


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
  """Four pairs of two drawn people: their own garments, and exchanged ones."""
  raw = tmp_path_factory.mktemp('raw')
  write_dataset(raw, 2, exchange=True, seed=5, height=256, workers=1)
  folder = tmp_path_factory.mktemp('packed')
  assert not prepare.prepare(
    'viton',
    raw,
    out_dir=folder,
    height=_SIZE[0],
    width=_SIZE[1],
    validation_fraction=0,
    workers=0,
    fmt='packed',
  )
  return raw, folder


@pytest.fixture(scope='module')
def batch(prepared):
  (read,) = batches.eval_batches(
    prepared[1], split='train', batch_size=4, fmt='packed'
  )
  return {
    name: value
    for name, value in read.items()
    if isinstance(value, np.ndarray) and value.dtype.kind in 'biuf'
  }


def test_the_mirrored_garment_lies_on_the_mirrored_person(batch):
  turned = mirror(batch)
  assert set(turned) == set(batch)
  assert {k: v.dtype for k, v in turned.items()} == {
    k: v.dtype for k, v in batch.items()
  }
  before, after = (
    geometry.warp_tps(to_norm(x['garment']), jnp.asarray(x['control_points']))
    for x in (batch, turned)
  )
  np.testing.assert_allclose(after[:, :, ::-1], before, rtol=0, atol=2e-2)
  assert np.abs(np.asarray(after) - np.asarray(before)).mean() > 0.05


def test_the_mirrored_flow_is_of_the_mirrored_garment(batch):
  turned = mirror(batch)
  flow, known = flow_levels.decode(turned['flow'])
  before, once = flow_levels.decode(jnp.asarray(batch['flow']))
  assert 0.6 * int(once.sum()) < int(known.sum()) <= int(once.sum())
  # What the flow finds in the garment's photo is what the person wears, at the
  # pixels 2, 6, 10, ...: as well as before, and far better than beside.
  errors = []
  for levels, there, pairs in (
    (before, once, batch),
    (flow, known, turned),
    (jnp.roll(flow, 2, axis=2), known, turned),
  ):
    found = geometry.sample_bilinear(to_norm(pairs['garment']), levels)
    worn = to_norm(pairs['person'])[:, 2::4, 2::4]
    apart = jnp.abs(found - worn).mean(-1)
    errors.append(float(apart[there].mean()))
  assert errors[1] < 1.15 * errors[0] < 0.9 * errors[2]


def test_twice_is_once(batch):
  back = mirror(mirror(batch))
  for name, value in batch.items():
    if name != 'flow':
      np.testing.assert_allclose(back[name], value, rtol=0, atol=1e-4)
  flow, known = flow_levels.decode(back['flow'])
  before, _ = flow_levels.decode(jnp.asarray(batch['flow']))
  # Twice between two pixels.
  apart = np.abs(np.asarray(flow - before))[np.asarray(known)]
  assert np.median(apart) < 2e-3


def test_left_is_the_persons_left(prepared, batch):
  raw, _ = prepared
  pair = open_layout('viton', raw).load(0)
  labels = pair.parse[:, ::-1].copy()
  for left, right in ((14, 15), (16, 17), (18, 19)):
    labels[pair.parse[:, ::-1] == left] = right
    labels[pair.parse[:, ::-1] == right] = left
  joints = pair.keypoints[
    [0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16]
  ].copy()
  seen = joints[:, 2] > 0
  joints[seen, 0] = pair.parse.shape[1] - 1 - joints[seen, 0]
  drawn = dataclasses.replace(
    pair,
    person=np.ascontiguousarray(pair.person[:, ::-1]),
    garment=np.ascontiguousarray(pair.garment[:, ::-1]),
    parse=labels,
    keypoints=joints,
  )
  one, other = (
    sample.working_example(x, height=_SIZE[0], width=_SIZE[1], fidelity='fixed')
    for x in (pair, drawn)
  )
  found = mirror(
    {k: v[None] for k, v in one.items() if isinstance(v, np.ndarray)}
  )
  for name in ('person', 'garment', 'head_mask', 'body'):
    # Another order of the same sums.
    apart = np.abs(np.float32(found[name][0]) - np.float32(other[name]))
    assert apart.max() <= 1
  # Where two labels meet in a pixel either is right.
  for name in ('parse', 'garment_mask'):
    assert (found[name][0] != other[name]).mean() < 0.02
  # W - 1 - x, scaled, is not quite w - 1 - the scaled x.
  scale = _SIZE[1] / pair.parse.shape[1]
  expected = other['keypoints'].copy()
  expected[seen, 0] += scale - 1
  np.testing.assert_allclose(found['keypoints'][0], expected, atol=1e-3)


def test_every_other_pair_however_the_batch_is_split(batch):
  many = {k: np.concatenate([v] * 8) for k, v in batch.items()}
  key = jax.random.key(3)
  whole = mirror_some(many, key)
  turned = mirror(many)
  is_turned = np.array(
    [np.array_equal(whole['person'][i], turned['person'][i]) for i in range(32)]
  )
  assert 6 < is_turned.sum() < 26
  for i in np.flatnonzero(~is_turned):
    np.testing.assert_array_equal(whole['flow'][i], many['flow'][i])
  parts = [
    mirror_some({k: v[s : s + 8] for k, v in many.items()}, key, s)
    for s in range(0, 32, 8)
  ]
  for name, value in whole.items():
    np.testing.assert_array_equal(
      value, np.concatenate([part[name] for part in parts])
    )
  # As devices split it.
  split = jax.pmap(lambda x: mirror_some(x, key, axis_name='i'), axis_name='i')(
    {k: v.reshape(8, 4, *v.shape[1:]) for k, v in many.items()}
  )
  np.testing.assert_array_equal(
    whole['person'], np.concatenate(split['person'])
  )


def test_the_original_has_no_mirror_image(prepared):
  info = batches.read_info(prepared[1], fmt='packed')
  config = stage1.get_config()
  with config.unlocked():
    config.data.mirror = True
    config.fidelity = 'original'
  info = dataclasses.replace(info, fidelity='original')
  with pytest.raises(InputError, match='config.data.mirror: True, but'):
    training_config.check(config, info)
