"""Bilinear sampling of images at normalised positions.

Align-corners throughout: -1 is the centre of the first pixel, +1 the centre
of the last one. Positions outside are clamped, so the border repeats.
"""

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float

from viton_jax.errors import InputError
from viton_jax.geometry.interpolation import blend


def sample_bilinear(
  images: Float[Array, 'b h w c'], positions_norm: Float[Array, 'b *out 2']
) -> Float[Array, 'b *out c']:
  """Samples images bilinearly; differentiable in both arguments.

  The arithmetic is float32 whatever the dtype of the images: a bfloat16
  position has 8 bits, not enough to address 256 pixels, let alone between
  them.

  Args:
    images: (b, h, w, c) floating point.
    positions_norm: (b, *out, 2) of x, y in [-1, 1] (align-corners); values
      outside are clamped. NaN gives NaN.

  Returns:
    (b, *out, c) in the dtype of `images`.

  Raises:
    InputError: wrong ranks, batch sizes or dtypes.
  """
  _check(images, positions_norm)
  # One gather of four neighbours packed into the channels costs a quarter of
  # the index arithmetic, which is what a gather costs on a TPU, and four
  # times the memory traffic, which is what it costs elsewhere: there XLA
  # fuses four plain gathers and the blend into one loop.
  return lax.platform_dependent(
    images, positions_norm, tpu=_sample_packed, default=_sample_four
  )


def _check(images: Array, positions_norm: Array) -> None:
  if images.ndim != 4 or not jnp.issubdtype(images.dtype, jnp.floating):
    raise InputError(
      'images must be floating point of shape (b, h, w, c), not '
      f'{images.dtype} of {images.shape}; convert them first'
    )
  if positions_norm.ndim < 2 or positions_norm.shape[-1] != 2:
    raise InputError(
      f'positions must have shape (b, ..., 2), not {positions_norm.shape}'
    )
  if positions_norm.shape[0] != images.shape[0]:
    raise InputError(
      f'{images.shape[0]} images but positions for '
      f'{positions_norm.shape[0]}; give as many of both'
    )


def _cells(positions_norm: Array, h: int, w: int) -> tuple[Array, ...]:
  """Top-left neighbours (int32) and weights (float32, with a channel axis)."""
  positions = jnp.clip(positions_norm.astype(jnp.float32), -1.0, 1.0)
  x = (positions[..., 0] + 1.0) * (0.5 * (w - 1))
  y = (positions[..., 1] + 1.0) * (0.5 * (h - 1))
  # The last cell starts one pixel early: the right border then has weight 1
  # on its right neighbour, the same value as clamping that neighbour.
  x0 = jnp.clip(jnp.floor(x), 0.0, max(w - 2, 0))
  y0 = jnp.clip(jnp.floor(y), 0.0, max(h - 2, 0))
  return (
    x0.astype(jnp.int32),
    y0.astype(jnp.int32),
    (x - x0)[..., None],
    (y - y0)[..., None],
  )


def _blend_float32(
  corners: tuple[Array, ...], fx: Array, fy: Array, *, dtype: jnp.dtype
) -> Array:
  corners = tuple(corner.astype(jnp.float32) for corner in corners)
  return blend(corners, fx, fy).astype(dtype)


def _sample_four(images: Array, positions_norm: Array) -> Array:
  """Four gathers that XLA fuses with the blend (CPU, GPU)."""
  _, h, w, _ = images.shape
  dx, dy = min(w - 1, 1), min(h - 1, 1)

  def sample_one(image: Array, positions: Array) -> Array:
    x0, y0, fx, fy = _cells(positions, h, w)
    at = image.at
    corners = tuple(
      at[y0 + j, x0 + i].get(mode='promise_in_bounds')
      for j in (0, dy)
      for i in (0, dx)
    )
    return _blend_float32(corners, fx, fy, dtype=image.dtype)

  return jax.vmap(sample_one)(images, positions_norm)


def _sample_packed(images: Array, positions_norm: Array) -> Array:
  """One gather of rows that hold all four neighbours (TPU)."""
  b, h, w, c = images.shape
  dx, dy = min(w - 1, 1), min(h - 1, 1)
  cells = jnp.concatenate(
    [
      images[:, j : h - dy + j, i : w - dx + i]
      for j in (0, dy)
      for i in (0, dx)
    ],
    axis=-1,
  ).reshape(b, (h - dy) * (w - dx), 4 * c)

  def sample_one(cells: Array, positions: Array) -> Array:
    x0, y0, fx, fy = _cells(positions, h, w)
    rows = cells.at[y0 * (w - dx) + x0].get(mode='promise_in_bounds')
    corners = tuple(jnp.split(rows, 4, axis=-1))
    return _blend_float32(corners, fx, fy, dtype=cells.dtype)

  return jax.vmap(sample_one)(cells, positions_norm)
