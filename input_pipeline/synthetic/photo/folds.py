"""Folds of cloth as a relief, in heads of height."""

import math

import cv2
import numpy as np

from input_pipeline.synthetic import drawing


def crumple(rng, u, v, *, cells):
  """Crumpled cloth: sharp creases between soft swellings.

  Args:
    rng: decides on the pattern.
    u, v: broadcastable to (h, w), position on the cloth; 1 is a tile.
    cells: creases a tile.

  Returns:
    float32 (h, w), about -1..1.
  """
  size = 12 * cells
  first = drawing.noise(rng, (size, size), cells=(cells, cells))
  second = drawing.noise(rng, (size, size), cells=(2 * cells, 2 * cells))
  # Where noise goes through zero its absolute value has a crease.
  tile = 1.3 * np.abs(first) + 0.45 * np.abs(second) - 0.7
  tile = drawing.blur(tile, 1.0)
  u, v = np.broadcast_arrays(u, v)
  at = np.dstack([u * size + 0.5 * size, v * size]).astype(np.float32)
  return drawing.sample(tile, at, border=cv2.BORDER_REFLECT)


def add_ridge(total, part, s, *, start, end, width, depth):
  """Adds one fold from `start` to `end`, fading at both ends.

  Args:
    total: float32 (h, w) relief, to which it is added.
    part, s: position on the torso, (h, w) and (h, 1).
    start, end: (part, s).
    width, depth: in heads; a fold opens along its way.
  """
  low, high = sorted((start[1], end[1]))
  rows = np.flatnonzero(
    (s[:, 0] > low - 4 * width) & (s[:, 0] < high + 4 * width)
  )
  if not rows.size:
    return
  rows = np.s_[rows[0] : rows[-1] + 1]
  part, s = part[rows], s[rows]
  ahead = (float(end[0] - start[0]), float(end[1] - start[1]))
  length = math.hypot(*ahead)
  ahead = (ahead[0] / length, ahead[1] / length)
  dx, dy = part - np.float32(start[0]), s - np.float32(start[1])
  along = (dx * ahead[0] + dy * ahead[1]) / length
  off = -dx * ahead[1] + dy * ahead[0] - 0.12 * along * (1 - along)
  off = off / (width * (0.5 + 0.9 * np.clip(along, 0, 1)))
  fade = drawing.smoothstep(-0.08, 0.25, along)
  fade = fade * drawing.smoothstep(1.05, 0.5, along)
  # Sharper above than below, as gravity pulls.
  off = off * (1 + 0.35 * np.tanh(off))
  total[rows] += np.float32(depth) * (np.exp(-off * off) * fade)


def hollow(height, sigma):
  """How much of the light creases lose: (h, w) in 0..0.6.

  Args:
    height: float32 (h, w), heads.
    sigma: pixels around that count.
  """
  return np.clip(18 * (drawing.blur(height, sigma) - height), 0, 0.6)
