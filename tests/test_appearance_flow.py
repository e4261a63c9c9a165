"""The network that corrects the warp: from records to the try-on."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_sets import make_example
from train_jobs import assert_same_gradients

from configs import stage1, stage3
from input_pipeline import batches, prepare, sample
from input_pipeline.layouts import open_layout
from input_pipeline.synthetic.dataset import write_dataset
from viton_jax import checkpoints, flow_levels, geometry, losses, networks
from viton_jax.errors import InputError
from viton_jax.evaluation import measuring, pairing, reading
from viton_jax.job_folders import corrections
from viton_jax.models import AppearanceFlow, EncoderDecoder
from viton_jax.representation import (
  GARMENT_PART,
  NUM_PARTS,
  SKIN_PART,
  to_norm,
)
from viton_jax.runtime import parallel
from viton_jax.training import config as training_config
from viton_jax.training import steps, train_state
from viton_jax.training.flow_stage import Stage3
from viton_jax.training.loop import train_and_evaluate

_SIZE = 64
_GRID = np.stack(np.meshgrid(*[np.linspace(-1, 1, 10)] * 2), -1).reshape(100, 2)


# --------------------------------------------------------------------- data
@pytest.fixture(scope='module')
def raw(tmp_path_factory):
  """Three drawn people in each other's garments."""
  folder = tmp_path_factory.mktemp('exchanged')
  write_dataset(folder, 3, exchange=True, seed=5, height=256, workers=1)
  return folder


@pytest.mark.parametrize('fmt', ['records', 'packed'])
def test_the_true_flow_comes_with_the_examples(raw, tmp_path, fmt):
  assert not prepare.prepare(
    'viton',
    raw,
    out_dir=tmp_path,
    height=128,
    width=64,
    validation_fraction=0,
    workers=0,
    fmt=fmt,
  )
  assert batches.read_info(tmp_path, fmt=fmt).exchanged
  (batch,) = batches.eval_batches(
    tmp_path, split='train', batch_size=6, fmt=fmt
  )
  assert batch['flow'].dtype == np.uint16
  assert batch['flow'].shape == (6, 32, 16, 3)
  layout = open_layout('viton', raw)
  # Of their own garments it is not known, and the photo would tell the truth.
  for name in sample.EXCHANGE_FIELDS:
    assert not batch[name][:3].any(), name
  for i in range(3, 6):
    pair = layout.load(i)
    seen = sample.working_example(pair, height=128, width=64, fidelity='fixed')
    np.testing.assert_array_equal(batch['photo_parse'][i], seen['parse'])
    apart = np.abs(batch['photo'][i].astype(float) - seen['person'])
    assert apart.mean() < 3  # JPEG's, in records.
    # It is not the true image, which another garment is in.
    assert (
      np.abs(batch['photo'][i].astype(float) - batch['person'][i]).mean() > 5
    )
    flow = sample.working_flow(
      layout.true_flow(i), pair.garment.shape[:2], size=(128, 64)
    )[2::4, 2::4]
    known = np.isfinite(flow).all(-1)
    assert 0.05 < known.mean() < 0.5
    np.testing.assert_array_equal(batch['flow'][i, ..., 2] > 0, known)
    there = batch['flow'][i, ..., :2] / 65535 * 2 - 1
    np.testing.assert_allclose(there[known], flow[known], atol=2e-5)


def test_the_flow_leads_from_the_true_picture_to_the_garment(raw):
  """Colours at both ends are the same, but for the light."""
  layout = open_layout('viton', raw)
  pair = layout.load(3)
  flow = sample.working_flow(
    layout.true_flow(3), pair.garment.shape[:2], size=(256, 192)
  )
  known = np.isfinite(flow).all(-1)
  laid = geometry.sample_bilinear(
    jnp.asarray(pair.garment, jnp.float32)[None],
    jnp.asarray(np.where(known[..., None], flow, 0), jnp.float32)[None],
  )
  here = np.asarray(laid)[0][known]
  apart = np.abs(here - pair.truth[known]).mean()
  shuffled = np.random.default_rng(0).permutation(here)
  assert apart < 25
  assert apart < 0.9 * np.abs(shuffled - pair.truth[known]).mean()


