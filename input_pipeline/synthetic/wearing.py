"""Where a garment lies on a body: the known correspondence.

Torso: a pixel has a depth s and a position t beside the spine; t over the worn
half width gives `part`, and s between the worn shoulder line and hem gives
`level`. The flat garment has the same `part` and `level`, with the turn of the
body and the roundness of the chest in between. Sleeves: position along and
across the arm against position along and across the flat sleeve. Both maps are
smooth and have closed forms; nothing is fitted.
"""

import dataclasses

import cv2
import numpy as np

from input_pipeline.synthetic import arms, drawing, figure
from input_pipeline.synthetic.people import smooth_profile

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


def worn_torso(person, garment, *, shape, coarse=False):
  """The WornTorso of a garment on a canvas of (height, width).

  `coarse` finds the cloth at half the resolution: it is smooth.
  """
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

  whole = inner.shape[::-1]
  some = (inner, level)
  if coarse:
    half = tuple((size + 1) // 2 for size in whole)
    some = (cv2.resize(x, half, interpolation=cv2.INTER_AREA) for x in some)
  flat_xy, open_neck = _cloth_at(garment, *some, turn=person.turn)
  if coarse:
    flat_xy = cv2.resize(flat_xy, whole)
    open_neck = cv2.resize(open_neck.astype(np.uint8), whole) > 0

  rim = np.clip((wide - np.abs(t)) * unit + 0.5, 0, 1)
  rim = rim * np.clip((s - top) * unit + 0.5, 0, 1)
  rim = rim * np.clip((hem - s) * unit + 0.5, 0, 1)
  return WornTorso(
    window, inner, s, level, s - top, hem - s, wide, rim, open_neck, flat_xy
  )


def _cloth_at(garment, part, level, *, turn):
  """Pixels of the flat torso (h, w, 2), and where its neckline may be cut."""
  flat_part = unroll(part, turn=turn)
  # The shares of the flat garment at this level of the worn one.
  flat_top = garment.top(flat_part)
  flat_s = flat_top + level * (garment.bottom(flat_part) - flat_top)
  flat_x = flat_part * garment.half_width(flat_s)
  flat_xy = garment.pixels(flat_x, flat_s).astype(np.float32)
  return flat_xy, neck_window(garment, flat_part, flat_s)


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


def neck_window(garment, part, s):
  """Where the flat mask decides on coverage: around neck and upper edge."""
  return (np.abs(part) < (garment.neck_width + 0.04) / garment.tip) & (
    s < garment.neck_depth + 0.08
  )


def unroll(part, *, turn):
  """Position across the flat cloth for a position across the round body."""
  turned = part + turn * (1 - part * part)
  return np.arcsin(np.clip(turned * np.sin(ARC), -1, 1)) / ARC
