"""Laying the person's outline on the garment's: robust, smooth, closest point.

The unknown is the warp itself, person -> garment, as values on the control
grid. It is written in the modes of the bending energy of the spline (Bookstein
1989, "principal warps"), affine ones first: few unknowns, well conditioned in
float32, and the smoothness term is diagonal. Each round pairs every point of
the person's outline with the nearest garment outline that runs the same way,
weighs pairs by how well they already fit, and solves for the warp; tolerance
and stiffness shrink from round to round. Outlines without a counterpart (an
arm or hair across the torso, a collar) never come near enough to count.

Everything takes the array module, NumPy in float64 on the host or jax.numpy in
float32 on the device, so that there is one implementation. Coordinates are
zero-based pixels, x then y, of the matching size.
"""

import dataclasses
import functools
from types import ModuleType
from typing import Any

import numpy as np

from viton_jax.geometry import backends, spline
from viton_jax.geometry.backends import matmul

GRID = 10
MODES = 60
_RIDGE = 1e-6

Array = Any  # np.ndarray or jax.Array, as the array module says.


@dataclasses.dataclass(frozen=True)
class Outlines:
  """What an alignment needs to know about two outlines.

  Attributes:
    person_modes: (m, k) person's points, in the modes of the warp.
    ahead_modes: (m, k) the same half a pixel further along the tangent.
    usable: (m,) 1 where a point may be matched, 0 at the image's border.
    garment_px: (n, 2) garment outline.
    garment_tangents: (n, 2) unit vectors.
    in_neck: (n,) bool, the garment's neckline: its back shows in the flat
      garment, its front on the person.
    in_sleeve: (n,) bool, garment points beside the torso.
    person_first, garment_first: ints, points of the longest contour of each;
      they come first.
    person_step_px, garment_step_px: distance between neighbouring points.
  """

  person_modes: Array
  ahead_modes: Array
  usable: Array
  garment_px: Array
  garment_tangents: Array
  in_neck: Array
  in_sleeve: Array
  person_first: Array
  garment_first: Array
  person_step_px: Array
  garment_step_px: Array


@dataclasses.dataclass(frozen=True)
class Schedule:
  """Rounds of an alignment; the values run geometrically from first to last.

  Attributes:
    rounds: how many.
    stiffness: weight of the bending energy, first and last.
    gate_px: distance at which a pair has lost most of its weight.
    neck: weight of neckline pairs, first and last.
    slide: weight of the distance along the outline, relative to the one
      across it, squared below; 1 is plain closest points.
  """

  rounds: int
  stiffness: tuple[float, float]
  gate_px: tuple[float, float]
  neck: tuple[float, float]
  slide: float

  def values(self) -> list[tuple[float, float, float]]:
    """Stiffness, gate and weight of the neckline in each round."""
    ranges = (self.stiffness, self.gate_px, self.neck)
    shares = [i / (self.rounds - 1) for i in range(self.rounds)]
    return [
      tuple(first ** (1 - x) * last**x for first, last in ranges)
      for x in shares
    ]


COARSE = Schedule(
  rounds=6,
  stiffness=(3000.0, 1000.0),
  gate_px=(12.0, 5.0),
  neck=(0.1, 0.1),
  slide=1.0,
)
FINE = Schedule(
  rounds=8,
  stiffness=(300.0, 1.5),
  gate_px=(6.0, 3.0),
  neck=(0.1, 1.0),
  slide=0.5,
)
FINISH = Schedule(
  rounds=3,
  stiffness=(5.0, 1.5),
  gate_px=(3.0, 3.0),
  neck=(1.0, 1.0),
  slide=0.5,
)
# Outlines that run apart by more than this cosine are no pair, and a
# difference in direction counts as a distance of this many pixels.
MIN_COSINE = 0.8
TURN_PX = 8.0
# Starts whose coarse warp scores at least this share of the best are refined
# before they are compared: which is right often shows in the details.
NEAR_BEST = 0.9


@functools.lru_cache(maxsize=1)
def warp_modes() -> np.ndarray:
  """(100, 60) float64: mode weights to control-grid values."""
  coefficients = spline.coefficient_matrix(GRID)
  grid = spline.regular_grid(GRID)
  kernel = spline.radial(spline.squared_distances(grid, grid))
  energy = coefficients[3:].T @ kernel @ coefficients[3:]
  values, vectors = np.linalg.eigh((energy + energy.T) / 2)
  bending = slice(3, MODES)
  # Scaled so that the bending energy of every mode is one.
  bent = vectors[:, bending] / np.sqrt(values[bending])
  return np.concatenate([np.ones((len(grid), 1)), grid, bent], axis=1)


@functools.lru_cache(maxsize=1)
def _mode_coefficients() -> np.ndarray:
  """(103, 60) float64: mode weights to spline coefficients."""
  return spline.coefficient_matrix(GRID) @ warp_modes()


