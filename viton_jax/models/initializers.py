"""Random initial kernels, drawn flat.

XLA's CPU backend takes seven times longer to compile a draw of four dimensions
than the same draw of one (30 s against 4 s for the encoder-decoder).
"""

from collections.abc import Sequence
import math

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key


def normal(
  key: Key[Array, ''], shape: Sequence[int], dtype: DTypeLike = jnp.float32
) -> Float[Array, '...']:
  """N(0, 0.02), as in VITON's encoder-decoder."""
  values = jax.random.normal(key, (math.prod(shape),), dtype)
  return (0.02 * values).reshape(shape)


def glorot_uniform(
  key: Key[Array, ''], shape: Sequence[int], dtype: DTypeLike = jnp.float32
) -> Float[Array, 'h w i o']:
  """Uniform with variance 2 / (fan in + fan out); (h, w, in, out) kernels.

  References:
    Glorot and Bengio, Understanding the difficulty of training deep
    feedforward neural networks, AISTATS 2010, equation 16.
  """
  h, w, fan_in, fan_out = shape
  limit = math.sqrt(6 / (h * w * (fan_in + fan_out)))
  size = (math.prod(shape),)
  return jax.random.uniform(key, size, dtype, -limit, limit).reshape(shape)
