"""Shape-context matching and the thin-plate-spline warp: arrays in, arrays out.

`fit_control_points_batch` is loaded when it is first used: it needs Optax,
which an exported try-on does without.
"""

import importlib
from typing import TYPE_CHECKING

from viton_jax.geometry.matching import (
  ControlPoints,
  MatchingError,
  fit_control_points,
)
from viton_jax.geometry.sampling import sample_bilinear
from viton_jax.geometry.tps import regular_grid, sampling_grid, warp_tps

if TYPE_CHECKING:
  from viton_jax.geometry.device import fit_control_points_batch

__all__ = [
  'ControlPoints',
  'MatchingError',
  'fit_control_points',
  'fit_control_points_batch',
  'regular_grid',
  'sample_bilinear',
  'sampling_grid',
  'warp_tps',
]


def __getattr__(name: str):
  if name == 'fit_control_points_batch':
    return getattr(importlib.import_module(f'{__name__}.device'), name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
