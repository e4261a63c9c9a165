"""How long a garment's sleeves are, and where they end on a person's arms."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num
import numpy as np

from viton_jax.composition.body import Arm
from viton_jax.composition.cells import cells_of

Region = Bool[Array, 'b h w']

# Positions along an arm: 0 shoulder, 1 elbow, 2 wrist.
_ARM_BINS = 24
# Pixels nearer to the bones than this, in torso lengths, tell whether an arm
# is covered.
_ARM_CORE = 0.07
# Sleeves of flat garments, see `sleeve_length`, and where they end on an arm:
# fitted to drawn pairs.
_LENGTHS = (0.35, 0.5, 0.75, 0.9, 1.05, 1.6)
_ENDS = (0.0, 0.4, 0.58, 0.8, 1.7, 1.95)
# What a difference of 1 from these counts: as much as so many wrong pixels of
# all that are seen.
_PRIOR = 0.15


def sleeve_length(
  garment_masks: Num[Array | np.ndarray, 'b h w'],
) -> Float[Array, ' b']:
  """How long the sleeves of flat garments are, (b,).

  What a disk of 0.6 of the garment's half width does not reach is sleeves. The
  result is how far these stand out, in half widths, the mean of both sides:
  under 0.4 without sleeves, about 0.8 for short and 1.2 for long ones.

  Args:
    garment_masks: 0 or 1, 1 where the photo shows the garment.
  """
  inside = cells_of(jnp.asarray(garment_masks).astype(bool), jnp.mean) > 0.5
  depth = distance_inside(inside)
  half_width = jnp.maximum(depth.max((1, 2), keepdims=True), 1.0)
  radius = 0.6 * half_width
  core = depth >= radius
  # How far beyond the disk, from the pixels that its centre may reach.
  beyond = jnp.where(inside, distance_inside(~core) - radius, 0.0)
  columns = jnp.arange(core.shape[2], dtype=jnp.float32)
  weight = core.astype(jnp.float32)
  middle = (weight * columns[None, None]).sum((1, 2))
  middle /= jnp.maximum(weight.sum((1, 2)), 1.0)
  right = columns[None] > middle[:, None]
  tips = [
    jnp.where(side[:, None], beyond, 0.0).max((1, 2))
    for side in (right, ~right)
  ]
  return (tips[0] + tips[1]) / 2 / half_width[:, 0, 0]


def distance_inside(region: Region) -> Float[Array, 'b h w']:
  """Distance of each cell of a region from the nearest cell beside it.

  All candidates of a row, then of a column: exact, for small images alone.
  """
  _, h, w = region.shape
  far = jnp.float32(h * h + w * w)

  def nearest(squares, n):
    at = jnp.arange(n, dtype=jnp.float32)
    apart = jnp.square(at[:, None] - at[None])
    return (squares[..., None, :] + apart[None, None]).min(-1)

  in_rows = nearest(jnp.where(region, far, 0.0), w)
  return jnp.sqrt(nearest(in_rows.swapaxes(1, 2), h).swapaxes(1, 2))


def sleeve_end(
  arms: Sequence[Arm],
  mask: Region,
  *,
  evidence: Region,
  expected: Float[Array, ' b'],
) -> Float[Array, ' b']:
  """Where along the arms the new garment's sleeves end, (b,) in 0..2.

  The step from covered to bare that agrees with most pixels of the predicted
  mask around the bones of both arms, and is not far from what is expected.

  Args:
    arms: both.
    mask: where the new garment is predicted.
    evidence: pixels that count.
    expected: of the flat garment, see `expected_end`.
  """
  b = mask.shape[0]
  count = covered = jnp.zeros((b, _ARM_BINS))
  for arm in arms:
    core = (evidence & (arm.distance < _ARM_CORE)).reshape(b, -1)
    bins = (arm.along / 2 * _ARM_BINS).astype(int).clip(0, _ARM_BINS - 1)
    add = jax.vmap(
      lambda where, at: jax.ops.segment_sum(
        where.astype(jnp.float32), at, _ARM_BINS
      )
    )
    count += add(core, bins.reshape(b, -1))
    covered += add(core & mask.reshape(b, -1), bins.reshape(b, -1))
  # A step before bin k is wrong at bare pixels before and covered ones after.
  before = jnp.cumsum(count - covered, axis=-1)
  all_covered = covered.sum(-1, keepdims=True)
  after = all_covered - jnp.cumsum(covered, axis=-1)
  wrong = jnp.concatenate([all_covered, before + after], axis=-1)
  wrong /= jnp.maximum(count.sum(-1, keepdims=True), 8.0)
  ends = jnp.linspace(0.0, 2.0, _ARM_BINS + 1)
  cost = wrong + _PRIOR * jnp.abs(ends[None] - expected[:, None])
  return ends[jnp.argmin(cost, axis=-1)]


def expected_end(lengths: Float[Array, ' b']) -> Float[Array, ' b']:
  """Where sleeves of `sleeve_length` end along an arm: 0..2."""
  return jnp.interp(lengths, jnp.array(_LENGTHS), jnp.array(_ENDS))