def test_flows_as_whole_numbers():
  flow = np.random.default_rng(0).uniform(-1, 1, (7, 5, 2)).astype(np.float32)
  flow[0] = [[-1, 1]]
  flow[1, :2] = np.nan
  flow[2, 0, 1] = np.nan  # Half of it is nothing.
  levels = flow_levels.encode(flow)
  known = np.isfinite(flow).all(-1)
  np.testing.assert_array_equal(levels[0], [[0, 65535, 65535]] * 5)
  assert not levels[~known].any()
  for like in (np.asarray, jnp.asarray):
    back, there = flow_levels.decode(like(levels))
    np.testing.assert_array_equal(there, known)
    # Half a level.
    np.testing.assert_allclose(
      np.asarray(back)[known], flow[known], rtol=0, atol=1.6e-5
    )


# ------------------------------------------------------------------- network
def test_it_begins_with_the_spline_alone():
  model = AppearanceFlow(features=4)
  inputs = jax.random.normal(jax.random.key(1), (2, 64, 32, 38))
  photo = jax.random.uniform(jax.random.key(2), (2, 64, 32, 7))
  variables = jax.jit(model.init)(jax.random.key(0), inputs, photo)
  run = jax.jit(model.apply)
  correction, parts, light = run(variables, inputs, photo)
  assert correction.shape == (2, 32, 16, 2) and not correction.any()
  assert light.shape == (2, 32, 16, 2) and not light.any()
  assert parts.shape == (2, 64, 32, 5) and parts.std() > 0
  # Who never saw a photo in training makes nothing of one.
  np.testing.assert_array_equal(parts, run(variables, inputs, 0 * photo)[1])
  assert {x.dtype for x in jax.tree.leaves(variables)} == {np.dtype('float32')}


def test_a_correction_moves_the_warp():
  garment = jnp.asarray(np.random.default_rng(0).random((1, 33, 17, 3)))
  points = jnp.asarray(_GRID[None], jnp.float32)
  plain = geometry.warp_tps(garment.astype(jnp.float32), points)
  # Two pixels to the right of 17, four further down of 33.
  correction = jnp.broadcast_to(jnp.asarray([4 / 16, 8 / 32]), (1, 8, 4, 2))
  moved = geometry.warp_tps(
    garment.astype(jnp.float32), points, correction=correction
  )
  np.testing.assert_allclose(
    moved[:, :-4, :-2], plain[:, 4:, 2:], rtol=0, atol=1e-5
  )


