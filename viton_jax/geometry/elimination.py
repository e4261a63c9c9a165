"""Solves small systems on a device by products and sums alone.

`jnp.linalg.solve` calls a library of each platform, which TensorFlow and ONNX
do not have.
"""

import functools

import jax
from jax import lax
import jax.numpy as jnp

_matmul = functools.partial(jnp.matmul, precision='highest')
BLOCK = 6  # Of 4, 6 and 10 the fastest on two CPU cores; divides 60 and 120.


def solve(system: jax.Array, right: jax.Array) -> jax.Array:
  """Solves a symmetric positive definite system.

  By Gauss-Jordan elimination of blocks, without pivots, which such a system
  does not need (Golub and Van Loan, Matrix Computations, section 4.2).

  Args:
    system: (n, n) float32, n a multiple of `BLOCK`.
    right: (n, m) float32.

  Returns:
    (n, m) float32.
  """
  n = system.shape[0]
  # Scaled to a diagonal of ones, so that float32 suffices.
  scale = (1 / jnp.sqrt(jnp.diagonal(system)))[:, None]
  nothing = jnp.zeros((n, BLOCK), system.dtype)

  def eliminate(
    _: jax.Array, both: tuple[jax.Array, jax.Array]
  ) -> tuple[jax.Array, jax.Array]:
    # The first block of unknowns, whose rows then go last: after n / BLOCK
    # rounds all are in their places.
    rest, right = both
    columns = jnp.concatenate([rest[:, BLOCK:], right], axis=1)
    pivot = _inverse(rest[:BLOCK, :BLOCK])
    solved = _matmul(pivot, columns[:BLOCK])
    others = columns[BLOCK:] - _matmul(rest[BLOCK:, :BLOCK], solved)
    columns = jnp.concatenate([others, solved])
    rest = jnp.concatenate([columns[:, : n - BLOCK], nothing], axis=1)
    return rest, columns[:, n - BLOCK :]

  both = (system * scale * scale.T, right * scale)
  return lax.fori_loop(0, n // BLOCK, eliminate, both)[1] * scale


def _inverse(block: jax.Array) -> jax.Array:
  """The inverse of (k, k), symmetric positive definite; k is small."""
  k = block.shape[0]
  for i in range(k):
    # Gauss-Jordan in place: column i becomes that of the inverse.
    one = jnp.arange(k) == i
    row = jnp.where(one, 1.0, block[i]) / block[i, i]
    others = jnp.where(one[None], 0.0, block)
    others = others - block[:, i : i + 1] * row[None]
    block = jnp.where(one[:, None], row[None], others)
  return block
