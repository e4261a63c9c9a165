"""Puts a garment on a body: folds that follow the pose, and their shading.

Where it lies and which cloth is where says `wearing`, as in every style; the
folds move the cloth a little along the body, and that is part of the known
correspondence.
"""

import math

import cv2
import numpy as np

from input_pipeline.synthetic import (
  arms,
  drawing,
  dressing,
  fields,
  figure,
  wearing,
)
from input_pipeline.synthetic.people import STREAM_FOLDS
from input_pipeline.synthetic.photo import body, folds
from input_pipeline.synthetic.photo.surface import slopes, unit_normal
from viton_jax.labels import L_SHOULDER, R_SHOULDER


def dress_torso(canvas, person, *, garment, flat, fold_seed):
  """Draws the torso of the worn garment; see `dressing.dress_torso`."""
  unit = person.unit
  worn = wearing.worn_torso(person, garment, shape=canvas.shape, coarse=True)
  relief, hollow = _torso_folds(person, garment, worn, fold_seed)
  tilt = slopes(relief * unit)
  # Cloth on a fold's flank is seen shortened, so it gives more of itself.
  flat_xy = worn.flat_xy + tilt * np.float32(0.022 * garment.unit)
  alpha = worn.alpha(drawing.sample(flat.front, flat_xy))
  alpha = np.minimum(alpha, _loose_rim(person, garment, worn, fold_seed))
  colour = drawing.sample(flat.torso, flat_xy, border=cv2.BORDER_REPLICATE)

  round_part = (0.45 + 0.5 * drawing.smoothstep(0.1, 0.9, worn.s)) * worn.part
  nx = round_part * (0.85 + 0.15 * worn.part * worn.part)
  ny = -0.5 * drawing.smoothstep(0.17, 0.0, worn.above)
  normal = np.dstack([nx, ny]).astype(np.float32)
  shape = slopes(_body_form(person, garment, worn) * unit)
  normal = unit_normal(normal + shape + tilt)
  openness = 1 - hollow
  openness -= 0.35 * np.square(np.square(worn.part))
  openness -= 0.25 * drawing.smoothstep(0.975, 1.0, worn.level)
  canvas.cast(worn.window, alpha, height=0.07, depth=0.6)
  canvas.lay(
    worn.window,
    alpha,
    colour=colour,
    normal=normal,
    label=dressing.UPPER_CLOTHES,
    gloss=garment.sheen,
    openness=openness,
    flat=flat_xy,
  )


def _loose_rim(person, garment, worn, fold_seed):
  """Coverage by an outline that is uneven, as folds end there: (h, w)."""
  rng = np.random.default_rng([*fold_seed, STREAM_FOLDS, 21])
  reach = np.float32(0.006 + 0.25 * garment.ease)
  s = worn.s[:, 0]
  low = drawing.smoothstep(0.7, 1.1, s)
  # Both sides on their own.
  sides = [drawing.noise_line(rng, s, scale=3.5) for _ in range(2)]
  right, left = (reach * low * (0.5 + 0.5 * side) for side in sides)
  inset = np.where(worn.part < 0, right[:, None], left[:, None])
  room = worn.wide * (1 - np.abs(worn.part)) - inset
  hem = drawing.noise_line(rng, worn.part[0], scale=3.0)
  end = worn.below - np.float32(0.012 + 0.1 * garment.flare) * (0.5 + 0.5 * hem)
  end -= 0.06 * np.square(np.square(np.square(worn.part)))  # Round corners.
  return np.clip(np.minimum(room, end) * person.unit + 0.5, 0, 1)


def _body_form(person, garment, worn):
  """What cloth shows of breast and belly: (h, w) float32, heads."""
  part, s = worn.part, worn.s
  look = person.look
  size = 0.03 if look.male or look.age < 14 else 0.115
  size *= max(1.1 - 3.0 * garment.ease, 0.55)

  def bump(x, y, wide, tall):
    return np.exp(-(((part - x) / wide) ** 2)) * np.exp(
      -(((s - y) / tall) ** 2)
    )

  form = size * (bump(-0.43, 0.86, 0.33, 0.24) + bump(0.43, 0.86, 0.33, 0.24))
  # Cloth falls straight from the breast and does not follow it underneath.
  form = form + 0.35 * size * bump(0, 1.1, 0.7, 0.28)
  belly = 0.03 + 0.08 * max(look.heavy, 0)
  form = form + belly * bump(0, 1.85, 0.75, 0.42)
  return form.astype(np.float32)