# ---------------------------------------------------------------------- loss
def test_terms_of_the_loss():
  h, w = 64, 32
  grid = geometry.sampling_grid(jnp.asarray(_GRID[None], jnp.float32), (h, w))
  known = np.zeros((h, w, 1), bool)
  known[10:40, 5:25] = True
  true = np.where(known, np.asarray(grid[0]), np.nan)
  flow = flow_levels.encode(true[2::4, 2::4])[None]
  # Three pixels right and four down of the truth are five.
  off = grid + jnp.asarray([[[[6 / (w - 1), 8 / (h - 1)]]]])
  region = jnp.asarray(known, jnp.float32)[None]
  # Above the garment there is skin, which the old garment hid in part.
  parts = np.where(known[..., 0], GARMENT_PART, 0).astype(np.uint8)
  parts[:10] = SKIN_PART
  right_parts = 40 * jax.nn.one_hot(parts[None], NUM_PARTS) - 20
  before = np.zeros((1, h, w), bool)
  before[:, 4:] = True
  images = jnp.zeros((1, h, w, 3))
  correction = (
    jnp.zeros((1, h // 4, w // 4, 2)).at[:, :, 4:, 0].set(2 / (w - 1))
  )
  dark = jnp.full((1, h // 4, w // 4, 2), np.log(0.5))

  def terms(positions, logits, laid=images, light=0 * dark, **weights):
    return losses.stage3_loss(
      {'correction': correction, 'parts': logits, 'light': light},
      positions,
      laid,
      covered=region,
      parts=jnp.asarray(parts)[None],
      image_norm=images,
      skin=0.5 * (laid + 1),
      garment_before=jnp.asarray(before),
      flow=jnp.asarray(flow),
      weights=losses.Stage3Weights(**weights),
    )

  total, right = terms(grid, right_parts)
  assert right['flow'] < 0.02 and right['parts'] < 1e-6
  # A step of a pixel bends twice in each of 16 rows of 6, in x alone.
  np.testing.assert_allclose(right['smooth'], 2 / (6 * 2), rtol=1e-5)
  weights = losses.Stage3Weights()
  np.testing.assert_allclose(
    total,
    sum(getattr(weights, name) * value for name, value in right.items()),
    rtol=1e-6,
  )
  count = int((flow[..., 2] > 0).sum())
  _, wrong = terms(off, 0 * right_parts)
  np.testing.assert_allclose(wrong['flow'], 5 * count / (count + 1), rtol=1e-3)
  np.testing.assert_allclose(wrong['parts'], np.log(NUM_PARTS), rtol=1e-4)
  _, dull = terms(grid, right_parts, images + 0.5, warped=1.0)
  np.testing.assert_allclose(dull['warped'], 0.5, rtol=1e-2)
  # Half as light as in its own photo, and a pattern a pixel beside its place.
  _, lit = terms(grid, right_parts, images + 1, dark)
  np.testing.assert_allclose([lit['light'], lit['skin']], 0, atol=1e-6)
  _, unlit = terms(grid, right_parts, images + 1)
  # Along the border half of the difference lies outside.
  assert 0.4 < unlit['light'] < 0.5 and 0.3 < unlit['skin'] < 0.5
  # Each has a light of its own, and what stays is not asked.
  _, one = terms(grid, right_parts, images + 1, dark.at[..., 1].set(0.0))
  assert one['light'] < 1e-6 and one['skin'] == unlit['skin']
  before[:] = False
  assert terms(grid, right_parts, images + 1)[1]['skin'] == 0
  stripes = jnp.asarray(np.arange(w) % 2 * 2.0 - 1.0)[None, None, :, None]
  _, beside = terms(grid, right_parts, images + stripes)
  assert beside['light'] < 0.1


# ------------------------------------------------------------------- training
def _batch(count):
  examples = [make_example(i) for i in range(count)]
  batch = {
    name: np.stack([x[name] for x in examples])
    for name, value in examples[0].items()
    if isinstance(value, np.ndarray)
  }
  rng = np.random.default_rng(0)
  batch['keypoints'] *= _SIZE
  batch['control_points'] = np.float32(
    _GRID + rng.normal(0, 0.03, (count, 100, 2))
  )
  batch['flow'] = rng.integers(0, 65536, (count, 16, 16, 3), np.uint16)
  return batch


def _stage(axis_name=None, **weights):
  return Stage3(
    AppearanceFlow(features=4),
    EncoderDecoder(features=4, axis_name=axis_name),
    losses.Stage3Weights(**weights),
  )


@pytest.fixture(scope='module')
def frozen():
  model = EncoderDecoder(features=4)
  return {
    'coarse': jax.jit(model.init)(
      jax.random.key(1), jnp.zeros((1, _SIZE, _SIZE, 25))
    )
  }


@pytest.mark.slow
def test_eight_devices_equal_one(frozen):
  start = train_state.create(
    AppearanceFlow(features=4), jax.random.key(0), size=(_SIZE, _SIZE)
  )
  batch = _batch(8)
  step = functools.partial(
    steps.train_step, stage=_stage(warped=1.0), mirror=True
  )
  one, of_one = jax.jit(step)(start, frozen, batch)
  on_eight = functools.partial(
    steps.train_step,
    stage=_stage(parallel.AXIS, warped=1.0),
    axis_name=parallel.AXIS,
    mirror=True,
  )
  eight, of_eight = parallel.train(on_eight)(
    parallel.replicate(start), parallel.replicate(frozen), parallel.shard(batch)
  )
  assert set(of_one) >= {'loss', 'flow', 'parts', 'smooth', 'warped'}
  for name in of_one:
    np.testing.assert_allclose(of_eight[name][0], of_one[name][0], rtol=1e-4)
  assert_same_gradients(one.opt_state[0].mu, eight.opt_state[0].mu)


@pytest.mark.slow
def test_training_finds_a_shift(frozen):
  """All flows lie six pixels beside the spline: soon they do not."""
  batch = _batch(4)
  batch['control_points'] = np.tile(np.float32(_GRID), (4, 1, 1))
  grid = np.asarray(
    geometry.sampling_grid(jnp.asarray(batch['control_points']), (64, 64))
  )
  true = np.clip(grid + [6 * 2 / 63, 0], -1, 1)
  batch['flow'] = np.stack([flow_levels.encode(x[2::4, 2::4]) for x in true])
  state = train_state.create(
    AppearanceFlow(features=4),
    jax.random.key(0),
    size=(64, 64),
    optimizer=train_state.adam(2e-3),
  )
  step = jax.jit(functools.partial(steps.train_step, stage=_stage()))
  first = None
  for _ in range(60):
    state, metrics = step(state, frozen, batch)
    flow = float(metrics['flow'][0] / metrics['flow'][1])
    first = first or flow
  assert first > 4 and flow < 0.5 * first


@pytest.mark.slow
def test_the_command_trains_and_its_workdir_is_read(raw, tmp_path, capsys):
  data = tmp_path / 'packed'
  prepare.prepare(
    'viton',
    raw,
    out_dir=data,
    height=64,
    width=64,
    validation_fraction=0.4,
    workers=0,
    fmt='packed',
  )
  coarse = stage1.get_config('smoke')
  config = stage3.get_config('smoke')
  for one in (coarse, config):
    one.unlock()
    one.data.dir, one.data.format = str(data), 'packed'
    one.features, one.num_steps, one.batch_size = 4, 2, 8
    one.schedule = 'constant'  # Optax's cosine mixes types.
  train_and_evaluate(coarse, tmp_path / 'stage1')
  config.coarse_checkpoint = str(tmp_path / 'stage1')
  config.match_prediction = False  # Takes minutes to compile for 8 devices.
  states = []
  for cache in ('none', 'device'):
    config.data.cache = cache
    folder = tmp_path / ('stage3' if cache == 'none' else cache)
    states.append(train_and_evaluate(config, folder))
  assert 'stage 3: appearance_flow, 4 features' in capsys.readouterr().out
  for a, b in zip(*(jax.tree.leaves(x.params) for x in states), strict=True):
    np.testing.assert_array_equal(a, b)
  assert list((tmp_path / 'stage3' / 'samples').iterdir())

  # It is the third network of a folder that has the others.
  assert checkpoints.contents(tmp_path)['appearance_flow'].name == 'stage3'
  with pytest.raises(InputError, match='holds no refinement'):
    checkpoints.read_pair(tmp_path / 'stage1')
  found = checkpoints.read(tmp_path / 'stage3', 'appearance_flow')
  for a, b in zip(
    *(
      jax.tree.leaves(x) for x in (found.variables['params'], states[0].params)
    ),
    strict=True,
  ):
    np.testing.assert_array_equal(a, b)


def test_data_that_stage_3_cannot_learn_from_are_refused(packed, tmp_path):
  config = stage3.get_config('smoke')
  config.unlock()
  config.data.dir, config.data.format = str(packed), 'packed'
  config.coarse_checkpoint = str(checkpoints.OWN)
  with pytest.raises(InputError, match='config.loss.flow: 1.0, but .* has no'):
    train_and_evaluate(config, tmp_path / 'workdir')
  info = batches.read_info(packed, fmt='packed')
  config.data.format = 'original_records'
  with pytest.raises(InputError, match='prepare them with'):
    training_config.check(config, info)


# ---------------------------------------------------------------------- try-on
@pytest.fixture(scope='module')
def trio():
  """The networks that come along, and a flow network of random numbers."""
  first, second = checkpoints.read_pair(None)
  second = dataclasses.replace(second, flow=None)
  model = AppearanceFlow(features=4)
  params = jax.jit(model.init)(
    jax.random.key(0), *(jnp.zeros((1, 128, 96, c)) for c in (38, 7))
  )['params']
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda x: np.float32(x + rng.normal(0, 0.05, x.shape)), params
  )
  flow = dataclasses.replace(
    second,
    network='appearance_flow',
    features=4,
    variables={'params': params},
  )
  return first, dataclasses.replace(second, flow=flow)


def test_the_try_on_is_of_the_corrected_warp(trio, raw):
  first, second = trio
  pair = open_layout('viton', raw).load(3)
  example = sample.working_example(
    pair, height=256, width=192, fidelity='fixed'
  )
  batch = {
    name: value[None]
    for name, value in example.items()
    if isinstance(value, np.ndarray)
  }
  whole = networks.pure_whole(
    first, second, dtype='float32', composing='changes'
  )
  made = jax.jit(whole)((first.variables, second.all_variables), batch)
  assert made['correction'].shape == (1, 64, 48, 2)
  assert np.abs(made['correction']).max() > 0.01
  np.testing.assert_allclose(
    made['warped'],
    geometry.warp_tps(
      to_norm(batch['garment']),
      made['control_points'],
      correction=made['correction'],
    ),
    atol=1e-4,
  )
  # Training sees the same, and not the control points of the data.
  stage = Stage3(
    AppearanceFlow(features=4),
    EncoderDecoder(features=first.features),
    match_prediction=True,
  )
  data = batch | {
    'control_points': np.full((1, 100, 2), np.nan, np.float32),
    'photo': batch['person'],
    'photo_parse': batch['parse'],
  }
  seen = jax.jit(stage.images)(
    second.flow.variables, {'coarse': first.variables}, data
  )
  for name, there in (('warped', 'warped'), ('region', 'mask')):
    # Another program may choose other nearest points.
    assert np.abs(seen[name] - made[there]).mean() < 1e-3
  # And none of the photo where that is the truth.
  del data['photo'], data['photo_parse']
  blind = jax.jit(stage.images)(
    second.flow.variables, {'coarse': first.variables}, data
  )
  assert np.abs(blind['region'] - seen['region']).mean() > 5e-3
  # A garment that cannot be matched lies where the data say.
  data = batch | {
    'garment_mask': np.zeros_like(batch['garment_mask']),
    'control_points': np.float32(_GRID)[None],
  }
  seen = jax.jit(stage.images)(
    second.flow.variables, {'coarse': first.variables}, data
  )
  np.testing.assert_allclose(
    seen['spline'], to_norm(batch['garment']), rtol=0, atol=1e-4
  )
  # The light is, too.
  np.testing.assert_allclose(
    made['shading'],
    np.exp(
      jax.image.resize(made['light'][..., :1], (1, 256, 192, 1), 'bilinear')
    ).clip(0.3, 1.9),
    rtol=1e-4,
  )
  # The mask is the flow network's region, not the encoder-decoder's.
  coarse, _ = networks.pure_steps(
    first, second, dtype='float32', composing='changes'
  )
  before = jax.jit(coarse)(first.variables, batch)['mask']
  assert np.abs(made['mask'] - before).max() > 0.1
  # Without it, the warp is the spline's.
  alone = networks.pure_whole(
    first,
    dataclasses.replace(second, flow=None),
    dtype='float32',
    composing='changes',
  )
  plain = jax.jit(alone)((first.variables, second.variables), batch)
  assert not plain['correction'].any()
  np.testing.assert_allclose(
    plain['mask'], np.clip(before, 0, 1), rtol=0, atol=1e-4
  )


def test_corrections_as_files():
  values = np.random.default_rng(0).normal(0, 0.3, (8, 6, 2)).astype(np.float32)
  back = corrections.decode(corrections.encode(values), 'x.png')
  np.testing.assert_allclose(back, values.clip(-1, 1), atol=2e-5)
  assert not corrections.decode(corrections.encode(0 * values), 'x.png').any()


def test_evaluation_measures_the_corrected_warp(tmp_path):
  """From the file of a step to the end-point error."""
  size = 64, 48
  correction = np.zeros((1, 16, 12, 2), np.float32)
  correction[..., 0] = 4 * 2 / 47  # Four pixels to the right.
  results = pairing.Results(
    tmp_path, {}, {}, {'output': 'png', 'folders': 1, 'step_format': 'webp'}
  )
  path = tmp_path / 'steps' / 'a_b_correction.png'
  path.parent.mkdir()
  grid = geometry.sampling_grid(jnp.asarray(_GRID[None], jnp.float32), size)
  part = {
    'control_points': jnp.asarray(_GRID[None], jnp.float32),
    'true_flow': grid + jnp.asarray(correction[:, :1, :1]),
  }
  errors = {}
  for name in ('spline', 'corrected'):
    if name == 'corrected':
      path.write_bytes(corrections.encode(correction[0]))
    read = reading._correction(results, 'a_b', size)[None]
    found = measuring._warp_errors({**part, 'correction': read}, size)
    errors[name] = float(found['epe_mean'][0])
  np.testing.assert_allclose(errors['spline'], 4, rtol=1e-4)
  assert errors['corrected'] < 0.01
