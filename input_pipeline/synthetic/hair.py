"""Draws hair, in locks and as a cap on the skull, and hats.

Positions are in head heights: x beside the head's axis to the right of the
image, y from the crown (0) to the chin (1).
"""

import dataclasses

import numpy as np

from input_pipeline.synthetic import drawing, fields
from input_pipeline.synthetic.people import STREAM_SKIN, head_point

HAT, HAIR, FACE = 1, 2, 13


@dataclasses.dataclass(frozen=True)
class Frame:
  """Maps head coordinates to pixels of a (possibly enlarged) canvas."""

  pit: np.ndarray
  unit: float
  tilt: float

  def at(self, points):
    points = np.asarray(points, float)
    return head_point(
      self.pit, self.unit, self.tilt, x=points[..., 0], y=points[..., 1]
    )

  def window(self, low, high, *, shape):
    corners = self.at([low, high, (low[0], high[1]), (high[0], low[1])])
    return drawing.clip_window(corners.min(0), corners.max(0), shape=shape)

  def grid(self, window):
    """Head coordinates x, y (h, w) of the pixels of a window."""
    px, py = drawing.pixel_grid(window)
    dx, dy = (px - self.pit[0]) / self.unit, (py - self.pit[1]) / self.unit
    c, s = np.cos(np.radians(self.tilt)), np.sin(np.radians(self.tilt))
    return (
      (dx * c + dy * s).astype(np.float32),
      (-dx * s + dy * c + 1.34).astype(np.float32),
    )


def head_frame(person, *, scale=1, origin=(0, 0)):
  """The frame of a person's head on a canvas enlarged from `origin` on."""
  pit = (person.pit - origin + 0.5) * scale - 0.5
  return Frame(pit, person.unit * person.head * scale, person.head_tilt)


def _strands(rng, lateral):
  """Brightness of hair strands, about -1..1, over a lateral coordinate."""
  return (
    0.5 * drawing.noise_line(rng, lateral, scale=9)
    + 0.35 * drawing.noise_line(rng, lateral, scale=26)
    + 0.25 * drawing.noise_line(rng, lateral, scale=60)
  )


def _hair_tone(person, strands, *, lit, gloss):
  """Colour of hair: strands over body shading, and a band of gloss."""
  level = np.clip(0.80 + 0.30 * strands + 0.55 * (lit - 0.55), 0.25, 1.45)
  tone = person.hair * level[..., None]
  shine = np.clip(gloss * (0.55 + 0.6 * strands), 0, 1)[..., None]
  bright = person.hair * 0.6 + np.array([0.42, 0.38, 0.34], np.float32)
  return np.clip(tone + 0.42 * shine * (bright - tone), 0, 1).astype(np.float32)


def draw_cap(canvas, person, *, frame):
  """Hair on the skull and around the face."""
  rng = person.rng(STREAM_SKIN, 4)
  window = (0, 0, canvas.shape[1], canvas.shape[0])
  p = person.parting
  fringe = person.hair_style in ('bob', 'long') and rng.random() < 0.4
  back = person.hair_style in ('tail', 'bun')
  short = person.hair_style == 'short'
  puff = 0.03 if person.hair_style == 'curly' else 0.0
  side_y = 0.50 if short or back else 0.86
  outer = np.array(
    [
      [0.352, side_y],
      [0.385 + puff, 0.50],
      [0.392 + puff, 0.34],
      [0.350 + puff, 0.15],
      [0.23 + puff, 0.01],
      [0.08, -0.045 - puff],
    ]
  )
  if back or short:
    outer = outer * (0.97, 1) + (0, 0.012)
  outer = np.concatenate([outer, (outer * (-1, 1))[::-1]])
  if fringe:
    inner = np.array(
      [
        [-0.325, 0.66],
        [-0.318, 0.50],
        [-0.27, 0.425],
        [-0.12, 0.415],
        [0.0, 0.405],
        [0.12, 0.415],
        [0.27, 0.425],
        [0.318, 0.50],
        [0.325, 0.66],
      ]
    )
  else:
    low = 0.53 if short or back else 0.60
    inner = np.array(
      [
        [-0.332, low],
        [-0.318, 0.44],
        [-0.262, 0.315],
        [0.55 * p - 0.12, 0.215],
        [p, 0.165],
        [0.55 * p + 0.12, 0.215],
        [0.262, 0.315],
        [0.318, 0.44],
        [0.332, low],
      ]
    )
  shape = np.concatenate([drawing.spline(outer, 8), drawing.spline(inner, 8)])
  alpha = drawing.polygon(frame.at(shape), window)
  # Hair throws a soft shadow on forehead and temples.
  x, y = frame.grid(window)
  face = (canvas.parse == FACE).astype(np.float32)
  shade = drawing.blur(alpha, 0.035 * frame.unit) * face
  canvas.darken(window, 0.38 * shade)

  dx, dy = x - p, y + 0.10
  angle = np.arctan2(dx, np.maximum(dy, 1e-3))
  if person.hair_style == 'curly':
    tufts = drawing.noise(rng, x.shape, cells=(26, 24))
    strands = 0.9 * tufts + 0.4 * drawing.noise(rng, x.shape, cells=(60, 55))
  else:
    strands = _strands(rng, angle + 0.06 * np.sin(9 * y))
  nx = np.clip(x / 0.43, -0.95, 0.95)
  lit = nx * drawing.LIGHT[0] + np.sqrt(1 - nx * nx) * drawing.LIGHT[2]
  gloss = np.exp(-(((y - 0.13 - 0.55 * x * x) / 0.05) ** 2))
  lit = lit - 0.30 * np.exp(-((dx / 0.012) ** 2)) * (y < 0.22) * (not fringe)
  lit = lit - 0.18 * drawing.smoothstep(0.05, -0.03, y)
  tone = _hair_tone(person, strands, lit=lit, gloss=gloss)
  canvas.paint(window, alpha, colour=tone, label=HAIR)


