"""Draws nose, mouth, eyes, brows, beard and wrinkles onto a face's patch.

All take `face.Patch` and the person. Positions are in head heights.
"""

import numpy as np

from input_pipeline.synthetic import drawing
from input_pipeline.synthetic.people import STREAM_SKIN

_LASH = np.array([0.10, 0.07, 0.07], np.float32)


def draw_nose(patch, person):
  """Bridge, tip, wings and nostrils."""
  turn, look = 0.05 * person.head_turn, person.look
  middle = 1.7 * turn
  wide = 0.054 * (1 + 0.16 * person.face[3] + 0.10 * look.male)
  length = 0.70 if look.age >= 14 else 0.685
  part = np.clip((patch.y - 0.46) / (length - 0.46), 0, 1)
  axis = turn + (middle - turn) * part
  # The bridge grows towards the tip and ends below it.
  height = (0.012 + 0.085 * part**1.4) * drawing.smoothstep(
    length + 0.022, length - 0.012, patch.y
  )
  height = height * drawing.smoothstep(0.44, 0.52, patch.y)
  spread = 0.030 + 0.025 * part
  patch.relief += height * np.exp(-(((patch.x - axis) / spread) ** 2))
  patch.relief += 0.030 * patch.spot(middle, length - 0.035, 0.034, 0.032)
  dark = person.skin * (0.42, 0.26, 0.24)
  for side in (-1, 1):
    x = middle + side * 0.92 * wide
    patch.relief += 0.034 * patch.spot(x, length - 0.022, 0.022, 0.026)
    hole = np.array([[-0.021, 0.002], [0.0, -0.008], [0.018, 0.004], [0, 0.01]])
    hole = hole * (side, 1) + (middle + side * 0.56 * wide, length - 0.004)
    cover = patch.fill(drawing.spline(hole, 5, closed=True), blur=0.004)
    patch.tint(0.85 * cover, dark)
    wing = np.array(
      [[0.95, -0.055], [1.36, -0.03], [1.34, -0.004], [1.0, 0.006]]
    )
    line = patch.line(
      wing * (side * wide, 1) + (middle, length), 0.009, blur=0.006
    )
    patch.openness -= 0.4 * line
  below = patch.spot(middle, length + 0.020, 0.055, 0.016)
  patch.openness -= 0.30 * below


def draw_mouth(patch, person):
  """Lips, the line between them, and teeth of who laughs."""
  turn, look = 0.05 * person.head_turn, person.look
  half = 0.108 + 0.014 * person.face[4] + 0.006 * look.male
  full = (0.030 + 0.009 * person.face[5]) * (0.8 if look.male else 1.0)
  full *= 1 - 0.004 * max(look.age - 40, 0)
  rise = 0.004 + 0.022 * person.smile
  x0, y0 = 1.25 * turn, 0.793
  laugh = 0.034 * (person.smile - 0.62) / 0.38 if person.smile > 0.62 else 0.0
  half *= 1 + 3 * laugh

  def curve(rows):
    points = np.array(rows) * (half, full) + (x0, y0)
    # Corners go up with a smile.
    points[:, 1] -= rise * (np.abs(points[:, 0] - x0) / half) ** 2
    return drawing.spline(points, 6)

  seam = [(-1, 0), (-0.5, 0.08), (-0.13, -0.02), (0, 0.12), (0.13, -0.02)]
  seam = curve([*seam, (0.5, 0.08), (1, 0)])
  low = curve([(-1, 0), (-0.5, 0.1), (0, 0.12), (0.5, 0.1), (1, 0)])
  low[:, 1] += laugh * (1 - ((low[:, 0] - x0) / half) ** 2)
  upper = [(-1, 0), (-0.5, -0.55), (-0.18, -1.0), (0, -0.78), (0.18, -1.0)]
  upper = curve([*upper, (0.5, -0.55), (1, 0)])
  lower = curve([(-1, 0), (-0.55, 0.95), (0, 1.45), (0.55, 0.95), (1, 0)])
  lower[:, 1] += laugh * (1 - ((lower[:, 0] - x0) / half) ** 2)
  lips = person.lips
  for top, bottom, dim in ((upper, seam, 0.90), (low, lower, 1.02)):
    cover = patch.fill(np.concatenate([top, bottom[::-1]]), blur=0.004)
    patch.tint(0.85 * cover, lips * dim)
    # Fine vertical lines, and moisture.
    lines = 0.05 * np.sin(patch.x * 420 + 3 * np.sin(patch.y * 60))
    patch.colour *= 1 + (cover * lines)[..., None]
    patch.gloss += 0.10 * cover * (not look.male)
  patch.relief += 0.018 * patch.spot(x0, y0 - 0.55 * full, 0.6 * half, 0.018)
  patch.relief += 0.026 * patch.spot(
    x0, y0 + 0.75 * full + laugh, 0.6 * half, 0.022
  )
  for side in (-1, 1):
    patch.openness -= 0.28 * patch.spot(
      x0 + side * 1.04 * half, y0 - rise, 0.018, 0.014
    )
  if laugh:
    gap = patch.fill(np.concatenate([seam, low[::-1]]), blur=0.003)
    patch.tint(0.95 * gap, (0.20, 0.08, 0.08))
    teeth = low.copy()
    teeth[:, 1] -= 0.22 * laugh
    shape = np.concatenate([seam * (0.84, 1) + (0.16 * x0, 0), teeth[::-1]])
    cover = patch.fill(shape, blur=0.003) * gap
    gaps = 0.06 * (np.abs((patch.x - x0) * 26 % 1 - 0.5) < 0.05)
    patch.tint(0.92 * cover, (0.90, 0.87, 0.82))
    side = np.abs(patch.x - x0) / half
    patch.openness -= cover * (gaps + 0.45 * side**2)
  line = patch.line(seam[::6], 0.008, blur=0.003)
  patch.tint(0.75 * line, lips * (0.42, 0.32, 0.34))
  patch.openness -= 0.30 * patch.spot(
    turn, y0 + 1.7 * full + laugh + 0.018, 0.075, 0.016
  )
  patch.relief += 0.020 * patch.spot(turn, 0.935, 0.075, 0.045)
  patch.relief -= 0.006 * patch.spot(x0, 0.738, 0.014, 0.03)  # Philtrum.


