"""What changes how a step computes: micro-batches, remat, types, averages."""

import functools

import jax
import jax.numpy as jnp
import network_goldens as goldens
import numpy as np
import pytest
from test_steps import make_step, random_batch
from train_jobs import assert_same_gradients

from viton_jax import losses
from viton_jax.models import EncoderDecoder, Refinement
from viton_jax.models.normalization import BatchNorm
from viton_jax.representation import garment_region, network_inputs, to_norm
from viton_jax.runtime import parallel
from viton_jax.training import steps, train_state
from viton_jax.training.stages import Stage1, Stage2

pytestmark = pytest.mark.slow

SIZE = (64, 64)
NO_VGG = losses.Stage1Weights(perceptual=0.0)


def near(a, b, *, atol):
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=atol), a, b
  )


def stage1(features=4, **options):
  model = EncoderDecoder(
    features=features, axis_name=options.get('axis_name'), bn_momentum=0.5
  )
  start = train_state.create(
    EncoderDecoder(features=features), jax.random.key(0), size=SIZE
  )
  return start, make_step(Stage1(model, NO_VGG), **options)


def test_stage_2_in_parts_is_stage_2_of_the_whole_batch():
  coarse = EncoderDecoder(features=4)
  coarse_variables = jax.jit(coarse.init)(
    jax.random.key(1), jnp.zeros((1, *SIZE, 25))
  )
  start = train_state.create(
    Refinement(features=4), jax.random.key(0), size=SIZE
  )
  stage = Stage2(
    Refinement(features=4), coarse, losses.Stage2Weights(perceptual=0.0)
  )
  frozen = {'coarse': coarse_variables}
  whole, in_parts = (
    jax.jit(make_step(stage, grad_accum_steps=n)) for n in (1, 4)
  )
  state = start
  for seed in range(3):
    batch = random_batch(8, seed)
    other, other_metrics = in_parts(state, frozen, batch)
    state, metrics = whole(state, frozen, batch)
    assert_same_gradients(state.opt_state[0].mu, other.opt_state[0].mu)
    near(metrics, other_metrics, atol=1e-4)
    assert other_metrics['loss'][1] == 8
  moved = jax.tree.map(
    lambda a, b: np.abs(a - b).max(), other.params, start.params
  )
  assert min(jax.tree.leaves(moved)) > 1e-4


def test_stage_1_in_parts_takes_each_part_by_itself():
  """Against the mean of gradients that are taken of one part after another."""
  start, step = stage1(grad_accum_steps=2)
  batch = random_batch(8)
  after, metrics = jax.jit(step)(start, {}, batch)

  def one_part(j):
    part = {k: v[4 * j : 4 * j + 4] for k, v in batch.items()}
    model = EncoderDecoder(features=4, bn_momentum=0.5)

    def loss(params):
      (mask, coarse), updated = model.apply(
        {'params': params, 'batch_stats': start.batch_stats},
        network_inputs(part, fidelity='fixed'),
        train=True,
        first_example=4 * j,
        mutable=['batch_stats'],
        rngs={'dropout': jax.random.fold_in(jax.random.key(0), 0)},
      )
      total, _ = losses.stage1_loss(
        mask,
        coarse,
        region=garment_region(part),
        image_norm=to_norm(part['person']),
        weights=NO_VGG,
      )
      return total.mean(), (total, updated['batch_stats'])

    return jax.jit(jax.grad(loss, has_aux=True))(start.params)

  one, two = one_part(0), one_part(1)
  grads, (_, stats) = jax.tree.map(lambda a, b: (a + b) / 2, one, two)
  expected = start.apply_gradients({'network': grads, 'critic': {}}, stats)
  assert_same_gradients(expected.opt_state[0].mu, after.opt_state[0].mu)
  near(after.batch_stats, expected.batch_stats, atol=1e-6)
  total = float(one[1][0].sum() + two[1][0].sum())
  np.testing.assert_allclose(metrics['loss'][0], total, rtol=1e-5)
  # It is not what the whole batch gives: its statistics are others.
  whole, _ = jax.jit(stage1()[1])(start, {}, batch)
  stats = jax.tree.map(
    lambda a, b: np.abs(a - b).max(), whole.batch_stats, after.batch_stats
  )
  assert max(jax.tree.leaves(stats)) > 1e-5


def test_without_batch_statistics_stage_1_in_parts_is_the_whole_batch(
  monkeypatch,
):
  """Dropout follows the place in the whole batch, part or not."""
  own = BatchNorm.__call__
  monkeypatch.setattr(
    BatchNorm, '__call__', lambda self, x, train: own(self, x, False)
  )
  start, whole = stage1()
  _, in_parts = stage1(grad_accum_steps=4)
  batch = random_batch(8)
  a, _ = jax.jit(whole)(start, {}, batch)
  b, _ = jax.jit(in_parts)(start, {}, batch)
  assert_same_gradients(a.opt_state[0].mu, b.opt_state[0].mu)