def point_modes(
  points_px: Array, size: tuple[int, int], xp: ModuleType = np
) -> Array:
  """(m, 2) pixels of the matching size to (m, k): value = modes @ weights."""
  dtype = points_px.dtype
  last = xp.asarray([size[1] - 1, size[0] - 1], dtype)
  norm = points_px / last[None] * 2 - 1
  grid = xp.asarray(spline.regular_grid(GRID), dtype)
  coefficients = xp.asarray(_mode_coefficients(), dtype)
  kernel = spline.radial(spline.squared_distances(norm, grid), xp)
  bent = matmul(xp, kernel, coefficients[3:])
  return bent + coefficients[:1] + matmul(xp, norm, coefficients[1:3])


def _penalty(stiffness: Array, dtype: Any, xp: ModuleType) -> Array:
  """(k,) diagonal of the smoothness term."""
  bends = np.ones(MODES)
  bends[:3] = 0
  bends = xp.asarray(bends, dtype)
  return bends * (stiffness * 1e-3) + _RIDGE


def solve(
  modes: Array,
  target_px: Array,
  weights: Array,
  stiffness: Array,
  xp: ModuleType = np,
) -> Array:
  """Weighted smooth fit: (k, 2) mode weights of the warp.

  Args:
    modes: (m, k).
    target_px: (m, 2), where the points should go.
    weights: (m,).
    stiffness: of the warp.
    xp: array module.
  """
  # A warp held by few points does not get stiffer for it.
  weights = weights / xp.maximum(weights.sum(), 0.2 * len(weights))
  weighted = (modes * weights[:, None]).T
  system = matmul(xp, weighted, modes)
  system = system + xp.diag(_penalty(stiffness, modes.dtype, xp))
  return backends.solve(xp, system, matmul(xp, weighted, target_px))


def _solve_sliding(
  modes: Array,
  target_px: Array,
  tangents: Array,
  weights: Array,
  stiffness: Array,
  slide: float,
  xp: ModuleType,
) -> Array:
  """As `solve`, but a distance along the tangent counts `slide` times."""
  k = modes.shape[1]
  weights = weights / xp.maximum(weights.sum(), 0.2 * len(weights))
  tx, ty = tangents[:, 0], tangents[:, 1]
  s = slide * slide
  wxx = weights * (ty * ty + s * tx * tx)
  wyy = weights * (tx * tx + s * ty * ty)
  wxy = weights * ((s - 1) * tx * ty)
  penalty = xp.diag(_penalty(stiffness, modes.dtype, xp))

  def gram(w: Array) -> Array:
    return matmul(xp, (modes * w[:, None]).T, modes)

  cross = gram(wxy)
  system = xp.concatenate(
    [
      xp.concatenate([gram(wxx) + penalty, cross], axis=1),
      xp.concatenate([cross, gram(wyy) + penalty], axis=1),
    ]
  )
  x, y = target_px[:, 0], target_px[:, 1]
  right = xp.concatenate(
    [
      matmul(xp, modes.T, (wxx * x + wxy * y)[:, None]),
      matmul(xp, modes.T, (wxy * x + wyy * y)[:, None]),
    ]
  )
  solution = backends.solve(xp, system, right)[:, 0]
  return xp.stack([solution[:k], solution[k:]], axis=1)


def nearest(
  warp: Array, outlines: Outlines, xp: ModuleType = np
) -> tuple[Array, Array, Array]:
  """Nearest garment point of each person's point that runs the same way.

  Returns:
    (m,) int indices, (m,) cosines of the directions, (m,) distances in px.
  """
  points = matmul(xp, outlines.person_modes, warp)
  ahead = matmul(xp, outlines.ahead_modes, warp) - points
  ahead = ahead / xp.sqrt(xp.sum(ahead**2, axis=1, keepdims=True) + 1e-12)
  garment = outlines.garment_px
  squared = spline.squared_distances(points, garment)
  cosine = matmul(xp, ahead, outlines.garment_tangents.T)
  index = xp.argmin(squared + (2 * TURN_PX**2) * (1 - cosine), axis=1)
  rows = xp.arange(len(index))
  return index, cosine[rows, index], xp.sqrt(squared[rows, index])


def pair_weights(
  cosine: Array, distance: Array, gate: Array, usable: Array, xp: ModuleType
) -> Array:
  """Weight of a pair, 0..1, from how well it already fits."""
  good = (cosine > MIN_COSINE) & (distance < 2.5 * gate)
  return xp.where(good, usable / (1 + (distance / gate) ** 2) ** 2, 0.0)


def align(
  warp: Array, outlines: Outlines, schedule: Schedule, xp: ModuleType = np
) -> Array:
  """Runs the rounds of a schedule.

  Args:
    warp: (k, 2) mode weights to start from.
    outlines: of both shapes.
    schedule: of tolerance and stiffness.
    xp: array module.

  Returns:
    (k, 2) mode weights.
  """

  def step(warp: Array, values: Any) -> Array:
    stiffness, gate, neck = values
    index, cosine, distance = nearest(warp, outlines, xp)
    weights = pair_weights(cosine, distance, gate, outlines.usable, xp)
    weights = weights * xp.where(outlines.in_neck[index], neck, 1.0)
    weights = (weights + 1e-9).astype(warp.dtype)
    target = outlines.garment_px[index]
    if schedule.slide == 1.0:
      return solve(outlines.person_modes, target, weights, stiffness, xp)
    return _solve_sliding(
      outlines.person_modes,
      target,
      outlines.garment_tangents[index],
      weights,
      stiffness,
      schedule.slide,
      xp,
    )

  return backends.repeat(xp, step, warp, schedule.values())


