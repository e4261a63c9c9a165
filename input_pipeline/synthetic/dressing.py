"""Puts a garment on a body, with folds and shading.

Where it lies and which cloth is where says `wearing`.
"""

import math

import cv2
import numpy as np

from input_pipeline.synthetic import arms, drawing, wearing
from input_pipeline.synthetic.people import STREAM_FOLDS

UPPER_CLOTHES = 5
CLOTH_SHADOW = (0.46, 0.45, 0.50)


def dress_torso(canvas, person, *, garment, flat, fold_seed):
  """Draws the torso of the worn garment.

  Args:
    canvas, person, garment: what they say.
    flat: the FlatGarment.
    fold_seed: tuple of ints; folds depend on person and garment.
  """
  worn = wearing.worn_torso(person, garment, shape=canvas.shape)
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
  seam = wearing.seam_of(person, garment)
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
      covered=wearing.covered_arm(garment),
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
  worn = wearing.worn_sleeve(person, garment, side=side, arm=arm)
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
