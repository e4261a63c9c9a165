"""Training pairs as a mirror shows them: twice as many to learn from."""

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, UInt16
import numpy as np

from viton_jax import flow_levels, labels
from viton_jax.predictions import Batch

_JOINTS = np.array(labels.MIRRORED_JOINTS)
_LABELS = np.array(labels.MIRRORED_LABELS, np.uint8)
# What is turned as it is.
_IMAGES = ('person', 'garment', 'photo', 'head_mask', 'body', 'garment_mask')


def mirror_some(
  batch: Batch,
  rng: jax.Array,
  first_example: jax.Array | int = 0,
  *,
  axis_name: str | None = None,
) -> dict[str, Array]:
  """Every other pair of a batch, chosen at random, mirrored.

  Args:
    batch: of fidelity 'fixed', see `input_pipeline.sample.training_example`.
    rng: key of the choice.
    first_example: place of the batch in a larger one, so that the choice does
      not depend on how that is split.
    axis_name: the mapped axis over which it is split besides, or None.
  """
  count = batch['person'].shape[0]
  first = first_example
  if axis_name is not None:
    first += lax.axis_index(axis_name) * count
  chosen = jax.vmap(lambda i: jax.random.bernoulli(jax.random.fold_in(rng, i)))(
    first + jnp.arange(count)
  )
  turned = mirror(batch)
  return {
    name: jnp.where(
      chosen.reshape(count, *[1] * (jnp.ndim(value) - 1)), turned[name], value
    )
    for name, value in batch.items()
  }


def mirror(batch: Batch) -> dict[str, Array]:
  """A batch's pairs as a mirror shows them; left is the person's left again.

  Args:
    batch: see `mirror_some`; what is of no side stays.
  """
  width = batch['person'].shape[2]
  turned = {name: jnp.asarray(value) for name, value in batch.items()}
  for name in _IMAGES:
    if name in turned:
      turned[name] = turned[name][:, :, ::-1]
  for name in ('parse', 'photo_parse'):
    if name in turned:
      turned[name] = jnp.asarray(_LABELS)[turned[name][:, :, ::-1]]
  points = turned['keypoints'][:, _JOINTS]
  x = jnp.where(points[..., 2] > 0, width - 1 - points[..., 0], 0.0)
  turned['keypoints'] = points.at[..., 0].set(x)
  if 'control_points' in turned:
    # They are a square grid of the person's image, row by row.
    points = turned['control_points']
    side = round(points.shape[1] ** 0.5)
    grid = points.reshape(-1, side, side, 2)[:, :, ::-1]
    turned['control_points'] = grid.reshape(points.shape) * jnp.array(
      [[[-1.0, 1.0]]], points.dtype
    )
  if 'flow' in turned:
    turned['flow'] = _mirror_flow(turned['flow'])
  return turned


def _mirror_flow(levels: UInt16[Array, 'b h w 3']) -> UInt16[Array, 'b h w 3']:
  """A flow of the pixels 2, 6, 10, ..., see `flow_levels`."""
  # In a mirror they are the pixels 1, 5, 9, ..., so that 2 lies a quarter of
  # the way from the first to the second.
  here = levels[:, :, ::-1].astype(jnp.float32)
  right = jnp.pad(here[:, :, 1:], ((0, 0), (0, 0), (0, 1), (0, 0)))
  known = (here[..., 2:] > 0) & (right[..., 2:] > 0)
  x, y, certain = jnp.split(jnp.round(0.75 * here + 0.25 * right), 3, axis=-1)
  mirrored = jnp.concatenate([flow_levels.LAST - x, y, certain], axis=-1)
  return jnp.where(known, mirrored, 0.0).astype(jnp.uint16)
