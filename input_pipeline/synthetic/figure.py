"""Draws the body: backdrop, legs, trousers or skirt, torso, neck and arms."""

import cv2
import numpy as np

from input_pipeline.synthetic import drawing
from input_pipeline.synthetic.people import (
  L_HIP,
  L_SHOULDER,
  R_HIP,
  R_SHOULDER,
  STREAM_SKIN,
  profile_at,
)

FACE, LEFT_ARM, RIGHT_ARM, PANTS, SKIRT = 13, 14, 15, 9, 12
LEFT_LEG, RIGHT_LEG, LEFT_SHOE, RIGHT_SHOE = 16, 17, 18, 19
SKIN_SHADOW = (0.70, 0.56, 0.52)
BOTTOM_SHADOW = (0.42, 0.42, 0.47)

# Radius of a bare arm at shoulder (0), elbow (1) and wrist (2), in heads.
ARM_PROFILE = np.array([
  [-0.15, 0.138], [0.0, 0.152], [0.25, 0.152], [0.6, 0.132], [1.0, 0.112],
  [1.25, 0.116], [1.6, 0.092], [2.0, 0.064],
])
LEG_PROFILE = np.array([
  [0.0, 0.37], [0.5, 0.315], [0.9, 0.225], [1.0, 0.205],
  [1.3, 0.215], [2.0, 0.11],
])


