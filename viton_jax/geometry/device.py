"""Matching on the device: masks in, control points out, in one program.

The steps of the 'fixed' matching of `matching`, in float32, on arrays of fixed
shapes, vmapped over pairs: works under jit and in an exported program for any
batch size and platform. Where the host goes one of two ways, both are computed
and one is chosen. Only two steps differ in kind: outlines are found without
walking along them (`crossings`), and shape contexts are assigned by Sinkhorn's
iteration (`sinkhorn`).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped
import numpy as np

from viton_jax.errors import InputError
from viton_jax.geometry import (
  alignment,
  contour,
  crossings,
  matching,
  shape_context,
  sinkhorn,
  spline,
  starts,
)
from viton_jax.geometry.backends import matmul
from viton_jax.geometry.control_points import GARMENT, PERSON, POINTS

jax.tree_util.register_dataclass(alignment.Outlines)

# Why a pair cannot be matched, by the number that `match_with_reasons` gives.
_FAULTS = (
  'the {} holds NaN or infinity',
  'the {} is empty',
  'the {} touches all four borders of the image, so its outline is not in it',
  f'the {{}} has fewer than {POINTS} boundary points; it is too small',
  'the {} is nowhere three pixels wide; it is too thin to carry a warp',
  'the {} is too thin to be matched',
  f'the {{}} has an outline of more than {crossings.CROSSINGS} points; it is '
  'noise',
)
_UNLIKE = (
  "hardly any points of the outlines match; the garment and the person's "
  'region have different shapes'
)
REASONS = (
  None,
  *(fault.format(name) for name in (GARMENT, PERSON) for fault in _FAULTS),
  _UNLIKE,
)


@jax.jit
def match_batch(
  garment_masks: Shaped[Array | np.ndarray, 'b h w'],
  person_masks: Shaped[Array | np.ndarray, 'b h w'],
) -> tuple[Float[Array, 'b 100 2'], Bool[Array, ' b']]:
  """Fits the warps that put flat garments on people's garment regions.

  As `fit_control_points` in fidelity 'fixed' does for one pair on the host, up
  to where float32 and a nearly optimal assignment lead.

  Args:
    garment_masks: (b, h, w) bool or 0/1, or float maps with the outline at
      0.5.
    person_masks: the same, of the person's garment regions.

  Returns:
    (b, 100, 2) float32 x, y in [-1, 1] of the garment image, see
    `geometry.warp_tps`, and (b,) bool, whether the pair could be matched: the
    control points of one that could not are the regular grid.

  Raises:
    InputError: the masks do not have shape (b, h, w), or differ in it.
  """
  points, reasons = match_with_reasons(garment_masks, person_masks)
  return points, reasons == 0


def match_with_reasons(
  garment_masks: Shaped[Array | np.ndarray, 'b h w'],
  person_masks: Shaped[Array | np.ndarray, 'b h w'],
) -> tuple[Float[Array, 'b 100 2'], Int[Array, ' b']]:
  """As `match_batch`, and why a pair could not be matched.

  Returns:
    (b, 100, 2) float32, and (b,) int32: an index into `REASONS`, 0 where
    nothing is wrong.

  Raises:
    InputError: see `match_batch`.
  """
  shapes = garment_masks.shape, person_masks.shape
  if shapes[0] != shapes[1] or len(shapes[0]) != 3 or min(shapes[0][1:]) < 2:
    raise InputError(
      f'the garment masks have shape {shapes[0]} and the person masks '
      f'{shapes[1]}; give two arrays of one shape (b, h, w)'
    )
  masks = [
    jnp.asarray(x).astype(jnp.float32) for x in (garment_masks, person_masks)
  ]
  return jax.vmap(_match_one)(*masks)


def _match_one(
  garment: jax.Array, person: jax.Array
) -> tuple[jax.Array, jax.Array]:
  h, w = garment.shape
  both = jax.vmap(_trace)(jnp.stack([garment, person]))
  traced = [jax.tree.map(lambda x, i=i: x[i], both) for i in (0, 1)]
  pair = _prepare(*traced)
  start = starts.start_from_shape_contexts(
    pair.contexts,
    pair.context_modes,
    pair.context_in_neck,
    assign=functools.partial(
      sinkhorn.assign, dummy_cost=shape_context.DUMMY_COST
    ),
    xp=jnp,
  )
  both_starts = jnp.stack([start, pair.torso_start])
  outlines = pair.outlines

  def coarse(start: jax.Array) -> tuple[jax.Array, jax.Array]:
    warp = alignment.align(start, outlines, alignment.COARSE, jnp)
    return warp, alignment.score(warp, outlines, jnp)

  def fine(warp: jax.Array) -> tuple[jax.Array, jax.Array]:
    warp = alignment.align(warp, outlines, alignment.FINE, jnp)
    return warp, alignment.score(warp, outlines, jnp, cut=True)

  warps, scores = jax.vmap(coarse)(both_starts)
  scores = jnp.where(pair.has_start & jnp.isfinite(scores), scores, -1.0)
  near = scores >= scores.max() * alignment.NEAR_BEST
  warps, scores = jax.vmap(fine)(warps)
  best = jnp.argmax(jnp.where(near & jnp.isfinite(scores), scores, -1.0))
  warp = alignment.finish(warps[best], outlines, matching.MATCHING_SIZE, jnp)
  _, _, weights = matching.final_matches(warp, outlines, jnp)
  enough = jnp.sum(weights > matching.SURE) >= matching.MIN_MATCHED
  enough = enough & jnp.isfinite(warp).all()
  faults = [
    jnp.where(one.fault > 0, one.fault + i * len(_FAULTS), 0)
    for i, one in enumerate(traced)
  ]
  reason = jnp.where(faults[0] > 0, faults[0], faults[1])
  unlike = jnp.where(enough, 0, len(REASONS) - 1)
  reason = jnp.where(reason > 0, reason, unlike).astype(jnp.int32)
  modes, scale, offset = matching.image_modes((h, w))
  points = matmul(jnp, jnp.asarray(modes, jnp.float32), warp)
  points = points * jnp.asarray(scale, jnp.float32)[None]
  points = points + jnp.asarray(offset, jnp.float32)[None]
  regular = jnp.asarray(spline.regular_grid(alignment.GRID), jnp.float32)
  return jnp.where(reason == 0, points, regular), reason


class _Traced(NamedTuple):
  """A mask's outline and torso; see `_Torso`, and `_FAULTS` from 1 on."""

  contours: crossings.Contours
  torso: '_Torso'
  fault: jax.Array


