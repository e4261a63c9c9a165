"""Iso-contours in fixed shapes: ordered points without a walk along them.

A contour crosses edges between neighbouring pixels (marching squares; Lorensen
and Cline, "Marching Cubes", SIGGRAPH 1987), and each crossing knows the next
one from the four pixels between them. All crossings find the rest of the way
round at once, each by asking the one it knows for the one that that one knows
(pointer jumping; JaJa, An Introduction to Parallel Algorithms, 1992, section
2.2): after 13 rounds everyone knows its contour and its place on it.

What `contour.trace` and `contour.spread` do on the host, for one map; see there
for the conventions. Coordinates are zero-based pixels, x then y.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
import numpy as np

from viton_jax.geometry import interpolation

# Of all contours of a map; noise of 128 x 96 pixels has 7,100.
CROSSINGS = 4096
_ROUNDS = CROSSINGS.bit_length() - 1
CONTOURS = 32  # The longest are kept.
_MIN_LENGTH = 12.0
_PAD = 2


class Contours(NamedTuple):
  """The longest contours of a map, one after the other.

  Attributes:
    points: (CROSSINGS, 2) x, y, along the contours.
    places: (CROSSINGS,) arc length from the start of the first contour, rising;
      infinite behind the last point.
    following: (CROSSINGS,) the index of the next point on the same contour.
    begins: (CONTOURS,) the index of the first point of each contour.
    lengths: (CONTOURS,) falling, 0 where there is none.
    complete: whether the map had no more than `CROSSINGS`.
  """

  points: Float[Array, 'n 2']
  places: Float[Array, ' n']
  following: Int[Array, ' n']
  begins: Int[Array, ' c']
  lengths: Float[Array, ' c']
  complete: Bool[Array, '']


def trace(values: Float[Array, 'h w'], level: float = 0.5) -> Contours:
  """The closed iso-contours of a smooth map, at least 12 pixels long.

  Args:
    values: (h, w) float32.
    level: of the contour.
  """
  values = values - level
  # Outside the image it is -1 if the inside is about 1, whatever the range.
  values = values / jnp.maximum(values.max(), 1e-6)
  values = jnp.pad(values, _PAD, constant_values=-1.0)
  inside = values >= 0
  crossing, following = _link(inside)
  # Numbers the crossings; the others share a number that is never read.
  number = jnp.cumsum(crossing.astype(jnp.int32)) - 1
  count = number[-1] + 1
  number = jnp.where(crossing & (number < CROSSINGS), number, CROSSINGS)
  edges = jnp.zeros(CROSSINGS + 1, jnp.int32)
  edges = edges.at[number].set(jnp.arange(number.shape[0], dtype=jnp.int32))
  edges = edges[:CROSSINGS]
  here = jnp.arange(CROSSINGS, dtype=jnp.int32)
  real = here < count
  following = number[following[edges]]
  following = jnp.where(real & (following < CROSSINGS), following, here)
  points = _on_contour(values, inside, edges)
  step = points[following] - points
  return _order(points, following, _length(step), real, count)


def _link(inside: Bool[Array, 'h w']) -> tuple[jax.Array, jax.Array]:
  """Which edges between pixels a contour crosses, and which edge follows.

  Edge y * w + x joins pixel (y, x) to its right neighbour, edge h * w + y * w +
  x to the one below. Contours have the inside on their right hand as x goes
  right and y down; parts of the mask hang together by corners.

  Args:
    inside: (h, w) bool, False along all four edges.

  Returns:
    (2 * h * w,) bool, and (2 * h * w,) int32, meaningless without a crossing.
  """
  h, w = inside.shape
  right, below = np.arange(h * w).reshape(h, w), np.arange(h * w).reshape(h, w)
  below = below + h * w

  def at(array: Array | np.ndarray, down: int, across: int) -> jax.Array:
    # What lies beyond the border is never asked for.
    return jnp.roll(jnp.asarray(array), (-down, -across), axis=(0, 1))

  def way(
    first: jax.Array,
    second: jax.Array,
    *edges: jax.Array,
  ) -> jax.Array:
    """Round the farther pixel if it is inside, else straight on or back."""
    turn, straight, back = edges
    return jnp.where(first, turn, jnp.where(second, straight, back))

  # Of a square of pixels, entered from above, below, left and right.
  squares = {
    'down': way(
      at(inside, 1, 1),
      at(inside, 1, 0),
      *(at(below, 0, 1), at(right, 1, 0), at(below, 0, 0)),
    ),
    'up': way(
      at(inside, 0, 0),
      at(inside, 0, 1),
      *(at(below, 0, 0), at(right, 0, 0), at(below, 0, 1)),
    ),
    'right': way(
      at(inside, 0, 1),
      at(inside, 1, 1),
      *(at(right, 0, 0), at(below, 0, 1), at(right, 1, 0)),
    ),
    'left': way(
      at(inside, 1, 0),
      at(inside, 0, 0),
      *(at(right, 1, 0), at(below, 0, 0), at(right, 0, 0)),
    ),
  }
  # From the edge to the right the way goes down where this pixel is inside,
  # from the edge below it goes left.
  across = jnp.where(inside, squares['down'], at(squares['up'], -1, 0))
  along = jnp.where(inside, at(squares['left'], 0, -1), squares['right'])
  crossing = [inside != at(inside, 0, 1), inside != at(inside, 1, 0)]
  return (
    jnp.stack(crossing).ravel(),
    jnp.stack([across, along]).ravel().astype(jnp.int32),
  )


def _on_contour(values: jax.Array, inside: jax.Array, edges: jax.Array):
  """(n, 2) x, y on the contour, from the pixel inside of each edge."""
  h, w = values.shape
  is_below = edges >= h * w
  first = jnp.where(is_below, edges - h * w, edges)
  second = jnp.where(is_below, first + w, first + 1)
  pixel = jnp.where(inside.ravel()[first], first, second).clip(0, h * w - 1)
  x, y = ((part).astype(values.dtype) for part in (pixel % w, pixel // w))
  # Central differences, which nobody asks for along the edges.
  gradient_x, gradient_y = (
    (jnp.roll(values, -1, axis) - jnp.roll(values, 1, axis)) / 2
    for axis in (1, 0)
  )
  maps = jnp.stack([values, gradient_x, gradient_y], axis=-1).reshape(-1, 3)

  def newton(_: jax.Array, points: jax.Array) -> jax.Array:
    x, y = points[:, 0], points[:, 1]
    column, row = x.astype(jnp.int32), y.astype(jnp.int32)
    at = (row * w + column).clip(0, h * w - w - 2)
    v, gx, gy = interpolation.blend(
      (maps[at], maps[at + 1], maps[at + w], maps[at + w + 1]),
      (x - column.astype(x.dtype))[:, None],
      (y - row.astype(y.dtype))[:, None],
    ).T
    step = -v / jnp.maximum(gx * gx + gy * gy, 1e-3)
    return points + (jnp.stack([gx, gy], 1) * step[:, None]).clip(-0.5, 0.5)

  points = jax.lax.fori_loop(0, 3, newton, jnp.stack([x, y], axis=1))
  return points - _PAD


def _length(steps: jax.Array) -> jax.Array:
  return jnp.sqrt(steps[:, 0] ** 2 + steps[:, 1] ** 2)


def _order(
  points: jax.Array,
  following: jax.Array,
  steps: jax.Array,
  real: jax.Array,
  count: jax.Array,
) -> Contours:
  """Finds the contours, and puts the points into their order."""
  here = jnp.arange(CROSSINGS, dtype=jnp.int32)

  def smallest(_: jax.Array, state: tuple) -> tuple:
    first, jump = state
    return jnp.minimum(first, first[jump]), jump[jump]

  first, _ = jax.lax.fori_loop(0, _ROUNDS, smallest, (here, following))

  def behind(_: jax.Array, state: tuple) -> tuple:
    # The start of a contour is where its way ends; nothing lies behind it.
    length, number, jump = state
    ended = jump == first
    return (
      length + jnp.where(ended, 0.0, length[jump]),
      number + jnp.where(ended, 0, number[jump]),
      jnp.where(ended, first, jump[jump]),
    )

  state = (steps, jnp.ones_like(here), following)
  length, number, _ = jax.lax.fori_loop(0, _ROUNDS, behind, state)
  is_first = real & (here == first) & (length >= _MIN_LENGTH)
  length = jnp.where(is_first, length, 0.0)
  # Sorted, since TensorFlow cannot read `top_k` from JAX.
  firsts = jnp.argsort(length, descending=True)[:CONTOURS]
  lengths = length[firsts]
  numbers = jnp.where(lengths > 0, number[firsts], 0)
  begins = jnp.cumsum(numbers) - numbers
  begin = jnp.full(CROSSINGS, CROSSINGS, here.dtype)
  begin = begin.at[firsts].set(jnp.where(lengths > 0, begins, CROSSINGS))
  # What is left out goes behind the end.
  rank = begin[first] + jnp.where(here == first, 0, number[first] - number)
  rank = jnp.where(real, rank, CROSSINGS).clip(0, CROSSINGS)
  order = jnp.zeros(CROSSINGS + 1, here.dtype).at[rank].set(here)[:CROSSINGS]
  kept = here < numbers.sum()
  ends = jnp.cumsum(jnp.where(kept, steps[order], 0.0))
  return Contours(
    points=points[order],
    places=jnp.where(kept, ends - steps[order], jnp.inf),
    following=rank[following[order]].clip(0, CROSSINGS - 1),
    begins=begins.clip(0, CROSSINGS - 1),
    lengths=lengths,
    complete=count <= CROSSINGS,
  )


def shares(contours: Contours, count: int) -> Int[Array, ' c']:
  """How many of `count` points `spread` puts on each contour."""
  ends = jnp.cumsum(contours.lengths)
  ends = jnp.round(ends / jnp.maximum(ends[-1], 1e-6) * count)
  return jnp.diff(ends.astype(jnp.int32), prepend=jnp.zeros(1, jnp.int32))


def spread(
  contours: Contours, count: int
) -> tuple[Float[Array, 'm 2'], Float[Array, ' m']]:
  """Spreads points evenly, by arc length, over the contours.

  Args:
    contours: of `trace`.
    count: number of points in all.

  Returns:
    (count, 2) x, y and (count,) tangents in radians, taken over three pixels;
    without meaning where there is no contour.
  """
  share = shares(contours, count)
  ends = jnp.cumsum(share)
  which = jnp.arange(count, dtype=jnp.int32)
  on = jnp.sum(which[:, None] >= ends[None], axis=1).clip(0, CONTOURS - 1)
  length = jnp.maximum(contours.lengths[on], 1e-6)
  begin = contours.begins[on]
  spacing = length / jnp.maximum(share[on], 1).astype(length.dtype)
  nth = (which - (ends - share)[on]).astype(length.dtype)

  def at(ahead: float) -> jax.Array:
    place = contours.places[begin] + jnp.mod(ahead - nth * spacing, length)
    index = jnp.searchsorted(contours.places, place, side='right') - 1
    index = jnp.maximum(index, begin)  # Two contours meet to the last bit.
    a, b = contours.points[index], contours.points[contours.following[index]]
    part = (place - contours.places[index]) / jnp.maximum(_length(b - a), 1e-6)
    return a + part.clip(0, 1)[:, None] * (b - a)

  step = at(-1.5) - at(1.5)
  return at(0.0), jnp.arctan2(step[:, 1], step[:, 0])
