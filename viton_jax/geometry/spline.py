"""The thin-plate spline on a regular control grid, as constant matrices.

NumPy alone, so that what prepares data need not import JAX; `tps` warps images
with it. Source: Bookstein, "Principal Warps: Thin-Plate Splines and the
Decomposition of Deformations", PAMI 1989; kernel r^2 log(r^2 + 1e-12).
"""

import functools
from types import ModuleType
from typing import Any

import numpy as np

_EPSILON = 1e-12

_Array = Any  # np.ndarray or jax.Array, as the array module says.


def regular_grid(n: int) -> np.ndarray:
  """The regular control grid over [-1, 1]^2.

  Args:
    n: points a side, at least 2.

  Returns:
    (n * n, 2) float64 of x, y; y outer, x inner.
  """
  side = np.linspace(-1.0, 1.0, n)
  y, x = np.meshgrid(side, side, indexing='ij')
  return np.stack([x.ravel(), y.ravel()], axis=1)


def squared_distances(a: _Array, b: _Array) -> _Array:
  """(m, n) squared distances of (m, 2) and (n, 2) points."""
  squared = (a[:, :1] - b[None, :, 0]) ** 2
  return squared + (a[:, 1:] - b[None, :, 1]) ** 2


def radial(squared_distances: _Array, xp: ModuleType = np) -> _Array:
  """The kernel of the spline, r^2 log(r^2 + 1e-12), from r^2."""
  return squared_distances * xp.log(squared_distances + _EPSILON)


@functools.lru_cache(maxsize=8)
def coefficient_matrix(n: int) -> np.ndarray:
  """(n * n + 3, n * n) float64: control points to spline coefficients."""
  points = regular_grid(n)
  squared = squared_distances(points, points)
  affine = np.concatenate([np.ones((n * n, 1)), points], axis=1)
  system = np.zeros((n * n + 3, n * n + 3))
  system[: n * n, :3] = affine
  system[: n * n, 3:] = radial(squared)
  system[n * n :, 3:] = affine.T
  # The right-hand side is [control points; 0], so only the first n * n
  # columns of the inverse are ever used.
  return np.linalg.solve(system, np.eye(n * n + 3)[:, : n * n])


@functools.lru_cache(maxsize=4)
def position_matrix(n: int, out_size: tuple[int, int]) -> np.ndarray:
  """The constant matrix from control points to sampling positions.

  Args:
    n: control points a side.
    out_size: (h, w) of the output.

  Returns:
    (h * w, n * n) float32, computed in float64; read-only.
  """
  h, w = out_size
  y, x = np.meshgrid(
    np.linspace(-1.0, 1.0, h), np.linspace(-1.0, 1.0, w), indexing='ij'
  )
  pixels = np.stack([x.ravel(), y.ravel()], axis=1)
  points = regular_grid(n)
  coefficients = coefficient_matrix(n)
  matrix = radial(squared_distances(pixels, points)) @ coefficients[3:]
  matrix += coefficients[0]
  matrix += pixels @ coefficients[1:3]
  matrix = matrix.astype(np.float32)
  matrix.setflags(write=False)
  return matrix
