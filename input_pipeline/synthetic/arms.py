"""Draws bare arms and hands, and says what hides them."""

import numpy as np

from input_pipeline.synthetic import drawing, fields, figure
from input_pipeline.synthetic.people import profile_at
from viton_jax.labels import L_SHOULDER, R_SHOULDER

LEFT_ARM, RIGHT_ARM = 14, 15

# Radius of a bare arm at shoulder (0), elbow (1) and wrist (2), in heads.
ARM_PROFILE = np.array(
  [
    [-0.15, 0.138],
    [0.0, 0.152],
    [0.25, 0.152],
    [0.6, 0.132],
    [1.0, 0.112],
    [1.25, 0.116],
    [1.6, 0.092],
    [2.0, 0.064],
  ]
)


def arm_line(person, side):
  """Centre line of an arm; side -1 is the right arm, +1 the left.

  Returns:
    centre (k, 2) and arc lengths (3,) of shoulder, elbow and wrist. The line
    starts a little inside the shoulder, so that its round end never shows.
  """
  first = R_SHOULDER if side < 0 else L_SHOULDER
  joints = person.joints[first : first + 3]
  start = joints[0] + person.unit * np.array([-side * 0.16, -0.03])
  centre, marks = fields.limb_line(
    np.concatenate([start[None], joints]), unit=person.unit, bend=0.16
  )
  return centre, marks[1:]


def arm_field(person, side, *, shape, field_of=fields.limb_field):
  """The Field of an arm, its position 0..2 along it, and its bare radius.

  `field_of` is `fields.limb_field`, or the faster `fields.coarse_field`.
  """
  centre, marks = arm_line(person, side)
  field = field_of(centre, 0.28 * person.unit, shape=shape)
  if field is None:
    return None
  at = np.interp(
    field.along, [marks[0] - 0.2 * person.unit, *marks], [-0.15, 0, 1, 2]
  )
  radius = profile_at(ARM_PROFILE, at) * person.limb * person.unit
  return field, at.astype(np.float32), radius.astype(np.float32)


def behind_torso(person, side, *, window, seam):
  """How far an arm is hidden by shoulder and garment: (h, w) in 0..1.

  Above the armpit the torso lies in front of the arm, below it behind.

  Args:
    seam: function of depth s (h, 1) to half width in heads where the arm
      meets the garment: a sharp edge. Skin goes over into skin softly.
  """
  t, s = figure.torso_grid(person, window)
  out = side * t
  # One pixel of overlap, or the backdrop would shine through between them.
  edge = (seam(s) - 1.2 / person.unit).astype(np.float32)
  hidden = np.clip((edge - out) * person.unit + 0.5, 0, 1)
  body = person.half_width(s).astype(np.float32)
  top = figure.shoulder_line(person, t / body, neck=-0.14, tip=0.08)
  skin = drawing.smoothstep(0.0, -0.12, out - body)
  skin = skin * drawing.smoothstep(0.0, 0.07, s - top)
  lift = person.rise[0 if side < 0 else 1]
  hidden = np.maximum(hidden, skin)
  return hidden * drawing.smoothstep(0.62, 0.46, s + lift)


def draw_arm(canvas, person, *, side, arm, seam, covered):
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
  cast_shadow(canvas, person, window=field.window, alpha=alpha * (at > 0.35))
  if covered > 0:
    alpha = alpha * (at > covered)
  else:
    alpha = alpha * (
      1 - behind_torso(person, side, window=field.window, seam=seam)
    )
  lit = field.lit(radius)
  # A hint of the elbow.
  lit = lit - 0.06 * np.exp(-(((at - 1.0) / 0.05) ** 2))
  canvas.paint_lit(
    field.window,
    alpha,
    base=person.skin,
    lit=lit,
    label=label,
    shadow=figure.SKIN_SHADOW,
  )
  _draw_hand(canvas, person, side=side, label=label)