def draw_eye(patch, person, *, side):
  """Socket, lids, eye ball, lashes and brow."""
  look, rng = person.look, person.rng(STREAM_SKIN, 31, side + 1)
  turn = 0.05 * person.head_turn
  x0, y0 = side * (0.150 + 0.004 * person.face[3]) + turn, 0.537
  young = look.age < 14
  wide = 0.067 * (1.08 if young else 1.0)
  tall = (0.030 + 0.005 * person.face[6]) * (1.15 if young else 1.0)
  tall *= 1 - 0.22 * max(person.smile - 0.5, 0)

  def curve(rows):
    return np.array(rows) * (side, 1) + (x0, y0)

  # The socket and the ball in it; brow bone and cheek bone around.
  patch.relief -= 0.040 * patch.spot(x0 - side * 0.035, y0 - 0.02, 0.06, 0.04)
  patch.relief -= 0.024 * patch.spot(x0, y0, 0.11, 0.055)
  patch.relief += 0.022 * patch.spot(x0, y0, 0.062, 0.045)
  patch.relief += (
    0.016 * patch.spot(x0 + side * 0.02, 0.445, 0.10, 0.03) * (1 + look.male)
  )
  patch.relief += 0.024 * patch.spot(x0 + side * 0.05, 0.645, 0.085, 0.055)
  lid = [(-wide, 0.008), (-0.6 * wide, -0.62 * tall), (0, -tall)]
  lid += [(0.6 * wide, -0.76 * tall), (wide, -0.002)]
  low = [(wide, -0.002), (0.55 * wide, 0.52 * tall), (-0.1 * wide, 0.66 * tall)]
  low += [(-wide, 0.008)]
  upper, under = drawing.spline(lid, 6), drawing.spline(low, 6)
  crease = curve([(p[0] * 1.04, p[1] - 0.016 - 0.3 * tall) for p in lid])
  line = patch.line(crease, 0.008, blur=0.005)
  patch.tint(0.42 * line, person.skin * (0.55, 0.38, 0.34))
  if not look.male and look.age >= 16 and rng.random() < 0.5:  # Eye shadow.
    shade = patch.spot(x0, y0 - 0.028, 0.07, 0.026)
    patch.tint(0.3 * shade, person.skin * (0.55, 0.42, 0.42))
  opening = patch.fill(curve(np.concatenate([upper, under])))
  patch.tint(opening, (0.80, 0.77, 0.76))
  patch.gloss += opening * (0.10 - patch.gloss)
  corner = patch.spot(x0 - side * wide * 0.92, y0 + 0.007, 0.013, 0.009)
  patch.tint(0.7 * corner * opening, person.skin * (1.0, 0.66, 0.64))
  look_x = x0 + 0.011 * person.head_turn
  look_y = y0 - 0.003
  far = np.hypot(patch.x - look_x, patch.y - look_y)

  def disc(radius, soft=0.0035):
    return np.clip((radius - far) / soft + 0.5, 0, 1) * opening

  patch.tint(disc(0.0305), person.iris * 0.35)
  ring = np.clip(0.62 + 9 * (patch.y - look_y), 0.35, 1.15)
  cover = disc(0.0265)[..., None]
  patch.colour += cover * (person.iris * ring[..., None] - patch.colour)
  patch.tint(disc(0.0125), (0.03, 0.03, 0.03))
  # The upper lid and its lashes shade the ball.
  shade = patch.line(curve(lid), 0.026, blur=0.009)
  patch.openness -= 0.75 * shade * opening
  rim = np.abs(patch.x - x0) / wide
  patch.openness -= 0.25 * opening * rim**3
  spark = np.hypot(patch.x - look_x + 0.009, patch.y - look_y + 0.010)
  spark = np.clip((0.0065 - spark) / 0.003 + 0.5, 0, 1) * opening
  patch.tint(spark, (1.25, 1.25, 1.25))
  made_up = not look.male and look.age >= 14
  width = 0.0125 if made_up else 0.0085
  line = patch.line(curve(lid), width)
  patch.tint((0.85 if made_up else 0.65) * line, _LASH)
  if made_up:
    wing = [(0.45 * wide, -0.86 * tall), (wide, -0.008), (1.14 * wide, -0.018)]
    patch.tint(0.7 * patch.line(curve(wing), 0.009), _LASH)
  line = patch.line(curve(low), 0.006, blur=0.002)
  patch.tint(0.30 * line, _LASH)
  # A wet lower rim catches light; the bag below does not.
  patch.openness -= 0.14 * patch.line(
    curve([(p[0] * 1.05, p[1] + 0.024) for p in low]), 0.016, blur=0.01
  )
  _draw_brow(patch, person, rng, curve)


