"""Draws the body: backdrop, legs, trousers or skirt, torso and neck."""

import cv2
import numpy as np

from input_pipeline.synthetic import drawing, fields
from input_pipeline.synthetic.people import STREAM_SKIN, profile_at
from viton_jax.labels import L_HIP, R_HIP

PANTS, SKIRT, FACE, LEFT_LEG, RIGHT_LEG = 9, 12, 13, 16, 17
# Bare chest and belly: LIP-20 has no label for them; as CIHP and our layouts.
TORSO_SKIN = 10
SKIN_SHADOW = (0.70, 0.56, 0.52)
BOTTOM_SHADOW = (0.42, 0.42, 0.47)

# Radius of a leg at hip (0), knee (1) and ankle (2), in heads.
LEG_PROFILE = np.array(
  [
    [0.0, 0.37],
    [0.5, 0.315],
    [0.9, 0.225],
    [1.0, 0.205],
    [1.3, 0.215],
    [2.0, 0.11],
  ]
)


def torso_grid(person, window):
  """Torso coordinates of the pixels of a window, in heads.

  Returns:
    t (h, w): beside the spine, to the right of the image;
    s (h, 1): depth below the pit of the neck.
  """
  x, y = drawing.pixel_grid(window)
  s = (y - person.pit[1]) / person.unit
  t = (x - person.pit[0]) / person.unit - person.spine(s)
  return t.astype(np.float32), s.astype(np.float32)


def shoulder_line(person, part, *, neck, tip, power=1.4):
  """Depth of the upper edge of the torso.

  Args:
    part: position between the middle (0) and the tips (-1, 1).
    neck: depth at the middle.
    tip: depth at the tips of level shoulders.
    power: how hollow the line from neck to shoulder is.

  Returns:
    Depth in heads, same shape as `part`.
  """
  right, left = (
    tip + side * person.tilt - 0.8 * up
    for side, up in zip((-1, 1), person.rise, strict=True)
  )
  end = np.where(part < 0, right, left).astype(np.asarray(part).dtype)
  return neck + (end - neck) * np.minimum(np.abs(part), 1.3) ** power


def draw_backdrop(canvas, person):
  """Light studio paper: a soft glow in the middle, darker to the rim."""
  x = np.linspace(0, 1, 24, dtype=np.float32)
  y = np.linspace(0, 1, 32, dtype=np.float32)[:, None]
  glow = 0.035 - 0.06 * ((x - 0.45) ** 2 + (y - 0.35) ** 2)
  paper = np.clip(person.backdrop + glow[..., None], 0, 1)
  canvas.rgb[:] = cv2.resize(
    paper, canvas.shape[::-1], interpolation=cv2.INTER_CUBIC
  )


def leg_cover(person, field, *, radius, ease):
  """How much of each pixel a leg covers, in 0..1.

  At the hips legs are no wider than these.

  Args:
    person: whose.
    field: of the leg, see `fields`.
    radius: of the leg at each pixel of the field, in pixels.
    ease: of the trousers, in heads.
  """
  t, s = torso_grid(person, field.window)
  hips = person.half_width(s) + 0.6 * ease + 0.01
  hips += 0.3 * drawing.smoothstep(2.8, 3.7, s)
  hips = hips.astype(np.float32)
  beside = (hips - np.abs(t)) * person.unit + 0.5
  return np.minimum(field.coverage(radius), np.clip(beside, 0, 1))