def cast_shadow(canvas, person, *, window, alpha):
  """The shadow that an arm casts on what is behind it, but the backdrop."""
  x0, y0, x1, y1 = window
  shade = drawing.blur(alpha.astype(np.float32), 0.05 * person.unit)
  shift = max(1, round(0.035 * person.unit))
  shade[shift:, shift:] = shade[:-shift, :-shift].copy()
  solid = (canvas.parse[y0:y1, x0:x1] > 0).astype(np.float32)
  canvas.darken(window, 0.30 * shade * drawing.blur(solid, 0.6) * solid)


def _draw_hand(canvas, person, *, side, label):
  """A relaxed hand: palm, four fingers and a thumb."""
  for field, radius, dim, melt in hand_parts(person, side, shape=canvas.shape):
    alpha = field.coverage(radius)
    if melt:
      alpha = alpha * drawing.smoothstep(0, melt, field.along)
    canvas.paint_lit(
      field.window,
      alpha,
      base=person.skin,
      lit=field.lit(radius, roundness=0.8) - dim,
      label=label,
      shadow=figure.SKIN_SHADOW,
    )


def hand_parts(person, side, *, shape, size=1.0):
  """Thumb, fingers and palm of a hand, from back to front.

  Args:
    person: whose hand.
    side: -1 right, +1 left.
    shape: (height, width) of the canvas.
    size: of the hand, against the plain style's.

  Yields:
    Field, radius (h, w) in pixels, what it loses of the light, and the pixels
    along it within which it grows out of what lies below.
  """
  unit = person.unit
  first = R_SHOULDER if side < 0 else L_SHOULDER
  elbow, wrist = person.joints[first + 1 : first + 3]
  if not (
    -0.8 * unit < wrist[0] < person.width + 0.8 * unit
    and -0.8 * unit < wrist[1] < person.height + 0.8 * unit
  ):
    return
  kind = person.arms[0 if side < 0 else 1]
  ahead = (wrist - elbow) / np.hypot(*(wrist - elbow))
  turn = np.radians({'hips': -20, 'cross': 8, 'raised': -12}.get(kind, 4))
  turn *= side
  ahead = np.array(
    [
      ahead[0] * np.cos(turn) - ahead[1] * np.sin(turn),
      ahead[0] * np.sin(turn) + ahead[1] * np.cos(turn),
    ]
  )
  # Towards the thumb: forwards, that is to the body's middle when hanging.
  thumb = np.array([ahead[1], -ahead[0]]) * -side
  size = size * unit * (0.92 + 0.06 * person.limb)

  def at(forward, aside):
    return wrist + size * (forward * ahead + aside * thumb)

  parts = [
    (
      [at(0.08, 0.05), at(0.20, 0.105), at(0.31, 0.11), at(0.40, 0.085)],
      [0.045, 0.042, 0.034, 0.026],
      0.05,
      0.10,
    )
  ]
  for k, (aside, length) in enumerate(
    ((-0.060, 0.24), (-0.024, 0.29), (0.012, 0.30), (0.047, 0.27))
  ):
    spread = aside * 1.15
    parts.append(
      (
        [
          at(0.22, aside * 0.9),
          at(0.34, aside),
          at(0.34 + 0.55 * length, spread),
          at(0.30 + length, spread * 0.95),
        ],
        [0.036, 0.031, 0.028, 0.020],
        0.03 * (k % 2),
        0.12,
      )
    )
  parts.append(
    (
      [at(-0.13, 0.0), at(0.08, 0.0), at(0.24, -0.002), at(0.32, -0.004)],
      [0.070, 0.074, 0.092, 0.078],
      0.0,
      0.12,
    )
  )
  for points, radii, dim, melt in parts:
    centre = drawing.spline(points, 4)
    field = fields.limb_field(centre, max(radii) * size + 1, shape=shape)
    if field is None:
      continue
    knots = np.linspace(0, field.length, len(radii))
    radius = np.interp(field.along, knots, radii).astype(np.float32) * size
    yield field, radius, dim, melt * size
