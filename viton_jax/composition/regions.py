"""What changes in a photo when its garment does, and what lies there then."""

from collections.abc import Sequence
import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num
import numpy as np

from viton_jax import labels
from viton_jax.composition import body, cells, sleeves
from viton_jax.composition.blurring import blur
from viton_jax.representation import LOWER_PART, SKIN_PART

Region = Bool[Array, 'b h w']

BARE = (
  labels.SKIN,
  labels.FACE,
  *labels.ARM_LABELS,
)  # Neck and chest, face, arms.
_ARM_LABELS = (3, *labels.ARM_LABELS)  # Gloves, arms.
_IN_FRONT = (*labels.HEAD_LABELS, 11)  # Head and scarf: before any garment.
# Of an arm's radius: the old garment so near to its axis is its sleeve.
_SLEEVE_SHARE = 0.4
# In torso lengths: so near to a bare arm a predicted garment is wrong, and so
# near to a clothed one it is missing where it is not predicted.
_BARE_RADIUS = 0.17
_SLEEVE_RADIUS = 0.08
# An outline is mixed with what lies beside it, over so many pixels of 256.
_RIM_PX = 2
# So near to a garment's side, in pixels of 256, nothing hangs below its hem.
_BESIDE_PX = 8
# Of 256: wobbles of a border that are shorter are errors.
_SMOOTH_PX = 3.0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Regions:
  """What lies where once the garment is changed; (b, h, w) bool each.

  Attributes:
    garment: the new garment.
    hidden: where the photo shows the old garment, or is mixed with it, so that
      it does not say what lies there.
    skin: which of these pixels are bare skin, where no garment lies over them.
    lower: which are lower clothes. The rest is background.
  """

  garment: Array | np.ndarray
  hidden: Array | np.ndarray
  skin: Array | np.ndarray
  lower: Array | np.ndarray


def find_regions(
  parse: Num[Array | np.ndarray, 'b h w'],
  keypoints: Float[Array | np.ndarray, 'b 18 3'],
  *,
  mask: Float[Array | np.ndarray, 'b h w'],
  garment_mask: Num[Array | np.ndarray, 'b h w'],
  beneath: Num[Array | np.ndarray, 'b h w'] | None = None,
) -> Regions:
  """Divides the part of a photo that changes.

  Args:
    parse: LIP-20 labels of the photo.
    keypoints: x, y in pixels and confidence.
    mask: in 0..1, where the new garment is predicted.
    garment_mask: 0 or 1, of the flat garment in its own photo.
    beneath: what lies where the garment does not, see
      `predictions.split_parts`: then the network of this and of the mask has
      learned from exchanged garments, and is believed. None: the mask takes
      after the old garment's, and joints know better, see `_by_joints`.
  """
  parse, keypoints = jnp.asarray(parse), jnp.asarray(keypoints)
  old = parse == labels.GARMENT_LABEL
  kept = is_any(parse, _IN_FRONT)
  arm_label = is_any(parse, _ARM_LABELS)
  size = parse.shape[1], parse.shape[2]
  torso = body.torso_of(keypoints, size)
  guessed = body.with_elbows(keypoints, old | arm_label, torso)
  arms = [body.arm_of(guessed, size, joints) for joints in body.ARMS]
  predicted = jnp.asarray(mask) > 0.5
  if beneath is None:
    seen = body.seen_joints(keypoints)
    garment, skin, lower = _by_joints(
      predicted,
      old,
      kept,
      arm_label,
      arms,
      [seen[:, elbow] for _, elbow, _ in body.ARMS],
      torso,
      sleeves.sleeve_end(sleeves.sleeve_area(garment_mask)),
    )
  else:
    # Parsers take the neck for the face. High collars cover it.
    kept &= ~((parse == labels.FACE) & torso.throat & predicted)
    garment = cells.main_parts(predicted & ~kept)
    # Bare skin hangs together with what the photo shows of it.
    garment |= cells.without_holes(garment, but=arm_label) & old
    skin, lower = beneath == SKIN_PART, beneath == LOWER_PART
    # Nor does background show through a chest.
    solid = garment | ((parse != 0) & ~old) | (old & (skin | lower))
    skin |= cells.without_holes(solid, but=parse == 0) & ~solid & torso.chest
  garment &= ~kept
  old_sleeve = jnp.zeros_like(old)
  for arm in arms:
    near = arm.distance < _SLEEVE_SHARE * body.bare_radius(arm.along)
    old_sleeve |= old & near
  # Arms before the torso keep their outline but for its first pixel; cuffs
  # leave none at wrists.
  outline = arm_label & torso.whole & ~cells.grown(old_sleeve, _RIM_PX)
  mixed = cells.grown(old, 1) | (cells.grown(old, _RIM_PX) & ~outline)
  hidden = old | (mixed & ~kept)
  skin = hidden & ((old & skin) | is_any(parse, BARE))
  lower = (old & lower) | is_any(parse, labels.LOWER_LABELS)
  return Regions(garment, hidden, skin, lower & hidden & ~skin)


