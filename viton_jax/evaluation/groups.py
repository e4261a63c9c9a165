"""Groups of pairs by what labels and joints say: where a method is good or bad.

Rules with fixed limits, the same for every data set. They are coarse on
purpose: a group says where to look.
"""

import cv2
from jaxtyping import Bool, Float, UInt8
import numpy as np

from viton_jax import labels

NAMES = {
  'sleeves': 'how far the garment reaches down the arms: none, short, long',
  'sleeve_change': "sleeves of the photo's garment and of the new one",
  'hem_change': 'their hems: cropped (0.1 of a torso above the hips), hips, '
  'long (0.1 below)',
  'pattern': "how much the garment's colours vary: plain, patterned",
  'arm_over_garment': 'whether a forearm lies before the torso: yes, no',
  'garment_size': 'share of the picture: small (below 15 %), middle, large '
  '(above 25 %)',
  'pose': 'easy: both arms hang within 30 degrees; hard: not; incomplete: a '
  'joint of an arm is missing',
  'skin_tone': 'individual typology angle of face and arms: light (> 41 '
  'degrees), middle, dark (< 10)',
}
# Shoulder, elbow, wrist.
_ARMS = (
  (labels.R_SHOULDER, labels.R_ELBOW, labels.R_WRIST),
  (labels.L_SHOULDER, labels.L_ELBOW, labels.L_WRIST),
)
_TORSO = (labels.R_SHOULDER, labels.L_SHOULDER, labels.R_HIP, labels.L_HIP)
_SKIN_LABELS = (labels.FACE, *labels.ARM_LABELS)
_PLAIN_BELOW = 10.0  # Mean distance from the mean colour, in units of CIE Lab.
_HANGING_DEGREES = 30.0
_FEWEST_PIXELS = 50
_HEM = 0.1  # Of the torso, shoulders to hips: so near the hips is at them.


def of_pair(
  *,
  garment: UInt8[np.ndarray, 'hg wg 3'],
  garment_mask: Bool[np.ndarray, 'hg wg'] | None,
  photo: UInt8[np.ndarray, 'h w 3'],
  parse: UInt8[np.ndarray, 'h w'],
  keypoints: Float[np.ndarray, '18 3'],
  parse_before: UInt8[np.ndarray, 'h w'] | None = None,
) -> dict[str, str]:
  """The groups that a pair is in: name -> one of its values.

  Args:
    garment: its photo.
    garment_mask: the garment there; None: what is not nearly white.
    photo: who wears it, the truth where it is known.
    parse: LIP-20 labels of `photo`.
    keypoints: COCO-18, x, y in pixels of `photo`, confidence 0: missing.
    parse_before: labels of the person in the garment that is exchanged, where
      `photo` shows the same person in another; None: it does not.

  Returns:
    a value for each of NAMES that can be told.
  """
  found = {}
  worn = parse == labels.GARMENT_LABEL
  share = worn.mean()
  if share:
    found['garment_size'] = (
      'small' if share < 0.15 else 'large' if share > 0.25 else 'middle'
    )
  inside = garment.min(axis=-1) < 240 if garment_mask is None else garment_mask
  if inside.sum() >= _FEWEST_PIXELS:
    found['pattern'] = _pattern(garment, inside)
  skin = np.isin(parse, _SKIN_LABELS)
  if skin.sum() >= _FEWEST_PIXELS:
    found['skin_tone'] = _skin_tone(photo[skin])
  arms = [
    arm[:, :2]
    for arm in (keypoints[list(joints)] for joints in _ARMS)
    if (arm[:, 2] > 0).all()
  ]
  if len(arms) < len(_ARMS):
    found['pose'] = 'incomplete'
  elif all(_hangs(arm) for arm in arms):
    found['pose'] = 'easy'
  else:
    found['pose'] = 'hard'
  if arms and share:
    found['sleeves'] = _sleeves(arms, worn)
    found['arm_over_garment'] = _crosses(keypoints, arms)
  before = (
    None if parse_before is None else parse_before == labels.GARMENT_LABEL
  )
  if before is not None and before.any() and share:
    if arms:
      found['sleeve_change'] = f'{_sleeves(arms, before)} to {found["sleeves"]}'
    if (keypoints[list(_TORSO), 2] > 0).all():
      found['hem_change'] = (
        f'{_hem(keypoints, before)} to {_hem(keypoints, worn)}'
      )
  return {name: found[name] for name in NAMES if name in found}


def _lab(pixels: np.ndarray) -> np.ndarray:
  """(n, 3) uint8 RGB -> (n, 3) float32 CIE Lab, L in 0..100."""
  rgb = pixels.reshape(1, -1, 3).astype(np.float32) / 255
  return cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[0]


def _pattern(garment, mask) -> str:
  inside = cv2.erode(mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
  # Shading is smooth and of low amplitude: the lightness counts half.
  lab = _lab(garment[inside if inside.any() else mask]) * (0.5, 1, 1)
  spread = np.linalg.norm(lab - lab.mean(axis=0), axis=1).mean()
  return 'plain' if spread < _PLAIN_BELOW else 'patterned'


def _skin_tone(pixels) -> str:
  """By the individual typology angle of the median colour.

  Chardon, Cretois and Hourseau, International Journal of Cosmetic Science 13,
  1991: six classes, of which two each are put together here.
  """
  lightness, _, b = np.median(_lab(pixels), axis=0)
  angle = np.degrees(np.arctan2(lightness - 50, b))
  return 'light' if angle > 41 else 'dark' if angle < 10 else 'middle'


def _hangs(arm: np.ndarray) -> bool:
  bones = np.diff(arm, axis=0)
  angles = np.degrees(np.arctan2(np.abs(bones[:, 0]), bones[:, 1]))
  return bool((angles <= _HANGING_DEGREES).all())


def _sleeves(arms, worn) -> str:
  """Votes of both arms: is there garment halfway down each bone?"""
  reached = np.mean(
    [[_any(worn, (arm[i] + arm[i + 1]) / 2) for i in (0, 1)] for arm in arms],
    axis=0,
  )
  if reached[1] > 0.5:
    return 'long'
  return 'short' if reached[0] >= 0.5 else 'none'


def _hem(keypoints, worn) -> str:
  """Where the garment ends below the shoulders, on the scale of the torso."""
  torso = keypoints[list(_TORSO), :2]
  shoulders, hips = torso[:2], torso[2:]
  left, right = np.sort(shoulders[:, 0]).astype(int)
  rows = np.flatnonzero(worn[:, max(left, 0) : right + 1].any(axis=1))
  if not rows.size:
    return 'cropped'
  top, bottom = shoulders[:, 1].mean(), hips[:, 1].mean()
  below = (rows[-1] - bottom) / max(bottom - top, 1.0)
  return 'cropped' if below < -_HEM else 'hips' if below <= _HEM else 'long'


def _any(mask, point) -> bool:
  x, y = np.rint(point).astype(int)
  return bool(mask[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].any())


def _crosses(keypoints, arms) -> str:
  """Whether the middle of a forearm, or a wrist, is between the shoulders."""
  ends, hips = np.split(keypoints[list(_TORSO)], 2)
  left, right = sorted(ends[:, 0])
  top = ends[:, 1].min()
  bottom = hips[:, 1].max() if (hips[:, 2] > 0).all() else np.inf
  margin = 0.15 * (right - left)
  for arm in arms:
    for x, y in ((arm[1] + arm[2]) / 2, arm[2]):
      if left + margin < x < right - margin and top < y < bottom:
        return 'yes'
  return 'no'