def draw_hat(canvas, person, *, frame):
  """A beret-like knitted cap."""
  rng = person.rng(STREAM_SKIN, 5)
  window = (0, 0, canvas.shape[1], canvas.shape[0])
  x, y = frame.grid(window)
  shape = drawing.spline(
    [
      [-0.385, 0.27],
      [-0.395, 0.15],
      [-0.32, -0.05],
      [-0.12, -0.15],
      [0.12, -0.15],
      [0.32, -0.05],
      [0.395, 0.15],
      [0.385, 0.27],
      [0.2, 0.235],
      [0.0, 0.225],
      [-0.2, 0.235],
    ],
    8,
    closed=True,
  )
  alpha = drawing.polygon(frame.at(shape), window)
  face = (canvas.parse > 0).astype(np.float32)
  canvas.darken(window, 0.3 * drawing.blur(alpha, 0.04 * frame.unit) * face)
  nx = np.clip(x / 0.45, -0.95, 0.95)
  lit = nx * drawing.LIGHT[0] + np.sqrt(1 - nx * nx) * drawing.LIGHT[2]
  bent = np.arcsin(nx)
  rim = y - 0.13 - 0.04 * np.cos(3 * x)
  lit = lit + 0.06 * np.sin(bent * 55) - 0.16 * np.exp(-((rim / 0.015) ** 2))
  colours = np.array(
    [
      [0.70, 0.30, 0.28],
      [0.25, 0.30, 0.42],
      [0.80, 0.72, 0.58],
      [0.35] * 3,
    ],
    np.float32,
  )
  tone = drawing.tinted(
    colours[int(rng.integers(4))], lit, shadow=(0.45, 0.42, 0.45), gloss=0.02
  )
  canvas.paint(window, alpha, colour=tone, label=HAT)


def _lock(canvas, person, *, rng, points, radii, waves=0.0, dim=0.0, melt=0.0):
  """A lock of hair along points in head coordinates."""
  frame = head_frame(person)
  centre = drawing.spline(frame.at(points), 7)
  reach = (max(radii) + 0.06) * person.unit
  field = fields.limb_field(centre, reach, shape=canvas.shape)
  if field is None:
    return
  knots = np.linspace(0, field.length, len(radii))
  along = field.along / person.unit
  radius = np.interp(field.along, knots, radii).astype(np.float32)
  phase = rng.uniform(0, 6)
  swing = waves * np.sin(along * 9 + phase) * np.clip(along / 0.5, 0, 1)
  across = field.across / person.unit + swing
  rough = 0.02 * drawing.noise_line(rng, along, scale=7)
  alpha = np.clip((radius + rough - np.abs(across)) * person.unit + 0.5, 0, 1)
  if melt:  # Grows out of the hair above, without an edge of its own.
    alpha = alpha * drawing.smoothstep(0.0, melt, along)
  part = np.clip(across / np.maximum(radius, 0.02), -1, 1)
  # About one strand a pixel at most; more would only flicker.
  strands = _strands(rng, part * 1.4 * max(radii) + 3.0)
  lit = 0.8 * part * field.normal[..., 0] * drawing.LIGHT[0]
  lit = lit + np.sqrt(1 - 0.8 * part * part) * drawing.LIGHT[2] - dim
  gloss = np.exp(-(((along - 0.55 - 0.1 * part) / 0.16) ** 2))
  if waves:
    gloss = gloss + 0.6 * np.clip(np.sin(along * 9 + phase + 1.2), 0, 1)
  tone = _hair_tone(person, strands, lit=lit, gloss=gloss * (dim < 0.1))
  canvas.paint(field.window, alpha.astype(np.float32), colour=tone, label=HAIR)