class _Torso(NamedTuple):
  """See `contour.torso`; without meaning where it is not `found`."""

  found: jax.Array
  width: jax.Array
  middle: jax.Array
  hem: jax.Array


def _trace(mask: jax.Array) -> _Traced:
  finite = jnp.isfinite(mask).all()
  mask = jnp.where(jnp.isfinite(mask), mask, 0.0)
  h, w = mask.shape
  size = matching.MATCHING_SIZE
  rows, columns = (
    jnp.asarray(contour.area_weights(*sizes))
    for sizes in zip((h, w), size, strict=True)
  )
  if (h, w) != size:
    mask = matmul(jnp, matmul(jnp, rows, mask), columns.T)
  inside = mask >= 0.5
  down, across = (
    jnp.asarray(contour.blur_weights(side, matching.BLUR_PX)) for side in size
  )
  blurred = matmul(jnp, matmul(jnp, down, mask), across.T)
  contours = crossings.trace(blurred)
  borders = (inside[0], inside[-1], inside[:, 0], inside[:, -1])
  count = jnp.sum(inside[1:] != inside[:-1])
  count = count + jnp.sum(inside[:, 1:] != inside[:, :-1])
  wrong = [
    ~finite,
    ~inside.any(),
    jnp.stack([border.any() for border in borders]).all(),
    count < POINTS,
    ~_has_core(inside),
    contours.lengths[0] == 0,
    ~contours.complete,
  ]
  fault = jnp.argmax(jnp.stack([jnp.zeros_like(finite), *wrong]))
  return _Traced(contours, _torso(inside), fault)


def _has_core(mask: jax.Array) -> jax.Array:
  """See `contour.has_core`."""
  padded = jnp.pad(mask, 1, constant_values=True)
  rows = padded[:-2] & padded[1:-1] & padded[2:]
  return (rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:] & mask).any()


