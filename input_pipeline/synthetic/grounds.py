"""Draws what lies under a garment: paper, boards, tiles, a sheet, a carpet."""

import numpy as np

from input_pipeline.synthetic import drawing


def draw_ground(rng, shape, kind, *, tint: float = 0, vignette: float = 0):
  """The ground of a shop photo.

  Args:
    rng: numpy Generator.
    shape: (h, w).
    kind: (low, high), levels of 255 between which an even grey is drawn, or
      'boards', 'tiles', 'sheet' or 'carpet'.
    tint: largest departure of the channels from an even grey, levels.
    vignette: share of the light that the corners may lose.

  Returns:
    float32 (h, w, 3), 0..1.
  """
  if isinstance(kind, str):
    draw = {
      'boards': _boards, 'tiles': _tiles, 'sheet': _sheet, 'carpet': _carpet
    }[kind]  # fmt: skip
    ground = draw(rng, shape)
  else:
    level = rng.uniform(*kind) + rng.uniform(-tint, tint, 3)
    ground = np.full((*shape, 3), level / 255, np.float32)
  y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
  middle = rng.uniform(0.3, 0.7, 2)
  far = (x / shape[1] - middle[0]) ** 2 + (y / shape[0] - middle[1]) ** 2
  light = 1 - vignette * rng.uniform(0.4, 1) * far / 0.5
  return np.clip(ground * light[..., None], 0, 1).astype(np.float32)


def _boards(rng, shape):
  """Wooden boards with grain and dark joints, upright or lying."""
  h, w = shape
  lying = rng.random() < 0.5
  size = (w, h) if lying else (h, w)
  wide = int(size[1] / rng.uniform(3, 7))
  tone = np.array([0.66, 0.50, 0.36], np.float32) * rng.uniform(0.7, 1.3)
  grain = drawing.noise(rng, size, cells=(3, 90))
  grain += 0.6 * drawing.noise(rng, size, cells=(8, 200))
  board = np.arange(size[1]) // wide
  shade = rng.uniform(-0.06, 0.06, board[-1] + 1)[board]
  value = 1 + 0.05 * grain + shade[None]
  value[:, np.arange(size[1]) % wide < max(1, size[1] // 200)] *= 0.55
  value = value.T if lying else value
  return np.clip(value[..., None] * tone, 0, 1).astype(np.float32)


def _tiles(rng, shape):
  """Square tiles with joints."""
  h, w = shape
  side = int(h / rng.uniform(4, 8))
  joint = max(2, h // 150)
  y, x = np.mgrid[:h, :w]
  tone = rng.uniform(0.55, 0.9) + rng.uniform(-0.06, 0.06, 3)
  each = rng.uniform(-0.035, 0.035, (h // side + 1, w // side + 1))
  value = 1 + each[y // side, x // side]
  value += 0.02 * drawing.noise(rng, shape, cells=(30, 24))
  value[(y % side < joint) | (x % side < joint)] *= rng.uniform(0.7, 0.85)
  return np.clip(value[..., None] * tone, 0, 1).astype(np.float32)


def _sheet(rng, shape):
  """A sheet with soft folds."""
  tone = rng.uniform(0.6, 0.88) + rng.uniform(-0.05, 0.05, 3)
  value = 1 + 0.06 * drawing.noise(rng, shape, cells=(3, 3))
  for _ in range(6):
    start, end = rng.uniform(0, 1, (2, 2)) * shape
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    ahead = (end - start) / max(np.hypot(*(end - start)), 1)
    off = (y - start[0]) * ahead[1] - (x - start[1]) * ahead[0]
    off = off / (shape[0] * rng.uniform(0.01, 0.03))
    value += rng.uniform(-0.08, 0.08) * off * np.exp(-off * off)
  return np.clip(value[..., None] * tone, 0, 1).astype(np.float32)


def _carpet(rng, shape):
  """A carpet: noise of two scales."""
  tone = rng.uniform(0.35, 0.75) + rng.uniform(-0.1, 0.1, 3)
  value = 1 + 0.10 * drawing.noise(rng, shape, cells=(110, 80))
  value += 0.05 * drawing.noise(rng, shape, cells=(14, 10))
  value += 0.05 * rng.standard_normal(shape)
  return np.clip(value[..., None] * tone, 0, 1).astype(np.float32)
