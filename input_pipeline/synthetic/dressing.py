"""Puts a garment on a body: the known correspondence, folds and shading.

Torso: a pixel has a depth s and a position t beside the spine; t over the worn
half width gives `part`, and s between the worn shoulder line and hem gives
`level`. The flat garment has the same `part` and `level`, with the turn of the
body and the roundness of the chest in between. Sleeves: position along and
across the arm against position along and across the flat sleeve. Both maps are
smooth and have closed forms; nothing is fitted.
"""

import dataclasses
import math

import cv2
import numpy as np

from input_pipeline.synthetic import arms, drawing, figure
from input_pipeline.synthetic.people import STREAM_FOLDS, smooth_profile

UPPER_CLOTHES = 5
CLOTH_SHADOW = (0.46, 0.45, 0.50)
# How round the chest is: the flat cloth is an arc of this many radians a side.
ARC = 0.95
UPPER_ARM, LOWER_ARM = 1.36, 1.12  # Heads; sleeves are cut for this arm.


def worn_profile(person, garment):
  """Rows (s, half width in heads) of the torso of the garment when worn.

  It follows the body plus the garment's ease; loose cloth hangs straight down
  from the widest place above, so the waist shows less of the body.
  """
  ease, flare = garment.ease, garment.flare
  body = person.half_width
  tip = garment.tip * person.shoulder / 0.67
  if garment.sleeves == 'none':
    hole = tip - 0.05
  else:
    hole = 0.5 * (tip + body(0.66) + 0.4 * ease)
  waist = body(1.42) + 0.05 + 1.15 * ease
  return np.array(
    [
      [0.08, tip],
      [0.34, hole],
      [0.66, body(0.66) + 0.02 + 0.35 * ease],
      [0.95, body(0.95) + 0.02 + 0.35 * ease],
      [1.42, waist],
      [2.0, body(2.0) + 0.03 + 0.6 * ease + 0.4 * flare],
      [2.45, body(2.45) + 0.03 + 0.6 * ease + flare],
      [3.2, body(3.2) + 0.04 + 0.7 * ease + 1.7 * flare],
    ]
  )


def seam_of(person, garment):
  """Function of depth: half width at which arm and garment meet."""
  profile = worn_profile(person, garment)
  return lambda s: smooth_profile(profile, s)


def covered_arm(garment):
  """Position along the arm (0..2) down to which skin lies under the sleeve.

  A little short of the cuff, so that no gap opens at its rim; 0 without
  sleeves.
  """
  reach = garment.sleeve * 0.98 - 0.12
  if reach <= 0:
    return 0.0
  if reach < UPPER_ARM:
    return reach / UPPER_ARM
  return 1 + (reach - UPPER_ARM) / LOWER_ARM


def dress_torso(canvas, person, *, garment, flat, fold_seed):
  """Draws the torso of the worn garment.

  Args:
    canvas, person, garment: what they say.
    flat: the FlatGarment.
    fold_seed: tuple of ints; folds depend on person and garment.
  """
  worn = worn_torso(person, garment, shape=canvas.shape)
  alpha = worn.alpha(drawing.sample(flat.front, worn.flat_xy))
  colour = drawing.sample(flat.torso, worn.flat_xy, border=cv2.BORDER_REPLICATE)

  lit = _torso_light(
    person,
    garment,
    part=worn.part,
    s=worn.s,
    level=worn.level,
    fold_seed=fold_seed,
  )
  # The hem's shadow on what is below, and the collar's on the skin.
  cover = drawing.blur(alpha, 0.05 * person.unit)
  shift = max(1, round(0.05 * person.unit))
  cover[shift:] = cover[:-shift].copy()
  x0, y0, x1, y1 = worn.window
  solid = (canvas.parse[y0:y1, x0:x1] > 0).astype(np.float32)
  canvas.darken(worn.window, 0.34 * cover * solid)
  canvas.paint_lit(
    worn.window,
    alpha,
    base=colour,
    lit=lit,
    label=UPPER_CLOTHES,
    shadow=CLOTH_SHADOW,
    gloss=0.05,
    flat=worn.flat_xy,
  )


