"""The proportions of a person, from joints: what lies where.

All lengths are in heads, from crown to chin, unless a name ends in _px. The
figures are those of drawn and photographed adults: shoulders 1.34 heads apart,
2.2 heads from neck to hips.
"""

import dataclasses

import numpy as np

from viton_jax.errors import InputError
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

TORSO = 2.2  # From the neck to the hips.
_SHOULDERS, _NECK_TO_NOSE = 1.34, 0.9
_EARS, _EYES = 0.66, 0.29
# The pit of the neck lies this far above the line of the shoulders.
PIT = 0.2
_HAND, _FOOT, _THIGH = 0.75, 0.45, 1.75


@dataclasses.dataclass(frozen=True)
class Body:
  """A person's joints, completed, and their scale.

  Attributes:
    joints: (18, 2) float64 x, y in pixels; NaN where unknown.
    unit: pixels of one head height, measured on the body.
    head_unit: the same, measured on the head.
    head: (2,) pixels, the middle of the head (between the eyes and ears).
    head_up: (2,) unit vector, from the chin to the crown.
    neck: (2,) pixels, between the shoulders.
    down: (2,) unit vector, from the neck to the hips.
    shoulders: (2, 2) pixels, right and left.
    hips: (2, 2) pixels, right and left, guessed where not seen.
    hips_seen: whether a hip was seen.
    face_seen: whether the nose or an eye was seen.
  """

  joints: np.ndarray
  unit: float
  head_unit: float
  head: np.ndarray
  head_up: np.ndarray
  neck: np.ndarray
  down: np.ndarray
  shoulders: np.ndarray
  hips: np.ndarray
  hips_seen: bool
  face_seen: bool

  def chain(self, joints, end: float) -> np.ndarray:
    """Points of a limb as far as it is known, and its hand or foot.

    Args:
      joints: three indices, from the trunk outwards.
      end: heads that the limb goes on beyond the third.

    Returns:
      (m, 2) pixels, m <= 4; empty where only the first joint is known.
    """
    points = []
    for point in self.joints[list(joints)]:
      if np.isnan(point).any():
        break
      points.append(point)
    if len(points) < 2:
      return np.zeros((0, 2))
    if len(points) == 3:
      ahead = points[2] - points[1]
      ahead = ahead / max(np.linalg.norm(ahead), 1e-6)
      points.append(points[2] + end * self.unit * ahead)
    return np.stack(points)

  def arm(self, side: int) -> np.ndarray:
    """`chain` of the right (0) or left (1) arm with its hand."""
    return self.chain(range(2 + 3 * side, 5 + 3 * side), _HAND)

  def leg(self, side: int) -> np.ndarray:
    """`chain` of the right (0) or left (1) leg with its foot."""
    return self.chain(range(8 + 3 * side, 11 + 3 * side), _FOOT)

  def guessed_leg(self, side: int) -> np.ndarray:
    """(3, 2) hip, knee and ankle straight below the hip."""
    lengths = self.unit * np.array([0.0, _THIGH, 2 * _THIGH])
    return self.hips[side] + lengths[:, None] * self.down