def _by_joints(
  predicted: Region,
  old: Region,
  kept: Region,
  arm_label: Region,
  arms: Sequence[body.Arm],
  elbow_seen: Sequence[Bool[Array, ' b']],
  torso: body.Torso,
  sleeve_end: Float[Array, ' b'],
) -> tuple[Region, Region, Region]:
  """The garment, and what else is skin and lower clothes, of a mask in doubt.

  The predicted mask decides where the torso is covered. The flat garment says
  how long the sleeves are, and the joints where they lie, so that arms before
  the garment stay before it, whatever is predicted.

  Args:
    predicted: where the new garment is predicted.
    old: where the photo shows the old one.
    kept: where something is before every garment.
    arm_label: where it shows arms.
    arms: both, see `body.arm_of`.
    elbow_seen: whether their elbows are known, not guessed.
    torso: see `body.torso_of`.
    sleeve_end: where along an arm the sleeves end, as in `body.Arm`.
  """
  free, sleeve, skin = kept, jnp.zeros_like(old), torso.chest
  end = sleeve_end[:, None, None]
  for arm, seen in zip(arms, elbow_seen, strict=True):
    beyond = arm.along > end
    skin |= beyond & (arm.distance < body.bare_radius(arm.along))
    # Before the torso only what is labelled as an arm is surely one.
    free |= beyond & (arm.distance < _BARE_RADIUS) & (~torso.whole | arm_label)
    # Along a guess no sleeve is laid.
    covered = (arm.along < end) & (arm.distance < _SLEEVE_RADIUS)
    sleeve |= seen[:, None, None] & covered
  garment = cells.main_parts((predicted | sleeve) & ~free)
  # Any upper garment covers the trunk, and has no holes before the torso.
  garment |= old & torso.trunk
  garment |= cells.without_holes(garment) & (old | torso.whole)
  garment = _smooth(garment) & ~free
  return garment, skin, torso.below & _below(garment)


def _below(garment: Region) -> Region:
  """What is under a garment's hem, and not beside the garment."""
  levels = garment.astype(jnp.uint8)
  above = jax.lax.cummax(levels, 1) > 0
  further_down = jax.lax.cummax(levels, 1, reverse=True) > 0
  beside = cells.widened(further_down, _BESIDE_PX)
  return ~further_down & (above | ~beside)


def _smooth(region: Region) -> Region:
  """A region without the wobble of a predicted border."""
  share = blur(region.astype(jnp.float32)[..., None], _SMOOTH_PX)
  return share[..., 0] > 0.5


def is_any(parse: Num[Array, 'b h w'], wanted: Sequence[int]) -> Region:
  """Where a label map has one of some labels."""
  return functools.reduce(jnp.logical_or, [parse == x for x in wanted])


def surely(region: Region, parse: Num[Array, 'b h w']) -> Region:
  """Pixels of a region that no outline is mixed into.

  Args:
    region: labels of one kind.
    parse: LIP-20 labels of the photo.
  """
  near_old = cells.grown(parse == labels.GARMENT_LABEL, _RIM_PX)
  return region & ~near_old & ~cells.grown(~region, 1)
