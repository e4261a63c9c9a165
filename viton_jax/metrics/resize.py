"""The resizing of the libraries that figures are compared with.

Features move by far more than methods differ when another resize stands before
the network (Parmar, Zhang and Zhu, On Aliased Resizing, CVPR 2022). Each is
here as it is elsewhere, whatever version of Pillow is installed. Pure functions
with static sizes, for any device.
"""

from collections.abc import Callable
import functools
from typing import Literal

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num, UInt8
import numpy as np

_Array = Array | np.ndarray
Filter = Literal['bilinear', 'bicubic', 'lanczos']
_Size = tuple[int, int]
# Pillow keeps weights in 32 bits, of which pixels take 8 and negative lobes 2.
_WEIGHT_BITS = 22


def to_grey(images: UInt8[_Array, 'b h w 3']) -> UInt8[Array, 'b h w']:
  """The grey levels of PIL's mode L: weighted in integers, rounded."""
  weights = jnp.asarray([19595, 38470, 7471], jnp.int32)
  levels = jnp.einsum('bhwc,c->bhw', jnp.asarray(images, jnp.int32), weights)
  return ((levels + 32768) >> 16).astype(jnp.uint8)


@functools.partial(jax.jit, static_argnames=('size', 'filter'))
def pillow(
  images: UInt8[_Array, 'b h w c'],
  size: _Size,
  *,
  filter: Filter = 'bilinear',
) -> UInt8[Array, 'b {size[0]} {size[1]} c']:
  """Resizes as Image.resize of Pillow to version 12, byte for byte.

  Rows first, each pass rounded to bytes; Pillow 13 takes the other order.

  Args:
    images: (b, h, w, c).
    size: height and width.
    filter: antialiased where it makes smaller.
  """
  x = jnp.asarray(images)
  for axis in (2, 1):
    if x.shape[axis] != size[axis - 1]:
      x = _pillow_pass(x, size[axis - 1], axis=axis, filter=filter)
  return x


def pillow_float(
  images: UInt8[_Array, 'b h w c'], size: _Size
) -> Float[Array, 'b {size[0]} {size[1]} c']:
  """Bicubic as PIL resizes floats: antialiased, in 0..255, not rounded.

  Source: clean-fid's 'clean' mode, which resizes each channel in mode F.
  """
  resized = _by_matrices(
    images, size, functools.partial(_dense, filter='bicubic')
  )
  return jnp.clip(resized, 0.0, 255.0)


def tf1_bilinear(
  images: Num[_Array, 'b h w c'], size: _Size
) -> Float[Array, 'b {size[0]} {size[1]} c']:
  """Bilinear as TensorFlow 1's: corners meet, nothing is antialiased.

  In the units of `images`. torch-fidelity's, and torchmetrics' before 1.8.
  """
  return _by_matrices(images, size, _tf1_matrix)


def half_pixel_bilinear(
  images: Num[_Array, 'b h w c'], size: _Size, *, antialias: bool = False
) -> Float[Array, 'b {size[0]} {size[1]} c']:
  """Bilinear as torch.nn.functional.interpolate(align_corners=False).

  In the units of `images`. pytorch-fid's; antialiased torchmetrics' since 1.8.
  """
  matrix = (
    functools.partial(_dense, filter='bilinear', real=np.float32)
    if antialias
    else _half_pixel_matrix
  )
  return _by_matrices(images, size, matrix)


def _by_matrices(
  images: _Array, size: _Size, matrix: Callable[[int, int], np.ndarray]
) -> Array:
  x = jnp.asarray(images).astype(jnp.float32)
  down, right = (
    jnp.asarray(matrix(old, new), jnp.float32)
    for old, new in zip(x.shape[1:3], size, strict=True)
  )
  highest = lax.Precision.HIGHEST
  x = jnp.einsum('pw,bhwc->bhpc', right, x, precision=highest)
  return jnp.einsum('oh,bhpc->bopc', down, x, precision=highest)


