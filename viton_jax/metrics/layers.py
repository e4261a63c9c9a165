"""Convolutions and pools of the networks that figures look through.

Float32 to the last digit on every device: TF32 moves Inception's features by
5e-4, bfloat16 by 4e-3.
"""

from collections.abc import Mapping
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

_LAYOUT = ('NHWC', 'HWIO', 'NHWC')


def convolve(
  x: Float[Array, 'b h w i'],
  layer: Mapping[str, Any],
  *,
  stride: int = 1,
  padding: tuple[int, int] = (0, 0),
) -> Float[Array, 'b h2 w2 o']:
  """Convolution with bias, then ReLU.

  Args:
    x: features.
    layer: 'kernel' (h, w, i, o) and 'bias' (o,).
    stride: of both axes.
    padding: zeros above and below, and left and right.
  """
  x = lax.conv_general_dilated(
    x,
    jnp.asarray(layer['kernel']),
    (stride, stride),
    [(n, n) for n in padding],
    dimension_numbers=_LAYOUT,
    precision=lax.Precision.HIGHEST,
  )
  return jax.nn.relu(x + jnp.asarray(layer['bias'])[None, None, None])


def max_pool(
  x: Float[Array, 'b h w c'],
  window: int,
  *,
  stride: int = 2,
  padding: int = 0,
  ceil: bool = False,
) -> Float[Array, 'b h2 w2 c']:
  """Maxima of windows; `ceil` counts one that goes beyond the border."""
  pads = [(padding, padding)] * 2
  if ceil:
    pads = [(0, -(n - window) % stride) for n in x.shape[1:3]]
  return lax.reduce_window(
    x,
    np.float32(-np.inf),
    lax.max,
    (1, window, window, 1),
    (1, stride, stride, 1),
    [(0, 0), *pads, (0, 0)],
  )


def mean_pool3(
  x: Float[Array, 'b h w c'], *, count_padding: bool
) -> Float[Array, 'b h w c']:
  """Means of 3 x 3 pixels; at the border of those that are there, or of 9."""
  total = lax.reduce_window(
    x, np.float32(0), lax.add, (1, 3, 3, 1), (1, 1, 1, 1), 'SAME'
  )
  if count_padding:
    return total / 9.0
  rows, columns = (
    3 - (np.arange(n) == 0) - (np.arange(n) == n - 1) for n in x.shape[1:3]
  )
  counts = np.outer(rows, columns)[None, :, :, None]
  return total / jnp.asarray(counts, jnp.float32)
