"""The two strided convolutions of VITON's encoder-decoder.

Both have a 4 x 4 kernel and stride 2: the encoder's halves the picture, the
decoder's doubles it and is the gradient of the first. Kernels are laid out as
TensorFlow stores them, so that published weights load without a change.
"""

import jax
from jax import lax

_DIMENSIONS = ('NHWC', 'HWIO', 'NHWC')


def conv4x4_stride2(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Convolution with padding 1: (b, h, w, i), (4, 4, i, o) -> (b, h/2, w/2, o)."""
  return lax.conv_general_dilated(
      x, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=_DIMENSIONS
  )


def conv_transpose4x4_stride2(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Its transpose: (b, h, w, i), (4, 4, o, i) -> (b, 2h, 2w, o)."""
  return lax.conv_transpose(
      x,
      kernel,
      (2, 2),
      'SAME',
      dimension_numbers=_DIMENSIONS,
      transpose_kernel=True,
  )