def follow_sleeves(
  warp: Array,
  outlines: Outlines,
  size: tuple[int, int],
  xp: ModuleType = np,
) -> Array:
  """Brings sleeves along that moved too far for closest points.

  A stretch of the person's outline without matches, between two matched
  points, is laid along the stretch of the garment's outline between their
  matches, in proportion to arc length. Only onto sleeves, and only if the
  lengths are alike: an arm across the torso or a collar has no such stretch.

  Args:
    warp: (k, 2) mode weights after `align`.
    outlines: of both shapes.
    size: (h, w) of the matching.
    xp: array module.

  Returns:
    (k, 2) mode weights.
  """
  dtype = warp.dtype
  m0, n0 = outlines.person_first, outlines.garment_first
  i = xp.arange(len(outlines.person_modes))
  far = 10**6
  half = (np.array(size[::-1]) - 1) / 2

  def step(warp: Array, _: Any) -> Array:
    index, cosine, distance = nearest(warp, outlines, xp)
    weights = pair_weights(
      cosine, distance, FINE.gate_px[1], outlines.usable, xp
    )
    sure = (weights > 0.3) & (i < m0) & (index < n0)
    sure = sure & ~outlines.in_neck[index]
    # The nearest sure points behind and ahead, round the longest contour.
    steps = i[:, None] - i[None]
    back = xp.where(sure[None], xp.mod(steps, m0), far)
    ahead = xp.where(sure[None], xp.mod(-steps, m0), far)
    from_back, from_ahead = back.min(axis=1), ahead.min(axis=1)
    first, last = index[back.argmin(axis=1)], index[ahead.argmin(axis=1)]
    gap = from_back + from_ahead
    run = xp.mod(last - first, n0)
    share = from_back.astype(dtype) / xp.maximum(gap, 1).astype(dtype)
    target = first + xp.round(run.astype(dtype) * share).astype(first.dtype)
    target = xp.mod(target, n0)
    # Lengths are compared at the warp's mean scale.
    slope_x, slope_y = warp[1] / float(half[0]), warp[2] / float(half[1])
    area = slope_x[0] * slope_y[1] - slope_x[1] * slope_y[0]
    scale = xp.sqrt(xp.abs(area))
    person_run = gap.astype(dtype) * outlines.person_step_px * scale
    garment_run = run.astype(dtype) * outlines.garment_step_px
    use = ~sure & (i < m0) & (gap < far) & (outlines.usable > 0)
    use = use & (garment_run > 0.5 * person_run) & (person_run > 5)
    use = use & (garment_run < 2.2 * person_run)
    use = use & outlines.in_sleeve[target] & ~outlines.in_neck[target]
    target = xp.where(use, target, index)
    weights = weights * xp.where(outlines.in_neck[index], 0.3, 1.0)
    weights = (xp.where(use, 0.5, weights) + 1e-9).astype(dtype)
    return _solve_sliding(
      outlines.person_modes,
      outlines.garment_px[target],
      outlines.garment_tangents[target],
      weights,
      3.0,
      0.7,
      xp,
    )

  return backends.repeat(xp, step, warp, [(0.0,)] * 3)


def finish(
  warp: Array,
  outlines: Outlines,
  size: tuple[int, int],
  xp: ModuleType = np,
) -> Array:
  """From the better warp after FINE to the final (k, 2) mode weights."""
  warp = follow_sleeves(warp, outlines, size, xp)
  return align(warp, outlines, FINISH, xp)


def score(
  warp: Array,
  outlines: Outlines,
  xp: ModuleType = np,
  *,
  cut: bool = False,
) -> Array:
  """How much of each outline lies on the other, 0..2.

  The person's alone would admit a warp that lays a wide region on the torso of
  a garment many times too large, whose sleeves and collar nothing meets.

  Args:
    warp: (k, 2) mode weights.
    outlines: of both shapes.
    xp: array module.
    cut: whether to leave out of the garment what lies beyond the person's
      image. Fair, but only to a warp that is nearly right.
  """
  _, cosine, distance = nearest(warp, outlines, xp)
  person = pair_weights(cosine, distance, 4.0, outlines.usable, xp)
  points = matmul(xp, outlines.person_modes, warp)
  squared = spline.squared_distances(outlines.garment_px, points)
  met = 1 / (1 + squared.min(axis=1) / 4.0**2) ** 2
  if not cut:
    return person.mean() + met.mean()
  frame = matmul(xp, xp.asarray(warp_modes(), warp.dtype), warp)
  low, high = frame.min(axis=0)[None], frame.max(axis=0)[None]
  shown = (outlines.garment_px >= low) & (outlines.garment_px <= high)
  shown = shown.all(axis=1).astype(warp.dtype)
  return person.mean() + (met * shown).sum() / (shown.sum() + 1e-6)
