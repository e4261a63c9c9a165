"""Who stands in the image: body shape, pose, colours and hair.

A person is drawn from (seed, index) alone, in units of the head's height, so
that the same person comes out at any image size. Sides are the person's own:
the right arm appears on the left of the image.
"""

import dataclasses
import functools

import numpy as np

from viton_jax.labels import (
  L_EAR,
  L_EYE,
  L_HIP,
  L_SHOULDER,
  NECK,
  NOSE,
  R_EAR,
  R_EYE,
  R_HIP,
  R_SHOULDER,
)

# Streams of random numbers, so that one part never disturbs another.
STREAM_PERSON, STREAM_GARMENT, STREAM_FOLDS, STREAM_SKIN = range(4)

SKINS = (
  np.array(
    [
      [250, 222, 202],
      [243, 208, 184],
      [236, 194, 166],
      [226, 180, 148],
      [212, 162, 128],
      [190, 138, 104],
      [160, 110, 80],
      [126, 84, 62],
      [100, 66, 50],
    ],
    np.float32,
  )
  / 255
)
HAIRS = (
  np.array(
    [
      [38, 30, 30],
      [52, 36, 30],
      [74, 48, 34],
      [104, 66, 42],
      [140, 94, 56],
      [186, 140, 86],
      [216, 178, 120],
      [150, 66, 40],
      [120, 116, 116],
    ],
    np.float32,
  )
  / 255
)
HAIR_STYLES = (
  'long',
  'long',
  'wavy',
  'wavy',
  'bob',
  'bob',
  'tail',
  'bun',
  'short',
  'curly',
)
BOTTOMS = (
  np.array(
    [
      [58, 76, 108],
      [92, 116, 150],
      [38, 44, 62],
      [40, 40, 44],
      [66, 66, 70],
      [150, 146, 142],
      [196, 180, 154],
      [222, 216, 206],
      [92, 88, 70],
      [116, 72, 60],
      [146, 160, 176],
    ],
    np.float32,
  )
  / 255
)


@dataclasses.dataclass(frozen=True)
class Look:
  """What the style 'photo' draws of a person beside shape and colours.

  Attributes:
    male: 0 or 1.
    age: in years.
    heavy: about -1 (thin) to 3.6.
    beard: '', 'stubble', 'moustache' or 'beard'.
    receding: 0..1, how far the hair has gone from the forehead.
  """

  male: int = 0
  age: float = 25.0
  heavy: float = 0.0
  beard: str = ''
  receding: float = 0.0


@dataclasses.dataclass(frozen=True)
class Person:
  """Everything about a person but the garment; lengths in head heights.

  Attributes:
    unit: pixels of one head height.
    pit: (2,) float, x, y in pixels of the pit of the neck, the origin of the
      torso's coordinates (t to the right of the image, s down).
    joints: (18, 2) float, pixels, COCO-18 order, also outside the image.
    profile: (n, 2) rows (s, half width) of the torso's outline.
    arms: 'hang', 'bent', 'hips', 'cross' or 'raised' for (right, left).
    head: size of the head; children's is larger than the unit of their body.
  """

  seed: int
  index: int
  height: int
  width: int
  unit: float
  pit: np.ndarray
  lean: float
  sway: float
  tilt: float
  turn: float
  head_tilt: float
  head_turn: float
  joints: np.ndarray
  profile: np.ndarray
  shoulder: float
  rise: tuple
  limb: float
  arms: tuple
  skin: np.ndarray
  hair: np.ndarray
  hair_style: str
  parting: float
  lips: np.ndarray
  iris: np.ndarray
  face: tuple
  smile: float
  hat: bool
  glasses: bool
  bottom: str
  bottom_colour: np.ndarray
  bottom_length: float
  backdrop: np.ndarray
  head: float = 1.0
  look: Look = Look()

  def rng(self, stream, *more):
    return np.random.default_rng([self.seed, self.index, stream, *more])

  def spine(self, s):
    """Sideways position of the body's middle at depth s, in heads."""
    bow = np.sin(np.clip(s / 2.45, 0, 1.15) * np.pi / 2) ** 2
    return self.lean * s + self.sway * bow

  def place(self, t, s):
    """Pixels (..., 2) of a point t beside the spine at depth s (heads)."""
    x = self.pit[0] + self.unit * (t + self.spine(np.asarray(s, float)))
    y = self.pit[1] + self.unit * np.asarray(s, float)
    return np.stack(np.broadcast_arrays(x, y), -1)

  def half_width(self, s):
    """Half width of the torso's outline at depth s, in heads."""
    return smooth_profile(self.profile, s)


