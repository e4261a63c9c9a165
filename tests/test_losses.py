"""Losses against NumPy; their goldens are in test_steps."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import metric_goldens
import network_goldens as goldens
import numpy as np
import pytest

from viton_jax import losses, metrics
from viton_jax.metrics import lpips
from viton_jax.models import PatchDiscriminator, Refinement, vgg19
from viton_jax.training import judges, steps, train_state


def rand(seed, *shape):
  return jax.random.uniform(jax.random.key(seed), shape, minval=-1.0)


def test_stage_1_is_the_weighted_sum_of_its_terms():
  mask, coarse = rand(0, 3, 8, 6, 1), rand(1, 3, 8, 6, 3)
  region = (rand(2, 3, 8, 6, 1) > 0).astype(jnp.float32)
  image = rand(3, 3, 8, 6, 3)
  weights = losses.Stage1Weights(mask=2.0, image=0.5, perceptual=0.0)
  total, terms = jax.jit(
    lambda *a: losses.stage1_loss(
      *a, region=region, image_norm=image, weights=weights
    )
  )(mask, coarse)
  assert terms.keys() == {'mask', 'image'}
  for name, a, b in (('mask', mask, region), ('image', coarse, image)):
    expected = np.abs(np.asarray(a) - np.asarray(b)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(terms[name], expected, rtol=1e-5)
  np.testing.assert_allclose(
    total, 2 * terms['mask'] + 0.5 * terms['image'], rtol=1e-6
  )


def test_stage_1_counts_what_composition_keeps_by_its_weight():
  mask, coarse, image = (
    rand(0, 3, 8, 6, 1),
    rand(1, 3, 8, 6, 3),
    rand(3, 3, 8, 6, 3),
  )
  changed = (rand(2, 3, 8, 6, 1) > 0).astype(jnp.float32)
  _, terms = jax.jit(
    lambda *a: losses.stage1_loss(
      *a,
      region=changed,
      image_norm=image,
      changed=changed,
      weights=losses.Stage1Weights(perceptual=0.0, kept=0.25),
    )
  )(mask, coarse)
  counts = np.where(np.asarray(changed) == 1, 1.0, 0.25)
  differences = counts * np.abs(np.asarray(coarse) - np.asarray(image))
  np.testing.assert_allclose(
    terms['image'], differences.mean(axis=(1, 2, 3)), rtol=1e-5
  )
  assert (terms['mask'] > 0.3).all()  # Counts everywhere.


def test_stage_1_needs_the_region_that_it_weighs_by():
  image = jnp.zeros((1, 8, 6, 3))
  with pytest.raises(ValueError, match='changed is None'):
    losses.stage1_loss(
      image[..., :1],
      image,
      region=image[..., :1],
      image_norm=image,
      weights=losses.Stage1Weights(perceptual=0.0, kept=0.5),
    )


def test_stage_2_rewards_alpha_and_punishes_its_variation():
  alpha, output = jnp.abs(rand(0, 2, 8, 6, 1)), rand(1, 2, 8, 6, 3)
  weights = losses.Stage2Weights(perceptual=0.0)
  total, terms = jax.jit(
    lambda *a: losses.stage2_loss(*a, image_norm=output, weights=weights)
  )(output, alpha)
  a = np.asarray(alpha)[..., 0]
  variation = np.abs(np.diff(a, axis=1)).sum((1, 2)) + np.abs(
    np.diff(a, axis=2)
  ).sum((1, 2))
  np.testing.assert_allclose(terms['tv'], variation, rtol=1e-5)
  np.testing.assert_allclose(terms['alpha'], a.mean((1, 2)), rtol=1e-5)
  assert (terms['image'] == 0).all()
  np.testing.assert_allclose(
    total, 5e-6 * variation - 0.1 * a.mean((1, 2)), rtol=1e-5
  )


def test_perceptual_distances_have_the_published_constants():
  fakes, reals = rand(0, 2, 32, 32, 3), rand(1, 2, 32, 32, 3)

  @jax.jit
  def compute(vgg, fakes, reals):
    return (
      losses.perceptual_distances(vgg, fakes, reals),
      vgg19.features(vgg, fakes),
      vgg19.features(vgg, reals),
    )

  found, f, r = compute(goldens.vgg(), fakes, reals)
  divisors = {
    'conv1_2': 5.3 / 2.5,
    'conv2_2': 2.7 * 1.2,
    'conv3_2': 1.35 * 2.3,
    'conv4_2': 0.67 * 8.2,
    'conv5_2': 0.16,
  }
  assert found.keys() == divisors.keys()
  for name, divisor in divisors.items():
    distance = np.abs(np.asarray(f[name]) - np.asarray(r[name]))
    np.testing.assert_allclose(
      found[name], distance.mean(axis=(1, 2, 3)) / divisor, rtol=1e-4
    )
    assert (found[name] > 0).all()


def test_a_perceptual_weight_without_a_network_is_refused():
  image = rand(0, 1, 8, 8, 3)
  with pytest.raises(ValueError, match='vgg is None'):
    losses.stage2_loss(image, image[..., :1], image_norm=image)


def test_losses_are_float32_even_of_bfloat16():
  image = rand(0, 2, 64, 64, 3)
  low = image.astype(jnp.bfloat16)
  error = metrics.absolute_error(low, image)
  assert error.dtype == jnp.float32 and error.shape == (2,)
  assert losses.total_variation(low).dtype == jnp.float32


def test_gradient_difference():
  fakes, reals = rand(0, 2, 6, 5, 3), rand(1, 2, 6, 5, 3)
  found = jax.jit(losses.gradient_difference)(fakes, reals)
  a, b = np.asarray(fakes), np.asarray(reals)
  expected = sum(
    np.abs(np.diff(a, axis=axis) - np.diff(b, axis=axis)).sum((1, 2, 3))
    for axis in (1, 2)
  ) / (6 * 5 * 3)
  np.testing.assert_allclose(found, expected, rtol=1e-5)
  # Another brightness has the same gradients.
  shifted = losses.gradient_difference(reals + 0.5, reals)
  np.testing.assert_allclose(shifted, 0.0, atol=1e-6)


def test_mask_iou_of_a_mask_and_of_none():
  region = jnp.zeros((3, 40, 40, 1)).at[:2, 10:30, 10:30].set(1.0)
  mask = jnp.zeros((3, 40, 40, 1)).at[0, 20:40, 10:30].set(1.0)
  mask = mask.at[1].set(2.0 * region[1] - 1.0)  # As sure as it can be.
  image = jnp.zeros((3, 40, 40, 3))
  _, terms = losses.stage1_loss(
    mask,
    image,
    region=region,
    image_norm=image,
    weights=losses.Stage1Weights(perceptual=0.0, mask_iou=1.0),
  )
  np.testing.assert_allclose(
    terms['mask_iou'], [1 - 200 / 600, 0.0, 0.0], atol=2e-3
  )


def test_lpips_as_a_loss():
  """The metric's value, and a gradient even where nothing differs."""
  params = metric_goldens.lpips_params('alex')
  pair = np.random.default_rng(0).integers(0, 256, (2, 1, 64, 64, 3), np.uint8)
  expected = lpips.lpips(params, *pair, net='alex')
  fakes, reals = pair.astype(np.float32) / 127.5 - 1.0
  through = losses.Judges(
    lpips=functools.partial(lpips.lpips_norm, params, net='alex')
  )
  weights = losses.Stage2Weights(perceptual=0.0, lpips=2.0, image=0.0)

  @jax.jit
  def loss(fakes, reals):
    total, terms = losses.stage2_loss(
      fakes,
      jnp.zeros((1, 64, 64, 1)),
      image_norm=reals,
      weights=weights,
      judges=through,
    )
    return total.sum(), terms

  (total, terms), gradient = jax.value_and_grad(loss, has_aux=True)(
    fakes, reals
  )
  np.testing.assert_allclose(terms['lpips'], expected, rtol=1e-5)
  np.testing.assert_allclose(total, 2.0 * expected.sum(), rtol=1e-5)
  assert 0 < np.abs(gradient).max() < np.inf
  grey = np.zeros_like(fakes)  # Features that are 0 everywhere, and equal.
  gradient, _ = jax.grad(loss, has_aux=True)(grey, grey)
  assert np.isfinite(gradient).all()
  with pytest.raises(ValueError, match='lpips is None'):
    image = jnp.asarray(reals)
    losses.stage2_loss(image, image[..., :1], image_norm=image, weights=weights)


