"""From masks and garment photographs to boundary points with tangents.

Coordinates here are zero-based pixels, x then y, pixel centres on integers,
except in the functions named *_original, which are one-based as in the
original code.
"""

import cv2
import numpy as np

from viton_jax.errors import InputError

# A background pixel of a product photograph is at least this bright.
_LIGHT = 200
# Colour distance to the background, levels of 255: surely garment, and
# perhaps garment (white cloth) or perhaps JPEG ringing.
_STRONG = 14
_WEAK = 4
# Of the cloth's own contrast, where its edge is taken to be.
_EDGE_SHARE = 0.35
_MAX_STRONG = 60
# Ringing reaches one block, 8 px, beyond an edge; thicker parts are cloth.
_RINGING_PX = 9
# Components smaller than this share of the largest are dirt.
_MIN_COMPONENT = 0.02


def garment_mask(
    photo: np.ndarray,
    *,
    fidelity: str = 'fixed',
    size: tuple[int, int] | None = None,
) -> np.ndarray:
  """Finds a flat garment on a light background.

  Args:
    photo: (h, w, 3) uint8 RGB.
    fidelity: 'original' is every channel differing from 255, holes filled and
      a 3 x 3 median; it loses white and saturated cloth. 'fixed' compares
      with the background found at the border, keeps what is thicker than JPEG
      ringing, and drops specks.
    size: (h, w) of the result, the photo's by default. The original resizes
      (nearest neighbour) before it fills holes, so give its matching size.

  Returns:
    (h, w) bool, True on the garment; holes are filled.

  Raises:
    InputError: not such a photo, or no garment found in it.
  """
  photo = np.asarray(photo)
  if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
    raise InputError(
        'a garment photo must be uint8 of shape (h, w, 3), not '
        f'{photo.dtype} of {photo.shape}; decode it as RGB'
    )
  if fidelity == 'original':
    mask = np.all(photo != 255, axis=2)
    if size is not None:
      mask = resize_nearest(mask, size)
    mask = cv2.medianBlur(_fill_holes(mask.astype(np.uint8)), 3) > 0
  elif fidelity == 'fixed':
    mask = _garment_mask_fixed(photo)
    if size is not None:
      mask = resize_area(mask.astype(np.float32), size) >= 0.5
  else:
    raise InputError(
        f"fidelity must be 'original' or 'fixed', not {fidelity!r}"
    )
  if not mask.any():
    raise InputError(
        'no garment found in the photo; it must lie on a light background '
        'that differs from it'
    )
  return mask


def _garment_mask_fixed(photo: np.ndarray) -> np.ndarray:
  h, w, _ = photo.shape
  border = np.concatenate(
      [photo[0], photo[-1], photo[:, 0], photo[:, -1]], axis=0
  )
  light = border[border.min(axis=1) >= _LIGHT]
  # A garment may touch a border or two; only light pixels vote.
  background = (
      np.median(light, axis=0) if len(light) else np.full(3, 255.0)
  )
  background = background.astype(np.uint8)
  distance = cv2.absdiff(photo, np.broadcast_to(background, photo.shape))
  distance = distance.max(axis=2)
  # The edge of cloth lies where half of it shows, so the limit follows its
  # contrast: dark cloth keeps none of its ringing or its shadow.
  cloth = distance[distance > _STRONG]
  limit = _STRONG
  if len(cloth):
    limit = np.clip(_EDGE_SHARE * np.median(cloth), _STRONG, _MAX_STRONG)
  strong = distance > limit
  # The blur takes the compression noise of flat background away.
  # Of grey levels only: colour bleeds over two blocks.
  grey = cv2.blur(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), (3, 3))
  light_grey = cv2.cvtColor(background[None, None], cv2.COLOR_RGB2GRAY)[0, 0]
  weak = (cv2.absdiff(grey, np.full_like(grey, light_grey)) > _WEAK) & ~strong
  reach = min(_RINGING_PX, max(3, h // 25))
  kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
  weak = cv2.morphologyEx(weak.astype(np.uint8), cv2.MORPH_OPEN, kernel)
  mask = (strong | (weak > 0)).astype(np.uint8)
  # Close the gaps in the faint outline of white cloth, then fill it: the
  # background is what the border reaches.
  mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel)
  mask = _fill_holes(mask)
  mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
  count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
  if count == 1:
    return np.zeros((h, w), dtype=bool)
  areas = stats[:, cv2.CC_STAT_AREA].copy()
  areas[0] = 0
  return (areas >= _MIN_COMPONENT * areas.max())[labels] & (labels > 0)


def _fill_holes(mask: np.ndarray) -> np.ndarray:
  """Fills what the border does not reach, by 4-connected steps; uint8 0/1."""
  padded = np.pad(mask, 1)
  cv2.floodFill(padded, None, (0, 0), 2)
  return (padded[1:-1, 1:-1] != 2).astype(np.uint8)


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
  """Resizes (h, w) float32 to `size`, averaging where it shrinks."""
  if values.shape == tuple(size):
    return values
  shrinks = size[0] < values.shape[0] or size[1] < values.shape[1]
  method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
  return cv2.resize(values, (size[1], size[0]), interpolation=method)


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
  squared = np.sum((start[:, None] - start[None]) ** 2, axis=-1)
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
  values = cv2.copyMakeBorder(
      values, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=-1.0
  )
  found, _ = cv2.findContours(
      (values >= 0).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
  )
  gradient_y, gradient_x = np.gradient(values)
  maps = np.stack([values, gradient_x, gradient_y], axis=2)
  contours = []
  for chain in found:
    if len(chain) < min_length / 1.5:
      continue
    points = chain[:, 0].astype(np.float32)
    for _ in range(3):
      # A Newton step along the gradient, at most half a pixel.
      v, gx, gy = cv2.remap(
          maps, points[None, :, 0].copy(), points[None, :, 1].copy(),
          cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
      )[0].T
      step = -v / np.maximum(gx * gx + gy * gy, 1e-3)
      move = np.stack([gx, gy], axis=1) * step[:, None]
      points = points + np.clip(move, -0.5, 0.5)
    closed = np.concatenate([points, points[:1]])
    length = np.hypot(*np.diff(closed, axis=0).T).sum()
    if length >= min_length:
      contours.append((length, points.astype(np.float64) - 2))
  contours.sort(key=lambda item: -item[0])
  return [points for _, points in contours]


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
        np.stack(
            [np.interp(np.mod(at + d, arc[-1]), arc, c) for c in curve.T], 1
        )
        for d in (0, -1.5, 1.5)
    )
    step = ahead - behind
    points.append(here)
    tangents.append(np.arctan2(step[:, 1], step[:, 0]))
  return np.concatenate(points), np.concatenate(tangents)


def first_share(
    contours: list[np.ndarray], count: int
) -> tuple[int, float]:
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
