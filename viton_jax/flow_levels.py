"""A garment's known flow as whole numbers, as examples and files keep it.

The flow says, for places of a picture, which point of the garment's photo lies
there: x, y in [-1, 1], see `geometry.warp_tps`.
"""

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:  # Who reads data does not need JAX.
  import jax

STEP = 4  # Working pixels from one place of an example's flow to the next.
LAST = 65535  # The level of 1.

_Array = TypeVar('_Array', np.ndarray, 'jax.Array')


def encode(flow_norm: np.ndarray) -> np.ndarray:
  """Flow to levels.

  Args:
    flow_norm: (..., 2) float in [-1, 1]; NaN: not known.

  Returns:
    (..., 3) uint16: x and y from -1, 0, to 1, 65535, and 65535 where they are
    known, else 0, where x and y are 0.
  """
  known = np.isfinite(flow_norm).all(-1, keepdims=True)
  share = np.clip((np.where(known, flow_norm, -1) + 1) / 2, 0, 1)
  levels = np.concatenate([share, known], axis=-1) * LAST
  return np.rint(levels).astype(np.uint16)


def decode(levels: _Array) -> tuple[_Array, _Array]:
  """What `encode` made.

  Args:
    levels: (..., 3) uint16, of NumPy or JAX.

  Returns:
    (..., 2) float32 in [-1, 1], -1 where nothing is known; (...) bool, known.
  """
  flow = levels[..., :2].astype(np.float32) * np.float32(2 / LAST) - 1.0
  return flow, levels[..., 2] > 0
