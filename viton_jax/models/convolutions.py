"""The two strided convolutions of VITON's encoder-decoder, and their gradients.

Both have a 4 x 4 kernel and stride 2: the encoder's halves the image, the
decoder's doubles it. Each is the other's gradient, with the same kernel: TF
stores the decoder's as (4, 4, out, in), which is the encoder's (4, 4, in, out)
read backwards. So three maps do for both, forward and backward:

    down(x, kernel)       (b, 2h, 2w, i), (4, 4, i, o) -> (b, h, w, o)
    up(y, kernel)         (b, h, w, o),   (4, 4, i, o) -> (b, 2h, 2w, i)
    correlate(x, y)       their common gradient with respect to the kernel

They are written out because XLA's own choice is slow on CPUs: its gradient of a
transposed convolution with respect to the kernel takes 10 to 25 times longer
than `correlate`, and its dilated convolution loses to the matrix product of
`_up_by_columns` (benchmarks/convolutions.py). GPUs and TPUs keep XLA's form.
"""

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float

_LAYOUT = ('NHWC', 'HWIO', 'NHWC')
_PADDING = ((1, 1), (1, 1))

# Row 2p + phase of the doubled image gets kernel row `tap` of the input row
# p - shift: (phase, ((tap, shift), (tap, shift))).
_TAPS = (((1, 0), (3, 1)), ((2, 0), (0, -1)))


@jax.custom_vjp
def conv4x4_stride2(
  x: Float[Array, 'b h w i'], kernel: Float[Array, '4 4 i o']
) -> Float[Array, 'b h//2 w//2 o']:
  """Convolution with padding 1.

  Args:
    x: images; h and w even.
    kernel: of the same dtype.

  Returns:
    The halved images, of the same dtype.
  """
  return _down(x, kernel)


@jax.custom_vjp
def conv_transpose4x4_stride2(
  x: Float[Array, 'b h w i'], kernel: Float[Array, '4 4 o i']
) -> Float[Array, 'b 2*h 2*w o']:
  """Transposed convolution, TensorFlow's 'SAME'.

  Args:
    x: images.
    kernel: of the same dtype.

  Returns:
    The doubled images, of the same dtype.
  """
  return _up(x, kernel)


conv4x4_stride2.defvjp(
  lambda x, kernel: (_down(x, kernel), (x, kernel)),
  lambda saved, g: (_up(g, saved[1]), _correlate(saved[0], g)),
)
conv_transpose4x4_stride2.defvjp(
  lambda x, kernel: (_up(x, kernel), (x, kernel)),
  lambda saved, g: (_down(g, saved[1]), _correlate(g, saved[0])),
)


def _down(x, kernel):
  return lax.conv_general_dilated(
    x, kernel, (2, 2), _PADDING, dimension_numbers=_LAYOUT
  )


def _correlate(x, y):
  """(b, 2h, 2w, i), (b, h, w, o) -> (4, 4, i, o): sum over images, places."""
  kernel = jax.ShapeDtypeStruct((4, 4, x.shape[-1], y.shape[-1]), x.dtype)
  (gradient,) = jax.linear_transpose(lambda k: _down(x, k), kernel)(y)
  return gradient


def _up(y, kernel):
  return lax.platform_dependent(
    y, kernel, cpu=_up_by_columns, default=_up_by_xla
  )


def _up_by_xla(y, kernel):
  return lax.conv_transpose(
    y,
    kernel,
    (2, 2),
    'SAME',
    dimension_numbers=_LAYOUT,
    transpose_kernel=True,
  )


def _up_by_columns(y, kernel):
  """One matrix product to all 16 taps, then each phase sums its four."""
  b, h, w, channels = y.shape
  out = kernel.shape[2]
  # Flat: of a product with the kernel's four dimensions XLA makes a transposed
  # copy of the kernel first, which takes several times as long as the product.
  columns = jnp.einsum(
    'mk,nk->mn', y.reshape(-1, channels), kernel.reshape(-1, channels)
  ).reshape(b, h, w, 4, 4, out)
  zero = jnp.zeros((), y.dtype)

  def tap(row, down, column, right):
    shift = ((0, 0, 0), (down, -down, 0), (right, -right, 0), (0, 0, 0))
    return lax.pad(columns[:, :, :, row, column], zero, shift)

  phases = [
    sum(tap(*row, *column) for row in rows for column in columns_)
    for rows in _TAPS
    for columns_ in _TAPS
  ]
  doubled = jnp.stack(phases, axis=3).reshape(b, h, w, 2, 2, out)
  return doubled.transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, out)