def draw_bottom(canvas, person):
  """Legs and what covers them."""
  rng = person.rng(STREAM_SKIN, 2)
  unit, joints = person.unit, person.joints
  trousers = person.bottom == 'trousers'
  ease = rng.uniform(0.015, 0.075) if trousers else 0.0
  height, width = canvas.shape
  colour = person.bottom_colour if trousers else person.skin
  grain = drawing.grain(rng, (height, width)) * np.float32(0.012)
  for side, first in ((-1, R_HIP), (1, L_HIP)):
    line = joints[first : first + 3].copy()
    line[0, 1] -= 0.12 * unit
    centre, marks = fields.limb_line(line, unit=unit)
    field = fields.limb_field(centre, 0.46 * unit, shape=canvas.shape)
    if field is None:
      continue
    at = np.interp(field.along, marks, [0, 1, 2])
    radius = profile_at(LEG_PROFILE, at) * person.limb + ease
    # Narrow thighs under wide hips start as wide as the hips.
    narrow = float(person.half_width(2.5)) - 0.32 - 0.37 * person.limb
    radius = radius + max(narrow, 0) * drawing.smoothstep(0.7, 0.2, at)
    radius = (radius * unit).astype(np.float32)
    lit = field.lit(radius, roundness=0.85)
    if trousers:
      lit = lit + _leg_folds(rng, field, radius=radius)
      label = PANTS
    else:
      label = LEFT_LEG if side > 0 else RIGHT_LEG
    x0, y0, x1, y1 = field.window
    cover = leg_cover(person, field, radius=radius, ease=ease)
    # The inner thigh lies in the shade of the other leg.
    inner = drawing.smoothstep(0.2, 1.0, -side * field.across / radius)
    shade = lit - 0.28 * inner * drawing.smoothstep(1.0, 0.0, at)
    canvas.paint_lit(
      field.window,
      cover,
      base=colour,
      lit=shade,
      label=label,
      shadow=BOTTOM_SHADOW if trousers else SKIN_SHADOW,
      gloss=0.03,
      grain=grain[y0:y1, x0:x1] if trousers else None,
    )
  window = drawing.clip_window(
    person.place(-1.45, 1.4), person.place(1.45, 4.4), shape=canvas.shape
  )
  if window is None:
    return
  t, s = torso_grid(person, window)
  if trousers:
    _draw_hips(canvas, person, window=window, t=t, s=s, ease=ease, grain=grain)
  else:
    _draw_skirt(canvas, person, window=window, t=t, s=s, rng=rng)


def _leg_folds(rng, field, *, radius):
  """A few slanting creases on trouser legs: additions to the Lambert term."""
  at, part = field.along / radius, field.across / radius
  folds = np.zeros_like(at)
  for _ in range(5):
    middle, slope = rng.uniform(0.2, 6.0), rng.uniform(-0.8, 0.8)
    off = (at - middle - slope * part) / rng.uniform(0.12, 0.3)
    folds -= off * np.exp(-off * off) * rng.uniform(0.05, 0.16)
  return folds


def _draw_hips(canvas, person, *, window, t, s, ease, grain):
  """The upper part of trousers with waistband, fly and pockets."""
  unit = person.unit
  x0, y0, x1, y1 = window
  wide = (person.half_width(s) + ease * 0.6 + 0.01).astype(np.float32)
  part = np.clip(t / wide, -1, 1)
  top = 1.50 + 0.05 * part * part
  alpha = np.clip((wide - np.abs(t)) * unit + 0.5, 0, 1)
  alpha = alpha * np.clip((s - top) * unit + 0.5, 0, 1)
  alpha *= drawing.smoothstep(2.74, 2.45, s - 0.25 * np.abs(t))
  facing = np.sqrt(1 - (0.85 * part) ** 2)
  lit = 0.85 * part * drawing.LIGHT[0] + facing * drawing.LIGHT[2] + 0.02
  band = np.exp(-(((s - top - 0.17) / 0.012) ** 2))
  fly = np.exp(-((t / 0.012) ** 2)) * (s - top > 0.17) * (s < 2.5)
  pocket = np.abs(t) - 0.30 - 0.22 * (s - 1.8)
  pocket = np.exp(-((pocket / 0.010) ** 2)) * (s - top > 0.19) * (s < 2.2)
  lit = lit - 0.16 * (band + 0.7 * fly + 0.7 * pocket)
  canvas.paint_lit(
    window,
    alpha,
    base=person.bottom_colour,
    lit=lit,
    label=PANTS,
    shadow=BOTTOM_SHADOW,
    gloss=0.03,
    grain=grain[y0:y1, x0:x1],
  )


