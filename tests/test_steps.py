"""Training steps against the released code's, and one device against eight."""

import functools

import jax
import jax.numpy as jnp
import network_goldens as goldens
import numpy as np
import pytest
from train_jobs import assert_same_gradients

from viton_jax import losses, predictions, representation
from viton_jax.models import EncoderDecoder, PatchDiscriminator, Refinement
from viton_jax.runtime import parallel
from viton_jax.training import stages, steps, train_state
from viton_jax.training.stages import Stage1, Stage2

_SIZE = 64


def means(metrics, names):
  return [float(metrics[name][0] / metrics[name][1]) for name in names]


@pytest.fixture
def golden_inputs(monkeypatch):
  """The goldens' inputs were not made from keypoints, so they are given."""
  for module in ('viton_jax.predictions', 'viton_jax.training.stages'):
    monkeypatch.setattr(
      f'{module}.network_inputs', lambda batch, *, fidelity: batch['inputs']
    )


@pytest.mark.slow
def test_five_steps_of_stage_1_equal_the_released_code(golden_inputs):
  theirs = goldens.arrays('stage1_ngf8_seed0')
  state = train_state.from_variables(goldens.networks()['encoder_decoder'])
  stage = Stage1(goldens.MODEL, fidelity='original')
  step = jax.jit(functools.partial(steps.train_step, stage=stage))
  rows = []
  for i in range(5):
    state, metrics = step(state, {'vgg': goldens.vgg()}, goldens.batch())
    rows.append(means(metrics, ('loss', 'mask', 'image', 'perceptual')))
    if i == 0:
      # Adam's first moment is now half the gradient.
      moment = state.opt_state[0].mu
      norms = 2 * goldens.norms(theirs['grad_names'], moment, 'encoder_decoder')
      np.testing.assert_allclose(norms, theirs['grad_norms'], rtol=1e-3)
      np.testing.assert_allclose(
        metrics['gradient_norm'][0], np.linalg.norm(norms), rtol=1e-5
      )
      first = np.ravel(moment['decoder_1']['kernel'])[:8] * 2
      np.testing.assert_allclose(first, theirs['grad_first8'][-1], rtol=1e-3)
  np.testing.assert_allclose(rows, theirs['train_losses'], rtol=0, atol=2e-4)
  # The trajectory goes down by far more than that tolerance.
  assert rows[0][0] - rows[-1][0] > 0.03
  assert int(state.step) == 5

  stats = state.batch_stats
  for layer, variable, name in (
    ('encoder_2', 'mean', 'Variable_2'),
    ('encoder_2', 'var', 'Variable_3'),
    ('decoder_2', 'mean', 'Variable_2'),
  ):
    np.testing.assert_allclose(
      stats[f'{layer}_norm'][variable],
      theirs[f'after5:generator/{layer}/batchnorm/{name}'],
      rtol=0,
      atol=2e-6,
    )


@pytest.mark.slow
@pytest.mark.parametrize('quirk', [False, True])
def test_five_steps_of_stage_2_equal_the_released_code(
  golden_inputs, monkeypatch, quirk
):
  theirs = goldens.arrays('stage2_ngf8_seed0')
  prefix = 'train' if quirk else 'frozen'
  networks = goldens.networks()
  batch = goldens.batch()
  own = predictions.warp_garment(batch, jnp.asarray(batch['control_points']))
  given = theirs['infer_stn_image_outputs']
  # The original inverts the spline's matrix in float32; ours is exact.
  difference = np.abs(own - given)
  assert difference.mean() < 1e-4 and difference.max() < 1e-2

  monkeypatch.setattr(
    stages, 'warp_garment', lambda batch, control_points: batch['warped']
  )
  stage = Stage2(
    Refinement(), goldens.MODEL, fidelity='original', coarse_train_mode=quirk
  )
  step = jax.jit(functools.partial(steps.train_step, stage=stage))
  frozen = {'coarse': networks['encoder_decoder'], 'vgg': goldens.vgg()}
  runs = [(given, 5, 1e-4)] + [(own, 1, 3e-3)] * (not quirk)
  for warped, num_steps, rtol in runs:
    state = train_state.from_variables(networks['refinement'])
    rows = []
    for i in range(num_steps):
      state, metrics = step(state, frozen, batch | {'warped': warped})
      rows.append(
        means(metrics, ('loss', 'image', 'perceptual', 'alpha', 'tv'))
      )
      if i == 0:
        norms = 2 * goldens.norms(
          theirs[f'{prefix}_grad_names'], state.opt_state[0].mu, 'refinement'
        )
        np.testing.assert_allclose(
          norms, theirs[f'{prefix}_grad_norms'], rtol=rtol
        )
    rows, expected = np.array(rows), theirs[f'{prefix}_losses'][:num_steps]
    np.testing.assert_allclose(rows[:, :4], expected[:, :4], rtol=0, atol=2e-4)
    np.testing.assert_allclose(rows[:, 4], expected[:, 4], rtol=2e-4)