def smooth_profile(knots, s):
  """Monotone-ish smooth interpolation of (n, 2) knots, constant outside."""
  # A dense linear table of cosine-eased spans: no overshoot, and far cheaper
  # than a spline object for the few hundred rows that are asked for.
  low = np.clip(np.searchsorted(knots[:, 0], s) - 1, 0, len(knots) - 2)
  s0, s1 = knots[low, 0], knots[low + 1, 0]
  slopes = _slopes(knots.tobytes())
  part = np.clip((s - s0) / (s1 - s0), 0, 1)
  m0, m1 = slopes[low] * (s1 - s0), slopes[low + 1] * (s1 - s0)
  return (
    (2 * part**3 - 3 * part**2 + 1) * knots[low, 1]
    + (part**3 - 2 * part**2 + part) * m0
    + (3 * part**2 - 2 * part**3) * knots[low + 1, 1]
    + (part**3 - part**2) * m1
  )


@functools.lru_cache(maxsize=256)
def _slopes(knots: bytes):
  """Slope at each of the (n, 2) float64 knots; the same few come often."""
  rows = np.frombuffer(knots).reshape(-1, 2)
  return np.gradient(rows[:, 1], rows[:, 0])


def profile_at(knots, values):
  """`smooth_profile` for many values: a table of it, looked up linearly."""
  table = np.linspace(knots[0, 0], knots[-1, 0], 129)
  return np.interp(values, table, smooth_profile(knots, table)).astype(
    np.float32
  )


def _blend(rng, colours):
  """A colour between two neighbours of a palette."""
  at = rng.uniform(0, len(colours) - 1)
  low = int(at)
  return (colours[low] + (at - low) * (colours[low + 1] - colours[low])).astype(
    np.float32
  )


def _arm_angles(rng, style):
  """Upper and lower arm, degrees from straight down, outwards positive.

  Also the foreshortening of both.
  """
  if style == 'hang':
    return rng.uniform(8, 14), rng.uniform(-3, 7), 1.0, 1.0
  if style == 'bent':
    return rng.uniform(15, 24), rng.uniform(-20, 2), 1.0, 0.97
  if style == 'hips':
    return rng.uniform(40, 50), rng.uniform(-58, -46), 1.0, 0.98
  if style == 'cross':
    return rng.uniform(9, 17), rng.uniform(-112, -78), 0.95, 0.95
  return rng.uniform(118, 138), rng.uniform(196, 226), 0.96, 0.9


def arm_pose(
  rng: np.random.Generator, shares=(0.3, 0.2, 0.1, 0.12, 0.08, 0.08, 0.12)
) -> tuple[str, float, float]:
  """Kind, and degrees from straight down of upper and lower arm."""
  kind = str(
    rng.choice(
      ('hang', 'bent', 'hips', 'cross', 'raised', 'wide', 'front'),
      p=shares,
    )
  )
  low, high, low_2, high_2 = {
    'hang': (4, 16, -8, 10),
    'bent': (12, 30, -40, 5),
    'hips': (35, 55, -65, -40),
    'cross': (5, 25, -115, -60),
    'raised': (105, 150, 150, 240),
    'wide': (35, 95, 10, 140),
    'front': (2, 30, -170, -110),
  }[kind]
  name = {'wide': 'raised', 'front': 'cross'}.get(kind, kind)
  return name, rng.uniform(low, high), rng.uniform(low_2, high_2)