def torso_grid(person, window):
  """Torso coordinates of the pixels of a window, in heads.

  Returns:
    t (h, w): beside the spine, to the right of the picture;
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


def limb_line(points, *, unit, bend=0.26):
  """A smooth centre line through the joints of a limb.

  Args:
    points: (n, 2) joints in pixels.
    unit: pixels of a head.
    bend: how far from a joint, in heads, its rounding begins.

  Returns:
    centre (k, 2) and the arc length in pixels at each joint (n,).
  """
  pieces, marks = [points[:1]], [0]
  count = 1
  for before, joint, after in zip(
    points[:-2], points[1:-1], points[2:], strict=True
  ):
    to_before, to_after = before - joint, after - joint
    size = [np.hypot(*to_before), np.hypot(*to_after)]
    reach = min(bend * unit, 0.45 * min(size))
    a = joint + to_before / size[0] * reach
    b = joint + to_after / size[1] * reach
    part = np.linspace(0, 1, 7)[:, None]
    pieces.append(
      (1 - part) ** 2 * a + 2 * part * (1 - part) * joint + part**2 * b
    )
    marks.append(count + 3)
    count += 7
  pieces.append(points[-1:])
  marks.append(count)
  centre = np.concatenate(pieces)
  steps = np.hypot(*np.diff(centre, axis=0).T)
  arc = np.concatenate([[0], np.cumsum(steps)])
  return centre, arc[marks]


def draw_bottom(canvas, person):
  """Legs and what covers them."""
  rng = person.rng(STREAM_SKIN, 2)
  unit, joints = person.unit, person.joints
  trousers = person.bottom == 'trousers'
  ease = rng.uniform(0.015, 0.075) if trousers else 0.0
  height, width = canvas.shape
  colour = person.bottom_colour if trousers else person.skin
  grain = rng.standard_normal((height, width), np.float32)
  grain *= np.float32(0.012)
  for side, first in ((-1, R_HIP), (1, L_HIP)):
    line = joints[first:first + 3].copy()
    line[0, 1] -= 0.12 * unit
    centre, marks = limb_line(line, unit=unit)
    field = drawing.limb_field(centre, 0.46 * unit, canvas.shape)
    if field is None:
      continue
    at = np.interp(field.along, marks, [0, 1, 2])
    radius = profile_at(LEG_PROFILE, at) * person.limb + ease
    radius = (radius * unit).astype(np.float32)
    lit = field.lit(radius, roundness=0.85)
    if trousers:
      lit = lit + _leg_folds(rng, field, radius)
      label = PANTS
    else:
      label = LEFT_LEG if side > 0 else RIGHT_LEG
    x0, y0, x1, y1 = field.window
    # At the hips the legs are no wider than the hips.
    t, s = torso_grid(person, field.window)
    hips = person.half_width(s) + 0.6 * ease + 0.01
    hips += 0.3 * drawing.smoothstep(2.8, 3.7, s)
    hips = hips.astype(np.float32)
    cover = np.minimum(
      field.coverage(radius), np.clip((hips - np.abs(t)) * unit + 0.5, 0, 1)
    )
    # The inner thigh lies in the shade of the other leg.
    inner = drawing.smoothstep(0.2, 1.0, -side * field.across / radius)
    shade = lit - 0.28 * inner * drawing.smoothstep(1.0, 0.0, at)
    canvas.paint_lit(
      field.window, cover, base=colour, lit=shade,
      label=label, shadow=BOTTOM_SHADOW if trousers else SKIN_SHADOW,
      gloss=0.03, grain=grain[y0:y1, x0:x1] if trousers else None,
    )
  window = drawing.clip_window(
    person.place(-1.45, 1.4), person.place(1.45, 4.4), canvas.shape
  )
  if window is None:
    return
  t, s = torso_grid(person, window)
  if trousers:
    _draw_hips(canvas, person, window, t=t, s=s, ease=ease, grain=grain)
  else:
    _draw_skirt(canvas, person, window, t=t, s=s, rng=rng)


def _leg_folds(rng, field, radius):
  """A few slanting creases on trouser legs: additions to the Lambert term."""
  at, part = field.along / radius, field.across / radius
  folds = np.zeros_like(at)
  for _ in range(5):
    middle, slope = rng.uniform(0.2, 6.0), rng.uniform(-0.8, 0.8)
    off = (at - middle - slope * part) / rng.uniform(0.12, 0.3)
    folds -= off * np.exp(-off * off) * rng.uniform(0.05, 0.16)
  return folds


def _draw_hips(canvas, person, window, *, t, s, ease, grain):
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
    window, alpha, base=person.bottom_colour, lit=lit, label=PANTS,
    shadow=BOTTOM_SHADOW, gloss=0.03, grain=grain[y0:y1, x0:x1],
  )


def _draw_skirt(canvas, person, window, *, t, s, rng):
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
    window, alpha, base=person.bottom_colour, lit=lit, label=SKIRT,
    shadow=BOTTOM_SHADOW, gloss=0.03,
  )


def draw_torso(canvas, person):
  """Bare torso and neck, as far as a garment may leave them open."""
  unit = person.unit
  window = drawing.clip_window(
    person.place(-1.0, -0.9), person.place(1.0, 2.1), canvas.shape
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


def arm_line(person, side):
  """Centre line of an arm; side -1 is the right arm, +1 the left.

  Returns:
    centre (k, 2) and arc lengths (3,) of shoulder, elbow and wrist. The line
    starts a little inside the shoulder, so that its round end never shows.
  """
  first = R_SHOULDER if side < 0 else L_SHOULDER
  joints = person.joints[first:first + 3]
  start = joints[0] + person.unit * np.array([-side * 0.16, -0.03])
  centre, marks = limb_line(
    np.concatenate([start[None], joints]), unit=person.unit, bend=0.16
  )
  return centre, marks[1:]


def arm_field(person, side, shape):
  """The Field of an arm, its position 0..2 along it, and its bare radius."""
  centre, marks = arm_line(person, side)
  field = drawing.limb_field(centre, 0.28 * person.unit, shape)
  if field is None:
    return None
  at = np.interp(
    field.along, [marks[0] - 0.2 * person.unit, *marks], [-0.15, 0, 1, 2]
  )
  radius = profile_at(ARM_PROFILE, at) * person.limb * person.unit
  return field, at.astype(np.float32), radius.astype(np.float32)


def behind_torso(person, side, window, *, seam):
  """How far an arm is hidden by shoulder and garment: (h, w) in 0..1.

  Above the armpit the torso lies in front of the arm, below it behind.

  Args:
    seam: function of depth s (h, 1) to half width in heads where the arm
      meets the garment: a sharp edge. Skin goes over into skin softly.
  """
  t, s = torso_grid(person, window)
  out = side * t
  # One pixel of overlap, or the backdrop would shine through between them.
  edge = (seam(s) - 1.2 / person.unit).astype(np.float32)
  hidden = np.clip((edge - out) * person.unit + 0.5, 0, 1)
  body = person.half_width(s).astype(np.float32)
  top = shoulder_line(person, t / body, neck=-0.14, tip=0.08)
  skin = drawing.smoothstep(0.0, -0.12, out - body)
  skin = skin * drawing.smoothstep(0.0, 0.07, s - top)
  lift = person.rise[0 if side < 0 else 1]
  hidden = np.maximum(hidden, skin)
  return hidden * drawing.smoothstep(0.62, 0.46, s + lift)


def draw_arm(canvas, person, side, *, arm, seam, covered):
  """Draws the bare arm and hand.

  Args:
    side: -1 right arm, +1 left arm.
    arm: what `arm_field` gave.
    seam: see `behind_torso`.
    covered: position along the arm (0..2) down to which a sleeve hides it.
  """
  field, at, radius = arm
  label = LEFT_ARM if side > 0 else RIGHT_ARM
  alpha = field.coverage(radius)
  cast_shadow(canvas, person, field.window, alpha * (at > 0.35))
  if covered > 0:
    alpha = alpha * (at > covered)
  else:
    alpha = alpha * (
      1 - behind_torso(person, side, field.window, seam=seam)
    )
  lit = field.lit(radius)
  # A hint of the elbow.
  lit = lit - 0.06 * np.exp(-(((at - 1.0) / 0.05) ** 2))
  canvas.paint_lit(
    field.window, alpha, base=person.skin, lit=lit, label=label,
    shadow=SKIN_SHADOW,
  )
  _draw_hand(canvas, person, side, label=label)


def cast_shadow(canvas, person, window, alpha):
  """The shadow that an arm casts on what is behind it, but the backdrop."""
  x0, y0, x1, y1 = window
  shade = drawing.blur(alpha.astype(np.float32), 0.05 * person.unit)
  shift = max(1, round(0.035 * person.unit))
  shade[shift:, shift:] = shade[:-shift, :-shift].copy()
  solid = (canvas.parse[y0:y1, x0:x1] > 0).astype(np.float32)
  canvas.darken(window, 0.30 * shade * drawing.blur(solid, 0.6) * solid)


def _draw_hand(canvas, person, side, *, label):
  """A relaxed hand: palm, four fingers and a thumb."""
  unit = person.unit
  first = R_SHOULDER if side < 0 else L_SHOULDER
  elbow, wrist = person.joints[first + 1:first + 3]
  if not (
    -0.8 * unit < wrist[0] < person.width + 0.8 * unit
    and -0.8 * unit < wrist[1] < person.height + 0.8 * unit
  ):
    return
  kind = person.arms[0 if side < 0 else 1]
  ahead = (wrist - elbow) / np.hypot(*(wrist - elbow))
  turn = np.radians({'hips': -20, 'cross': 8, 'raised': -12}.get(kind, 4))
  turn *= side
  ahead = np.array([
    ahead[0] * np.cos(turn) - ahead[1] * np.sin(turn),
    ahead[0] * np.sin(turn) + ahead[1] * np.cos(turn),
  ])
  # Towards the thumb: forwards, that is to the body's middle when hanging.
  thumb = np.array([ahead[1], -ahead[0]]) * -side
  size = unit * (0.92 + 0.06 * person.limb)

  def at(forward, aside):
    return wrist + size * (forward * ahead + aside * thumb)

  def part(points, radii, *, dim=0.0, melt=0.0):
    centre = drawing.spline(points, 4)
    field = drawing.limb_field(centre, max(radii) * size + 1, canvas.shape)
    if field is None:
      return
    knots = np.linspace(0, field.length, len(radii))
    radius = np.interp(field.along, knots, radii).astype(np.float32) * size
    lit = field.lit(radius, roundness=0.8) - dim
    alpha = field.coverage(radius)
    if melt:
      alpha = alpha * drawing.smoothstep(0, melt * size, field.along)
    canvas.paint_lit(
      field.window, alpha, base=person.skin, lit=lit, label=label,
      shadow=SKIN_SHADOW,
    )

  part([at(0.08, 0.05), at(0.20, 0.105), at(0.31, 0.11), at(0.40, 0.085)],
       [0.045, 0.042, 0.034, 0.026], dim=0.05, melt=0.10)
  for k, (aside, length) in enumerate(
    ((-0.060, 0.24), (-0.024, 0.29), (0.012, 0.30), (0.047, 0.27))
  ):
    spread = aside * 1.15
    part(
      [at(0.22, aside * 0.9), at(0.34, aside),
       at(0.34 + 0.55 * length, spread), at(0.30 + length, spread * 0.95)],
      [0.036, 0.031, 0.028, 0.020], dim=0.03 * (k % 2), melt=0.12,
    )
  part([at(-0.13, 0.0), at(0.08, 0.0), at(0.24, -0.002), at(0.32, -0.004)],
       [0.070, 0.074, 0.092, 0.078], melt=0.12)