@dataclasses.dataclass(frozen=True)
class WornTorso:
  """Where the torso of a garment lies on a person, and which cloth is where.

  Attributes:
    window: (x0, y0, x1, y1) of the canvas.
    part: (h, w), -1..1 across the torso.
    s: (h, 1), depth in heads.
    level: (h, w), 0 at the upper edge to 1 at the hem.
    above, below: (h, w), heads below the upper edge, and above the hem.
    wide: (h, 1), half width in heads.
    rim: (h, w), coverage by the outline, as if there were no neckline.
    open_neck: (h, w) bool, where the flat garment's coverage decides.
    flat_xy: float32 (h, w, 2), pixels of the flat garment.
  """

  window: tuple
  part: np.ndarray
  s: np.ndarray
  level: np.ndarray
  above: np.ndarray
  below: np.ndarray
  wide: np.ndarray
  rim: np.ndarray
  open_neck: np.ndarray
  flat_xy: np.ndarray

  def alpha(self, front):
    """Coverage (h, w), given the flat front panel's at `flat_xy`.

    Rims are drawn and not sampled, so they stay sharp; the neckline, which is
    cut into the cloth, is sampled with it.
    """
    return np.where(
      self.open_neck, np.minimum(front, self.rim), self.rim
    ).astype(np.float32)


def worn_torso(person, garment, *, shape):
  """The WornTorso of a garment on a canvas of (height, width)."""
  unit = person.unit
  profile = worn_profile(person, garment)
  reach = profile[profile[:, 0] < garment.hem + 0.9, 1].max() + 0.12
  low = person.place(-reach, (-0.4, garment.hem + 0.3))
  high = person.place(reach, (-0.4, garment.hem + 0.3))
  window = drawing.window_of(low.min(0), high.max(0), shape=shape)
  t, s = figure.torso_grid(person, window)
  wide = smooth_profile(profile, s).astype(np.float32)
  part = t / wide
  inner = np.clip(part, -1.02, 1.02)
  tip = 0.06 + 0.02 * garment.ease
  top = figure.shoulder_line(person, inner, neck=-0.17, tip=tip)
  top = np.maximum(top, garment.drop)
  # Worn, the hem sags at the front and rides up with raised arms.
  ride = 0.05 * sum(person.rise) / 0.26
  hem = garment.bottom(inner) - 0.04 - ride + 0.03 * (1 - inner**2)
  hem = hem - 0.3 * person.tilt * inner
  level = (s - top) / (hem - top)

  flat_part = unroll(inner, turn=person.turn)
  # The shares of the flat garment at this level of the worn one.
  flat_top = garment.top(flat_part)
  flat_s = flat_top + level * (garment.bottom(flat_part) - flat_top)
  flat_x = flat_part * garment.half_width(flat_s)
  flat_xy = garment.pixels(flat_x, flat_s).astype(np.float32)

  rim = np.clip((wide - np.abs(t)) * unit + 0.5, 0, 1)
  rim = rim * np.clip((s - top) * unit + 0.5, 0, 1)
  rim = rim * np.clip((hem - s) * unit + 0.5, 0, 1)
  open_neck = neck_window(garment, flat_part, flat_s)
  return WornTorso(
    window, inner, s, level, s - top, hem - s, wide, rim, open_neck, flat_xy
  )


def neck_window(garment, part, s):
  """Where the flat mask decides on coverage: around neck and upper edge."""
  return (np.abs(part) < (garment.neck_width + 0.04) / garment.tip) & (
    s < garment.neck_depth + 0.08
  )


def unroll(part, *, turn):
  """Position across the flat cloth for a position across the round body."""
  turned = part + turn * (1 - part * part)
  return np.arcsin(np.clip(turned * np.sin(ARC), -1, 1)) / ARC