def _draw_brow(patch, person, rng, curve):
  """A brow of single hairs that turn outwards along it."""
  look = person.look
  arch = 0.012 * person.face[7] + 0.006 * (not look.male)
  thick = (0.026 if look.male else 0.017) + 0.005 * person.face[0]
  lift = 0.006 * person.face[1] - 0.008 * look.male
  line = [(-0.098, -0.082), (-0.035, -0.096 - arch), (0.045, -0.100 - arch)]
  line = drawing.spline(np.array([*line, (0.118, -0.066)]) - (0, lift), 10)
  tone = np.minimum(person.hair * 0.6 + person.skin * 0.06, 0.5)
  taper = np.linspace(1, 0.25, len(line))[:, None] ** 0.7
  up = (0, 0.5 * thick) * taper
  shape = curve(np.concatenate([line - up, (line + up)[::-1]]))
  patch.tint(0.45 * patch.fill(shape, blur=0.007), tone)
  count = 46
  share = rng.random((count, 1))
  roots = line[(share[:, 0] * (len(line) - 1)).astype(int)]
  roots = roots + (0, thick) * rng.uniform(-0.4, 0.5, (count, 1)) * (
    1 - 0.6 * share
  )
  ahead = np.concatenate([0.35 + 0.6 * share, -0.9 + 1.15 * share], 1)
  tips = roots + ahead * rng.uniform(0.014, 0.024, (count, 1))
  hairs = np.zeros(patch.relief.shape, np.uint8)
  drawing.hair_lines(hairs, patch.at(curve(np.stack([roots, tips], 1))), 255)
  patch.tint(hairs * np.float32(0.62 / 255), tone * 0.8)


def draw_age(patch, person):
  """Lines of age, around eyes and mouth and on the forehead."""
  turn, old = 0.05 * person.head_turn, np.clip(person.look.age / 75, 0, 1)
  rng = person.rng(STREAM_SKIN, 32)
  dim = np.zeros_like(patch.relief)
  smile = person.smile
  for side in (-1, 1):
    x = 1.3 * turn
    fold = [(x + side * 0.078, 0.688), (x + side * 0.125, 0.735)]
    fold += [(x + side * (0.142 + 0.01 * smile), 0.80)]
    strength = 0.10 + 0.35 * old + 0.12 * smile
    dim += strength * patch.line(fold, 0.010, blur=0.010)
    if old > 0.5:
      at = turn + side * 0.235
      for k in range(3):
        y = 0.525 + 0.018 * k
        line = [(at, y), (at + side * 0.05, y + 0.02 * (k - 1))]
        dim += 0.35 * old * patch.line(line, 0.006, blur=0.004)
      bag = [(turn + side * 0.10, 0.585), (turn + side * 0.155, 0.6)]
      bag += [(turn + side * 0.2, 0.582)]
      dim += 0.4 * old * patch.line(bag, 0.008, blur=0.006)
    # Cheeks are hollow in the thin, full in the young.
    hollow = 0.05 * (1 - 0.5 * person.look.heavy) * (0.4 + old)
    patch.openness -= hollow * patch.spot(side * 0.25, 0.79, 0.07, 0.10)
  if old > 0.5:
    for y in (0.26, 0.31, 0.36):
      bend = rng.uniform(-0.015, 0.015)
      line = [(turn - 0.17, y + bend), (turn, y - 0.01), (turn + 0.17, y)]
      dim += 0.28 * old * patch.line(line, 0.007, blur=0.006)
  patch.openness -= dim
  patch.relief -= 0.01 * dim


