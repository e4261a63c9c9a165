"""Where the torso and the arms of people lie, pixel by pixel, from joints."""

from collections.abc import Sequence
import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from viton_jax import labels

Region = Bool[Array, 'b h w']
Keypoints = Float[Array, 'b 18 3']

ARMS = (
  (labels.R_SHOULDER, labels.R_ELBOW, labels.R_WRIST),
  (labels.L_SHOULDER, labels.L_ELBOW, labels.L_WRIST),
)
# Medians of the drawn people: neck to the middle of the hips, and the width of
# the shoulders, as parts of the height of VITON's frame.
TORSO = 0.427
SHOULDERS = 0.258
# In torso lengths: how far the torso reaches beyond the line of the shoulders.
_TORSO_MARGIN = 0.06
# Half the thickness of a bare arm at shoulder, elbow and wrist, in torso
# lengths: measured on drawn people.
_CHIN = 0.55  # Where the chin is, from the neck's joint, 0, to the nose, 1.
_NECK_RADIUS = 0.14  # As much for a neck, between its joint and the nose.
_ARM_RADII = (0.068, 0.055, 0.045)
# A guessed upper arm, in torso lengths: the drawn people's median; and how much
# of an arm must be seen to say where it goes, in squares of such a length.
_UPPER_ARM = 0.59
_SEEN_ARM = 0.02
# Joints that 'original' marks as missing have coordinates below this.
_MISSING_PX = -500.0


@dataclasses.dataclass(frozen=True)
class Arm:
  """One arm of each person, pixel by pixel.

  Attributes:
    along: (b, h, w) float32, position along the arm: 0 shoulder, 1 elbow, 2
      wrist and beyond.
    distance: (b, h, w) float32, from the arm's bones, in torso lengths;
      infinite where the shoulder or the elbow is missing.
  """

  along: Array
  distance: Array


class Torso(NamedTuple):
  """Which pixels the parts of a torso cover; (b, h, w) bool each.

  Attributes:
    whole: from the neck to the thighs.
    chest: neck, shoulders and chest, where necklines end.
    throat: the neck up to the chin, which high collars cover.
    trunk: what every upper garment covers, without its sides.
    below: waist and hips, where hems end.
  """

  whole: Array
  chest: Array
  throat: Array
  trunk: Array
  below: Array


def torso_length(keypoints: Keypoints) -> Float[Array, ' b']:
  """Pixels from the neck to the middle of the hips, (b,).

  Where these are missing, what belongs to the shoulders' width.
  """
  seen = seen_joints(keypoints)
  points = keypoints[..., :2]
  hips = (points[:, labels.R_HIP] + points[:, labels.L_HIP]) / 2
  length = jnp.linalg.norm(hips - points[:, labels.NECK], axis=-1)
  shoulders = jnp.linalg.norm(
    points[:, labels.R_SHOULDER] - points[:, labels.L_SHOULDER], axis=-1
  )
  known = seen[:, [labels.NECK, labels.R_HIP, labels.L_HIP]].all(axis=-1)
  return jnp.maximum(
    jnp.where(known, length, shoulders * TORSO / SHOULDERS), 1.0
  )


def pixels(size: tuple[int, int]) -> Float[Array, 'h w 2']:
  """x, y of each pixel of an image of (h, w)."""
  h, w = size
  y, x = jnp.mgrid[:h, :w]
  return jnp.stack([x, y], axis=-1).astype(jnp.float32)


def arm_of(
  keypoints: Keypoints,
  size: tuple[int, int],
  joints: Sequence[int],
) -> Arm:
  """Where each pixel lies along one arm.

  Args:
    keypoints: x, y in pixels and confidence.
    size: (h, w).
    joints: shoulder, elbow and wrist.
  """
  at = pixels(size)[None]
  seen = seen_joints(keypoints)[:, joints]
  shoulder, elbow, wrist = (keypoints[:, j, :2] for j in joints)
  # A missing wrist: the forearm goes on as the upper arm does.
  wrist = jnp.where(seen[:, 2:], wrist, 2 * elbow - shoulder)
  parts = []
  for start, (a, b) in enumerate(((shoulder, elbow), (elbow, wrist))):
    a, bone = a[:, None, None], (b - a)[:, None, None]
    squared = jnp.maximum((bone**2).sum(-1), 1.0)
    share = ((at - a) * bone).sum(-1) / squared
    # The hand goes on beyond the wrist.
    end = 1.0 if start == 0 else 1.5
    near = a + share.clip(0.0, end)[..., None] * bone
    distance = jnp.linalg.norm(at - near, axis=-1)
    parts.append((distance, start + share.clip(0.0, 1.0)))
  (upper, upper_along), (fore, fore_along) = parts
  along = jnp.where(upper <= fore, upper_along, fore_along)
  distance = jnp.minimum(upper, fore) / torso_length(keypoints)[:, None, None]
  known = seen[:, 0] & seen[:, 1]
  return Arm(along, jnp.where(known[:, None, None], distance, jnp.inf))