def _torso_folds(person, garment, worn, fold_seed):
  """Folds of the torso: float32 (h, w), heads; and the light they lose."""
  rng = np.random.default_rng([*fold_seed, STREAM_FOLDS, 20])
  # Folds are soft; half the resolution is plenty.
  part, s = worn.part[::2, ::2], worn.s[::2]
  loose = 0.45 + 0.9 * garment.ease / 0.13
  soft = 1.15 - 0.5 * garment.weight  # Heavy cloth folds less, and wider.
  total = np.zeros(part.shape, np.float32)
  for start, end, width, depth in dressing.fold_lines(
    rng, person, garment=garment
  ):
    wide = width * (0.8 + 0.5 * garment.weight)
    # Folds that hang are shallow.
    steep = abs(end[1] - start[1]) > 2 * abs(end[0] - start[0])
    deep = depth * wide * (3.5 if steep else 6.5) * rng.uniform(0.4, 1.4)
    folds.add_ridge(
      total, part, s, start=start, end=end, width=wide, depth=deep
    )
  # Creases lie across the waist, run from the armpits, hang at the hem.
  waist = np.exp(-(((s - 1.5) / 0.35) ** 2))
  side = np.abs(part)
  pit = np.exp(-(((s - 0.75) / 0.3) ** 2)) * side**2
  flat_chest = 0.35 + 0.65 * drawing.smoothstep(0.75, 1.2, s)
  slant = rng.uniform(-0.2, 0.2)
  across = folds.crumple(
    rng, part * 0.24 + slant * s, s * 0.5 + 0.16 * side, cells=6
  )
  fine = folds.crumple(rng, part * 0.62 + 0.2 * s, s * 0.8, cells=10)
  total += 0.030 * across * (0.25 + 0.75 * waist + 0.9 * pit) * flat_chest
  total += 0.008 * fine * (0.45 + 0.55 * flat_chest)
  wave = drawing.noise_line(rng, part + 0.12 * s, scale=4.2)
  opening = drawing.smoothstep(1.2, max(garment.hem, 1.4), s)
  total += (0.022 + 0.4 * garment.flare) * wave * opening
  total *= np.float32(loose * soft)
  size = worn.part.shape[::-1]
  full = cv2.resize(total, size)
  hollow = cv2.resize(folds.hollow(total, 0.025 * person.unit), size)
  # What gathers into a band: a hem that is turned up has a ridge.
  band = np.exp(-(((worn.level - 0.965) / 0.012) ** 2))
  return (full - 0.006 * band).astype(np.float32), hollow


def draw_arms(canvas, person, *, garment, flat, fold_seed, sides=(-1, 1)):
  """Draws both arms, each with its sleeve; see `dressing.draw_arms`."""
  seam = wearing.seam_of(person, garment)
  bare = garment.drop > -1
  for side in sides:
    first = R_SHOULDER if side < 0 else L_SHOULDER
    upper, lower = np.diff(person.joints[first : first + 3], axis=0)
    sharp = upper @ lower < -0.1 * np.linalg.norm(upper) * np.linalg.norm(lower)
    arm = arms.arm_field(
      person,
      side,
      shape=canvas.shape,
      field_of=fields.limb_field if sharp else fields.coarse_field,
    )
    if arm is None:
      continue
    body.draw_arm(
      canvas,
      person,
      side=side,
      arm=arm,
      seam=seam
      if not bare
      else lambda s: np.where(s > garment.drop, seam(s), 0),
      covered=0.0 if bare else wearing.covered_arm(garment),
    )
    if garment.sleeve:
      _dress_arm(
        canvas,
        person,
        garment=garment,
        flat=flat,
        side=side,
        arm=arm,
        fold_seed=fold_seed,
      )


def _dress_arm(canvas, person, *, garment, flat, side, arm, fold_seed):
  """Draws one worn sleeve over its arm."""
  field, at, _ = arm
  unit = person.unit
  worn = wearing.worn_sleeve(person, garment, side=side, arm=arm)
  rng = np.random.default_rng([*fold_seed, STREAM_FOLDS, 22 + side])
  relief, hollow = _sleeve_folds(
    rng, person, garment=garment, side=side, at=at, part=worn.part
  )
  tilt = slopes(relief * unit)
  normal, part = body.round_normal(field, worn.radius)
  flat_xy = worn.flat_xy + tilt * np.float32(0.022 * garment.unit)
  body.cast_arm(canvas, worn.window, worn.cover * (at > 0.35))
  alpha = (worn.cover * (1 - worn.hidden)).astype(np.float32)
  colour = drawing.sample(
    flat.sleeves[side], flat_xy, border=cv2.BORDER_REPLICATE
  )
  # The armhole's seam pulls the cloth in.
  near = drawing.blur(worn.hidden.astype(np.float32), 0.03 * unit)
  openness = 1 - hollow - 0.45 * near
  openness -= 0.2 * drawing.smoothstep(0.96, 1.0, worn.share)
  openness -= 0.2 * np.square(np.square(part))
  canvas.cast(worn.window, alpha, height=0.04, depth=0.5)
  canvas.lay(
    worn.window,
    alpha,
    colour=colour,
    normal=unit_normal(normal + tilt),
    label=dressing.UPPER_CLOTHES,
    gloss=garment.sheen,
    openness=openness,
    flat=flat_xy,
  )


