"""Who is dressed: found once, then the same person from frame to frame."""

import dataclasses

import numpy as np

from viton_jax.labels import L_SHOULDER, NECK, R_SHOULDER
from viton_jax.perception.pose.estimator import Person, PoseEstimator

# A person whose neck has moved by more, in widths of the shoulders, since the
# last frame is another one.
_MAX_JUMP = 1.5
_NEEDED = (NECK, R_SHOULDER, L_SHOULDER)


def dressable(person: Person) -> bool:
  """Whether neck and both shoulders are seen, by which people are framed."""
  return bool((person.keypoints[list(_NEEDED), 2] > 0).all())


def next_of(
  pose: PoseEstimator, frame: np.ndarray, person: Person
) -> Person | None:
  """The same person in the next frame, or None.

  Args:
    pose: the model; where it can only search, the nearest one is taken.
    frame: (h, w, 3) uint8 RGB.
    person: in the last frame.
  """
  if pose.follow is not None and person.region is not None:
    found = pose.follow(frame, person)
  else:
    found = nearest(pose.find(frame), neck_of(person))
  if found is None or not found.keypoints[NECK, 2]:
    return None
  moved = np.hypot(*(neck_of(found) - neck_of(person)))
  return found if moved <= _MAX_JUMP * _shoulders(person) else None


def nearest(people: list[Person], point: np.ndarray | None) -> Person | None:
  """Whose neck is nearest to x, y in pixels; the largest without a point."""
  people = [x for x in people if x.keypoints[NECK, 2] > 0]
  if not people or point is None:
    return people[0] if people else None
  return min(people, key=lambda x: float(np.hypot(*(neck_of(x) - point))))


def neck_of(person: Person) -> np.ndarray:
  """(2,) x, y in pixels."""
  return person.keypoints[NECK, :2].astype(np.float64)


def torso_of(person: Person) -> float:
  """A length to measure speeds with, in pixels: 1.65 shoulders' widths."""
  return 1.65 * _shoulders(person)


def _shoulders(person: Person) -> float:
  right, left = person.keypoints[[R_SHOULDER, L_SHOULDER]]
  if right[2] <= 0 or left[2] <= 0:
    return 0.15 * float(np.ptp(person.keypoints[:, 1])) + 16
  return max(float(np.hypot(*(right - left)[:2])), 16.0)


def with_joints(person: Person, points: np.ndarray) -> Person:
  """The same person with (18, 2) other positions of the joints seen."""
  keypoints = person.keypoints.copy()
  seen = keypoints[:, 2] > 0
  keypoints[seen, :2] = points[seen]
  return dataclasses.replace(person, keypoints=keypoints)
