"""Sews collars, buttons, zips and pockets into a flat garment's cloth.

Positions are in heads on the flat torso: x beside the middle, s below the pit
of the neck.
"""

import cv2
import numpy as np

from input_pipeline.synthetic import drawing


def neck_outline(garment):
  """Outline (n, 2) in pixels of a hood or polo neck; None without one."""
  side = float(garment.top(garment.neck_width / garment.tip))
  if garment.collar == 'hood':
    half = [(garment.neck_width + 0.07, side + 0.10), (0.45, -0.12)]
    half += [(0.42, -0.34), (0.24, -0.50), (0.0, -0.54)]
  elif garment.collar == 'turtle':
    half = [(garment.neck_width + 0.14, side + 0.12)]
    half += [(garment.neck_width + 0.09, side - 0.01), (0.28, -0.13)]
    half += [(0.24, -0.2), (0.23, -0.33), (0.0, -0.32)]
  else:
    return None
  half = np.array(half)
  lower = [(0.0, garment.neck_depth + 0.1)]
  points = np.concatenate([half, (half * (-1, 1))[-2::-1], lower])
  if garment.collar == 'hood':
    points = drawing.spline(points[:-1], 6)
  return garment.pixels(*points.T)


def sew(garment, cloth, window):
  """Draws collar, front and pocket into the torso's cloth, in place.

  Args:
    garment: the Garment.
    cloth: float32 (h, w, 3).
    window: (x0, y0, x1, y1) of the torso.
  """
  unit = garment.unit
  part = cloth[window[1] : window[3], window[0] : window[2]]

  def shade(cover, amount):
    part[...] *= 1 - np.float32(amount) * cover[..., None]

  def line(points, width, amount):
    path = garment.pixels(*np.array(points, float).T)
    stroke = drawing.stroke(path, window, width=max(width * unit, 0.6))
    shade(stroke, amount)

  def fill(points):
    return drawing.polygon(garment.pixels(*np.array(points).T), window)

  if garment.front == 'open':
    _sew_open_front(garment, part, window)
  elif garment.front != 'closed':
    _sew_front(garment, part, window, line)
  if garment.pocket:
    if garment.collar == 'hood':
      low = garment.hem - 0.14
      shape = [(-0.46, low), (-0.42, low - 0.2), (-0.26, low - 0.52)]
      shape += [(0.26, low - 0.52), (0.42, low - 0.2), (0.46, low)]
    else:
      shape = [(0.17, 0.62), (0.42, 0.62), (0.42, 0.86), (0.295, 0.91)]
      shape += [(0.17, 0.86)]
    shade(fill(shape), 0.03)
    line([*shape, shape[0]], 0.012, 0.30)
    inner = 0.93 * (np.array(shape) - np.mean(shape, 0)) + np.mean(shape, 0)
    line(inner, 0.006, 0.14)
  if garment.collar == 'shirt':
    _sew_collar(garment, cloth)


def _sew_open_front(garment, part, window):
  """An open front with a plain top between its edges, which cast a shade."""
  unit, rng = garment.unit, garment.rng(4)
  inner = np.float32(rng.choice([0.93, 0.85, 0.5, 0.16, 0.1]))
  inner = np.clip(inner + rng.normal(0, 0.03, 3), 0.03, 0.96)
  low, high = rng.uniform(0.05, 0.38), rng.uniform(0.10, 0.24)
  top, end = float(garment.top(0.3)), garment.hem + garment.hem_curve + 0.1
  edge = np.array(
    [(garment.neck_width, top - 0.1), (high, 0.75), (low, 1.7), (low, end)]
  )
  shape = np.concatenate([edge, edge[::-1] * (-1, 1)])
  points = garment.pixels(*shape.T)
  gap = drawing.polygon(points, window)
  box = drawing.covered(gap)
  if box is None:
    return
  part = part[box]
  soft = drawing.blur(gap, 0.07 * unit)[box]
  cover = gap[box]
  tone = inner.astype(np.float32) * (0.35 + 0.65 * soft)[..., None]
  part += cover[..., None] * (tone - part)
  for rim in (points[:4], points[4:]):
    line = drawing.stroke(rim, window, width=max(0.012 * unit, 0.6))[box]
    part *= 1 - np.float32(0.35) * line[..., None]
    stitch = drawing.stroke(
      rim + (0.035 * unit * np.sign(rim[0, 0] - points[:, 0].mean()), 0),
      window,
      width=0.7,
    )[box]
    part *= 1 - np.float32(0.15) * stitch[..., None]


