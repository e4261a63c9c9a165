"""From masks to boundary points with tangents; on the host.

Coordinates here are zero-based pixels, x then y, pixel centres on integers,
except in the functions named *_original, which are one-based as in the
original code.

Nothing here needs OpenCV: an exported try-on traces outlines with these
functions in an environment with only JAX, and with it NumPy and SciPy.
"""

import functools

import numpy as np
from scipy import ndimage

from viton_jax.geometry import interpolation, spline

# The eight neighbours of a pixel as (row, column) steps, anticlockwise on the
# screen from the right one; a direction and its opposite differ by 4.
_STEPS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
_RIGHT, _LEFT = 0, 4
_FOUR = ndimage.generate_binary_structure(2, 1)
_EIGHT = ndimage.generate_binary_structure(2, 2)
_PAD = 2


def resize_nearest(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """Nearest-neighbour resize with half-pixel centres, (h, w) to `size`."""
  (h, w), (new_h, new_w) = mask.shape, size
  rows = ((np.arange(new_h) + 0.5) * (h / new_h)).astype(int)
  columns = ((np.arange(new_w) + 0.5) * (w / new_w)).astype(int)
  return mask[np.ix_(rows, columns)]


def resize_cubic(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """Resizes (h, w) float32 to `size` as MATLAB's imresize does by default.

  Cubic convolution (Keys 1981, a = -1/2), widened where it shrinks, borders
  mirrored.
  """
  rows, columns = map(_cubic_weights, values.shape, size)
  return (rows @ values.astype(np.float64) @ columns.T).astype(np.float32)


def _cubic_weights(size_in: int, size_out: int) -> np.ndarray:
  """(size_out, size_in) float64, rows sum to 1."""
  wide = max(1.0, size_in / size_out)
  centre = (np.arange(size_out) + 0.5) * (size_in / size_out) - 0.5
  reach = int(np.ceil(2 * wide))
  places = np.floor(centre)[:, None] + np.arange(-reach, reach + 2)
  x = np.abs(places - centre[:, None]) / wide
  weights = np.where(
    x <= 1, (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2
  )
  weights = np.where(x <= 2, weights, 0)
  weights /= weights.sum(axis=1, keepdims=True)
  period = places.astype(int) % (2 * size_in)
  mirrored = np.minimum(period, 2 * size_in - 1 - period)
  matrix = np.zeros((size_out, size_in))
  np.add.at(matrix, (np.arange(size_out)[:, None], mirrored), weights)
  return matrix


def resize_area(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """Resizes (h, w) to `size`, float32: areas where it shrinks, else linear."""
  if values.shape == tuple(size):
    return values
  values = _resize_rows(np.asarray(values, np.float32), size[0])
  return np.ascontiguousarray(_resize_rows(values.T, size[1]).T)


def _resize_rows(values: np.ndarray, count: int) -> np.ndarray:
  every, rest = divmod(len(values), count)
  if every and not rest:  # Ten times faster than the product.
    total = sum(values[i::every] for i in range(every))
    return np.asarray(total / np.float32(every))
  return area_weights(len(values), count) @ values


@functools.lru_cache(maxsize=8)
def area_weights(size_in: int, size_out: int) -> np.ndarray:
  """(size_out, size_in) float32, rows sum to 1."""
  scale = size_in / size_out
  if size_out > size_in:
    centre = (np.arange(size_out) + 0.5) * scale - 0.5
    return interpolation.linear_weights(centre, size_in)
  place = np.arange(size_in)
  low = np.arange(size_out)[:, None] * scale
  weights = np.minimum(place + 1, low + scale) - np.maximum(place, low)
  weights = np.maximum(weights, 0)
  weights /= weights.sum(axis=1, keepdims=True)
  return weights.astype(np.float32)


def blur(values: np.ndarray, sigma_px: float) -> np.ndarray:
  """Gaussian blur of (h, w) float32, borders mirrored without their pixel."""
  rows, columns = (blur_weights(size, sigma_px) for size in values.shape)
  return rows @ values @ columns.T


@functools.lru_cache(maxsize=8)
def blur_weights(size: int, sigma_px: float) -> np.ndarray:
  """(size, size) float32: the blur of a column, as a product from the left."""
  reach = round(4 * sigma_px)  # What lies beyond weighs less than 0.1 %.
  offsets = np.arange(-reach, reach + 1)
  weights = np.exp(-(offsets**2) / (2 * sigma_px**2))
  weights /= weights.sum()
  place = np.abs(np.arange(size)[:, None] + offsets)
  place = size - 1 - np.abs(size - 1 - place)
  matrix = np.zeros((size, size))
  np.add.at(matrix, (np.arange(size)[:, None], place), weights)
  return matrix.astype(np.float32)


def has_core(mask: np.ndarray) -> bool:
  """Whether (h, w) bool is three pixels wide anywhere; the border counts in."""
  padded = np.pad(mask, 1, constant_values=True)
  rows = padded[:-2] & padded[1:-1] & padded[2:]
  return bool((rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:] & mask).any())


def boundary_original(
  values: np.ndarray, level: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
  """All iso-contour points of the original, in no particular order.

  A contour crosses each edge between two neighbouring pixels of which one
  lies above the level; there the point is interpolated linearly. Contours are
  not closed along the image's border. (MATLAB lists the first point of a
  closed contour twice; the copies are the first that its sampling drops.)

  Args:
    values: (h, w) float or bool.
    level: of the contour.

  Returns:
    (m, 2) float64 one-based x, y, and (m,) tangents in radians.
  """
  values = np.asarray(values, dtype=np.float64)
  inside = values >= level
  points = []
  for axis in (0, 1):
    low = values[:-1] if axis == 0 else values[:, :-1]
    high = values[1:] if axis == 0 else values[:, 1:]
    crossing = np.diff(inside, axis=axis)
    y, x = np.nonzero(crossing)
    share = (level - low[crossing]) / (high[crossing] - low[crossing])
    step = np.stack([x, y], axis=1).astype(np.float64) + 1
    step[:, 1 - axis] += share
    points.append(step)
  points = np.concatenate(points)
  gradient_y, gradient_x = np.gradient(values)
  # MATLAB rounds halves away from zero.
  x, y = (np.floor(points + 0.5).astype(int) - 1).T
  tangents = np.arctan2(gradient_y[y, x], gradient_x[y, x]) + np.pi / 2
  return points, tangents


def sample_original(
  points: np.ndarray, count: int, *, rng: np.random.Generator
) -> np.ndarray:
  """Thins points: repeatedly drops one of the closest remaining pair.

  Args:
    points: (m, 2), m >= count.
    count: how many to keep.
    rng: chooses the (at most 3 * count) points that take part.

  Returns:
    (count,) int indices into `points`.
  """
  chosen = rng.permutation(len(points))[: 3 * count]
  start = points[chosen]
  squared = spline.squared_distances(start, start)
  np.fill_diagonal(squared, np.inf)
  kept = np.ones(len(chosen), dtype=bool)
  nearest = squared.argmin(axis=0)
  nearest_squared = squared.min(axis=0)
  for _ in range(len(chosen) - count):
    drop = int(nearest_squared.argmin())
    kept[drop] = False
    squared[drop] = np.inf
    nearest_squared[drop] = np.inf
    # Only those whose nearest neighbour has gone need another.
    orphans = np.flatnonzero((nearest == drop) & kept)
    nearest[orphans] = squared[:, orphans].argmin(axis=0)
    nearest_squared[orphans] = squared[nearest[orphans], orphans]
  return chosen[kept]


def trace(
  values: np.ndarray, level: float = 0.5, *, min_length: float = 12.0
) -> list[np.ndarray]:
  """Traces the closed iso-contours of a map, to a fraction of a pixel.

  Args:
    values: (h, w) float32, smooth: a blurred mask.
    level: of the contour.
    min_length: contours shorter than this, in pixels, are dropped.

  Returns:
    A list of (m, 2) float64 zero-based x, y, longest first; outer outlines
    and holes run in opposite directions, the mask always on the same side.
    Along the image's border an outline runs half a pixel outside.
  """
  # From here on the level is 0 and the inside about 1, whatever the range.
  values = np.asarray(values, np.float32) - np.float32(level)
  values /= max(float(values.max()), 1e-6)
  values = np.pad(values, _PAD, constant_values=-1.0)
  chains = [
    chain
    for chain in follow_borders(values >= 0)
    if len(chain) >= min_length / 1.5
  ]
  if not chains:
    return []
  gradient_y, gradient_x = np.gradient(values)
  maps = np.stack([values, gradient_x, gradient_y], axis=2)
  every = np.concatenate(chains).astype(np.float32)
  for _ in range(3):
    # A Newton step along the gradient, at most half a pixel.
    v, gx, gy = _interpolate(maps, every).T
    step = -v / np.maximum(gx * gx + gy * gy, 1e-3)
    move = np.stack([gx, gy], axis=1) * step[:, None]
    every = every + np.clip(move, -0.5, 0.5)
  contours = []
  ends = np.cumsum([len(chain) for chain in chains])
  for points in np.split(every, ends[:-1]):
    closed = np.concatenate([points, points[:1]])
    length = np.hypot(*np.diff(closed, axis=0).T).sum()
    if length >= min_length:
      contours.append((length, points.astype(np.float64) - _PAD))
  contours.sort(key=lambda item: -item[0])
  return [points for _, points in contours]


def _interpolate(maps: np.ndarray, points: np.ndarray) -> np.ndarray:
  """Bilinear values of (h, w, c) at (m, 2) x, y inside it: (m, c)."""
  x, y = points.T
  column, row = x.astype(np.intp), y.astype(np.intp)
  flat = maps.reshape(-1, maps.shape[2])
  width = maps.shape[1]
  at = row * width + column
  across, down = (x - column)[:, None], (y - row)[:, None]
  corners = (flat[at], flat[at + 1], flat[at + width], flat[at + width + 1])
  return interpolation.blend(corners, across, down)


def follow_borders(inside: np.ndarray) -> list[np.ndarray]:
  """The pixels along every border of a mask, in order.

  Parts of the mask hang together by corners too, holes do not. A border is
  walked from its first pixel, row by row, with the mask's outside (or the
  hole) always on the same hand.

  Args:
    inside: (h, w) bool, False along all four edges.

  Returns:
    A list of (m, 2) int x, y: borders of parts, then of holes, the last one
    first. A pixel may come up twice where the mask is one pixel wide.

  References:
    Suzuki and Abe, Topological Structural Analysis of Digitized Binary Images
    by Border Following, 1985, algorithm 1.
  """
  h, w = inside.shape
  codes = np.zeros((h, w), np.uint8)
  for k, (down, right) in enumerate(_STEPS):
    neighbour = inside[1 + down : h - 1 + down, 1 + right : w - 1 + right]
    codes[1:-1, 1:-1] |= neighbour.view(np.uint8) << np.uint8(k)
  codes = codes.tobytes()
  flat = inside.ravel()
  parts, holes = _labelled(inside, _EIGHT), _labelled(~inside, _FOUR)
  # The first pixel of a part has nothing on its left; that of a hole lies
  # right of the mask.
  starts = np.flatnonzero(flat[1:] & ~flat[:-1]) + 1
  walks = [(p, _LEFT) for p in _first_of_each(parts.ravel(), starts)]
  starts = np.flatnonzero(~flat[1:] & flat[:-1]) + 1
  starts = starts[holes.ravel()[starts] != holes[0, 0]]
  walks += [(p - 1, _RIGHT) for p in _first_of_each(holes.ravel(), starts)]
  return [
    np.stack(np.divmod(_walk(codes, w, *walk), w)[::-1], axis=1)
    for walk in walks
  ]


def _labelled(region: np.ndarray, structure: np.ndarray) -> np.ndarray:
  """The number of the part that each pixel is in; 0 outside."""
  labels = np.empty(region.shape, np.int32)
  ndimage.label(region, structure, output=labels)
  return labels


def _first_of_each(labels: np.ndarray, places: np.ndarray) -> list[int]:
  """The first of `places` with each label, the last label's place first."""
  _, first = np.unique(labels[places], return_index=True)
  return np.sort(places[first])[::-1].tolist()


def _walk(codes: bytes, width: int, start: int, away: int) -> np.ndarray:
  """Walks round one border; indices of its pixels.

  Args:
    codes: of each pixel, which neighbours are inside: bit k is `_STEPS[k]`.
    width: of the mask.
    start: index of the pixel to start from.
    away: direction in which it has the outside or the hole.
  """
  onward, backward = _turns()
  offsets = [down * width + right for down, right in _STEPS]
  if not codes[start]:
    return np.array([start])
  k = backward[codes[start]][away]
  last = start + offsets[k]
  place, chain = start, []
  while True:
    k = onward[codes[place]][k]
    following = place + offsets[k]
    chain.append(place)
    if following == start and place == last:
      return np.array(chain)
    place, k = following, k ^ 4  # The way back.


@functools.cache
def _turns() -> tuple[list[bytes], list[bytes]]:
  """For each neighbourhood and direction the next neighbour, both ways round.

  That direction itself comes last.
  """

  def first(code: int, k: int, turn: int) -> int:
    return next(
      (
        (k + i * turn) % 8
        for i in range(1, 9)
        if code >> (k + i * turn) % 8 & 1
      ),
      0,
    )

  def table(turn: int) -> list[bytes]:
    return [
      bytes(first(code, k, turn) for k in range(8)) for code in range(256)
    ]

  return table(1), table(-1)


def spread(
  contours: list[np.ndarray], count: int
) -> tuple[np.ndarray, np.ndarray]:
  """Spreads points evenly, by arc length, over closed contours.

  Args:
    contours: of `trace`, longest first.
    count: number of points in all.

  Returns:
    (count, 2) float64 x, y and (count,) float64 tangents in radians, taken
    over three pixels.
  """
  closed, arcs, shares = _arcs(contours, count)
  points, tangents = [], []
  for curve, arc, share in zip(closed, arcs, shares, strict=True):
    at = np.arange(share) * (arc[-1] / max(share, 1))
    here, behind, ahead = (
      np.stack([np.interp(np.mod(at + d, arc[-1]), arc, c) for c in curve.T], 1)
      for d in (0, -1.5, 1.5)
    )
    step = ahead - behind
    points.append(here)
    tangents.append(np.arctan2(step[:, 1], step[:, 0]))
  return np.concatenate(points), np.concatenate(tangents)


def first_share(contours: list[np.ndarray], count: int) -> tuple[int, float]:
  """How many points `spread` puts on the first contour; length of all."""
  _, arcs, shares = _arcs(contours, count)
  return int(shares[0]), float(sum(arc[-1] for arc in arcs))


def _arcs(contours: list[np.ndarray], count: int) -> tuple:
  """Closed contours, their arc lengths, and each one's share of points."""
  closed = [np.concatenate([points, points[:1]]) for points in contours]
  arcs = [
    np.concatenate([[0], np.cumsum(np.hypot(*np.diff(c, axis=0).T))])
    for c in closed
  ]
  lengths = np.array([arc[-1] for arc in arcs])
  # A contour too short for a point has none.
  ends = np.round(np.cumsum(lengths) / lengths.sum() * count).astype(int)
  return closed, arcs, np.diff(ends, prepend=0)


def torso(mask: np.ndarray) -> tuple[float, float, float] | None:
  """Finds the lower torso of a garment, whatever its sleeves do.

  Args:
    mask: (h, w) bool.

  Returns:
    Width, x of the middle and y of the hem in pixels; None where the mask has
    no run of pixels around its middle.
  """
  middle = int(np.median(np.nonzero(mask)[1]))
  rows = np.flatnonzero(mask[:, middle])
  if len(rows) < 8:
    return None
  hem, top = rows[-1], rows[0]
  low = mask[int(hem - 0.35 * (hem - top)) : int(hem - 0.04 * (hem - top)) + 1]
  low = np.pad(low[low[:, middle]], ((0, 0), (1, 1)))
  if len(low) == 0:
    return None
  # The run around the middle: the nearest gap on either side of it.
  left = middle - np.argmin(low[:, middle + 1 :: -1], axis=1) + 1
  right = middle + np.argmin(low[:, middle + 1 :], axis=1)
  return (
    float(np.median(right - left)),
    float(np.median((left + right - 1) / 2)),
    float(hem) + 0.5,
  )