# Places are float32 in both libraries, which is seen in the fourth digit.
def _tf1_matrix(old: int, new: int) -> np.ndarray:
  return _two_taps(
    np.arange(new, dtype=np.float32) * np.float32(old / new), old
  )


def _half_pixel_matrix(old: int, new: int) -> np.ndarray:
  half, scale = np.float32(0.5), np.float32(old / new)
  at = (np.arange(new, dtype=np.float32) + half) * scale - half
  return _two_taps(np.maximum(at, 0), old)


def _two_taps(at: np.ndarray, old: int) -> np.ndarray:
  """(new, old): each row the weights of the two pixels around a place."""
  rows = np.arange(len(at))
  low = np.minimum(np.floor(at).astype(int), old - 1)
  share = at - low
  matrix = np.zeros((len(at), old))
  np.add.at(matrix, (rows, low), 1 - share)
  np.add.at(matrix, (rows, np.minimum(low + 1, old - 1)), share)
  return matrix


def _dense(
  old: int, new: int, *, filter: Filter, real: type = np.float64
) -> np.ndarray:
  """(new, old): the weights of `_taps`."""
  first, weights = _taps(old, new, filter, real)
  matrix = np.zeros((new, old + weights.shape[1]))
  columns = first[:, None] + np.arange(weights.shape[1])
  np.put_along_axis(matrix, columns, weights, axis=1)
  return matrix[:, :old]


def _pillow_pass(
  x: Array, new: int, *, axis: int, filter: Filter
) -> UInt8[Array, 'b h w c']:
  first, real = _taps(x.shape[axis], new, filter)
  whole = 1 << _WEIGHT_BITS
  weights = np.trunc(real * whole + np.copysign(0.5, real)).astype(np.int32)
  shape = [1] * x.ndim
  shape[axis] = new
  total = jnp.full((), whole // 2, jnp.int32)
  for i in range(weights.shape[1]):
    places = np.minimum(first + i, x.shape[axis] - 1)
    pixels = jnp.take(x, places, axis=axis).astype(jnp.int32)
    total = total + pixels * jnp.asarray(weights[:, i].reshape(shape))
  return jnp.clip(total >> _WEIGHT_BITS, 0, 255).astype(jnp.uint8)


def _triangle(x: np.ndarray) -> np.ndarray:
  return np.maximum(1 - np.abs(x), 0)


def _cubic(x: np.ndarray) -> np.ndarray:
  """Keys' cubic convolution with a = -1/2."""
  x = np.abs(x)
  near = ((1.5 * x - 2.5) * x) * x + 1
  far = (((x - 5) * x + 8) * x - 4) * -0.5
  return np.where(x < 1, near, np.where(x < 2, far, 0))


def _lanczos(x: np.ndarray) -> np.ndarray:
  return np.where((-3 <= x) & (x < 3), np.sinc(x) * np.sinc(x / 3), 0)


_FILTERS = {
  'bilinear': (_triangle, 1.0),
  'bicubic': (_cubic, 2.0),
  'lanczos': (_lanczos, 3.0),
}


@functools.cache
def _taps(
  old: int, new: int, filter: Filter, real: type = np.float64
) -> tuple[np.ndarray, np.ndarray]:
  """The first pixel (new,) and the weights (new, k) of each new pixel.

  Pillow's are float64, torch's in the precision `real` of its images.
  """
  kernel, reach = _FILTERS[filter]
  half, scale = real(0.5), real(old / new)
  stretch = max(scale, real(1))
  reach = real(reach) * stretch
  centre = (np.arange(new, dtype=real) + half) * scale
  first = np.maximum((centre - reach + half).astype(int), 0)
  last = np.minimum((centre + reach + half).astype(int), old)
  places = first[:, None] + np.arange((last - first).max())
  offset = places.astype(real) - centre[:, None] + half
  weights = kernel(offset * (real(1) / stretch))
  weights = np.where(places < last[:, None], weights, real(0))
  # Summed from left to right, as Pillow does.
  return first, weights / np.cumsum(weights, axis=1)[:, -1:]
