"""Draws bodies and what they wear below: skin, trousers, skirts, shoes."""

import math

import cv2
import numpy as np

from input_pipeline.synthetic import arms, drawing, fields, figure
from input_pipeline.synthetic.people import STREAM_SKIN, profile_at
from input_pipeline.synthetic.photo import folds
from input_pipeline.synthetic.photo.surface import slopes, unit_normal
from viton_jax.labels import L_HIP, R_HIP

_SKIN_GLOSS = 0.05


def round_normal(field, radius, *, roundness=0.96):
  """Normals (h, w, 2) of a round limb, and the position across it, -1..1."""
  part = np.clip(field.across / radius, -1, 1)
  # Bodies are flatter than tubes in front and turn away fast at the rim.
  bent = roundness * part * (0.72 + 0.28 * part * part)
  return bent[..., None] * field.normal, part


def skin_colour(person, shape, *, stream, warm: float | np.ndarray = 0.0):
  """Skin with its uneven red: float32 (h, w, 3).

  Args:
    person: whose.
    shape: (h, w).
    stream: of random numbers.
    warm: (h, w) or a number, how much more blood it shows.
  """
  rng = person.rng(STREAM_SKIN, 20, stream)
  cells = (shape[0] // 14 + 2, shape[1] // 14 + 2)
  red = drawing.noise(rng, shape, cells=cells)
  red = np.float32(0.22) * red + warm
  blood = np.array([0.01, -0.055, -0.05], np.float32)
  return person.skin + red[..., None] * (blood * person.skin)


def draw_torso(canvas, person):
  """Bare torso and neck, as far as a garment may leave them open."""
  unit = person.unit
  window = drawing.window_of(
    person.place(-1.0, -0.9), person.place(1.0, 2.1), shape=canvas.shape
  )
  t, s = figure.torso_grid(person, window)
  wide = person.half_width(s).astype(np.float32)
  part = t / wide
  top = figure.shoulder_line(person, part, neck=-0.14, tip=0.08)
  body = np.clip((wide - np.abs(t)) * unit + 0.5, 0, 1)
  body = body * np.clip((s - top) * unit + 0.5, 0, 1)
  lean = math.tan(math.radians(person.head_tilt)) * np.clip(-s, 0, 1)
  across = t - lean
  strong = 0.03 * person.look.male
  thick = 0.205 + strong + 0.02 * person.limb
  thick = thick + 0.16 * drawing.smoothstep(-0.26, 0.0, s)
  neck = np.clip((thick - np.abs(across)) * unit + 0.5, 0, 1) * (s < 0.05)
  alpha = np.maximum(body, neck).astype(np.float32)

  below = drawing.smoothstep(-0.2, 0.1, s)
  nx = 0.95 * np.clip(across / thick, -1, 1) * (1 - below)
  nx = nx + 0.75 * np.clip(part, -1, 1) * below
  ny = -0.55 * drawing.smoothstep(0.16, 0.0, s - top) * below
  ny = ny + 0.12 * drawing.smoothstep(0.1, 0.5, s) * (s < 1)
  # Breast or chest.
  bust = 0.025
  if not person.look.male and person.look.age >= 14:
    bust = 0.125
  height = np.exp(-(((s - 0.84) / 0.22) ** 2)) * sum(
    np.exp(-(((t - side * 0.27) / 0.21) ** 2)) for side in (-1, 1)
  )
  height *= np.float32(bust)
  _add_bones(height, t=t, s=s, across=across)
  normal = np.dstack([nx, ny]).astype(np.float32, copy=False)
  normal = unit_normal(normal + slopes(height * np.float32(unit)))
  warm = 0.6 * np.exp(-((t / 0.2) ** 2)) * np.exp(-(((s - 0.25) / 0.22) ** 2))
  canvas.lay(
    window,
    alpha,
    colour=skin_colour(person, alpha.shape, stream=0, warm=warm),
    normal=normal,
    label=figure.FACE,
    gloss=_SKIN_GLOSS,
  )
  x0, y0, x1, y1 = window
  drawn = canvas.parse[y0:y1, x0:x1]
  low = (s > 0.05) | (np.abs(t) > 0.3)
  drawn[(drawn == figure.FACE) & low] = figure.TORSO_SKIN


def _add_bones(height, *, t, s, across):
  """Adds collar bones and neck muscles, and the pit between, to a relief.

  Args:
    height: float32 (h, w) in heads, changed in place.
    t, s: of the torso's grid.
    across: (h, w), heads beside the neck's axis.
  """
  count = int(np.searchsorted(s[:, 0], 0.55))
  height, t, s, across = height[:count], t[:count], s[:count], across[:count]
  aside = np.abs(t)
  bone = (s - 0.085 + 0.17 * aside - 0.12 * t * t) / 0.028
  span = drawing.smoothstep(0.05, 0.12, aside)
  span = 0.018 * span * drawing.smoothstep(0.6, 0.35, aside)
  height += span * (np.exp(-bone * bone) - 0.8 * np.exp(-((bone + 1.6) ** 2)))
  cord = (np.abs(across) - 0.035 + 0.24 * s) / 0.03
  height += 0.010 * np.exp(-cord * cord) * drawing.smoothstep(0.03, -0.1, s)
  pit = np.exp(-((t / 0.05) ** 2)) * np.exp(-(((s - 0.03) / 0.05) ** 2))
  height -= 0.03 * pit


def draw_arm(canvas, person, *, side, arm, seam, covered):
  """Draws the bare arm and hand; see `arms.draw_arm`."""
  field, at, radius = arm
  label = arms.LEFT_ARM if side > 0 else arms.RIGHT_ARM
  alpha = field.coverage(radius)
  cast_arm(canvas, field.window, alpha * (at > 0.35))
  if covered > 0:
    alpha = alpha * (at > covered)
  else:
    alpha = alpha * (
      1 - arms.behind_torso(person, side, window=field.window, seam=seam)
    )
  normal, part = round_normal(field, radius)
  # Muscles, and the elbow with its redder skin.
  elbow = np.exp(-(((at - 1.0) / 0.06) ** 2))
  height = 0.02 * np.exp(
    -(((at - 0.5) / 0.25) ** 2) - ((part - 0.2) / 0.5) ** 2
  )
  height = height + 0.02 * np.exp(
    -(((at - 1.25) / 0.16) ** 2) - ((part + 0.3) / 0.5) ** 2
  )
  height = height - 0.008 * elbow * np.exp(-((part / 0.4) ** 2))
  relief = slopes((height * person.unit).astype(np.float32))
  canvas.lay(
    field.window,
    alpha,
    colour=skin_colour(
      person,
      alpha.shape,
      stream=2 + side,
      warm=0.9 * elbow + np.float32(0.5) * (at > 1.8),
    ),
    normal=unit_normal(normal + relief),
    label=label,
    gloss=_SKIN_GLOSS,
  )
  for field, radius, dim, melt in arms.hand_parts(
    person, side, shape=canvas.shape, size=1.2
  ):
    alpha = field.coverage(radius)
    if melt:
      alpha = alpha * drawing.smoothstep(0, melt, field.along)
    normal, part = round_normal(field, radius)
    # Joints of the fingers, and nails.
    warm = 1 + 0.04 * np.cos(field.along * np.float32(42 / person.unit))
    canvas.lay(
      field.window,
      alpha,
      colour=(person.skin * np.array([1.0, 0.95, 0.95], np.float32))
      * warm[..., None],
      normal=normal,
      label=label,
      gloss=_SKIN_GLOSS,
      openness=1 - 2 * dim - 0.35 * np.abs(part) * part * part,
    )


def cast_arm(canvas, window, alpha):
  """The shadow that an arm throws on what it is before."""
  canvas.cast(window, alpha.astype(np.float32), height=0.14, depth=0.55)


def draw_bottom(canvas, person):
  """Legs and what covers them, shoes included."""
  rng = person.rng(STREAM_SKIN, 2)
  unit, joints = person.unit, person.joints
  trousers = person.bottom == 'trousers'
  ease = rng.uniform(0.015, 0.09) if trousers else 0.0
  wide_leg = rng.uniform(0, 0.12) * (rng.random() < 0.35) if trousers else 0.0
  red, _, blue = person.bottom_colour
  denim = trousers and blue > red and rng.random() < 0.8
  height, width = canvas.shape
  weave = _weave(rng, (height, width), denim=denim)
  for side, first in ((-1, R_HIP), (1, L_HIP)):
    line = joints[first : first + 3].copy()
    line[0, 1] -= 0.12 * unit
    centre, marks = fields.limb_line(line, unit=unit)
    field = fields.coarse_field(centre, 0.55 * unit, shape=canvas.shape)
    if field is None:
      continue
    at = np.interp(field.along, marks, [0, 1, 2]).astype(np.float32)
    radius = profile_at(figure.LEG_PROFILE, at) * person.limb + ease
    radius = radius + wide_leg * drawing.smoothstep(0.3, 2.0, at)
    # Thighs begin as wide as the hips.
    aside = abs(float(joints[first, 0] - person.place(0, 2.42)[0])) / unit
    narrow = float(person.half_width(2.5)) - aside - 0.37 * person.limb
    radius = radius + max(narrow, 0) * drawing.smoothstep(0.9, 0.25, at)
    radius = (radius * unit).astype(np.float32)
    normal, part = round_normal(field, radius)
    x0, y0, x1, y1 = field.window
    cover = figure.leg_cover(person, field, radius=radius, ease=ease)
    # The inner thigh lies in the shade of the other leg.
    inner = drawing.smoothstep(0.2, 1.0, -side * field.across / radius)
    openness = 1 - 0.45 * inner * drawing.smoothstep(1.3, 0.0, at)
    if trousers:
      relief = _leg_folds(rng, field, at=at, part=part, unit=unit, ease=ease)
      normal = unit_normal(normal + slopes(relief * unit))
      openness = openness - folds.hollow(relief, 0.04 * unit)
      tone = 1 + weave[y0:y1, x0:x1]
      if denim:  # Worn pale in front.
        worn = np.exp(-((part / 0.55) ** 2)) * drawing.smoothstep(2, 0.2, at)
        tone = tone + 0.22 * worn
      colour = person.bottom_colour * tone[..., None]
      seam = np.exp(-(((part + side * 0.92) / 0.04) ** 2))
      openness = openness - 0.12 * seam
    else:
      warm = 1.1 * np.exp(-(((at - 1) / 0.09) ** 2))
      colour = skin_colour(person, at.shape, stream=8 + side, warm=warm)
    canvas.lay(
      field.window,
      cover,
      colour=colour,
      normal=normal,
      label=figure.PANTS
      if trousers
      else (figure.LEFT_LEG if side > 0 else figure.RIGHT_LEG),
      gloss=0.01 if trousers else _SKIN_GLOSS,
      openness=openness,
    )
  window = drawing.clip_window(
    person.place(-1.6, 1.4), person.place(1.6, 4.4), shape=canvas.shape
  )
  if window is None:
    return
  if trousers:
    _draw_hips(canvas, person, window=window, ease=ease, weave=weave, rng=rng)
  else:
    _draw_skirt(canvas, person, window=window, rng=rng)


def _weave(rng, shape, *, denim):
  """Brightness of woven cloth about 0: (h, w) float32."""
  grain = np.float32(0.035 if denim else 0.018) * drawing.grain(rng, shape)
  grain += np.float32(0.03) * drawing.noise(rng, shape, cells=(14, 10))
  if denim:
    grain += np.float32(0.03) * drawing.noise(
      rng, shape, cells=(shape[0] // 8, shape[1] // 2)
    )
  return grain


def _leg_folds(rng, field, *, at, part, unit, ease):
  """Creases of a trouser leg, deepest at crotch, knee and ankle: heads."""
  # Folds are soft; half the resolution is plenty.
  size = at.shape[::-1]
  along = field.along[::2, ::2] / np.float32(unit)
  at, part = at[::2, ::2], part[::2, ::2]
  height = folds.crumple(rng, part * 0.3, along * 0.42 + 0.12 * part, cells=7)
  place = 0.2 + 0.8 * np.exp(-(((at - 1) / 0.25) ** 2))
  place = place + 0.5 * np.exp(-((at / 0.3) ** 2))
  height *= np.float32(0.016 + 0.2 * ease) * place
  return cv2.resize(height, size)


def _draw_hips(canvas, person, *, window, ease, weave, rng):
  """The upper part of trousers with waistband, fly and pockets."""
  unit = person.unit
  t, s = figure.torso_grid(person, window)
  x0, y0, x1, y1 = window
  wide = (person.half_width(s) + ease * 0.6 + 0.01).astype(np.float32)
  part = np.clip(t / wide, -1, 1)
  top = 1.50 + 0.05 * part * part
  alpha = np.clip((wide - np.abs(t)) * unit + 0.5, 0, 1)
  alpha = alpha * np.clip((s - top) * unit + 0.5, 0, 1)
  alpha *= drawing.smoothstep(2.74, 2.45, s - 0.25 * np.abs(t))
  band = np.exp(-(((s - top - 0.17) / 0.014) ** 2))
  fly = np.exp(-((t / 0.014) ** 2)) * (s - top > 0.17) * (s < 2.45)
  pocket = np.abs(t) - 0.30 - 0.22 * (s - 1.8)
  pocket = np.exp(-((pocket / 0.012) ** 2)) * (s - top > 0.19) * (s < 2.2)
  height = -0.014 * (band + 0.8 * fly + 0.8 * pocket)
  # Creases that run out from the crotch.
  few, deep = part[::2, ::2], s[::2]
  rough = folds.crumple(rng, 0.3 * few, 0.5 * deep + 0.2 * np.abs(few), cells=7)
  rough *= (0.012 + 0.1 * ease) * drawing.smoothstep(1.7, 2.4, deep)
  height = height + cv2.resize(rough, part.shape[::-1])
  height = height.astype(np.float32)
  normal = np.dstack([0.9 * part, np.full_like(part, 0.05)])
  normal = unit_normal(normal + slopes(height * unit))
  tone = 1 + weave[y0:y1, x0:x1] + 0.10 * np.exp(-((part / 0.6) ** 2))
  canvas.lay(
    window,
    alpha.astype(np.float32),
    colour=person.bottom_colour * tone[..., None],
    normal=normal,
    label=figure.PANTS,
    gloss=0.01,
    openness=1 - 0.3 * (band + fly + pocket).clip(0, 1),
  )


def _draw_skirt(canvas, person, *, window, rng):
  """A pencil, flared or pleated skirt."""
  unit, end = person.unit, person.bottom_length
  t, s = figure.torso_grid(person, window)
  flare = float(rng.choice([0.0, 0.10, 0.25, 0.38]))
  pleated = flare > 0 and rng.random() < 0.35
  hips = np.minimum(s, 2.4)
  wide = person.half_width(hips) + 0.02 + flare * np.maximum(s - 2.15, 0)
  wide = wide.astype(np.float32)
  part = np.clip(t / wide, -1, 1)
  if pleated:
    turn = np.arcsin(0.95 * part) * rng.uniform(14, 24)
    waves = 2 * np.abs(turn / 3.1416 % 1 - 0.5) - 0.5
    depth = 0.045
  else:
    waves = drawing.noise_line(rng, part + 0.05 * s, scale=6.0)
    depth = 0.02 + 0.22 * flare
  opening = drawing.smoothstep(1.6, 3.0, s)
  hem = end + 0.05 * (1 - part * part) + 0.18 * flare * waves
  top = 1.50 + 0.05 * part * part
  alpha = np.clip((wide - np.abs(t)) * unit + 0.5, 0, 1)
  alpha = alpha * np.clip((s - top) * unit + 0.5, 0, 1)
  alpha *= np.clip((hem - s) * unit + 0.5, 0, 1)
  alpha = alpha.astype(np.float32)
  rough = folds.crumple(rng, part * 0.7, 0.35 * s, cells=8)
  height = depth * waves * (0.25 + 0.75 * opening) + 0.008 * rough
  height = height - 0.012 * np.exp(-(((s - hem + 0.09) / 0.014) ** 2))
  height = height.astype(np.float32)
  normal = np.dstack([0.9 * part, np.full_like(part, 0.08)])
  normal = unit_normal(normal + slopes(height * unit))
  weave = _weave(rng, part.shape, denim=False)
  canvas.cast(window, alpha, height=0.2, depth=0.6)
  canvas.lay(
    window,
    alpha,
    colour=person.bottom_colour * (1 + weave)[..., None],
    normal=normal,
    label=figure.SKIRT,
    gloss=0.01,
    openness=1 - folds.hollow(height, 0.05 * unit),
  )


def draw_shade(canvas, person, image):
  """Darkens a background behind a body: (h, w, 3) in place.

  The shadow follows torso, head and legs and not the clothes, so that it is
  the same whatever somebody wears.
  """
  rng = person.rng(STREAM_SKIN, 21)
  if rng.random() < 0.5:
    return
  h, w = (size // 4 for size in canvas.shape)
  body = np.zeros((h, w), np.uint8)
  joints = np.round(person.joints / 4).astype(np.int32)
  pit = person.pit / 4
  unit = person.unit / 4
  head = tuple(int(v) for v in pit - (0, 0.8 * unit))
  cv2.ellipse(body, head, (int(0.4 * unit), int(0.55 * unit)), 0, 0, 360, 1, -1)
  trunk = joints[[2, 8, 9, 10, 13, 12, 11, 5]]
  cv2.fillPoly(body, [trunk], 1)
  cv2.polylines(body, [trunk], True, 1, max(1, int(0.5 * unit)))
  far = rng.uniform(0.25, 0.9)
  move = canvas.light.away * far * unit
  shift = np.array([[1, 0, move[0]], [0, 1, move[1]]], np.float32)
  shade = cv2.warpAffine(body.astype(np.float32), shift, (w, h))
  shade = drawing.blur(shade, (0.12 + 0.3 * far) * unit)
  shade = cv2.resize(shade, canvas.shape[::-1])
  image *= 1 - np.float32(rng.uniform(0.1, 0.4)) * shade[..., None]
