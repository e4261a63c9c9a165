"""Garment masks, shape-context matching and the thin-plate-spline warp."""

from viton_jax.geometry.sampling import sample_bilinear
from viton_jax.geometry.tps import regular_grid, sampling_grid, warp_tps

__all__ = ['regular_grid', 'sample_bilinear', 'sampling_grid', 'warp_tps']