def test_a_critic_and_the_images_learn_apart():
  """Least squares by NumPy, and which gradient goes where."""
  model = PatchDiscriminator(features=4)
  fakes, reals = rand(0, 2, 64, 48, 3), rand(1, 2, 64, 48, 3)
  params = jax.jit(model.init)(jax.random.key(2), fakes)['params']

  def terms(fakes, params):
    def through(params):
      return lambda images: model.apply({'params': params}, images)

    critic = losses.Critic(
      through(jax.lax.stop_gradient(params)), through(params)
    )
    return losses.adversarial_terms(critic, fakes, reals)

  of_fakes = model.apply({'params': params}, fakes)
  of_reals = model.apply({'params': params}, reals)
  assert of_fakes[-1].shape == (2, 6, 4, 1)
  found = jax.jit(terms)(fakes, params)
  made, real = (np.asarray(x[-1]) for x in (of_fakes, of_reals))
  mean = functools.partial(np.mean, axis=(1, 2, 3))
  np.testing.assert_allclose(
    found['adversarial'], mean((made - 1) ** 2), rtol=1e-4
  )
  np.testing.assert_allclose(
    found['critic'], (mean((real - 1) ** 2) + mean(made**2)) / 2, rtol=1e-4
  )
  layers = zip(of_fakes[:-1], of_reals[:-1], strict=True)
  expected = np.mean([mean(np.abs(a - b)) for a, b in layers], axis=0)
  np.testing.assert_allclose(found['feature_matching'], expected, rtol=1e-4)

  def largest(name, argument):
    gradient = jax.grad(lambda *a: terms(*a)[name].sum(), argnums=argument)(
      fakes, params
    )
    return max(float(jnp.abs(x).max()) for x in jax.tree.leaves(gradient))

  for name in ('adversarial', 'feature_matching'):
    assert largest(name, 0) > 0 == largest(name, 1)
  assert largest('critic', 1) > 0 == largest('critic', 0)


