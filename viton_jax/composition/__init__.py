"""Composes a try-on: only what changes is new, all else is the photo itself.

VITON draws the whole image anew, and so blurs walls, trousers and hands that
the photo shows. Here the networks say where the new garment lies and how it is
lit; `regions` divides what changes by joints and labels, `layers` fills what
the old garment hid and puts everything together.

Pure functions of arrays with static shapes, for any device.
"""

from viton_jax.composition.layers import (
  Layers,
  compose,
  continued,
  gain,
  inner,
  make_layers,
  shading_by_coarse,
  spread,
  uncover,
  whole,
)
from viton_jax.composition.regions import BARE, Regions, find_regions

__all__ = [
  'BARE',
  'Layers',
  'Regions',
  'compose',
  'continued',
  'find_regions',
  'gain',
  'inner',
  'make_layers',
  'shading_by_coarse',
  'spread',
  'uncover',
  'whole',
]