def test_prediction_equals_the_released_code(golden_inputs):
  theirs = goldens.arrays('stage2_ngf8_seed0')
  networks, batch = goldens.networks(), goldens.batch()

  @jax.jit
  def predict(networks, batch):
    _, coarse = predictions.predict_coarse(
      networks['encoder_decoder'],
      batch,
      model=goldens.MODEL,
      fidelity='original',
    )
    return coarse, predictions.predict_refined(
      networks['refinement'],
      batch,
      batch['control_points'],
      representation.garment_region(batch),
      coarse,
      model=Refinement(),
      fidelity='original',
    )

  coarse, refined = predict(networks, batch)
  np.testing.assert_allclose(
    coarse[:, ::4, ::4],
    theirs['infer_gen_image_outputs_every4'],
    rtol=0,
    atol=1e-6,
  )
  for name, golden in (
    ('warped', theirs['infer_stn_image_outputs'][:, ::4, ::4]),
    ('alpha', theirs['infer_select_mask_every4']),
    ('output', theirs['infer_image_outputs_every4']),
  ):
    difference = np.abs(refined[name][:, ::4, ::4] - golden)
    assert difference.mean() < 1e-4 and difference.max() < 1e-2, name


def random_batch(size, seed=0):
  rng = np.random.default_rng(seed)
  pixels = (size, _SIZE, _SIZE)
  side = np.linspace(-1, 1, 10)
  grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(100, 2)
  noise = rng.normal(0, 0.03, (size, 100, 2))
  return {
    'person': rng.integers(0, 256, (*pixels, 3), np.uint8),
    'garment': rng.integers(0, 256, (*pixels, 3), np.uint8),
    'head_mask': rng.integers(0, 256, pixels, np.uint8),
    'parse': rng.integers(0, 20, pixels, np.uint8) // 4,
    'body': rng.random((size, 4, 4), np.float32),
    'keypoints': rng.uniform(0, _SIZE, (size, 18, 3)).astype(np.float32),
    'control_points': (grid + noise).astype(np.float32),
  }


def make_step(stage, **options):
  return functools.partial(steps.train_step, stage=stage, **options)


def three_steps_each_way(make_stage, state, frozen):
  """Compares three steps on eight devices with the same on one.

  Each starts from the same state, so that its gradients can be compared.

  Returns:
    The last states and their metrics, of eight devices and of one.
  """
  batches = [random_batch(8, seed) for seed in range(3)]
  on_eight = parallel.train(
    make_step(make_stage(parallel.AXIS), axis_name=parallel.AXIS)
  )
  on_one = jax.jit(make_step(make_stage(None)))
  one, on_devices = state, parallel.replicate(frozen)
  for batch in batches:
    eight, metrics_of_eight = on_eight(
      parallel.replicate(one), on_devices, parallel.shard(batch)
    )
    one, metrics_of_one = on_one(one, frozen, batch)
    assert_same_gradients(one.opt_state[0].mu, eight.opt_state[0].mu)
    assert_near(eight.batch_stats, one.batch_stats, atol=1e-6)
  return (eight, metrics_of_eight), (one, metrics_of_one)


def assert_near(a, b, *, atol):
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=atol), a, b
  )


@pytest.mark.slow
def test_stage_1_on_eight_devices_equals_one():
  def make_stage(axis_name):
    return Stage1(
      EncoderDecoder(features=8, axis_name=axis_name),
      losses.Stage1Weights(perceptual=0.0),
    )

  start = train_state.create(
    EncoderDecoder(features=8), jax.random.key(0), size=(_SIZE, _SIZE)
  )
  eight, one = three_steps_each_way(make_stage, start, {})
  np.testing.assert_allclose(
    means(eight[1], ('loss', 'mask', 'image')),
    means(one[1], ('loss', 'mask', 'image')),
    rtol=1e-5,
  )
  assert eight[1]['loss'][1] == 8  # The count is the global batch's.
  moved = jax.tree.map(
    lambda a, b: np.abs(a - b).max(), one[0].params, start.params
  )
  assert min(jax.tree.leaves(moved)) > 5e-5


@pytest.mark.slow
def test_stage_2_on_eight_devices_equals_one():
  coarse = EncoderDecoder(features=8)
  coarse_variables = jax.jit(coarse.init)(
    jax.random.key(1), jnp.zeros((1, _SIZE, _SIZE, 25))
  )

  def make_stage(axis_name):
    del axis_name  # Nothing in it joins examples.
    return Stage2(
      Refinement(features=8), coarse, weights, critic=PatchDiscriminator(4)
    )

  weights = losses.Stage2Weights(
    perceptual=0.0, adversarial=0.1, feature_matching=1.0, kept=0.5
  )
  start = train_state.create(
    Refinement(features=8),
    jax.random.key(0),
    size=(_SIZE, _SIZE),
    critic=PatchDiscriminator(4),
  )
  eight, one = three_steps_each_way(
    make_stage, start, {'coarse': coarse_variables}
  )
  assert eight[0].batch_stats == {}
  np.testing.assert_allclose(
    means(eight[1], ('loss', 'alpha', 'tv', 'adversarial', 'critic')),
    means(one[1], ('loss', 'alpha', 'tv', 'adversarial', 'critic')),
    rtol=1e-4,
  )
  assert_same_gradients(
    one[0].critic['opt_state'][0].mu, eight[0].critic['opt_state'][0].mu
  )


