"""Linear interpolation between pixels: the blend of four, weights of an axis.

NumPy alone, so that what prepares data need not import JAX.
"""

from typing import Any

import numpy as np


def blend(corners: tuple, fx: Any, fy: Any) -> Any:
  """Blends the four neighbours of positions bilinearly; NumPy or JAX arrays.

  Args:
    corners: values at (y0, x0), (y0, x1), (y1, x0), (y1, x1), each (..., c).
    fx, fy: (..., 1), how far the positions lie from x0 and y0, 0..1.
  """
  a, b, c, d = corners
  top = a + fx * (b - a)
  bottom = c + fx * (d - c)
  return top + fy * (bottom - top)


def linear_weights(
  positions: np.ndarray, size: int, *, border: str = 'clamp'
) -> np.ndarray:
  """Linear interpolation along one axis, as a matrix.

  Args:
    positions: (n,) where to read, in pixels.
    size: of the axis that is read.
    border: 'clamp' repeats the last pixel, 'zero' has zeros outside.

  Returns:
    (n, size) float32, to be multiplied with what is read.
  """
  if border == 'clamp':
    positions = np.clip(positions, 0, size - 1)
  low = np.floor(positions).astype(int)
  part = positions - low
  matrix = np.zeros((len(positions), size), np.float32)
  rows = np.arange(len(positions))
  for at, weight in ((low, 1 - part), (low + 1, part)):
    inside = (at >= 0) & (at < size)
    matrix[rows[inside], at[inside]] += weight[inside]
  return matrix