def with_elbows(keypoints: Keypoints, upper: Region, torso: Torso) -> Keypoints:
  """Joints with a guess of the elbows that are hidden or outside the photo.

  An arm without an elbow would count as nothing, and so go missing with its
  sleeve. Where the wrist is known the elbow is guessed in the middle; else
  towards what is seen beside the torso on the arm's side.

  Args:
    keypoints: x, y in pixels and confidence.
    upper: pixels of arms and upper garment.
    torso: see `torso_of`.
  """
  _, h, w = upper.shape
  at = pixels((h, w))[None]
  seen = seen_joints(keypoints)
  points, length = keypoints[..., :2], torso_length(keypoints)[:, None]
  for (shoulder, elbow, wrist), (other, *_) in zip(
    ARMS, ARMS[::-1], strict=True
  ):
    start = points[:, shoulder]
    nearer = jnp.linalg.norm(at - start[:, None, None], axis=-1) < (
      jnp.linalg.norm(at - points[:, other, None, None], axis=-1)
    )
    arm = (upper & ~torso.whole & nearer).astype(jnp.float32)
    count = arm.sum((1, 2))[:, None]
    middle = (arm[..., None] * at).sum((1, 2)) / jnp.maximum(count, 1.0)
    away = middle - start
    away /= jnp.maximum(jnp.linalg.norm(away, axis=-1, keepdims=True), 1e-3)
    guess = jnp.where(
      seen[:, wrist, None],
      (start + points[:, wrist]) / 2,
      start + _UPPER_ARM * length * away,
    )
    known = seen[:, wrist, None] | (count > _SEEN_ARM * length**2)
    missing = seen[:, [shoulder]] & seen[:, [other]] & ~seen[:, [elbow]] & known
    guessed = jnp.concatenate([guess, jnp.ones_like(count)], axis=-1)
    keypoints = keypoints.at[:, elbow].set(
      jnp.where(missing, guessed, keypoints[:, elbow])
    )
  return keypoints


def bare_radius(along: Float[Array, 'b h w']) -> Float[Array, 'b h w']:
  """Half the thickness of a bare arm, in torso lengths; `along` as in Arm."""
  return jnp.interp(along, jnp.array([0.0, 1.0, 2.0]), jnp.array(_ARM_RADII))


def torso_of(keypoints: Keypoints, size: tuple[int, int]) -> Torso:
  """Where the torso lies, along the line from the neck to the hips.

  Args:
    keypoints: x, y in pixels and confidence.
    size: (h, w).
  """
  length = torso_length(keypoints)[:, None, None]
  points, seen = keypoints[..., :2], seen_joints(keypoints)
  right, left = points[:, labels.R_SHOULDER], points[:, labels.L_SHOULDER]
  neck = jnp.where(
    seen[:, labels.NECK, None], points[:, labels.NECK], (right + left) / 2
  )
  hips = (points[:, labels.R_HIP] + points[:, labels.L_HIP]) / 2
  both = seen[:, labels.R_HIP] & seen[:, labels.L_HIP]
  spine = jnp.where(both[:, None], hips - neck, jnp.array([[0.0, 1.0]]))
  spine /= jnp.maximum(jnp.linalg.norm(spine, axis=-1, keepdims=True), 1e-3)
  across = jnp.stack([-spine[:, 1], spine[:, 0]], axis=-1)
  offset = pixels(size)[None] - neck[:, None, None]
  # In torso lengths: 0 at the neck, 1 at the hips; and from the spine.
  down = (offset * spine[:, None, None]).sum(-1) / length
  aside = jnp.abs((offset * across[:, None, None]).sum(-1)) / length
  half = jnp.linalg.norm(right - left, axis=-1)[:, None, None] / 2 / length
  inside = aside < half + _TORSO_MARGIN
  # High collars cover the neck up to the chin.
  nose = points[:, labels.NOSE] - neck
  share = (offset * nose[:, None, None]).sum(-1) / jnp.maximum(
    jnp.square(nose).sum(-1), 1.0
  )[:, None, None]
  from_neck = jnp.linalg.norm(
    offset - share.clip(0.0, 0.9)[..., None] * nose[:, None, None], axis=-1
  )
  neck_region = (from_neck < _NECK_RADIUS * length) & seen[
    :, labels.NOSE, None, None
  ]
  return Torso(
    whole=inside & (down > -0.15) & (down < 1.5),
    chest=(inside & (down > -0.15) & (down < 0.3)) | neck_region,
    throat=neck_region & (share < _CHIN),
    trunk=(aside < 0.7 * half) & (down > 0.3) & (down < 0.7),
    below=inside & (down > 0.6) & (down < 1.5),
  )


def seen_joints(keypoints: Keypoints) -> Bool[Array, 'b 18']:
  """Which joints are known, in both fidelities."""
  return (keypoints[..., 2] > 0) & (keypoints[..., 0] > _MISSING_PX)