def _torso_light(person, garment, *, part, s, level, fold_seed):
  """Lambert term of worn cloth: body, bust and folds."""
  rng = np.random.default_rng([*fold_seed, STREAM_FOLDS])
  light = drawing.LIGHT
  # Shoulders are flatter than the chest, and the sleeve goes on from there.
  round_part = (0.30 + 0.56 * drawing.smoothstep(0.1, 0.9, s)) * part
  round_part = round_part.astype(np.float32)
  lit = 0.85 * round_part * light[0]
  lit = lit + np.sqrt(1 - round_part**2) * light[2] + 0.03
  # The bust: two soft bumps, lit from above on the left.
  size = 0.85 - 2.0 * garment.ease
  for side in (-1, 1):
    dx = (part - side * 0.46) / 0.36
    dy = (s - 0.86) / 0.27
    bump = np.exp(-dx * dx - dy * dy)
    lit = lit - 0.19 * size * (dx * -0.5 + dy * 0.95) * bump
  # Under the bust and into the waist cloth turns down, away from the light.
  lit = lit - 0.05 * np.sin((s - 0.8) * 2.4) * drawing.smoothstep(0.8, 1.2, s)

  # Folds are soft; half the resolution is plenty for them.
  strength = 0.5 + 0.8 * garment.ease / 0.13 + 0.4 * garment.weight
  coarse, coarse_s = part[::2, ::2], s[::2]
  folds = np.zeros(coarse.shape, np.float32)
  for start, end, width, depth in fold_lines(rng, person, garment=garment):
    folds += (
      strength
      * depth
      * _fold(coarse, coarse_s, start=start, end=end, width=width)
    )
  lit = lit + cv2.resize(folds, part.shape[::-1])
  # Long soft waves that open towards the hem of wide garments.
  wave = drawing.noise_line(rng, part + 0.1 * s, scale=4.5)
  opening = drawing.smoothstep(1.2, garment.hem, s)
  lit = lit + (0.035 + 0.9 * garment.flare) * wave * opening
  rough = drawing.noise(rng, lit.shape, cells=(12, 8))
  lit = lit + 0.022 * rough
  # A turned hem is thicker, its lower rim catches a little shade.
  lit = lit - 0.10 * drawing.smoothstep(0.975, 1.0, level)
  return lit.astype(np.float32)


def fold_lines(rng, person, *, garment):
  """Yields folds: start (part, s), end (part, s), width, depth."""
  for side, kind in zip((-1, 1), person.arms, strict=True):
    # From the armpit across the chest; stronger where the arm pulls.
    pull = {'hang': 0.6, 'bent': 0.7, 'hips': 0.9, 'cross': 1.0}.get(kind, 1.1)
    for _ in range(2):
      y = rng.uniform(0.55, 0.78)
      slope = rng.uniform(0.15, 0.6) * (-0.6 if kind == 'raised' else 1)
      yield (
        (side * rng.uniform(0.9, 1.0), y),
        (side * rng.uniform(0.35, 0.55), y + slope),
        rng.uniform(0.035, 0.06),
        0.13 * pull,
      )
  for _ in range(4):  # Where the waist bends.
    side = rng.choice([-1, 1])
    y = rng.uniform(1.25, 1.75)
    yield (
      (side * rng.uniform(0.85, 1.0), y),
      (side * rng.uniform(0.0, 0.5), y + rng.uniform(0.02, 0.28)),
      rng.uniform(0.03, 0.055),
      rng.uniform(0.07, 0.13),
    )
  for _ in range(3):  # Hanging folds from the bust down.
    x = rng.uniform(-0.75, 0.75)
    y = rng.uniform(1.0, 1.4)
    yield (
      (x, y),
      (x + rng.uniform(-0.2, 0.2), min(garment.hem, y + 1.2)),
      rng.uniform(0.05, 0.09),
      rng.uniform(0.06, 0.11),
    )


