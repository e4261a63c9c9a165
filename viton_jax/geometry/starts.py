"""Warps to start an alignment from, as mode weights; see `alignment`.

Two kinds: torso laid on torso, and through the matches of shape contexts.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from viton_jax.geometry import alignment, backends, shape_context
from viton_jax.geometry.backends import matmul

_STIFFNESS = 3000.0


def affine_start(
  *,
  scale: alignment.Array,
  shift: tuple[alignment.Array, alignment.Array],
  size: tuple[int, int],
  xp: ModuleType = np,
) -> alignment.Array:
  """(k, 2) mode weights of x -> scale * x + shift, in pixels."""
  half_x, half_y = (float(side - 1) / 2 for side in size[::-1])
  nothing = 0 * scale
  rows = [
    xp.stack([scale * half_x + shift[0], scale * half_y + shift[1]]),
    xp.stack([scale * half_x, nothing]),
    xp.stack([nothing, scale * half_y]),
  ]
  return xp.concatenate(
    [xp.stack(rows), xp.zeros((alignment.MODES - 3, 2), rows[0].dtype)]
  )


def start_weights(
  in_neck: alignment.Array, matched: alignment.Array, xp: ModuleType = np
) -> alignment.Array:
  """Weights of matches for a start: few for the neckline, none for dummies."""
  return xp.where(
    matched, xp.where(in_neck, alignment.COARSE.neck[0], 1.0), 0.0
  )


def start_from_matches(
  modes: alignment.Array,
  target_px: alignment.Array,
  weights: alignment.Array,
  xp: ModuleType = np,
) -> alignment.Array:
  """A stiff warp through matches of which many may be wrong.

  Args:
    modes: (m, k) person's points.
    target_px: (m, 2) their matches.
    weights: (m,), 0 for points without a match.
    xp: array module.

  Returns:
    (k, 2) mode weights.
  """

  def step(state: tuple, _: Any) -> tuple:
    robust, _ = state
    warp = alignment.solve(modes, target_px, robust, _STIFFNESS, xp)
    offset = matmul(xp, modes, warp) - target_px
    squared = xp.sum(offset**2, axis=1)
    order = xp.sort(xp.where(weights > 0, squared, np.inf))
    count = xp.sum(weights > 0)
    median = order[xp.maximum(count // 2, 0)]
    scale = xp.maximum(4 * median, 9.0)
    return weights / (1 + squared / scale) ** 2, warp

  first = xp.zeros((modes.shape[1], 2), modes.dtype)
  return backends.repeat(xp, step, (weights, first), [(0.0,)] * 4)[1]


def start_from_shape_contexts(
  contexts: tuple,
  context_modes: alignment.Array,
  context_in_neck: alignment.Array,
  *,
  assign: Callable[[alignment.Array], alignment.Array],
  xp: ModuleType = np,
) -> alignment.Array:
  """A start from one round of shape contexts; more rounds start no better.

  Args:
    contexts, context_modes, context_in_neck: of `Prepared`.
    assign: from costs (100, 100) to the row of each column, -1 for none.
    xp: array module.

  Returns:
    (k, 2) mode weights.
  """
  garment_px, garment_angle, person_px, person_angle = contexts
  cost = shape_context.matching_cost(
    shape_context.histograms(garment_px, xp=xp)[0],
    shape_context.histograms(person_px, xp=xp)[0],
    garment_angle,
    person_angle,
    xp=xp,
  )
  rows = assign(cost)
  # Row -1 of a dummy reads the last point, with weight 0.
  weights = start_weights(context_in_neck[rows], rows >= 0, xp)
  return start_from_matches(
    context_modes, garment_px[rows], weights.astype(cost.dtype), xp
  )
