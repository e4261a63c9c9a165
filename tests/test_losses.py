"""Losses against NumPy; their goldens are in test_steps."""

import jax
import jax.numpy as jnp
import network_goldens as goldens
import numpy as np
import pytest

from viton_jax import losses, metrics
from viton_jax.models import vgg19


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