def _fold(part, s, *, start, end, width):
  """One fold: a dark flank beside a lit one, fading at both ends."""
  ahead = (float(end[0] - start[0]), float(end[1] - start[1]))
  start = (float(start[0]), float(start[1]))
  length = math.hypot(*ahead)
  ahead = (ahead[0] / length, ahead[1] / length)
  dx, dy = part - start[0], s - start[1]
  along = (dx * ahead[0] + dy * ahead[1]) / length
  # Folds are slightly curved, else they look ruled.
  off = -dx * ahead[1] + dy * ahead[0] - 0.05 * along * (1 - along)
  if ahead[0] < 0:  # The lit flank is the upper one whatever the direction.
    off = -off
  off = off / (width * (0.5 + 0.8 * np.clip(along, 0, 1)))
  fade = drawing.smoothstep(-0.08, 0.25, along)
  fade = fade * drawing.smoothstep(1.05, 0.5, along)
  return -2.0 * off * np.exp(-off * off) * fade


def draw_arms(canvas, person, *, garment, flat, fold_seed, sides=(-1, 1)):
  """Draws both arms, each with its sleeve.

  Args:
    canvas: is drawn on.
    person: whose arms.
    garment: what they wear.
    flat: the garment's photo, see `flat.draw_flat`.
    fold_seed: of the folds.
    sides: -1 the right arm, 1 the left; the last lies before the other.
  """
  seam = seam_of(person, garment)
  for side in sides:
    arm = arms.arm_field(person, side, shape=canvas.shape)
    if arm is None:
      continue
    arms.draw_arm(
      canvas,
      person,
      side=side,
      arm=arm,
      seam=seam,
      covered=covered_arm(garment),
    )
    if garment.sleeve:
      dress_arm(
        canvas,
        person,
        garment=garment,
        flat=flat,
        side=side,
        arm=arm,
        fold_seed=fold_seed,
      )


def dress_arm(canvas, person, *, garment, flat, side, arm, fold_seed):
  """Draws one worn sleeve over its arm.

  Args:
    canvas, person, garment, flat, fold_seed: see `dress_torso`.
    side: -1 right arm, +1 left arm.
    arm: what `arms.arm_field` gave for it.
  """
  worn = worn_sleeve(person, garment, side=side, arm=arm)
  unit, window = person.unit, worn.window
  rng = np.random.default_rng([*fold_seed, STREAM_FOLDS, side + 1])
  at = arm[1]
  arms.cast_shadow(
    canvas, person, window=window, alpha=worn.cover * (at > 0.35)
  )
  alpha = (worn.cover * (1 - worn.hidden)).astype(np.float32)
  colour = drawing.sample(
    flat.sleeves[side], worn.flat_xy, border=cv2.BORDER_REPLICATE
  )
  lit = arm[0].lit(worn.radius, roundness=0.88) + 0.02
  lit = lit + _sleeve_folds(
    rng, person, garment=garment, side=side, at=at, part=worn.part
  )
  lit -= 0.10 * drawing.smoothstep(0.97, 1.0, worn.share)
  # The seam at the armhole.
  near = drawing.blur(worn.hidden.astype(np.float32), 0.035 * unit)
  lit = lit - 0.22 * near
  # The cuff's shadow on the arm.
  cover = drawing.blur(alpha, 0.03 * unit)
  shift = max(1, round(0.03 * unit))
  cover[shift:] = cover[:-shift].copy()
  x0, y0, x1, y1 = window
  skin = np.isin(canvas.parse[y0:y1, x0:x1], (arms.LEFT_ARM, arms.RIGHT_ARM))
  canvas.darken(window, 0.32 * cover * skin)
  canvas.paint_lit(
    window,
    alpha,
    base=colour,
    lit=lit,
    label=UPPER_CLOTHES,
    shadow=CLOTH_SHADOW,
    gloss=0.05,
    flat=worn.flat_xy,
  )