def test_parts_are_the_same_on_eight_devices_and_one():
  start, _ = stage1()
  batches = [random_batch(16, seed) for seed in range(2)]
  on_eight = parallel.train(
    stage1(axis_name=parallel.AXIS, grad_accum_steps=2)[1]
  )
  on_one = jax.jit(stage1(grad_accum_steps=2)[1])
  one = start
  for batch in batches:
    parts = [{k: v[i : i + 8] for k, v in batch.items()} for i in (0, 8)]
    eight, metrics = on_eight(
      parallel.replicate(one), {}, parallel.shard_parts(parts)
    )
    one, expected = on_one(one, {}, batch)
    # Gradients; a pixel whose L1 difference changes its sign by rounding moves
    # them by some 5e-6, and Adam's quotient more.
    near(eight.opt_state[0].mu, one.opt_state[0].mu, atol=2e-5)
    near(eight.batch_stats, one.batch_stats, atol=1e-6)
    assert metrics['loss'][1] == expected['loss'][1] == 16


def test_recomputed_activations_change_nothing():
  batch = random_batch(2)
  vgg = goldens.vgg()
  results = []
  for remat in (False, True):
    start, _ = stage1()
    step = make_step(Stage1(EncoderDecoder(features=4), remat=remat))
    results.append(jax.jit(step)(start, {'vgg': vgg}, batch))
  (a, m), (b, n) = results
  assert_same_gradients(a.opt_state[0].mu, b.opt_state[0].mu)
  np.testing.assert_allclose(m['loss'][0], n['loss'][0], rtol=1e-6)


def test_recomputed_activations_are_not_kept():
  """What the backward pass finds of the forward pass; nothing is run."""
  images = jnp.zeros((1, *SIZE, 3))
  kept = []
  for remat in (False, True):
    distances = functools.partial(
      losses.perceptual_distances, goldens.vgg(), remat=remat
    )
    _, backward = jax.eval_shape(
      lambda x, f=distances: jax.vjp(lambda y: f(y, images), x), images
    )
    kept.append(sum(x.size * 4 for x in jax.tree.leaves(backward)))
  assert kept[1] < 0.7 * kept[0]


@pytest.mark.parametrize('stage', [1, 2])
def test_bfloat16_trains_near_float32(stage):
  batch = random_batch(4)
  runs = []
  coarse_variables = train_state.create(
    EncoderDecoder(features=4), jax.random.key(2), size=SIZE
  ).variables
  for dtype in (jnp.float32, jnp.bfloat16):
    coarse = EncoderDecoder(features=4, dtype=dtype)
    if stage == 1:
      trained = Stage1(coarse, NO_VGG)
    else:
      trained = Stage2(
        Refinement(features=4, dtype=dtype),
        coarse,
        losses.Stage2Weights(perceptual=0.0),
      )
    state = train_state.create(
      trained.model,
      jax.random.key(0),
      size=SIZE,
      optimizer=train_state.adam({1: 2e-3, 2: 5e-2}[stage]),
    )
    step = jax.jit(make_step(trained))
    rows = []
    for _ in range(5):
      state, metrics = step(state, {'coarse': coarse_variables}, batch)
      rows.append(float(metrics['loss'][0] / metrics['loss'][1]))
    runs.append((state, rows))
  (state32, rows32), (state16, rows16) = runs
  assert (
    {x.dtype for x in jax.tree.leaves(state16)}
    == {x.dtype for x in jax.tree.leaves(state32)}
    == {jnp.dtype('float32'), jnp.dtype('int32')}
  )
  np.testing.assert_allclose(rows16, rows32, rtol=0.01)
  assert rows16 != rows32  # Otherwise it was computed in float32.
  assert rows32[0] - rows32[-1] > {1: 0.005, 2: 5e-5}[stage]


def test_averages_of_the_parameters():
  """Against the definition, in NumPy."""
  start, step = stage1()
  state = train_state.from_variables(start.variables, ema_decay=0.25)
  step = jax.jit(step)
  expected = jax.tree.map(np.asarray, start.variables)
  for k in range(1, 4):
    state, _ = step(state, {}, random_batch(2, k))
    decay = min(0.25, (1 + k) / (10 + k))
    expected = jax.tree.map(
      lambda a, b, d=decay: d * a + (1 - d) * np.asarray(b),
      expected,
      state.variables,
    )
  near(state.ema, expected, atol=1e-6)
  assert state.trained_variables is state.ema
  assert start.trained_variables == start.variables
  gap = jax.tree.map(
    lambda a, b: np.abs(a - b).max(), state.ema, state.variables
  )
  assert min(jax.tree.leaves(gap['params'])) > 1e-6


def test_averages_are_what_is_evaluated():
  start, _ = stage1()
  moved = jax.tree.map(lambda x: x + 0.01, start.variables)
  stage = Stage1(EncoderDecoder(features=4), NO_VGG)
  evaluate = jax.jit(
    lambda state, batch: steps.eval_step(state, {}, batch, stage=stage)
  )
  batch = random_batch(2)
  plain = evaluate(train_state.from_variables(moved), batch)
  averaged = evaluate(start.replace(ema=moved, ema_decay=0.9), batch)
  near(plain, averaged, atol=1e-6)
  other = evaluate(start, batch)
  assert abs(float(plain['loss'][0] - other['loss'][0])) > 1e-3
