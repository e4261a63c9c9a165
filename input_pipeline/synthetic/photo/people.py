"""Every age, size, skin and stance, and the crops that shops make."""

import dataclasses

import numpy as np

from input_pipeline.synthetic import people
from input_pipeline.synthetic.people import Look, Person, head_point
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

_STREAM = 20
_BROAD = 0.15  # Share of people who are much broader than most.
# Shares of arms that hang, are bent, on hips, crossed, raised, wide, in front.
_ARMS = (0.40, 0.24, 0.13, 0.07, 0.05, 0.05, 0.06)
_HAIRS = (
  np.array(
    [
      [26, 22, 22],
      [38, 29, 26],
      [56, 40, 32],
      [78, 54, 40],
      [106, 74, 52],
      [146, 108, 72],
      [184, 148, 102],
      [204, 174, 130],
      [122, 62, 38],
    ],
    np.float32,
  )
  / 255
)
_IRISES = (
  np.array(
    [[62, 42, 30], [84, 58, 38], [80, 92, 70], [84, 104, 124]], np.float32
  )
  / 255
)
_BOTTOMS = (
  np.array(
    [
      [34, 34, 38],
      [22, 24, 30],
      [44, 54, 78],
      [62, 80, 112],
      [92, 112, 144],
      [136, 152, 176],
      [178, 168, 150],
      [206, 196, 178],
      [226, 224, 218],
      [90, 88, 72],
      [104, 72, 54],
      [118, 118, 120],
      [120, 50, 54],
    ],
    np.float32,
  )
  / 255
)


def make_person(seed: int, index: int, *, height: int) -> Person:
  """Draws person `index`; see `people.make_person`."""
  person = people.make_person(seed, index, height=height)
  rng = person.rng(_STREAM)
  look = _look(rng)
  # Numbers of its own: everybody else stays as before.
  build = person.rng(_STREAM, 1)
  if build.random() < _BROAD:
    look = dataclasses.replace(look, heavy=float(build.uniform(1.5, 3.6)))
  person = _coloured(person, rng, look)
  person = _shaped(person, rng, look)
  return _cropped(person, rng)


def _look(rng) -> Look:
  kind = rng.random()
  if kind < 0.09:
    age = rng.uniform(5, 14)
  elif kind < 0.82:
    age = rng.uniform(16, 45)
  else:
    age = rng.uniform(45, 82)
  male = int(rng.random() < 0.4)
  heavy = float(np.clip(rng.normal(0, 0.75) + 0.006 * (age - 30), -1.2, 2.2))
  beard = ''
  if male and age > 19 and rng.random() < 0.5:
    beard = str(
      rng.choice(['stubble', 'beard', 'moustache'], p=(0.5, 0.4, 0.1))
    )
  receding = rng.uniform(0, 1) * male * float(age > 30) * (age / 70)
  return Look(male, age, heavy, beard, float(receding))


def _coloured(person, rng, look):
  """Skin, hair and trousers in the colours that photos have."""
  at = rng.uniform(0, len(people.SKINS) - 1)
  low = min(int(at), len(people.SKINS) - 2)
  skin = people.SKINS[low] + (at - low) * (
    people.SKINS[low + 1] - people.SKINS[low]
  )
  skin = skin * rng.uniform(0.94, 1.04) * (1 + rng.normal(0, 0.015, 3))
  dark = float(skin.mean()) < 0.55
  count = 4 if dark else len(_HAIRS)
  at = rng.uniform(0, count - 1)
  low = int(at)
  hair = _HAIRS[low] + (at - low) * (
    _HAIRS[min(low + 1, count - 1)] - _HAIRS[low]
  )
  if look.age > 45:
    grey = np.clip((look.age - 45) / 28 + rng.normal(0, 0.25), 0, 1)
    hair = hair + grey * (np.array([0.62, 0.61, 0.60]) - hair)
  style = str(
    rng.choice(
      ['long', 'wavy', 'bob', 'tail', 'bun', 'short', 'curly'],
      p=(0.22, 0.24, 0.16, 0.12, 0.09, 0.05, 0.12),
    )
  )
  if look.male:
    style = str(
      rng.choice(
        ['short', 'crop', 'curly', 'bald', 'bob'],
        p=(0.56, 0.22, 0.12, 0.07, 0.03),
      )
    )
  elif look.age > 55:
    style = str(rng.choice(['short', 'bob', 'bun', 'curly', 'wavy']))
  iris = _IRISES[0 if dark else int(rng.integers(len(_IRISES)))]
  lips = skin * (0.90, 0.60, 0.60) + np.array([0.03, 0.0, 0.01])
  if not look.male and look.age > 15 and rng.random() < 0.35:
    lips = np.array([0.66, 0.22, 0.26]) * rng.uniform(0.7, 1.15, 3)
  tone = _BOTTOMS[int(rng.integers(len(_BOTTOMS)))] * rng.uniform(0.85, 1.1)
  tone = tone * rng.uniform(0.97, 1.03, 3)
  skirt = not look.male and rng.random() < 0.3
  return dataclasses.replace(
    person,
    look=look,
    skin=np.clip(skin, 0.05, 0.97).astype(np.float32),
    hair=np.clip(hair, 0.05, 0.95).astype(np.float32),
    hair_style=style,
    iris=iris.astype(np.float32),
    lips=np.clip(lips, 0.08, 0.9).astype(np.float32),
    smile=float(rng.uniform(0.0, 1.0)),
    face=tuple(rng.uniform(-1, 1, 8).tolist()),
    hat=bool(rng.random() < 0.05),
    glasses=bool(rng.random() < 0.14),
    bottom='skirt' if skirt else 'trousers',
    bottom_colour=np.clip(tone, 0.05, 0.93).astype(np.float32),
    bottom_length=rng.uniform(2.9, 4.3),
  )


