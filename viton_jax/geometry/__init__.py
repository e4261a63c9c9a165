"""Shape-context matching and the thin-plate-spline warp: arrays in, arrays out.

Names are loaded when they are first used: matching on the host needs no JAX,
which workers that prepare data do without.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from viton_jax.geometry.control_points import ControlPoints, MatchingError
  from viton_jax.geometry.device import (
    match_batch,
    match_with_reasons,
  )
  from viton_jax.geometry.matching import fit_control_points
  from viton_jax.geometry.sampling import sample_bilinear
  from viton_jax.geometry.spline import regular_grid
  from viton_jax.geometry.tps import sampling_grid, warp_tps

__all__ = [
  'ControlPoints',
  'MatchingError',
  'fit_control_points',
  'match_batch',
  'match_with_reasons',
  'regular_grid',
  'sample_bilinear',
  'sampling_grid',
  'warp_tps',
]

_MODULES = {
  'ControlPoints': 'control_points',
  'MatchingError': 'control_points',
  'fit_control_points': 'matching',
  'match_batch': 'device',
  'match_with_reasons': 'device',
  'regular_grid': 'spline',
  'sample_bilinear': 'sampling',
  'sampling_grid': 'tps',
  'warp_tps': 'tps',
}


def __getattr__(name: str):
  if name in _MODULES:
    module = importlib.import_module(f'{__name__}.{_MODULES[name]}')
    return getattr(module, name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
  return sorted(__all__)