def make_person(seed, index, *, height):
  """Draws the person of pair `index`.

  Args:
    seed: non-negative int of the whole data set.
    index: number of the pair, from 1.
    height: image height in pixels; the width is 3/4 of it, rounded.

  Returns:
    A Person.
  """
  rng = np.random.default_rng([seed, index, STREAM_PERSON])
  width = round(height * 3 / 4)
  crown = rng.uniform(0.035, 0.075) * height
  unit = (height - crown) / rng.uniform(4.5, 5.35)
  build = rng.normal(0, 1)
  broad = 1 + 0.035 * build + rng.normal(0, 0.02)
  curve = rng.uniform(0.0, 1.0)
  shoulder = 0.67 * broad + rng.uniform(-0.02, 0.03)
  waist = 0.515 * broad - 0.04 * curve + 0.02 * max(build, 0)
  hips = 0.685 * broad + 0.03 * curve
  profile = np.array(
    [
      [0.10, shoulder * 1.08],
      [0.34, shoulder * 0.95],
      [0.60, 0.635 * broad],
      [0.85, 0.635 * broad],
      [1.42, waist],
      [1.95, 0.5 * (waist + hips) + 0.03],
      [2.40, hips],
      [2.75, hips + 0.01],
      [3.6, hips - 0.03],
    ]
  )
  pit = np.array(
    [width / 2 + rng.uniform(-0.025, 0.025) * width, crown + 1.34 * unit]
  )
  lean, sway = rng.uniform(-0.035, 0.035), rng.uniform(-0.10, 0.10)
  tilt = rng.uniform(-0.05, 0.05)

  kinds = ('hang', 'bent', 'hips', 'cross', 'raised')
  arms = list(rng.choice(kinds, 2, p=(0.34, 0.27, 0.17, 0.14, 0.08)))
  if arms == ['cross', 'cross']:
    arms[int(rng.integers(2))] = 'hang'  # Folded arms hide each other's hand.
  rise = tuple(0.13 if kind == 'raised' else 0.0 for kind in arms)

  joints = np.zeros((18, 2))

  def place(t, s):
    bow = np.sin(min(s / 2.45, 1.15) * np.pi / 2) ** 2 if s > 0 else 0.0
    return pit + unit * np.array([t + lean * s + sway * bow, s])

  arm_length = rng.uniform(0.96, 1.04)
  for side, first, kind, up in (
    (-1, R_SHOULDER, arms[0], rise[0]),
    (1, L_SHOULDER, arms[1], rise[1]),
  ):
    upper, lower, short_upper, short_lower = _arm_angles(rng, kind)
    joints[first] = place(side * shoulder, 0.20 + side * tilt - up)
    for joint, angle, size in (
      (first + 1, upper, 1.36 * short_upper),
      (first + 2, lower, 1.12 * short_lower),
    ):
      angle = np.radians(angle)
      joints[joint] = joints[joint - 1] + unit * arm_length * size * np.array(
        [side * np.sin(angle), np.cos(angle)]
      )
  joints[NECK] = (joints[R_SHOULDER] + joints[L_SHOULDER]) / 2
  stance = rng.uniform(0.0, 0.10)
  for side, first in ((-1, R_HIP), (1, L_HIP)):
    joints[first] = place(side * 0.355, 2.42 - side * tilt * 0.6)
    joints[first + 1] = joints[first] + unit * np.array(
      [side * (stance - 0.03), 1.75]
    )
    joints[first + 2] = joints[first + 1] + unit * np.array([0.0, 1.7])

  head_tilt = float(rng.normal(0, 3.0))
  head_turn = rng.uniform(-1, 1)
  for joint, x, y in (
    (NOSE, 0.085 * head_turn, 0.66),
    (R_EYE, -0.15 + 0.05 * head_turn, 0.535),
    (L_EYE, 0.15 + 0.05 * head_turn, 0.535),
    (R_EAR, -0.335 + 0.02 * head_turn, 0.60),
    (L_EAR, 0.335 + 0.02 * head_turn, 0.60),
  ):
    joints[joint] = head_point(pit, unit, head_tilt, x=x, y=y)

  skin = _blend(rng, SKINS)
  dark = float(skin.mean()) < 0.52
  hair = _blend(rng, HAIRS[:4] if dark else HAIRS)
  style = str(rng.choice(HAIR_STYLES))
  lips = skin * np.array([0.86, 0.55, 0.56]) + np.array([0.08, 0.02, 0.03])
  irises = np.array([[70, 46, 30], [96, 66, 40], [86, 104, 78], [88, 116, 142]])
  bottom = str(rng.choice(['trousers', 'trousers', 'trousers', 'skirt']))
  grey = rng.choice([0.97, 0.94, 0.91, 0.88])
  return Person(
    seed=seed,
    index=index,
    height=height,
    width=width,
    unit=unit,
    pit=pit,
    lean=lean,
    sway=sway,
    tilt=tilt,
    turn=rng.uniform(-0.12, 0.12),
    head_tilt=head_tilt,
    head_turn=head_turn,
    joints=joints,
    profile=profile,
    shoulder=shoulder,
    rise=rise,
    limb=1 + 0.05 * build,
    arms=tuple(arms),
    skin=skin,
    hair=hair,
    hair_style=style,
    parting=rng.uniform(-0.16, 0.16),
    lips=lips.astype(np.float32),
    iris=irises[0 if dark else int(rng.integers(4))].astype(np.float32) / 255,
    face=tuple(rng.uniform(-1, 1, 8).tolist()),
    smile=rng.uniform(0.2, 1.0),
    hat=bool(rng.random() < 0.06),
    glasses=bool(rng.random() < 0.06),
    bottom=bottom,
    bottom_colour=_blend(rng, BOTTOMS),
    bottom_length=rng.uniform(3.0, 3.9),
    backdrop=(grey + rng.uniform(-0.012, 0.012, 3)).astype(np.float32),
  )


def head_point(pit, unit, tilt, *, x, y):
  """Pixels of a point of the head: x beside its axis, y below the crown.

  The head turns about the pit of the neck, `tilt` in degrees.
  """
  angle = np.radians(tilt)
  dx, dy = x, y - 1.34
  return pit + unit * np.stack(
    [
      dx * np.cos(angle) - dy * np.sin(angle),
      dx * np.sin(angle) + dy * np.cos(angle),
    ],
    -1,
  )


def visible_keypoints(person):
  """Keypoints as an estimator would report them.

  Returns:
    float32 (18, 3): x, y in pixels, confidence; all 0 outside the image.
  """
  rng = person.rng(STREAM_SKIN, 1)
  score = rng.uniform(0.78, 0.97, 18)
  x, y = person.joints.T
  inside = (
    (x >= 0) & (y >= 0) & (x <= person.width - 1) & (y <= person.height - 1)
  )
  points = np.column_stack([x, y, score]) * inside[:, None]
  return points.astype(np.float32)
