"""The batched matching: contours on the host, the rest in one jitted call.

The same steps as the 'fixed' matching, in float32, on arrays of fixed shapes,
vmapped over pairs. The assignment is `optax.assignment`'s, exact.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from optax import assignment

from viton_jax.geometry import alignment, matching
from viton_jax.runtime import blas_threads

jax.tree_util.register_dataclass(alignment.Outlines)


def fit_control_points_batch(
  garment_masks: Sequence[np.ndarray],
  person_masks: Sequence[np.ndarray],
  *,
  level: float = 0.5,
  image_size: tuple[int, int] | None = None,
) -> list[matching.ControlPoints | matching.MatchingError]:
  """Fits many pairs at once on the default device ('fixed' alone).

  Worth it where a batched accelerator stands idle; on a CPU
  `fit_control_points` in a loop is faster, as SciPy's assignment is. See
  benchmarks/geometry.py. Compiles once for each number of pairs.

  Args:
    garment_masks: as in `fit_control_points`, one a pair.
    person_masks: the same.
    level: of the iso-contour.
    image_size: (h, w) of the images to be warped, the masks' own by default.

  Returns:
    A list with ControlPoints, or the MatchingError of that pair: one pair
    never fails the others.
  """
  with blas_threads.one_blas_thread():
    return _fit_batch(garment_masks, person_masks, level, image_size)


def _fit_batch(
  garment_masks: Sequence[np.ndarray],
  person_masks: Sequence[np.ndarray],
  level: float,
  image_size: tuple[int, int] | None,
) -> list[matching.ControlPoints | matching.MatchingError]:
  results: list = [None] * len(garment_masks)
  prepared, order, sizes = [], [], []
  for i, pair in enumerate(zip(garment_masks, person_masks, strict=True)):
    try:
      garment, person = matching.check_masks(*pair)
      prepared.append(matching.prepare_fixed(garment, person, level=level))
    except matching.MatchingError as error:
      results[i] = error
      continue
    order.append(i)
    sizes.append(image_size or garment.shape)
  if not prepared:
    return results
  # Failed pairs leave gaps; filling them keeps the compiled shape.
  filled = prepared + prepared[:1] * (len(results) - len(prepared))
  warps = np.asarray(_align_batch(_stack(filled)))
  for i, pair, warp, size in zip(order, prepared, warps, sizes, strict=False):
    try:
      results[i] = matching.finish_fixed(pair, warp, image_size=size)
    except matching.MatchingError as error:
      results[i] = error
  return results


def _stack(prepared: Sequence[matching.Prepared]) -> dict:
  """Stacks what the device needs; float32."""
  missing = np.full_like(prepared[0].outlines.person_modes[:1, :2], np.nan)
  modes = prepared[0].context_modes.shape[1]
  pairs = [
    {
      'outlines': pair.outlines,
      'contexts': pair.contexts,
      'context_modes': pair.context_modes,
      'context_in_neck': pair.context_in_neck,
      # A start of NaN scores NaN and is never taken.
      'torso_start': (
        np.broadcast_to(missing, (modes, 2))
        if pair.torso_start is None
        else pair.torso_start
      ),
    }
    for pair in prepared
  ]

  def stack(*leaves: np.ndarray) -> np.ndarray:
    leaf = np.stack(leaves)
    return leaf.astype(np.float32) if leaf.dtype.kind == 'f' else leaf

  return jax.tree.map(stack, *pairs)


@jax.jit
def _align_batch(batch: dict) -> jax.Array:
  """(b, k, 2) mode weights of the warps."""
  return jax.vmap(_align_one)(batch)


def _align_one(pair: dict) -> jax.Array:
  outlines = pair['outlines']
  start = matching.start_from_shape_contexts(
    pair['contexts'],
    pair['context_modes'],
    pair['context_in_neck'],
    solve=assignment.hungarian_algorithm,
    xp=jnp,
  )
  starts = jnp.stack([start, pair['torso_start']])

  def coarse(start: jax.Array) -> tuple[jax.Array, jax.Array]:
    warp = alignment.align(start, outlines, alignment.COARSE, jnp)
    return warp, alignment.score(warp, outlines, jnp)

  def fine(warp: jax.Array) -> tuple[jax.Array, jax.Array]:
    warp = alignment.align(warp, outlines, alignment.FINE, jnp)
    return warp, alignment.score(warp, outlines, jnp, cut=True)

  warps, scores = jax.vmap(coarse)(starts)
  # A warp of NaN has no pair near enough, hence score 0, but say so plainly.
  usable = jnp.isfinite(warps).all(axis=(1, 2))
  scores = jnp.where(usable, scores, -1.0)
  near = scores >= scores.max() * alignment.NEAR_BEST
  warps, scores = jax.vmap(fine)(warps)
  best = warps[jnp.argmax(jnp.where(near, scores, -1.0))]
  return alignment.finish(best, outlines, matching.MATCHING_SIZE, jnp)