def _shaped(person, rng, look):
  """Another build and another stance."""
  child = max(14 - look.age, 0) / 9
  wide = 1 + 0.10 * look.heavy + 0.05 * look.male - 0.14 * child
  profile = person.profile.copy()
  profile[:, 1] *= wide
  if look.male:  # Broad shoulders, narrow hips, no waist.
    profile[:2, 1] *= 1.05
    profile[4, 1] *= 1.05
    profile[5:, 1] *= 0.93
  # Weight goes to waist and hips first.
  profile[3:7, 1] *= 1 + 0.05 * max(look.heavy, 0)
  shoulder = person.shoulder * wide * (1.05 if look.male else 1.0)
  shoulder *= 1 - 0.03 * look.heavy
  head = 1 + 0.22 * child + rng.normal(0, 0.02) - 0.02 * look.heavy
  lean, sway = rng.normal(0, 0.022), rng.normal(0, 0.07)
  tilt = float(np.clip(rng.normal(0, 0.03), -0.07, 0.07))
  made = dataclasses.replace(
    person,
    profile=profile,
    shoulder=shoulder,
    limb=float(1.07 + 0.09 * look.heavy + 0.05 * look.male - 0.16 * child),
    head=float(head),
    lean=lean,
    sway=sway,
    tilt=tilt,
    turn=rng.uniform(-0.16, 0.16),
    head_tilt=float(rng.normal(0, 4.5)),
    head_turn=float(np.clip(rng.normal(0, 0.6), -1.3, 1.3)),
  )
  joints = person.joints.copy()
  kinds, rises = [], []
  for side, first in ((-1, R_SHOULDER), (1, L_SHOULDER)):
    kind, upper, lower = people.arm_pose(rng, _ARMS)
    # Forearms that lie on the upper arm cannot be told from it.
    lower = upper + float(np.clip(lower - upper, -122, 122))
    rise = 0.13 if upper > 100 else 0.0
    joints[first] = made.place(side * shoulder, 0.20 + side * tilt - rise)
    length = rng.uniform(0.96, 1.06) * (1 - 0.12 * child)
    for joint, angle, size in (
      (first + 1, upper, 1.36 * rng.uniform(0.9, 1.02)),
      (first + 2, lower, 1.12 * rng.uniform(0.82, 1.02)),
    ):
      angle = np.radians(angle)
      joints[joint] = joints[joint - 1] + made.unit * length * size * np.array(
        [side * np.sin(angle), np.cos(angle)]
      )
    kinds.append(kind)
    rises.append(rise)
  if kinds[0] == kinds[1] == 'cross':
    made = dataclasses.replace(made, turn=0.0)
  joints[NECK] = (joints[R_SHOULDER] + joints[L_SHOULDER]) / 2
  spread = rng.uniform(-0.02, 0.16)
  for side, first in ((-1, R_HIP), (1, L_HIP)):
    joints[first] = made.place(side * 0.355 * wide, 2.42 - side * tilt * 0.6)
    step = np.array([side * spread, 1.75 + rng.uniform(-0.1, 0.03)])
    joints[first + 1] = joints[first] + made.unit * step
    joints[first + 2] = joints[first + 1] + made.unit * np.array(
      [side * rng.uniform(-0.1, 0.08), 1.7]
    )
  for joint, x, y in (
    (NOSE, 0.085 * made.head_turn, 0.66),
    (R_EYE, -0.15 + 0.05 * made.head_turn, 0.535),
    (L_EYE, 0.15 + 0.05 * made.head_turn, 0.535),
    (R_EAR, -0.335 + 0.02 * made.head_turn, 0.60),
    (L_EAR, 0.335 + 0.02 * made.head_turn, 0.60),
  ):
    unit = made.unit * made.head
    joints[joint] = head_point(made.pit, unit, made.head_tilt, x=x, y=y)
  return dataclasses.replace(
    made, joints=joints, arms=tuple(kinds), rise=tuple(rises)
  )


def _cropped(person, rng):
  """Frames the person: as most shops do, near, whole, or without forehead."""
  kind = rng.random()
  unit, crown = rng.uniform(1 / 5.4, 1 / 4.4), rng.uniform(0.03, 0.08)
  if kind < 0.2:  # Near.
    unit, crown = rng.uniform(1 / 4.4, 1 / 3.7), rng.uniform(0.02, 0.06)
  elif kind < 0.34:  # Down to the knees or the feet.
    unit, crown = rng.uniform(1 / 7.8, 1 / 5.6), rng.uniform(0.03, 0.07)
  elif kind < 0.54:  # The forehead is cut off, or all above the mouth.
    unit = rng.uniform(1 / 4.7, 1 / 3.7)
    crown = -unit * person.head * rng.uniform(0.1, 0.75)
  unit *= person.height
  scale = unit / person.unit
  pit = np.array(
    [
      person.width * (0.5 + rng.uniform(-0.05, 0.05)),
      crown * person.height + 1.34 * person.head * unit,
    ]
  )
  return dataclasses.replace(
    person,
    unit=unit,
    pit=pit,
    joints=pit + scale * (person.joints - person.pit),
  )
