"""Parts and holes of masks, found on cells of 4 x 4 pixels.

With fixed shapes, for any device: a flood takes as many steps as its way is
long, and each costs as much as the image has cells.
"""

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Bool

Region = Bool[Array, 'b h w']

_CELL = 4  # Pixels.
# Smaller parts of a mask, as a share of its largest, are errors.
_SMALL_PART = 0.1


def main_parts(region: Region) -> Region:
  """Without the small parts of a region, see `_SMALL_PART`."""
  cells = cells_of(region, jnp.any)
  b, h, w = cells.shape
  numbers = jnp.arange(1, h * w + 1).reshape(1, h, w)
  parts = _flood(jnp.where(cells, numbers, 0), cells)
  areas = jax.vmap(
    lambda part, mask: jax.ops.segment_sum(
      mask.ravel().astype(jnp.float32), part.ravel(), h * w + 1
    )
  )(parts, cells_of(region, jnp.sum))
  areas = areas.at[:, 0].set(0.0)
  main = areas >= _SMALL_PART * areas.max(-1, keepdims=True)
  keep = jax.vmap(lambda row, part: row[part])(main, parts)
  return region & _pixels_of(keep & cells, region.shape[1:])


def without_holes(region: Region, *, but: Region | None = None) -> Region:
  """A region and what it encloses.

  Args:
    region: with holes.
    but: holes that hold some of this stay.
  """
  free = ~cells_of(region, jnp.any)
  pads = (0, 0), (1, 1), (1, 1)
  start = jnp.zeros(free.shape, bool)
  if but is not None:
    start = cells_of(but, jnp.any) & free
  start = jnp.pad(start.astype(int), pads, constant_values=1)
  free = jnp.pad(free, pads, constant_values=True)
  outside = _flood(start, free)[:, 1:-1, 1:-1] > 0
  # A cell at the rim is free in part, and lies beside the outside.
  near = grown(outside, 1)
  return region | ~_pixels_of(near, region.shape[1:])


def cells_of(region: Region, reduce) -> Array:
  """A region on cells of _CELL x _CELL pixels."""
  b, h, w = region.shape
  pads = (0, 0), (0, -h % _CELL), (0, -w % _CELL)
  region = jnp.pad(region, pads)
  h, w = region.shape[1:]
  blocks = region.reshape(b, h // _CELL, _CELL, w // _CELL, _CELL)
  return reduce(blocks, axis=(2, 4))


def _pixels_of(cells: Array, size: tuple[int, ...]) -> Array:
  """Cells as pixels of images of `size`."""
  wide = jnp.repeat(jnp.repeat(cells, _CELL, 1), _CELL, 2)
  return wide[:, : size[0], : size[1]]


def _flood(numbers: Array, free: Array) -> Array:
  """The largest number that reaches each free cell over free cells."""

  def step(state):
    before, _ = state
    after = jnp.where(free, _largest_around(before, 1), 0)
    return after, (after != before).any()

  return lax.while_loop(lambda s: s[1], step, (numbers, jnp.bool_(True)))[0]


def grown(region: Region, reach: int) -> Region:
  """A region and all within `reach` pixels of it, in a square."""
  return _largest_around(region.astype(jnp.uint8), reach) > 0


def widened(region: Region, reach: int) -> Region:
  """A region and all within `reach` pixels to its left and right."""
  return _largest_around(region.astype(jnp.uint8), reach, axes=(2,)) > 0


def _largest_around(x: Array, reach: int, axes=(1, 2)) -> Array:
  low = jnp.array(0, x.dtype)
  for axis in axes:
    window = [1, 1, 1]
    window[axis] = 2 * reach + 1
    x = lax.reduce_window(x, low, lax.max, window, (1, 1, 1), 'SAME')
  return x
