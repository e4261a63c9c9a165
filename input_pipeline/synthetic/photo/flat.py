"""The shop's photo of a garment: the same cloth in another light."""

import dataclasses

import cv2
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
  # Folds are soft; half the resolution is plenty.
  unit = garment.unit / 2
  x, y = drawing.pixel_grid((0, 0, (shape[1] + 1) // 2, (shape[0] + 1) // 2))
  u, v = x / (2.2 * unit), y / (2.2 * unit)
  relief = folds.crumple(rng, u + 0.2 * v, v, cells=9)
  wide = folds.crumple(rng, 0.35 * u + 0.1 * v, 0.18 * v, cells=7)
  height = (0.003 + 0.005 * (1 - garment.weight)) * relief + 0.012 * wide
  # Cloth that ends turns down.
  size = height.shape[::-1]
  cover = cv2.resize(drawn.cover, size, interpolation=cv2.INTER_AREA)
  height += 0.03 * drawing.blur(cover, 0.03 * unit)
  height = height.astype(np.float32)
  tilt = slopes(height * np.float32(unit))
  lit = 1 + np.float32(rng.uniform(0.35, 0.75)) * (
    tilt[..., 0] * np.float32(light[0]) + tilt[..., 1] * np.float32(light[1])
  )
  lit -= folds.hollow(height, 0.05 * unit)
  lit = cv2.resize(np.clip(lit, 0.45, 1.35), shape[::-1])
  # The paper's share of each pixel off; what is left lies on any ground.
  colour = drawn.photo - (1 - drawn.cover)[..., None]
  exposure = rng.uniform(0.98, 1.14)
  colour *= (lit * np.float32(exposure))[..., None]
  picture = np.minimum(colour, np.float32(0.985) * drawn.cover[..., None])
  around = 1 - drawn.cover
  if ground is None:
    picture += around[..., None]
    return dataclasses.replace(drawn, photo=picture)
  shade = drawing.blur(drawn.cover, garment.unit * rng.uniform(0.02, 0.08))
  depth = np.float32(rng.uniform(0.05, 0.35))
  around *= 1 - depth * np.minimum(1.5 * shade, 1)
  picture += ground * around[..., None]
  return dataclasses.replace(drawn, photo=picture)


def _ground(rng, shape):
  """What the garment lies on; None: paper that is pure white."""
  kind = rng.random()
  if kind < 0.62:
    return None
  half = (shape[0] // 2, shape[1] // 2)
  ground = _small_ground(rng, half, kind)
  return cv2.resize(ground, shape[::-1], interpolation=cv2.INTER_CUBIC)


def _small_ground(rng, shape, kind):
  if kind < 0.86:
    return grounds.draw_ground(rng, shape, (205, 254), tint=4, vignette=0.08)
  if kind < 0.92:
    return grounds.draw_ground(rng, shape, (120, 235), tint=40, vignette=0.1)
  name = str(rng.choice(['boards', 'tiles', 'sheet', 'carpet']))
  return grounds.draw_ground(rng, shape, name)


def develop(garment, drawn: flat.FlatGarment) -> np.ndarray:
  """The photo as a camera sees it: uint8 (h, w, 3)."""
  white = (drawn.cover == 0) & (drawn.photo[..., 2] >= 1)
  # Shops cut out: white paper stays pure white.
  box = drawing.covered(~white)
  image = np.full(drawn.photo.shape, 255, np.uint8)
  part = photograph(
    drawn.photo[box], garment.rng(22), sharp=drawn.photo.shape[0] / 512
  )
  part[white[box]] = 255
  image[box] = part
  return image
