"""Assignment on a device: Sinkhorn's iteration, and who likes whom best.

An exact solver goes through hundreds of dependent steps, in which a batched
device does next to nothing. Here each row and column is scaled in turn (Cuturi,
"Sinkhorn Distances", NIPS 2013), with dummies that take the outliers, as
`shape_context.assign` has them, in one row and one column.
"""

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from viton_jax.geometry.shape_context import DUMMY_FRACTION

_TEMPERATURE = 0.01
_ROUNDS = 60


def assign(cost: Float[Array, 'n n'], *, dummy_cost: float) -> Int[Array, ' n']:
  """The row that is matched to each column, -1 for none; nearly optimal.

  Args:
    cost: (n, n).
    dummy_cost: price of leaving a point unmatched.
  """
  n = cost.shape[0]
  dummies = float(round(DUMMY_FRACTION * n))
  # Dummies are alike, so that one row of weight `dummies` stands for all; in
  # their corner the exact problem has the same price.
  padded = jnp.pad(cost, (0, 1), constant_values=dummy_cost)
  kernel = -padded / _TEMPERATURE
  mass = jnp.log(jnp.ones(n + 1).at[n].set(dummies))

  def scale(_: jax.Array, column: jax.Array) -> jax.Array:
    row = mass - jax.nn.logsumexp(kernel + column[None], axis=1)
    return mass - jax.nn.logsumexp(kernel + row[:, None], axis=0)

  column = lax.fori_loop(0, _ROUNDS, scale, jnp.zeros(n + 1))
  row = mass - jax.nn.logsumexp(kernel + column[None], axis=1)
  plan = kernel + row[:, None] + column[None]
  best = jnp.argmax(plan[:, :n], axis=0)
  mutual = jnp.argmax(plan[:n], axis=1)[jnp.minimum(best, n - 1)]
  sure = (best < n) & (mutual == jnp.arange(n))
  return jnp.where(sure, best, -1)
