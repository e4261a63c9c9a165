"""Garment masks, shape-context matching and the thin-plate-spline warp."""

from viton_jax.geometry.contour import garment_mask
from viton_jax.geometry.device import fit_control_points_batch
from viton_jax.geometry.matching import (
    ControlPoints,
    MatchingError,
    fit_control_points,
)
from viton_jax.geometry.sampling import sample_bilinear
from viton_jax.geometry.tps import regular_grid, sampling_grid, warp_tps

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
