"""The terms of a discriminator: what it says of images, and what it learns."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from viton_jax.metrics import absolute_error

Features = tuple[Float[Array, 'b _ _ _'], ...]


class Critic(NamedTuple):
  """A discriminator, images in [-1, 1] -> its layers' features and scores.

  Attributes:
    judges: with parameters that take no gradient: for the images' sake.
    learns: with those that train.
  """

  judges: Callable[[Float[Array, 'b h w 3']], Features]
  learns: Callable[[Float[Array, 'b h w 3']], Features]


def adversarial_terms(
  critic: Critic,
  fakes_norm: Float[Array, 'b h w 3'],
  reals_norm: Float[Array, 'b h w 3'],
) -> dict[str, Float[Array, ' b']]:
  """What both sides want to be small.

  Args:
    critic: the discriminator.
    fakes_norm: (b, h, w, 3) in [-1, 1], what a network made.
    reals_norm: photos; take no gradient.

  Returns:
    'adversarial', squared distances of the fakes' scores from 1, and
    'feature_matching', distances of the discriminator's features, have
    gradients of the fakes alone; 'critic', the discriminator's own loss, of its
    parameters alone. (b,) float32 each.

  References:
    Mao et al., Least Squares Generative Adversarial Networks, ICCV 2017,
    equation 9.
    Wang et al., High-Resolution Image Synthesis with Conditional GANs, CVPR
    2018, equation 4.
  """
  reals_norm = jax.lax.stop_gradient(reals_norm)
  *of_fakes, wanted = critic.judges(fakes_norm)
  *of_reals, real_scores = critic.learns(reals_norm)
  *_, fake_scores = critic.learns(jax.lax.stop_gradient(fakes_norm))
  matching = [
    absolute_error(ours, jax.lax.stop_gradient(theirs))
    for ours, theirs in zip(of_fakes, of_reals, strict=True)
  ]
  return {
    'adversarial': _mean_square(wanted - 1.0),
    'feature_matching': jnp.stack(matching).mean(axis=0),
    'critic': 0.5
    * (_mean_square(real_scores - 1.0) + _mean_square(fake_scores)),
  }


def _mean_square(values) -> Array:
  return jnp.square(values).mean(axis=(1, 2, 3))