def draw_beard(patch, person):
  """Stubble, a moustache or a beard, as single hairs."""
  kind = person.look.beard
  if not kind:
    return
  rng = person.rng(STREAM_SKIN, 33)
  turn = 0.05 * person.head_turn
  mouth = patch.spot(1.25 * turn, 0.80, 0.105, 0.034)
  region = drawing.smoothstep(
    0.70, 0.84, patch.y + 0.35 * np.abs(patch.x - turn)
  )
  cheek = patch.spot(turn, 0.66, 0.185, 0.085)
  region = np.clip(region - 1.6 * cheek, 0, 1) * np.clip(1 - 1.6 * mouth, 0, 1)
  lip = patch.spot(1.3 * turn, 0.752, 0.085, 0.018)
  region = np.maximum(region, np.clip(1.3 * lip - 0.1, 0, 1))
  if kind == 'moustache':
    region = np.clip(1.5 * lip - 0.2, 0, 1)
  tone = person.hair * 0.75
  if kind == 'stubble':
    patch.tint(0.16 * region, person.hair * 0.6 + person.skin * 0.25)
  else:
    patch.tint(0.62 * region, tone * 0.75)
  count = {'stubble': 500, 'moustache': 260, 'beard': 1300}[kind]
  reach = {'stubble': 0.010, 'moustache': 0.03, 'beard': 0.035}[kind]
  h, w = region.shape
  rows, columns = rng.integers(0, h, count * 6), rng.integers(0, w, count * 6)
  inside = region[rows, columns] > rng.uniform(0.15, 0.9, count * 6)
  at = np.column_stack([columns[inside], rows[inside]])[:count].astype(float)
  aside = (at[:, 0] / patch.rate - 0.5 - turn) * 2.2
  ahead = np.column_stack(
    [aside + rng.normal(0, 0.25, len(at)), np.ones(len(at))]
  )
  tips = at + ahead * reach * patch.rate
  hairs = np.zeros(region.shape, np.uint8)
  drawing.hair_lines(hairs, np.stack([at, tips], 1), 255)
  cover = hairs * np.float32((0.25 if kind == 'stubble' else 0.6) / 255)
  light = 0.7 + 0.6 * drawing.noise(rng, region.shape, cells=(60, 50))
  patch.colour += cover[..., None] * (
    tone * light[..., None].clip(0.4, 1.4) - patch.colour
  )
  patch.gloss *= 1 - region


def draw_glasses(patch, person):
  """Spectacles or sunglasses; returns the coverage of dark glass."""
  dark = np.zeros_like(patch.relief)
  if not person.glasses:
    return dark
  rng = person.rng(STREAM_SKIN, 34)
  sun = rng.random() < 0.35
  turn = 0.05 * person.head_turn
  frame = rng.choice([0.06, 0.12, 0.3]) * rng.uniform(0.6, 1.3, 3)
  round_ = rng.uniform(0.6, 1.0)
  ring = np.linspace(0, 2 * np.pi, 41)[:-1]
  width = rng.uniform(0.008, 0.02)
  for side in (-1, 1):
    x0 = side * 0.155 + turn
    cos, sin = np.cos(ring), np.sin(ring)
    lens = np.column_stack(
      [
        x0 + 0.112 * np.sign(cos) * np.abs(cos) ** round_,
        0.553 + 0.078 * np.sign(sin) * np.abs(sin) ** round_,
      ]
    )
    cover = patch.fill(lens)
    if sun:
      shine = 0.05 + 0.16 * np.clip((patch.y - 0.5) / 0.1, 0, 1)
      patch.tint(0.94 * cover, (0.07, 0.06, 0.07))
      patch.colour += (cover * shine)[..., None]
      patch.openness += cover * (1 - patch.openness)
      dark = np.maximum(dark, cover)
    else:
      patch.gloss += 0.05 * cover
    closed = patch.at(np.concatenate([lens, lens[:1]]))
    line = drawing.stroke(closed, patch.window, width=width * patch.rate)
    patch.openness -= 0.25 * drawing.blur(line, 0.012 * patch.rate)
    patch.tint(line, frame)
    dark = np.maximum(dark, line * sun)
    arm = patch.line([(x0 + side * 0.11, 0.53), (side * 0.36, 0.53)], width)
    patch.tint(0.9 * arm, frame)
  bridge = [(turn - 0.045, 0.53), (turn, 0.517), (turn + 0.045, 0.53)]
  patch.tint(patch.line(bridge, width), frame)
  return dark