def draw_back_hair(canvas, person):
  """Hair behind neck and shoulders."""
  rng = person.rng(STREAM_SKIN, 6)
  style = person.hair_style
  if style in ('long', 'wavy'):
    for side in (-1, 1):
      _lock(
        canvas,
        person,
        rng=rng,
        points=[(side * 0.10, 0.42), (side * 0.20, 0.85), (side * 0.26, 1.35)],
        radii=[0.27, 0.26, 0.22],
        waves=0.02 * (style == 'wavy'),
        dim=0.30,
      )
  elif style == 'bob':
    for side in (-1, 1):
      _lock(
        canvas,
        person,
        rng=rng,
        points=[(side * 0.10, 0.42), (side * 0.17, 0.75), (side * 0.19, 1.08)],
        radii=[0.27, 0.25, 0.19],
        dim=0.30,
      )
  elif style == 'tail':
    side = 1 if person.parting > 0 else -1
    _lock(
      canvas,
      person,
      rng=rng,
      points=[
        (side * 0.1, 0.1),
        (side * 0.30, 0.35),
        (side * 0.42, 0.8),
        (side * 0.44, 1.25),
        (side * 0.40, 1.6),
      ],
      radii=[0.10, 0.14, 0.13, 0.11, 0.02],
      waves=0.01,
      dim=0.12,
    )
  elif style == 'bun':
    _lock(
      canvas,
      person,
      rng=rng,
      points=[(-0.04, -0.10), (0.04, -0.10)],
      radii=[0.17, 0.17],
      dim=0.05,
    )
  elif style == 'curly':
    for k in range(15):
      turn = np.pi * (0.78 + 1.44 * k / 14)
      x, y = 0.37 * np.sin(turn - np.pi), 0.36 + 0.39 * np.cos(turn)
      size = rng.uniform(0.15, 0.20)
      _lock(
        canvas,
        person,
        rng=rng,
        points=[(x, y), (x + 0.02, y + 0.02)],
        radii=[size, size],
        dim=rng.uniform(0.0, 0.2),
      )


def draw_front_hair(canvas, person):
  """Locks that fall over shoulders and garment."""
  rng = person.rng(STREAM_SKIN, 7)
  style = person.hair_style
  if style in ('long', 'wavy'):
    waves = rng.uniform(0.015, 0.03) * (style == 'wavy')
    end = rng.uniform(1.55, 2.15)
    for side in (-1, 1):
      reach = end + rng.uniform(-0.12, 0.12)
      if rng.random() < 0.22:
        reach = 1.25  # Tucked behind this shoulder.
      for aside, size in ((0.02, 0.085), (-0.035, 0.07)):
        _lock(
          canvas,
          person,
          rng=rng,
          points=[
            (side * 0.335, 0.30),
            (side * 0.352, 0.52),
            (side * (0.372 + 0.5 * aside), 0.82),
            (side * (0.395 + aside), 0.5 * (0.75 + reach)),
            (side * (0.36 + aside), reach),
          ],
          radii=[0.03, 0.04, size, size * 1.05, 0.015],
          waves=waves,
          melt=0.25,
        )
  elif style == 'bob':
    end = rng.uniform(0.98, 1.18)
    for side in (-1, 1):
      for aside, size in ((0.01, 0.085), (-0.03, 0.07)):
        _lock(
          canvas,
          person,
          rng=rng,
          points=[
            (side * 0.335, 0.30),
            (side * 0.352, 0.50),
            (side * (0.36 + aside), 0.78),
            (side * (0.33 + aside), end),
          ],
          radii=[0.03, 0.04, size, 0.04],
          melt=0.25,
        )
