"""Distances of an image from the photo that it should be."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Num

from viton_jax.metrics import absolute_error
from viton_jax.models import vgg19

# What each layer's distance is multiplied by. The released code divides by the
# distances' usual size and then weighs them against each other.
_PERCEPTUAL_SCALES = {
  'conv1_2': 2.5 / 5.3,
  'conv2_2': 1 / (2.7 * 1.2),
  'conv3_2': 1 / (1.35 * 2.3),
  'conv4_2': 1 / (0.67 * 8.2),
  'conv5_2': 1 / 0.16,
}


def total_variation(
  images: Num[Array, 'b h w c'],
) -> Float[Array, ' b']:
  """Sum of absolute differences of neighbours in each image.

  References:
    Rudin, Osher and Fatemi, Nonlinear total variation based noise removal,
    Physica D 60, 1992; its anisotropic form.
  """
  images = images.astype(jnp.float32)
  down = jnp.abs(images[:, 1:] - images[:, :-1]).sum(axis=(1, 2, 3))
  right = jnp.abs(images[:, :, 1:] - images[:, :, :-1]).sum(axis=(1, 2, 3))
  return down + right


def gradient_difference(
  fakes_norm: Float[Array, 'b h w 3'], reals_norm: Float[Array, 'b h w 3']
) -> Float[Array, ' b']:
  """Mean absolute difference of the images' steps from pixel to pixel.

  References:
    Mathieu, Couprie and LeCun, Deep multi-scale video prediction beyond mean
    square error, ICLR 2016, equation 6, with the steps' signs.
  """
  difference = (fakes_norm - reals_norm).astype(jnp.float32)
  pixels = difference[0].size
  return total_variation(difference) / pixels


def perceptual_distances(
  vgg: Mapping[str, Any],
  fakes_norm: Float[Array, 'b h w 3'],
  reals_norm: Float[Array, 'b h w 3'],
  *,
  dtype: DTypeLike = jnp.float32,
  remat: bool = False,
) -> dict[str, Float[Array, ' b']]:
  """Scaled distances of VGG19 features.

  Args:
    vgg: what `vgg19.load` returns.
    fakes_norm: (b, h, w, 3) in [-1, 1].
    reals_norm: the same; takes no gradient.
    dtype: of VGG19's convolutions.
    remat: see `vgg19.features`.

  Returns:
    Layer name -> (b,) float32.

  References:
    Johnson, Alahi and Fei-Fei, Perceptual Losses, ECCV 2016, section 3.2.
    Chen and Koltun, Cascaded Refinement Networks, ICCV 2017, equation 1.
  """
  # Two passes, not one over both: the backward pass then runs over the fakes
  # alone and the real images' activations are not kept for it.
  of_reals = vgg19.features(vgg, jax.lax.stop_gradient(reals_norm), dtype=dtype)
  of_fakes = vgg19.features(vgg, fakes_norm, dtype=dtype, remat=remat)
  return {
    name: scale * absolute_error(of_fakes[name], of_reals[name])
    for name, scale in _PERCEPTUAL_SCALES.items()
  }