def measure(keypoints: np.ndarray) -> Body:
  """Completes a body.

  Args:
    keypoints: (18, 3) float x, y in pixels, confidence (0: missing).

  Returns:
    A Body.

  Raises:
    InputError: neither the neck nor both shoulders are there, or the joints
      give no scale.
  """
  keypoints = np.asarray(keypoints, np.float64)
  if keypoints.shape != (18, 3) or not np.isfinite(keypoints).all():
    raise InputError(
      'keypoints must be 18 rows of finite x, y, confidence, not an array '
      f'of shape {keypoints.shape}; estimate them again or give --pose FILE'
    )
  joints = np.where(keypoints[:, 2:] > 0, keypoints[:, :2], np.nan)
  seen = keypoints[:, 2] > 0
  shoulders = joints[[R_SHOULDER, L_SHOULDER]]
  if not seen[NECK] and not seen[[R_SHOULDER, L_SHOULDER]].all():
    raise InputError(
      f'the pose has {int(seen.sum())} joints but neither the neck nor both '
      'shoulders, so clothes cannot be told from the rest; give a label map '
      'by --parse FILE or better joints by --pose FILE'
    )
  neck = joints[NECK] if seen[NECK] else shoulders.mean(axis=0)
  hips = joints[[R_HIP, L_HIP]]
  hip = _mean(hips)
  face = _mean(joints[[NOSE, R_EYE, L_EYE]])
  ears, eyes = joints[[R_EAR, L_EAR]], joints[[R_EYE, L_EYE]]
  top = _mean(np.stack([face, _mean(ears)]))

  # A turned person's shoulders are nearer to each other, a bowed head is
  # nearer to the neck: the largest measure is the least foreshortened.
  scales = [
    _length(shoulders[1] - shoulders[0]) / _SHOULDERS,
    2 * _length(_mean(shoulders) - neck) / _SHOULDERS,
    _length(hip - neck) / TORSO,
    _length(top - neck) / (_NECK_TO_NOSE + 0.1),
  ]
  head_scales = [
    _length(eyes[1] - eyes[0]) / _EYES,
    _length(ears[1] - ears[0]) / _EARS,
    _length(top - neck) / (_NECK_TO_NOSE + 0.1),
  ]
  unit = np.nanmax([*scales, 0])
  head_unit = np.nanmax([*head_scales, 0])
  # Big heads are children's; beyond that one of the measures is wrong.
  unit = max(unit, 0.6 * head_unit)
  head_unit = max(head_unit, 0.7 * unit)
  if unit < 2:
    raise InputError(
      'the joints lie on one spot, so the person has no size; give a label '
      'map by --parse FILE or better joints by --pose FILE'
    )

  down = hip - neck
  if np.isnan(down).any():
    # Shoulders slope and heads tilt; people in photos mostly stand upright.
    down = np.array([0.0, 1.0])
    if not np.isnan(shoulders).any():
      down = down + _square_to(shoulders[1] - shoulders[0], (0.0, 1.0))
    if not np.isnan(top).any():
      down = down + (neck - top) / max(_length(neck - top), 1e-6)
  down = down / max(_length(down), 1e-6)
  across = np.array([down[1], -down[0]])
  # Seen from behind, the right side is on the right.
  for pair in (shoulders, hips, eyes, ears):
    if not np.isnan(pair).any():
      across = across * (1 if (pair[1] - pair[0]) @ across >= 0 else -1)
      break
  shoulders = _complete(shoulders, neck, _SHOULDERS / 2 * unit * across)
  middle = neck + TORSO * unit * down
  hips = _complete(hips, middle, 0.36 * unit * across)

  up = -down if np.isnan(top).any() else top - neck
  up = up / max(np.linalg.norm(up), 1e-6)
  spans = [p[1] - p[0] for p in (eyes, ears) if not np.isnan(p).any()]
  if spans and max(map(np.linalg.norm, spans)) > 0.2 * head_unit:
    up = _square_to(max(spans, key=np.linalg.norm), up)
  head = _mean(np.stack([_mean(eyes), _mean(ears)]))
  if np.isnan(head).any():
    head = joints[NOSE] + 0.13 * head_unit * up
  if np.isnan(head).any():
    head = neck - (_NECK_TO_NOSE + 0.1) * unit * down
  elif (
    seen[NOSE] and seen[[R_EAR, L_EAR]].any() and not seen[[R_EYE, L_EYE]].all()
  ):
    # A profile: the middle lies between the nose and the ear.
    aside = (joints[NOSE] + _mean(ears)) / 2 - head
    head = head + (aside - (aside @ up) * up)
  return Body(
    joints=joints,
    unit=float(unit),
    head_unit=float(head_unit),
    head=head,
    head_up=up,
    neck=neck,
    down=down,
    shoulders=shoulders,
    hips=hips,
    hips_seen=bool(seen[[R_HIP, L_HIP]].any()),
    face_seen=bool(seen[[NOSE, R_EYE, L_EYE]].any()),
  )


def _mean(points: np.ndarray) -> np.ndarray:
  """Mean of the known rows, NaN where there are none."""
  known = points[~np.isnan(points).any(axis=1)]
  return known.mean(axis=0) if len(known) else np.full(2, np.nan)


def _length(vector: np.ndarray) -> float:
  return float(np.linalg.norm(vector))


def _square_to(span: np.ndarray, like) -> np.ndarray:
  """The unit normal of a vector that points the way `like` does."""
  like = np.asarray(like, np.float64)
  size = np.linalg.norm(span)
  if not size > 0:
    return like
  normal = np.array([-span[1], span[0]]) / size
  return normal if normal @ like >= 0 else -normal


def _complete(pair: np.ndarray, middle: np.ndarray, half: np.ndarray):
  """Right and left of a pair; an unknown one mirrors the other."""
  right, left = (bool(np.isnan(one).any()) for one in pair)
  if right and left:
    return np.stack([middle - half, middle + half])
  if right:
    return np.stack([pair[1] - 2 * half, pair[1]])
  if left:
    return np.stack([pair[0], pair[0] + 2 * half])
  return pair.copy()
