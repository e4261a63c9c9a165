"""DISTS: likeness of means and of structure in VGG16's features.

References:
  Ding, Ma, Wang and Simoncelli, Image Quality Assessment: Unifying Structure
  and Texture Similarity, IEEE Transactions on Pattern Analysis and Machine
  Intelligence 44, 2022, equations 4 to 6.
"""

from collections.abc import Mapping
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8
import numpy as np

from viton_jax.metrics.lpips import vgg_blocks

_Array = Array | np.ndarray
# Of the image itself and of the five blocks.
CHANNELS = (3, 64, 128, 256, 512, 512)
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_SMALL = 1e-6


@jax.jit
def dists(
  params: Mapping[str, Any],
  predictions: UInt8[_Array, 'b h w 3'],
  targets: UInt8[_Array, 'b h w 3'],
) -> Float[Array, ' b']:
  """Distance of structure and texture of each pair; 0 for equal images.

  Args:
    params: of `weights.read_dists`.
    predictions: (b, h, w, 3) RGB.
    targets: the same shape.

  Returns:
    (b,) float32, in [0, 1] but for rounding.
  """
  both = jnp.concatenate([jnp.asarray(predictions), jnp.asarray(targets)])
  image = both.astype(jnp.float32) / 255.0
  mean, std = (
    jnp.asarray(x, jnp.float32)[None, None, None] for x in (_MEAN, _STD)
  )
  blocks = vgg_blocks(params['convolutions'], (image - mean) / std, pool=_l2)
  alpha, beta = jnp.asarray(params['alpha']), jnp.asarray(params['beta'])
  weights = [
    jnp.split(x / (alpha.sum() + beta.sum()), np.cumsum(CHANNELS)[:-1])
    for x in (alpha, beta)
  ]
  likeness = jnp.zeros(len(predictions), jnp.float32)
  layers = (image, *blocks)
  for features, of_mean, of_structure in zip(layers, *weights, strict=True):
    x, y = jnp.split(features, 2)
    mean_x, mean_y = (z.mean(axis=(1, 2), keepdims=True) for z in (x, y))
    x, y = x - mean_x, y - mean_y
    means = _ratio(mean_x * mean_y, mean_x**2, mean_y**2)
    structure = _ratio(x * y, x * x, y * y)
    likeness += (means * of_mean[None]).sum(axis=1)
    likeness += (structure * of_structure[None]).sum(axis=1)
  return 1.0 - likeness


def _ratio(product: Array, x: Array, y: Array) -> Array:
  product, x, y = (z.mean(axis=(1, 2)) for z in (product, x, y))
  return (2 * product + _SMALL) / (x + y + _SMALL)


def _l2(x: Array) -> Array:
  """The root of mean squares over a window of 3 x 3, at every second pixel."""
  for axis in (1, 2):
    size = (x.shape[axis] + 1) // 2
    pad = [(0, 0)] * 4
    pad[axis] = (1, 1)
    padded = jnp.pad(jnp.square(x) if axis == 1 else x, pad)
    before, at, after = (
      lax.slice_in_dim(padded, i, i + 2 * size - 1, stride=2, axis=axis)
      for i in range(3)
    )
    x = 0.25 * (before + after) + 0.5 * at
  return jnp.sqrt(x + 1e-12)
