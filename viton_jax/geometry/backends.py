"""What NumPy on the host and jax.numpy on a device do in different ways.

Formulas that take the array module `xp` call these. JAX is imported where it is
used: workers that prepare data do without.
"""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

Array = Any  # np.ndarray or jax.Array, as the array module says.


def matmul(xp: ModuleType, a: Array, b: Array) -> Array:
  """a @ b, in full float32 on a device that would rather round."""
  if xp is np:
    return a @ b
  return xp.matmul(a, b, precision='highest')


def solve(xp: ModuleType, system: Array, right: Array) -> Array:
  """Solves a symmetric positive definite system, (n, n) and (n, m).

  On a device see `elimination.solve`.
  """
  if xp is np:
    return np.linalg.solve(system, right)
  from viton_jax.geometry import elimination  # Needs JAX.

  return elimination.solve(system, right)


def repeat(
  xp: ModuleType,
  step: Callable[[Array, Array], Array],
  state: Array,
  values: Sequence[tuple[float, ...]],
) -> Array:
  """Calls state = step(state, value) for each of `values`.

  On a device in a loop of the program, which then holds the step once.

  Args:
    xp: array module.
    step: gets the state and one of the values, a tuple or an array.
    state: a tree of arrays, whose shapes and dtypes stay.
    values: rows of numbers.
  """
  if xp is np:
    for value in values:
      state = step(state, value)
    return state
  from jax import lax  # Needs JAX.

  rows = xp.asarray(np.array(values, np.float32))
  return lax.fori_loop(0, len(values), lambda i, x: step(x, rows[i]), state)