def test_a_critic_learns_to_tell_what_is_made():
  """And so the score of made images falls from step to step."""
  model = PatchDiscriminator(features=4)
  stage = Still(critic=model)
  state = train_state.create(
    Refinement(features=4), jax.random.key(0), size=(64, 64), critic=model
  )
  batch = {'person': rand(0, 2, 64, 64, 3)}
  step = jax.jit(functools.partial(steps.train_step, stage=stage))
  values = []
  for _ in range(12):
    state, metrics = step(state, {}, batch)
    values.append(float(metrics['critic'][0]))
  assert values[-1] < 0.5 * values[0]


@dataclasses.dataclass(frozen=True)
class Still:
  """A stage whose images do not change: the critic alone learns."""

  critic: PatchDiscriminator

  def loss(self, params, batch_stats, frozen, batch, *, critic, **_):
    del params, frozen
    found = judges.of(
      {},
      critic,
      lpips_net='alex',
      critic_model=self.critic,
      dtype=jnp.float32,
      remat=False,
    )
    _, terms = losses.stage2_loss(
      jnp.zeros_like(batch['person']),
      jnp.zeros((2, 64, 64, 1)),
      image_norm=batch['person'],
      weights=losses.Stage2Weights(perceptual=0.0, adversarial=1.0),
      judges=found,
    )
    return {'loss': jnp.zeros(2), **terms}, batch_stats
