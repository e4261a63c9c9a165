"""Draws bags and their straps, which lie before the garment.

They are no part of it: their label is background, and no cloth shows there.
"""

import cv2
import numpy as np

from input_pipeline.synthetic import drawing, fields
from input_pipeline.synthetic.people import STREAM_SKIN
from input_pipeline.synthetic.photo.surface import slopes, unit_normal

_LEATHERS = (
  np.array(
    [
      [34, 30, 30],
      [92, 56, 36],
      [150, 96, 56],
      [196, 160, 120],
      [110, 34, 40],
      [224, 216, 204],
      [60, 70, 60],
      [44, 52, 78],
    ],
    np.float32,
  )
  / 255
)


def draw_bag(canvas, person):
  """A bag at the hip of one in six, its strap across or from the shoulder."""
  rng = person.rng(STREAM_SKIN, 60)
  if rng.random() > 0.17:
    return
  side = rng.choice([-1.0, 1.0])
  crossed = rng.random() < 0.65
  colour = _LEATHERS[int(rng.integers(len(_LEATHERS)))] * rng.uniform(0.85, 1.1)
  colour = colour.clip(0.04, 0.95).astype(np.float32)
  hip = np.array([side * rng.uniform(0.55, 0.85), rng.uniform(1.9, 2.6)])
  start = np.array([(-side if crossed else side) * 0.38, 0.04])
  bend = (0.12 if crossed else 0.0) * side
  rows = np.array([start, 0.5 * (start + hip) + (bend, 0.0), hip])
  path = drawing.spline(person.place(rows[:, 0], rows[:, 1]), 10)
  width = rng.uniform(0.025, 0.06) * person.unit
  field = fields.coarse_field(
    path, width + 0.12 * person.unit, shape=canvas.shape
  )
  if field is not None:
    alpha = np.clip(width - np.abs(field.across) + 0.5, 0, 1)
    canvas.cast(field.window, alpha, height=0.03, depth=0.5)
    part = np.clip(field.across / width, -1, 1)
    canvas.lay(
      field.window,
      alpha,
      colour=colour,
      normal=(0.6 * part**3)[..., None] * field.normal,
      label=0,
      gloss=0.05,
    )
  _draw_body(canvas, person, rng, hip=hip, colour=colour)


def _draw_body(canvas, person, rng, *, hip, colour):
  """The bag itself, with a flap or a zip."""
  wide, high = rng.uniform(0.24, 0.5), rng.uniform(0.35, 0.75)
  box = np.array(
    [[-1, 0], [1, 0], [1.04, 0.5], [0.98, 1], [-0.98, 1], [-1.04, 0.5]]
  )
  box = box * (wide, high) + hip - (0, 0.05)
  points = person.place(box[:, 0], box[:, 1])
  window = drawing.clip_window(
    points.min(0) - 0.35 * person.unit,
    points.max(0) + 0.35 * person.unit,
    shape=canvas.shape,
  )
  if window is None:
    return
  alpha = drawing.polygon(points, window)
  soft = drawing.blur(alpha, 0.05 * person.unit)
  relief = soft * np.float32(0.16 * person.unit)
  flap = person.place(
    hip[0] + wide * np.array([-1, 1, 0.9, -0.9]),
    hip[1] - 0.05 + high * np.array([0, 0, 0.5, 0.5]),
  )
  lid = drawing.polygon(flap, window)
  relief += drawing.blur(lid, 0.7) * np.float32(0.02 * person.unit)
  rough = 1 + np.float32(0.04) * drawing.grain(rng, alpha.shape)
  canvas.cast(window, alpha, height=0.12, depth=0.6)
  edge = cv2.absdiff(lid, drawing.blur(lid, 1.2))
  canvas.lay(
    window,
    alpha,
    colour=colour * rough[..., None],
    normal=unit_normal(slopes(relief)),
    label=0,
    gloss=0.06,
    openness=1 - 0.7 * edge,
  )
