"""The thin-plate-spline warp of VITON, linear in its control points.

Control points sit on a regular n x n grid over [-1, 1]^2 of the output (y
outer, x inner) and say where in the input each of them looks. The spline
between them solves a linear system whose matrix depends on the grid alone, so
the whole map from control points to sampling positions is one constant
matrix. Source: Bookstein, "Principal Warps: Thin-Plate Splines and the
Decomposition of Deformations", PAMI 1989; kernel r^2 log(r^2 + 1e-12).
"""

import functools
import math

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from viton_jax.errors import InputError
from viton_jax.geometry.sampling import sample_bilinear
from viton_jax.geometry.spline import (
  coefficient_matrix,
  position_matrix,
  radial,
  regular_grid,
  squared_distances,
)

# Above this many bytes the constant is not worth its place in a compiled
# program: its last factor is then computed on the device.
_MAX_CONSTANT_BYTES = 64 * 2**20


def sampling_grid(
  control_points_norm: Float[Array, 'b n 2'],
  out_size: tuple[int, int],
  *,
  correction: Float[Array, 'b _ _ 2'] | None = None,
) -> Float[Array, 'b {out_size[0]} {out_size[1]} 2']:
  """Sampling positions of every output pixel.

  Args:
    control_points_norm: (b, n * n, 2), x, y in [-1, 1] of the input; y
      outer, x inner.
    out_size: (h, w) of the output.
    correction: (b, h', w', 2), what is added to the spline, at any size; in
      between it is bilinear.

  Returns:
    (b, h, w, 2) float32 of x, y in [-1, 1] of the input, not yet clamped.

  Raises:
    InputError: the points do not form a square grid, or the size is empty.
  """
  n, (h, w) = _check(control_points_norm, out_size)
  points = control_points_norm.astype(jnp.float32)
  # 'highest': the TF32 or bfloat16 passes that accelerators prefer would
  # leave positions with an error of whole pixels.
  einsum = functools.partial(jnp.einsum, precision='highest')
  if h * w * n * n * 4 <= _MAX_CONSTANT_BYTES:
    positions = einsum('qn,bnd->bqd', position_matrix(n, (h, w)), points)
    positions = positions.reshape(-1, h, w, 2)
  else:
    matrix = coefficient_matrix(n).astype(np.float32)
    coefficients = einsum('kn,bnd->bkd', matrix, points)
    positions = jax.vmap(lambda c: _positions_by_row(c, n, (h, w)))(
      coefficients
    )
  if correction is None:
    return positions
  return positions + jax.image.resize(
    correction.astype(jnp.float32), positions.shape, 'bilinear'
  )


def _positions_by_row(
  coefficients: jax.Array, n: int, out_size: tuple[int, int]
) -> jax.Array:
  """Evaluates one spline row by row, without the constant matrix."""
  h, w = out_size
  grid = jnp.asarray(regular_grid(n), jnp.float32)
  x = jnp.linspace(-1.0, 1.0, w, dtype=jnp.float32)

  def row(y: jax.Array) -> jax.Array:
    pixels = jnp.stack([x, jnp.full_like(x, y)], axis=1)
    kernel = radial(squared_distances(pixels, grid), jnp)
    bent = jnp.matmul(kernel, coefficients[3:], precision='highest')
    flat = coefficients[:1] + x[:, None] * coefficients[1:2]
    return bent + flat + y * coefficients[2:3]

  ys = jnp.linspace(-1.0, 1.0, h, dtype=jnp.float32)
  return lax.map(row, ys)


def warp_tps(
  images: Float[Array, 'b h w c'],
  control_points_norm: Float[Array, 'b n 2'],
  out_size: tuple[int, int] | None = None,
  *,
  correction: Float[Array, 'b _ _ 2'] | None = None,
) -> Float[Array, 'b _ _ c']:
  """Warps images by thin-plate splines, bilinear and align-corners.

  Differentiable in all arrays; works under jit,
  vmap and grad. Positions are float32 whatever the dtype of the images.

  Args:
    images: (b, h, w, c) floating point.
    control_points_norm: (b, n * n, 2): where in the input, x, y in [-1, 1],
      each point of the regular n x n grid over the output looks; y outer.
      `ControlPoints.points_norm` of `fit_control_points` is such an array.
    out_size: (h, w) of the output; the input's by default.
    correction: see `sampling_grid`.

  Returns:
    (b, *out_size, c) in the dtype of `images`.

  Raises:
    InputError: wrong ranks, batch sizes or dtypes, or points that do not
      form a square grid.
  """
  if images.ndim != 4:
    raise InputError(f'images must have shape (b, h, w, c), not {images.shape}')
  if out_size is None:
    out_size = images.shape[1], images.shape[2]
  # Else XLA's CPU compiler fuses the product into the four gathers, and
  # computes each position several times.
  positions = lax.optimization_barrier(
    sampling_grid(control_points_norm, out_size, correction=correction)
  )
  return sample_bilinear(images, positions)


def _check(
  control_points_norm: jax.Array, out_size: tuple[int, int]
) -> tuple[int, tuple[int, int]]:
  shape = control_points_norm.shape
  if len(shape) != 3 or shape[2] != 2 or math.isqrt(shape[1]) ** 2 != shape[1]:
    raise InputError(
      f'control points must have shape (b, n * n, 2), not {shape}'
    )
  if shape[1] < 4:
    raise InputError('a control grid needs at least 2 x 2 points')
  if len(out_size) != 2 or min(out_size) < 1:
    raise InputError(f'out_size must be (height, width), not {out_size}')
  return math.isqrt(shape[1]), (int(out_size[0]), int(out_size[1]))
