"""The shop's photo of a garment: the same cloth in another light."""

import dataclasses

import numpy as np

from input_pipeline.synthetic import drawing, flat, grounds
from input_pipeline.synthetic.photo import folds
from input_pipeline.synthetic.photo.surface import photograph, slopes


def draw_flat(garment) -> flat.FlatGarment:
  """Draws the cloth, and its photo on white, grey or patterned ground."""
  drawn = flat.draw_flat(garment)
  rng = garment.rng(21)
  shape = drawn.cover.shape
  ground = _ground(rng, shape)
  light = np.array([rng.uniform(-0.6, 0.6), -rng.uniform(0.2, 0.7)])
  x, y = drawing.pixel_grid((0, 0, shape[1], shape[0]))
  u, v = x / (2.2 * garment.unit), y / (2.2 * garment.unit)
  relief = folds.crumple(rng, u + 0.2 * v, v, cells=9)
  wide = folds.crumple(rng, 0.5 * u, 0.32 * v, cells=7)
  height = (0.006 + 0.008 * (1 - garment.weight)) * relief + 0.012 * wide
  height = drawing.blur((height * garment.unit).astype(np.float32), 1.0)
  # Cloth that ends turns down.
  rim = drawing.blur(drawn.cover, 0.03 * garment.unit)
  tilt = slopes(height + np.float32(0.03 * garment.unit) * rim)
  lit = 1 + rng.uniform(0.35, 0.75) * (tilt @ light.astype(np.float32))
  lit -= folds.hollow(height / garment.unit, 0.05 * garment.unit)
  # The paper's share of each pixel off; what is left lies on any ground.
  colour = drawn.photo - (1 - drawn.cover)[..., None]
  exposure = rng.uniform(0.98, 1.14)
  colour = colour * (np.clip(lit, 0.45, 1.35) * exposure)[..., None]
  depth = rng.uniform(0.05, 0.35) if ground is not None else 0.0
  if ground is None:
    ground = np.ones((*shape, 3), np.float32)
  reach = np.float32(garment.unit * rng.uniform(0.02, 0.08))
  shade = drawing.blur(drawn.cover, reach)
  ground = ground * (1 - depth * np.minimum(1.5 * shade, 1))[..., None]
  picture = np.minimum(colour, 0.985 * drawn.cover[..., None])
  picture = picture + ground * (1 - drawn.cover)[..., None]
  return dataclasses.replace(drawn, photo=picture.astype(np.float32))


def _ground(rng, shape):
  """What the garment lies on; None: paper that is pure white."""
  kind = rng.random()
  if kind < 0.62:
    return None
  if kind < 0.86:
    return grounds.draw_ground(rng, shape, (205, 254), tint=4, vignette=0.08)
  if kind < 0.92:
    return grounds.draw_ground(rng, shape, (120, 235), tint=40, vignette=0.1)
  name = str(rng.choice(['boards', 'tiles', 'sheet', 'carpet']))
  return grounds.draw_ground(rng, shape, name)


def develop(garment, drawn: flat.FlatGarment) -> np.ndarray:
  """The photo as a camera sees it: uint8 (h, w, 3)."""
  rng = garment.rng(22)
  white = drawn.photo.min(axis=2) >= 1
  sharp = drawn.photo.shape[0] / 512
  image = photograph(drawn.photo, rng, sharp=sharp)
  # Shops cut out: white paper stays pure white.
  image[white] = 255
  return image