def _torso(mask: jax.Array) -> _Torso:
  """See `contour.torso`."""
  h, w = mask.shape
  y, x = (jnp.arange(side, dtype=jnp.int32) for side in (h, w))
  middle = _median(jnp.sum(mask, axis=0)).astype(jnp.int32)
  line = jnp.sum(mask & (x == middle)[None], axis=1) > 0
  hem = jnp.max(jnp.where(line, y, -1))
  top = jnp.min(jnp.where(line, y, h))
  height = hem - top
  # In whole numbers: 0.35 and 0.04 of the height, rounded up.
  first, last = hem - (35 * height + 99) // 100, hem - (4 * height + 99) // 100
  low = line & (y >= first) & (y <= last)
  # The run around the middle: the nearest gap on either side of it.
  gap, on = ~mask, x[None]
  left = jnp.max(jnp.where(gap & (on < middle), on, -1), axis=1) + 1
  right = jnp.min(jnp.where(gap & (on > middle), on, w), axis=1)

  def median(values: jax.Array) -> jax.Array:
    places = jnp.arange(2 * w + 1, dtype=jnp.int32)[None]
    return _median(jnp.sum((values[:, None] == places) & low[:, None], axis=0))

  return _Torso(
    found=(jnp.sum(line) >= 8) & low.any(),
    width=median(right - left),
    middle=median(left + right - 1) / 2,
    hem=hem.astype(jnp.float32) + 0.5,
  )


def _median(counts: jax.Array) -> jax.Array:
  """The median of whole numbers, float32, of which there are (n,) each."""
  ends = jnp.cumsum(counts)
  low, high = (
    jnp.sum(ends <= place) for place in ((ends[-1] - 1) // 2, ends[-1] // 2)
  )
  return (low + high).astype(jnp.float32) / 2


class _Pair(NamedTuple):
  """What `matching.Prepared` has, and which of the two starts there are."""

  outlines: alignment.Outlines
  contexts: tuple[jax.Array, ...]
  context_modes: jax.Array
  context_in_neck: jax.Array
  torso_start: jax.Array
  has_start: jax.Array


def _prepare(garment: _Traced, person: _Traced) -> _Pair:
  """See `matching.prepare_fixed`."""
  size = matching.MATCHING_SIZE
  n, m = matching.GARMENT_POINTS, matching.PERSON_POINTS
  garment_px, garment_angle = crossings.spread(garment.contours, n)
  person_px, person_angle = crossings.spread(person.contours, m)
  context_px, context_angle = crossings.spread(person.contours, POINTS)
  place = matching.place_points(
    garment_px,
    person_px,
    person_angle,
    context_px,
    garment_angle=garment_angle,
    torso=(garment.torso.width, garment.torso.middle),
    xp=jnp,
  )
  shares = [
    crossings.shares(one.contours, count)[0]
    for one, count in ((garment, n), (person, m))
  ]
  lengths = [one.contours.lengths.sum() for one in (garment, person)]
  found = garment.torso.found & person.torso.found
  ratio = garment.torso.width / jnp.maximum(person.torso.width, 1)
  start = starts.affine_start(
    scale=ratio,
    shift=(
      garment.torso.middle - ratio * person.torso.middle,
      garment.torso.hem - ratio * person.torso.hem,
    ),
    size=size,
    xp=jnp,
  )
  every = n // POINTS
  return _Pair(
    outlines=alignment.Outlines(
      person_modes=place.modes[:m],
      ahead_modes=place.modes[m : 2 * m],
      usable=place.usable,
      garment_px=garment_px,
      garment_tangents=place.garment_tangents,
      in_neck=place.in_neck,
      in_sleeve=place.in_sleeve & garment.torso.found,
      # Zero without a contour: such a pair has a fault.
      person_first=jnp.maximum(shares[1], 1),
      garment_first=jnp.maximum(shares[0], 1),
      person_step_px=lengths[1] / m,
      garment_step_px=lengths[0] / n,
    ),
    contexts=(
      garment_px[::every],
      garment_angle[::every],
      context_px,
      context_angle,
    ),
    context_modes=place.modes[2 * m :],
    context_in_neck=place.in_neck[::every],
    torso_start=start,
    has_start=jnp.stack([jnp.ones_like(found), found]),
  )