def _sleeve_folds(rng, person, *, garment, side, at, part):
  """Creases of a sleeve, deepest inside a bent elbow: see `_torso_folds`."""
  kind = person.arms[0 if side < 0 else 1]
  size, at, part = at.shape[::-1], at[::2, ::2], part[::2, ::2]
  bent = {'hang': 0.55, 'bent': 0.9}.get(kind, 1.5)
  strength = 0.5 + 0.8 * garment.ease / 0.13
  strength *= 1.15 - 0.4 * garment.weight
  height = np.zeros_like(at)
  if garment.sleeves == 'long':
    places = np.concatenate(
      [rng.normal(1.0, 0.14, 5), rng.uniform(1.55, 2.0, 4)]
    )
    places = np.append(places, rng.uniform(0.1, 0.6, 3))
    depths = np.repeat([0.034 * bent, 0.026, 0.02], [5, 4, 3])
  else:
    places, depths = rng.uniform(0.05, 0.55, 4), np.full(4, 0.024)
  for place, depth in zip(places.tolist(), depths.tolist(), strict=True):
    # Rings that are open on one side, slanting.
    slope, middle = rng.uniform(-0.22, 0.22), rng.uniform(-0.7, 0.7)
    off = (at - place - slope * part + 0.06 * part * part) / rng.uniform(
      0.03, 0.055
    )
    fade = np.exp(-off * off - ((part - middle) / 0.75) ** 2)
    height += depth * rng.uniform(0.6, 1.3) * fade
  height += 0.020 * folds.crumple(
    rng, 0.35 * part + 0.25 * at, 0.62 * at, cells=7
  )
  if garment.sleeve_shape == 'puff':  # Gathers at both ends.
    share = at * 1.25 / max(garment.sleeve, 0.3)
    ends = np.exp(-((share / 0.3) ** 2)) + np.exp(-(((share - 1) / 0.25) ** 2))
    height += 0.02 * ends * drawing.noise_line(rng, part, scale=7)
  height *= np.float32(strength)
  # Cloth lies smooth over the shoulder.
  height = height * drawing.smoothstep(-0.1, 0.2, at)
  height = height.astype(np.float32)
  hollow = folds.hollow(height, 0.025 * person.unit)
  return cv2.resize(height, size), cv2.resize(hollow, size)


def draw_neck(canvas, person, *, garment, flat):
  """A hood behind the neck, or a polo neck around it."""
  if flat.neck is None:
    return
  unit = person.unit
  wide = 0.62
  window = drawing.window_of(
    person.place(-wide, -0.75), person.place(wide, 0.45), shape=canvas.shape
  )
  t, s = figure.torso_grid(person, window)
  s = np.broadcast_to(s, t.shape)
  lean = math.tan(math.radians(person.head_tilt)) * np.clip(-s, 0, 1)
  if garment.collar == 'hood':
    # It lies on shoulders and back; the shop's photo shows it raised.
    flat_xy = garment.pixels(t, np.where(s < 0, s / 0.62, s))
    nx, ny = 0.8 * np.clip(t / 0.5, -1, 1), np.clip(3 * s + 0.1, -0.7, 0.3)
    relief = 0.03 * np.exp(-(((s + 0.1 - 0.5 * t * t) / 0.05) ** 2))
  else:
    thick = 0.235 + 0.02 * person.limb + 0.03 * person.look.male
    flat_xy = garment.pixels((t - lean) * 0.235 / thick, s)
    nx, ny = 0.95 * np.clip((t - lean) / thick, -1, 1), 0.1 + 0 * s
    relief = 0.012 * np.sin((t - lean) * 60) * garment.weight
    relief = relief - 0.02 * np.exp(-(((s + 0.13) / 0.02) ** 2))
  flat_xy = flat_xy.astype(np.float32)
  relief = relief.astype(np.float32)
  alpha = drawing.sample(flat.neck, flat_xy)
  normal = np.dstack([nx, ny]).astype(np.float32) + slopes(relief * unit)
  canvas.cast(window, alpha, height=0.04, depth=0.4)
  canvas.lay(
    window,
    alpha,
    colour=drawing.sample(flat.torso, flat_xy, border=cv2.BORDER_REPLICATE),
    normal=unit_normal(normal),
    label=dressing.UPPER_CLOTHES,
    gloss=garment.sheen,
    openness=1 - folds.hollow(relief, 0.04 * unit),
    flat=flat_xy,
  )
