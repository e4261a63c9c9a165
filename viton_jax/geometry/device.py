"""The batched matching: contours on the host, the rest in one jitted call.

The same steps as the 'fixed' matching, in float32, on arrays of fixed shapes,
vmapped over pairs. The assignment is `optax.assignment`'s, exact.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from optax import assignment

from viton_jax.geometry import alignment, matching, shape_context

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
    garment_masks, person_masks: as in `fit_control_points`, one each a pair.
    level: of the iso-contour.
    image_size: (h, w) of the images to be warped, the masks' own by default.

  Returns:
    A list with ControlPoints, or the MatchingError of that pair: one pair
    never fails the others.
  """
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
  starts = jnp.stack([_start(pair), pair['torso_start']])

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


def _start(pair: dict) -> jax.Array:
  garment_px, garment_angle, person_px, person_angle = pair['contexts']
  cost = _matching_cost(
    _histograms(garment_px),
    _histograms(person_px),
    garment_angle,
    person_angle,
  )
  n = len(cost)
  dummies = round(shape_context.DUMMY_FRACTION * n)
  padded = jnp.full((n + dummies,) * 2, shape_context.DUMMY_COST, cost.dtype)
  padded = padded.at[:n, :n].set(cost)
  rows, columns = assignment.hungarian_algorithm(padded)
  row_of_column = jnp.zeros(n + dummies, rows.dtype).at[columns].set(rows)[:n]
  matched = row_of_column < n
  row_of_column = jnp.where(matched, row_of_column, 0)
  weights = alignment.start_weights(
    pair['context_in_neck'][row_of_column], matched, jnp
  )
  return alignment.start_from_matches(
    pair['context_modes'],
    garment_px[row_of_column],
    weights.astype(cost.dtype),
    jnp,
  )


def _histograms(points: jax.Array) -> jax.Array:
  """(n, 2) to (n, 60) counts, as `shape_context.histograms`."""
  offsets = points[None] - points[:, None]
  distances = jnp.sqrt(jnp.sum(offsets**2, axis=-1))
  scaled = distances / distances.mean()
  edges = jnp.asarray(shape_context.RADIUS_EDGES, points.dtype)
  ring = jnp.sum(scaled[..., None] < edges[None, None], axis=-1) - 1
  angle = jnp.mod(jnp.arctan2(offsets[..., 1], offsets[..., 0]), 2 * np.pi)
  sector = (angle * (shape_context.ANGLE_BINS / (2 * np.pi))).astype(jnp.int32)
  sector = jnp.minimum(sector, shape_context.ANGLE_BINS - 1)
  flat = jnp.where(ring >= 0, sector + shape_context.ANGLE_BINS * ring, -1)
  bins = jnp.arange(shape_context.ANGLE_BINS * shape_context.RADIUS_BINS)
  return jnp.sum(flat[..., None] == bins[None, None], axis=1).astype(
    points.dtype
  )


def _matching_cost(
  h1: jax.Array, h2: jax.Array, t1: jax.Array, t2: jax.Array
) -> jax.Array:
  """As `shape_context.matching_cost`."""
  a = (h1 / h1.sum(axis=1, keepdims=True))[:, None]
  b = (h2 / h2.sum(axis=1, keepdims=True))[None]
  chi2 = 0.5 * jnp.sum((a - b) ** 2 / (a + b + 1e-12), axis=-1)
  turn = 0.5 * (1 - jnp.cos(t1[:, None] - t2[None]))
  weight = shape_context.ANGLE_WEIGHT
  return (1 - weight) * chi2 + weight * turn
