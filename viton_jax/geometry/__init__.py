"""Garment masks, shape-context matching and the thin-plate-spline warp.

Two functions are loaded when they are first used, because an exported try-on
has to do without what they need: `garment_mask` (OpenCV) and
`fit_control_points_batch` (Optax).
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
  from input_pipeline.garment_mask import garment_mask
  from viton_jax.geometry.device import fit_control_points_batch

__all__ = [
    'ControlPoints',
    'MatchingError',
    'fit_control_points',
    'fit_control_points_batch',
    'garment_mask',
    'regular_grid',
    'sample_bilinear',
    'sampling_grid',
    'warp_tps',
]

_LATER = {'garment_mask': 'garment', 'fit_control_points_batch': 'device'}


def __getattr__(name: str):
  if name in _LATER:
    module = importlib.import_module(f'{__name__}.{_LATER[name]}')
    return getattr(module, name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