def _draw_skirt(canvas, person, *, window, t, s, rng):
  """A pencil or flared skirt with soft pleats."""
  unit, end = person.unit, person.bottom_length
  flare = rng.choice([0.0, 0.10, 0.25, 0.38])
  hips = np.minimum(s, 2.4)
  wide = person.half_width(hips) + 0.02 + flare * np.maximum(s - 2.15, 0)
  wide = wide.astype(np.float32)
  part = np.clip(t / wide, -1, 1)
  pleats = drawing.noise_line(rng, part, scale=6.0)
  hem = end + 0.05 * (1 - part * part) + 0.03 * flare * 6 * pleats
  top = 1.50 + 0.05 * part * part
  alpha = np.clip((wide - np.abs(t)) * unit + 0.5, 0, 1)
  alpha = alpha * np.clip((s - top) * unit + 0.5, 0, 1)
  alpha *= np.clip((hem - s) * unit + 0.5, 0, 1)
  facing = np.sqrt(1 - (0.85 * part) ** 2)
  lit = 0.85 * part * drawing.LIGHT[0] + facing * drawing.LIGHT[2] + 0.02
  lit = lit + (0.05 + 0.5 * flare) * pleats * drawing.smoothstep(1.8, 3.0, s)
  lit -= 0.12 * np.exp(-(((s - hem + 0.07) / 0.012) ** 2))
  shadow = drawing.smoothstep(0.20, 0.0, s - hem) * (s > hem)
  x0, y0, x1, y1 = window
  legs = canvas.parse[y0:y1, x0:x1] > 0
  canvas.darken(window, 0.35 * shadow * legs)
  canvas.paint_lit(
    window,
    alpha,
    base=person.bottom_colour,
    lit=lit,
    label=SKIRT,
    shadow=BOTTOM_SHADOW,
    gloss=0.03,
  )


def draw_torso(canvas, person):
  """Bare torso and neck, as far as a garment may leave them open."""
  unit = person.unit
  window = drawing.window_of(
    person.place(-1.0, -0.9), person.place(1.0, 2.1), shape=canvas.shape
  )
  t, s = torso_grid(person, window)
  wide = person.half_width(s).astype(np.float32)
  part = t / wide
  top = shoulder_line(person, part, neck=-0.14, tip=0.08)
  body = np.clip((wide - np.abs(t)) * unit + 0.5, 0, 1)
  body = body * np.clip((s - top) * unit + 0.5, 0, 1)
  # The neck follows the head's tilt and widens into the shoulders.
  lean = np.tan(np.radians(person.head_tilt)) * np.clip(-s, 0, 1)
  across = t - lean
  thick = 0.185 + 0.012 * person.limb + 0.16 * drawing.smoothstep(-0.26, 0.0, s)
  neck = np.clip((thick - np.abs(across)) * unit + 0.5, 0, 1) * (s < 0.05)
  alpha = np.maximum(body, neck).astype(np.float32)

  curved = np.clip(across / thick, -1, 1) * drawing.smoothstep(0.1, -0.2, s)
  curved = curved + 0.62 * np.clip(part, -1, 1) * drawing.smoothstep(
    -0.2, 0.1, s
  )
  curved = np.clip(curved, -0.95, 0.95)
  lit = curved * drawing.LIGHT[0] * 0.8
  lit = lit + np.sqrt(1 - curved**2) * drawing.LIGHT[2] + 0.02
  # Collar bones, the pit between them, and the shade under the chin.
  bone = s - 0.09 + 0.16 * np.abs(t) - 0.10 * t * t
  bone = bone / 0.032
  arm = drawing.smoothstep(0.05, 0.12, np.abs(t)) * drawing.smoothstep(
    0.55, 0.35, np.abs(t)
  )
  lit = lit - 0.12 * arm * bone * np.exp(-bone * bone)
  lit -= 0.05 * np.exp(-((t / 0.05) ** 2) - ((s - 0.04) / 0.06) ** 2)
  chin = drawing.smoothstep(0.06, -0.28, s - 0.35 * (across - 0.06))
  lit -= 0.30 * chin
  cleft = np.exp(-((t / 0.03) ** 2)) * drawing.smoothstep(0.30, 0.55, s)
  lit -= 0.07 * cleft
  canvas.paint_lit(
    window, alpha, base=person.skin, lit=lit, label=FACE, shadow=SKIN_SHADOW
  )
  x0, y0, x1, y1 = window
  drawn = canvas.parse[y0:y1, x0:x1]
  drawn[(drawn == FACE) & ((s > 0.05) | (np.abs(t) > 0.3))] = TORSO_SKIN