def test_bfloat16_computes_with_float32_parameters():
  """Types alone, under strict promotion: nothing is compiled."""
  bfloat16 = jnp.bfloat16
  coarse = EncoderDecoder(features=8, dtype=bfloat16)
  refinement = Refinement(features=8, dtype=bfloat16)
  first, second = (
    train_state.create(model, jax.random.key(0), size=(_SIZE, _SIZE))
    for model in (coarse, refinement)
  )
  batch = random_batch(2)
  one = Stage1(coarse)
  two = Stage2(refinement, coarse, coarse_train_mode=True)
  frozen = {'coarse': first.variables, 'vgg': goldens.vgg()}
  for stage, state in ((one, first), (two, second)):
    program, (after, metrics) = jax.make_jaxpr(
      make_step(stage), return_shape=True
    )(state, frozen, batch)
    assert 'bf16' in str(program)
    types = [x.dtype for x in jax.tree.leaves((after.params, metrics))]
    assert set(types) == {jnp.dtype('float32')}
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)


def test_evaluation_leaves_padding_out():
  model = EncoderDecoder(features=8)
  state = train_state.create(model, jax.random.key(0), size=(_SIZE, _SIZE))
  refine = train_state.create(
    Refinement(features=8), jax.random.key(0), size=(_SIZE, _SIZE)
  )

  one = Stage1(model, losses.Stage1Weights(perceptual=0.0))
  two = Stage2(
    Refinement(features=8), model, losses.Stage2Weights(perceptual=0.0)
  )

  @jax.jit
  def both(state, refine, batch):
    return (
      steps.eval_step(state, {}, batch, stage=one),
      steps.eval_step(refine, {'coarse': state.variables}, batch, stage=two),
    )

  batch = random_batch(4)
  valid = np.array([True, True, True, False])
  changed = {k: v.copy() for k, v in batch.items()}
  changed['person'][3] = 0
  padded = both(state, refine, batch | {'valid': valid})
  assert_near(padded, both(state, refine, changed | {'valid': valid}), atol=0)
  full = both(state, refine, batch | {'valid': np.ones(4, bool)})
  other = both(state, refine, changed | {'valid': np.ones(4, bool)})
  for stage in (0, 1):
    assert padded[stage]['loss'][1] == 3 and full[stage]['loss'][1] == 4
    assert full[stage]['image'][0] != other[stage]['image'][0]


def test_fixed_composes_with_the_predicted_mask_within_bounds():
  shape = (1, _SIZE, _SIZE, 1)
  mask = jnp.linspace(-1.0, 2.0, _SIZE * _SIZE).reshape(shape)
  batch = random_batch(1)
  model = Refinement(features=8)
  refine = train_state.create(model, jax.random.key(0), size=(_SIZE, _SIZE))
  coarse = representation.to_norm(jnp.asarray(batch['person']))

  @functools.partial(jax.jit, static_argnums=0)
  def alpha(fidelity, mask):
    return predictions.predict_refined(
      refine.variables,
      batch,
      jnp.asarray(batch['control_points']),
      mask,
      coarse,
      model=model,
      fidelity=fidelity,
    )['alpha']

  plain = alpha('fixed', jnp.ones(shape))
  np.testing.assert_allclose(
    alpha('fixed', mask), plain * mask.clip(0, 1), atol=1e-6
  )
  np.testing.assert_allclose(alpha('original', mask), plain * mask, atol=1e-6)


def test_adam_follows_tensorflow_1():
  """Two steps by hand, with gradients near eps, where the forms differ."""
  lr, eps = 0.1, 1e-8
  grads = [np.float64([1e-8, 1.0, -3e-7]), np.float64([2e-8, -2.0, 1e-7])]
  m = v = np.zeros(3)
  expected = np.zeros(3)
  for t, g in enumerate(grads, start=1):
    m, v = 0.5 * m + 0.5 * g, 0.999 * v + 0.001 * g**2
    rate = lr * np.sqrt(1 - 0.999**t) / (1 - 0.5**t)
    expected -= rate * m / (np.sqrt(v) + eps)

  state = train_state.from_variables(
    {'params': {'w': np.zeros(3, np.float32)}},
    optimizer=train_state.adam(lambda step: lr),
  )
  for g in grads:
    grads = {'network': {'w': jnp.asarray(g, jnp.float32)}, 'critic': {}}
    state = state.apply_gradients(grads, {})
  np.testing.assert_allclose(state.params['w'], expected, rtol=1e-4)