@dataclasses.dataclass(frozen=True)
class WornSleeve:
  """Where a sleeve lies on an arm, and which cloth is where.

  Attributes:
    window: (x0, y0, x1, y1) of the canvas.
    share: (h, w), 0 at the shoulder to 1 at the cuff.
    part: (h, w), -1 at the inner to 1 at the outer edge.
    radius: (h, w), pixels.
    cover: (h, w), coverage, as if nothing lay before it.
    hidden: (h, w), 0..1, how far the torso lies before it.
    flat_xy: float32 (h, w, 2), pixels of the flat garment.
  """

  window: tuple
  share: np.ndarray
  part: np.ndarray
  radius: np.ndarray
  cover: np.ndarray
  hidden: np.ndarray
  flat_xy: np.ndarray


def worn_sleeve(person, garment, *, side, arm):
  """The WornSleeve of an arm; `arm` is what `arms.arm_field` gave for it."""
  field, at, bare = arm
  unit = person.unit
  reach = np.minimum(at, 1) * UPPER_ARM + np.maximum(at - 1, 0) * LOWER_ARM
  share = reach / (garment.sleeve * 0.98)
  # The cuff, slanted a little as it hangs.
  across = side * field.across / unit
  end = garment.sleeve * 0.98 + 0.05 * np.clip(-across, -0.3, 0.3)
  if garment.sleeves == 'short':
    room = (
      0.03 + 0.35 * garment.ease + (garment.cuff - 0.17) * np.clip(share, 0, 1)
    )
  else:
    room = 0.03 + 0.28 * garment.ease + 0.5 * (garment.cuff - 0.1)
    room = room + 0.03 * np.exp(-(((share - 0.9) / 0.06) ** 2))
    room = room - 0.012 * drawing.smoothstep(0.95, 1.0, share)
  if garment.sleeve_shape != 'straight':
    room = room + garment.swell(np.clip(share, 0, 1))
  # At the shoulder the sleeve is no higher than the shoulder itself.
  room = room * (0.25 + 0.75 * drawing.smoothstep(-0.05, 0.35, at))
  radius = (bare + room * unit).astype(np.float32)
  cover = field.coverage(radius) * np.clip((end - reach) * unit + 0.5, 0, 1)
  if garment.drop > -1:
    _, s = figure.torso_grid(person, field.window)
    cover = cover * np.clip((s - garment.drop) * unit + 0.5, 0, 1)
  seam = seam_of(person, garment)
  hidden = arms.behind_torso(person, side, window=field.window, seam=seam)
  part = np.clip(side * field.across / radius, -1, 1)
  start = -0.12
  flat_along = np.clip((share - start) / (1 - start), 0, 1)
  flat_across = np.arcsin(part * np.sin(ARC)) / ARC
  flat_xy = garment.sleeve_point(side, along=flat_along, across=flat_across)
  return WornSleeve(field.window, share, part, radius, cover, hidden, flat_xy)


def _sleeve_folds(rng, person, *, garment, side, at, part):
  """Creases across the sleeve, deepest where the elbow bends."""
  folds = np.zeros_like(at)
  kind = person.arms[0 if side < 0 else 1]
  bent = {'hang': 0.5, 'bent': 0.7}.get(kind, 1.2)
  strength = 0.4 + 0.6 * garment.ease / 0.13 + 0.3 * garment.weight
  if garment.sleeves == 'long':
    places = np.concatenate(
      [
        rng.uniform(0.75, 1.3, 4),
        rng.uniform(1.5, 2.0, 3),
        rng.uniform(0.15, 0.7, 2),
      ]
    )
    depths = np.concatenate(
      [np.full(4, 0.16 * bent), np.full(3, 0.12), np.full(2, 0.10)]
    )
  else:
    places, depths = rng.uniform(0.05, 0.6, 3), np.full(3, 0.11)
  for place, depth in zip(places, depths, strict=True):
    slope = rng.uniform(-0.14, 0.14)
    off = at - place - slope * part + 0.04 * part * part
    off = off / rng.uniform(0.03, 0.06)
    middle = rng.uniform(-0.5, 0.5)
    fade = np.exp(-(((part - middle) / 0.8) ** 2))
    folds = folds - 2 * depth * strength * off * np.exp(-off * off) * fade
  return folds.astype(np.float32)