def _sew_front(garment, part, window, line):
  """A placket with buttons, or a zip."""
  unit = garment.unit
  top, end = garment.neck_depth - 0.02, garment.hem + garment.hem_curve
  if garment.front == 'zip':
    line([(0, top), (0, end)], 0.045, 0.22)
    line([(0, top), (0, end)], 0.016, 0.5)
    return
  for x in (-0.05, 0.05):
    line([(x, top), (x, end)], 0.010, 0.26)
  count = int((end - top) / 0.32)
  tone = garment.cloth.colours[0]
  # Buttons stand out a little from any cloth.
  tone = tone * np.float32(0.72) if tone.mean() > 0.35 else tone + 0.3
  places = np.column_stack(
    [np.zeros(count), top + 0.14 + 0.32 * np.arange(count)]
  )
  places = garment.pixels(*places.T) - window[:2]
  for radius, shift, colour, share in (
    (0.034, 0.008, tone * 0.35, 0.5),
    (0.028, 0.0, tone, 1.0),
    (0.018, -0.006, np.minimum(tone * 1.15, 1), 0.7),
  ):
    discs = np.zeros(part.shape[:2], np.uint8)
    for x, y in places + (0, shift * unit):
      at = (round(16 * x), round(16 * y))
      cv2.circle(discs, at, round(16 * radius * unit), 255, -1, cv2.LINE_AA, 4)
    box = drawing.covered(discs)
    if box is not None:
      cover = discs[box].astype(np.float32)[..., None] * (share / 255)
      part[box] += cover * (np.asarray(colour, np.float32) - part[box])


def _sew_collar(garment, cloth):
  """Two leaves of a shirt's collar beside the neckline."""
  unit = garment.unit
  wide, deep = garment.neck_width, garment.neck_depth
  side = float(garment.top(wide / garment.tip))
  for flip in (-1, 1):
    leaf = np.array(
      [
        (wide + 0.055, side + 0.035),
        (wide + 0.01, side - 0.02),
        (0.5 * wide, 0.5 * (side + deep) - 0.02),
        (0.015, deep - 0.03),
        (0.10, deep + 0.19),
        (0.62 * wide + 0.09, 0.5 * (side + deep) + 0.15),
      ]
    ) * (flip, 1)
    points = garment.pixels(*leaf.T)
    window = drawing.window_of(
      points.min(0) - 6, points.max(0) + 6, shape=cloth.shape[:2]
    )
    part = cloth[window[1] : window[3], window[0] : window[2]]
    cover = drawing.polygon(points, window)
    below = drawing.polygon(points + (0, 0.03 * unit), window)
    part *= 1 - np.float32(0.30) * (drawing.blur(below, 0.02 * unit))[..., None]
    base = garment.trim * np.float32(1.02)
    part += cover[..., None] * (np.minimum(base, 0.98) - part)
    rim = drawing.stroke(
      points, window, width=max(0.010 * unit, 0.6), closed=True
    )
    part *= 1 - np.float32(0.24) * rim[..., None]
    middle = points.mean(0)
    stitch = drawing.stroke(
      middle + 0.86 * (points - middle), window, width=0.7, closed=True
    )
    part *= 1 - np.float32(0.10) * stitch[..., None]
