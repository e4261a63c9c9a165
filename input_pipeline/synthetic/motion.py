"""Videos of drawn people who move in one place, as before a camera."""

from collections.abc import Iterator
import dataclasses

import numpy as np

from input_pipeline.synthetic.people import Person
from input_pipeline.synthetic.styles import PLAIN
from viton_jax.labels import (
  L_ANKLE,
  L_EAR,
  L_ELBOW,
  L_EYE,
  L_HIP,
  L_KNEE,
  L_SHOULDER,
  L_WRIST,
  NECK,
  NOSE,
  R_ANKLE,
  R_EAR,
  R_ELBOW,
  R_EYE,
  R_HIP,
  R_KNEE,
  R_SHOULDER,
  R_WRIST,
)

_HEAD = (NOSE, R_EYE, L_EYE, R_EAR, L_EAR)
_ARMS = (
  (-1, (R_SHOULDER, R_ELBOW, R_WRIST)),
  (1, (L_SHOULDER, L_ELBOW, L_WRIST)),
)
_LEGS = ((R_HIP, R_KNEE, R_ANKLE), (L_HIP, L_KNEE, L_ANKLE))


def render_motion(
  seed: int, index: int, height: int, *, frames: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """A person who sways, leans and swings the arms; the last frame meets the
  first.

  Args:
    seed: non-negative int of the data set.
    index: number of the person and the garment, from 1.
    height: in pixels; the width is 3/4 of it.
    frames: of one period.

  Yields:
    (height, width, 3) uint8 RGB, and its (height, width) uint8 LIP-20 labels.
  """
  person = PLAIN.make_person(seed, index, height=height)
  garment = PLAIN.make_garment(seed, index, height=height)
  flat = PLAIN.draw_flat(garment)
  for i in range(frames):
    phase = 2 * np.pi * i / frames
    moved = move(
      person,
      shift=(0.22 * np.sin(phase), 0.05 * np.cos(2 * phase)),
      lean=0.035 * np.sin(phase + 1),
      swing=(7 * np.sin(2 * phase), 7 * np.sin(2 * phase + 0.8)),
      nod=3 * np.sin(phase + 2),
    )
    canvas = PLAIN.draw(moved, garment, flat)
    yield PLAIN.finish(canvas, moved), canvas.parse


def move(
  person: Person,
  *,
  shift: tuple[float, float],
  lean: float,
  swing: tuple[float, float],
  nod: float,
) -> Person:
  """The same person in another pose.

  Args:
    person: at rest.
    shift: x, y of the whole body, in heads.
    lean: added to the spine's.
    swing: added to the right and the left upper arm's angle, in degrees away
      from the body; half of it more to the forearm's.
    nod: added to the head's, in degrees.
  """
  made = dataclasses.replace(
    person,
    pit=person.pit + person.unit * np.array(shift),
    lean=person.lean + lean,
    head_tilt=person.head_tilt + nod,
  )
  joints = person.joints.copy()
  for chain in (*(x for _, x in _ARMS), *_LEGS):
    # The root's place in the torso stays, the limb goes with it.
    root = person.joints[chain[0]]
    s = (root[1] - person.pit[1]) / person.unit
    t = (root[0] - person.pit[0]) / person.unit - person.spine(s)
    joints[list(chain)] += made.place(t, s) - root
  for (side, chain), angle in zip(_ARMS, swing, strict=True):
    shoulder, elbow, wrist = chain
    joints[[elbow, wrist]] = _turned(
      joints[[elbow, wrist]], joints[shoulder], -side * angle
    )
    joints[wrist] = _turned(joints[wrist], joints[elbow], -side * angle / 2)
  head = list(_HEAD)
  joints[head] = _turned(person.joints[head], person.pit, nod)
  joints[head] += made.pit - person.pit
  joints[NECK] = (joints[R_SHOULDER] + joints[L_SHOULDER]) / 2
  return dataclasses.replace(made, joints=joints)


def _turned(points: np.ndarray, centre: np.ndarray, degrees: float):
  """Points turned clockwise, as one sees the image."""
  cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
  return centre + (points - centre) @ np.array([[cos, sin], [-sin, cos]])
