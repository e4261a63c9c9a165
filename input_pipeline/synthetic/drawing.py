"""Soft, anti-aliased drawing on a labelled canvas.

Everything is drawn by fields: for the pixels near a limb we compute how far
along and how far across it they lie, and outline, shading and texture follow
from these two numbers. That gives smooth edges without supersampling, and the
same field draws an arm, its sleeve, a finger or a lock of hair.

Positions are (x, y) in pixels, pixel centres at integers. Colours are float32
RGB in 0..1.
"""

import dataclasses

import cv2
import numpy as np

# Light from the upper left, towards the viewer.
LIGHT = np.array([-0.42, -0.46, 0.78], np.float32)


@dataclasses.dataclass
class Canvas:
  """An image with its labels and the garment coordinates of its pixels.

  Attributes:
    rgb: float32 (h, w, 3), 0..1.
    parse: uint8 (h, w), LIP-20 labels.
    flat: float32 (h, w, 2), x, y of the flat garment's photo in pixels where
      the garment shows, NaN elsewhere.
  """

  rgb: np.ndarray
  parse: np.ndarray
  flat: np.ndarray

  @property
  def shape(self):
    return self.parse.shape

  def paint(self, window, alpha, *, colour, label, flat=None):
    """Lays a colour over a window of the canvas.

    Args:
      window: (x0, y0, x1, y1), inside the canvas.
      alpha: float32 (y1 - y0, x1 - x0), coverage in 0..1.
      colour: float32, broadcastable to the window with 3 channels.
      label: the LIP-20 label of what is drawn, or None for what carries no
        label of its own (a highlight, a shadow, an eyebrow).
      flat: float32 (y1 - y0, x1 - x0, 2) or None, garment coordinates.
    """
    self._lay(window, alpha, colour, label=label, flat=flat)

  def paint_lit(
    self,
    window,
    alpha,
    *,
    base,
    lit,
    label,
    shadow,
    gloss=0.08,
    grain=None,
    flat=None,
  ):
    """Lays a shaded colour over a window; see `paint` and `tinted`.

    Args:
      base: float32 (3,) or (h, w, 3), the colour in full light.
      lit: float32 (h, w), Lambert term.
      grain: float32 (h, w) or None, added to all channels.
    """
    box = covered(alpha)
    if box is None:
      return
    lit = lit[box].astype(np.float32, copy=False)
    base = base[box] if base.ndim == 3 else base
    colour = tinted(base, lit, shadow=shadow, gloss=gloss)
    if grain is not None:
      colour += grain[box][..., None]
    window = (
      window[0] + box[1].start,
      window[1] + box[0].start,
      window[0] + box[1].stop,
      window[1] + box[0].stop,
    )
    self._lay(
      window,
      alpha[box],
      colour,
      label=label,
      flat=None if flat is None else flat[box],
    )

  def _lay(self, window, alpha, colour, *, label, flat):
    x0, y0, x1, y1 = window
    alpha = alpha.astype(np.float32, copy=False)
    part = self.rgb[y0:y1, x0:x1]
    change = colour - part
    change *= alpha[..., None]
    part += change
    if label is None:
      return
    solid = alpha > 0.5
    self.parse[y0:y1, x0:x1][solid] = label
    self.flat[y0:y1, x0:x1][solid] = np.nan if flat is None else flat[solid]

  def copy(self):
    """What `restore` brings back."""
    return self.rgb.copy(), self.parse.copy()

  def restore(self, before, where):
    """Takes back what was drawn since `before`, where the (h, w) bool says."""
    self.rgb[where], self.parse[where] = (part[where] for part in before)

  def darken(self, window, amount):
    """Multiplies a window by 1 - amount: a soft shadow. amount (h, w)."""
    x0, y0, x1, y1 = window
    # Shadows keep some warmth: blue and green fall a little faster.
    tint = np.array([0.88, 1.0, 1.0], np.float32)
    self.rgb[y0:y1, x0:x1] *= 1 - amount.astype(np.float32)[..., None] * tint


def covered(alpha):
  """The slices of the smallest box with all coverage; None if there is none."""
  rows = np.flatnonzero(alpha.any(1))
  if not rows.size:
    return None
  columns = np.flatnonzero(alpha.any(0))
  return np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def blank(height, width):
  """An empty canvas: white, label 0, no garment."""
  return Canvas(
    np.ones((height, width, 3), np.float32),
    np.zeros((height, width), np.uint8),
    np.full((height, width, 2), np.nan, np.float32),
  )


def clip_window(low, high, *, shape):
  """The whole-pixel window around a box, clipped; None if it is empty."""
  height, width = shape
  x0, y0 = np.maximum(np.floor(low).astype(int), 0)
  x1, y1 = np.minimum(np.ceil(high).astype(int) + 1, (width, height))
  return (int(x0), int(y0), int(x1), int(y1)) if x0 < x1 and y0 < y1 else None


def window_of(low, high, *, shape):
  """`clip_window` of a box that is known to reach into the image."""
  window = clip_window(low, high, shape=shape)
  assert window is not None, f'{low} to {high} is outside of {shape}'
  return window


def sample(image, positions_px, *, border=cv2.BORDER_CONSTANT):
  """The image at float32 positions (h, w, 2), bilinear."""
  # None: x and y are in one map. OpenCV's annotations miss that.
  return cv2.remap(
    image,
    positions_px,
    None,  # pyright: ignore[reportArgumentType, reportCallIssue]
    cv2.INTER_LINEAR,
    borderMode=border,
  )


def pixel_grid(window):
  """x (1, w) and y (h, 1) of the pixel centres of a window, float32."""
  x0, y0, x1, y1 = window
  x = np.arange(x0, x1, dtype=np.float32)[None, :]
  y = np.arange(y0, y1, dtype=np.float32)[:, None]
  return x, y


def smoothstep(low, high, value):
  """0 below `low`, 1 above `high`, smooth in between; low may exceed high."""
  part = np.clip((value - low) / (high - low), 0, 1)
  return part * part * (3 - 2 * part)


def spline(points, count, *, closed=False):
  """A smooth curve through points (centripetal enough for our spacing).

  Args:
    points: (n, 2) array.
    count: number of samples a span.
    closed: whether the last point joins the first.

  Returns:
    float64 (m, 2) samples of a cardinal spline through all points.
  """
  points = np.asarray(points, float)
  if closed:
    padded = np.concatenate([points[-1:], points, points[:2]])
  else:
    padded = np.concatenate(
      [
        2 * points[:1] - points[1:2],
        points,
        2 * points[-1:] - points[-2:-1],
      ]
    )
  part = (np.arange(count) / count)[:, None]
  p0, p1, p2, p3 = (padded[i : len(padded) - 3 + i, None] for i in range(4))
  m1, m2 = (p2 - p0) / 2, (p3 - p1) / 2
  curve = (
    (2 * part**3 - 3 * part**2 + 1) * p1
    + (part**3 - 2 * part**2 + part) * m1
    + (3 * part**2 - 2 * part**3) * p2
    + (part**3 - part**2) * m2
  ).reshape(-1, 2)
  return curve if closed else np.concatenate([curve, points[-1:]])


def polygon(points, window):
  """Coverage of a polygon: float32 (h, w) in 0..1 over the window."""
  x0, y0, x1, y1 = window
  mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
  fixed = np.round((np.asarray(points) - (x0, y0)) * 16).astype(np.int32)
  cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, 4)
  return mask.astype(np.float32) / 255


def stroke(points, window, *, width, closed=False):
  """Coverage of a line of the given width in pixels (below 1: fainter)."""
  x0, y0, x1, y1 = window
  mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
  fixed = np.round((np.asarray(points) - (x0, y0)) * 16).astype(np.int32)
  cv2.polylines(
    mask, [fixed], closed, 255, max(1, round(width)), cv2.LINE_AA, 4
  )
  return mask.astype(np.float32) * (min(1.0, width) / 255)


def hair_lines(image, paths, colour, *, width=1):
  """Draws thin smooth lines.

  Args:
    image: uint8 (h, w) or (h, w, c), drawn on.
    paths: (n, k, 2) pixels.
    colour: a number, or one for each channel, 0..255.
    width: whole pixels.
  """
  fixed = np.round(np.asarray(paths) * 16).astype(np.int32)
  cv2.polylines(image, list(fixed), False, colour, width, cv2.LINE_AA, 4)


@dataclasses.dataclass(frozen=True)
class Field:
  """Coordinates of the pixels near a centre line.

  Attributes:
    window: (x0, y0, x1, y1).
    along: float32 (h, w), arc length in pixels of the nearest centre point.
    across: float32 (h, w), signed distance; along a line that goes down the
      image it is positive on the right of the image. Huge where far away.
    normal: float32 (h, w, 2), unit vector in which `across` grows.
    length: arc length of the whole centre line.
  """

  window: tuple
  along: np.ndarray
  across: np.ndarray
  normal: np.ndarray
  length: float

  def coverage(self, radius):
    """Anti-aliased coverage of the limb with the given radius (h, w)."""
    return np.clip(radius - np.abs(self.across) + 0.5, 0, 1)

  def lit(self, radius, *, roundness=0.92):
    """Lambert term of a round limb, about 0..1; radius in pixels (h, w)."""
    part = np.clip(self.across / radius, -1, 1) * roundness
    facing = np.sqrt(1 - part * part)
    side = self.normal[..., 0] * LIGHT[0] + self.normal[..., 1] * LIGHT[1]
    return part * side + facing * LIGHT[2]


def _nearest_segments(rows, columns, *, shape, table):
  """Index of the nearest segment of each of the n given pixels.

  Cells of 4 x 4 pixels find theirs among all segments; their pixels then
  compare only that one and two neighbours on both sides. `table` has one row
  a segment: start x, y, direction x, y, length.
  """
  columns_of = np.ascontiguousarray(table.T)

  def distance(x, y, which):
    sx, sy, ux, uy, size = columns_of[:, which]
    dx, dy = x - sx, y - sy
    part = np.clip(dx * ux + dy * uy, 0, size)
    return (dx - part * ux) ** 2 + (dy - part * uy) ** 2

  count = len(table)
  if count * len(rows) < 40_000:
    x, y = columns.astype(np.float32), rows.astype(np.float32)
    return np.argmin(
      distance(x[:, None], y[:, None], np.arange(count)), axis=-1
    )
  y = np.arange(0, shape[0], 4, dtype=np.float32)[:, None, None] + 1.5
  x = np.arange(0, shape[1], 4, dtype=np.float32)[:, None] + 1.5
  cells = np.argmin(distance(x, y, np.arange(count)), axis=-1)
  guess = cells[rows // 4, columns // 4]
  x, y = columns.astype(np.float32), rows.astype(np.float32)
  best = guess
  least = distance(x, y, guess)
  for step in (-1, 1, -2, 2):
    other = np.clip(guess + step, 0, count - 1)
    value = distance(x, y, other)
    closer = value < least
    best = np.where(closer, other, best)
    least = np.where(closer, value, least)
  return best


def limb_field(centre, reach, *, shape):
  """Field around a centre line.

  Args:
    centre: (k, 2) points of a smooth line, k >= 2.
    reach: largest distance in pixels that matters.
    shape: (height, width) of the canvas.

  Returns:
    A Field, or None where nothing of it lies on the canvas.
  """
  centre = np.asarray(centre, float)
  window = clip_window(
    centre.min(0) - reach - 2, centre.max(0) + reach + 2, shape=shape
  )
  if window is None:
    return None
  x0, y0, x1, y1 = window
  near = np.zeros((y1 - y0, x1 - x0), np.uint8)
  cv2.polylines(
    near,
    [np.round(centre - (x0, y0)).astype(np.int32)],
    False,
    1,
    2 * int(np.ceil(reach)) + 5,
  )
  rows, columns = np.nonzero(near)
  start, step = centre[:-1] - (x0, y0), np.diff(centre, axis=0)
  length = np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-6)
  unit = step / length[:, None]
  table = np.column_stack([start, unit, length]).astype(np.float32)
  best = _nearest_segments(rows, columns, shape=near.shape, table=table)
  sx, sy, ux, uy, size = np.ascontiguousarray(table.T)[:, best]
  dx, dy = columns.astype(np.float32) - sx, rows.astype(np.float32) - sy
  part = np.clip(dx * ux + dy * uy, 0, size)
  distance = np.hypot(dx - part * ux, dy - part * uy)
  # Normals are blended along the line, else each segment would show.
  vertex = np.concatenate([unit[:1], unit[:-1] + unit[1:], unit[-1:]])
  vertex /= np.maximum(np.linalg.norm(vertex, axis=1, keepdims=True), 1e-6)
  vertex = vertex.astype(np.float32)
  mix = part / size
  tx = vertex[best, 0] * (1 - mix) + vertex[best + 1, 0] * mix
  ty = vertex[best, 1] * (1 - mix) + vertex[best + 1, 1] * mix
  along = np.zeros(near.shape, np.float32)
  across = np.full(near.shape, 1e6, np.float32)
  normal = np.zeros((*near.shape, 2), np.float32)
  offset = np.concatenate([[0], np.cumsum(length)]).astype(np.float32)
  along[rows, columns] = offset[best] + part
  across[rows, columns] = np.copysign(distance, uy * dx - ux * dy)
  normal[rows, columns, 0] = ty
  normal[rows, columns, 1] = -tx
  return Field(window, along, across, normal, float(offset[-1]))


def coarse_field(centre, reach, *, shape):
  """`limb_field` from half the resolution: a quarter of the time.

  Its error is far below a pixel, but for lines that turn within a few.
  """
  height, width = shape
  field = limb_field(
    (np.asarray(centre, float) - 0.5) / 2,
    reach / 2 + 1,
    shape=((height + 1) // 2, (width + 1) // 2),
  )
  if field is None:
    return None
  x0, y0, x1, y1 = field.window
  window = (2 * x0, 2 * y0, min(2 * x1, width), min(2 * y1, height))
  size = (2 * (x1 - x0), 2 * (y1 - y0))
  box = np.s_[: window[3] - window[1], : window[2] - window[0]]
  packed = np.dstack([2 * field.along, 2 * field.across, field.normal])
  packed = cv2.resize(packed, size)[box]
  along, across = (np.ascontiguousarray(packed[..., k]) for k in (0, 1))
  return Field(window, along, across, packed[..., 2:], 2 * field.length)


def limb_line(points, *, unit, bend=0.26):
  """A smooth centre line through the joints of a limb.

  Args:
    points: (n, 2) joints in pixels.
    unit: pixels of a head.
    bend: how far from a joint, in heads, its rounding begins.

  Returns:
    centre (k, 2) and the arc length in pixels at each joint (n,).
  """
  pieces, marks = [points[:1]], [0]
  count = 1
  for before, joint, after in zip(
    points[:-2], points[1:-1], points[2:], strict=True
  ):
    to_before, to_after = before - joint, after - joint
    size = [np.hypot(*to_before), np.hypot(*to_after)]
    reach = min(bend * unit, 0.45 * min(size))
    a = joint + to_before / size[0] * reach
    b = joint + to_after / size[1] * reach
    part = np.linspace(0, 1, 7)[:, None]
    pieces.append(
      (1 - part) ** 2 * a + 2 * part * (1 - part) * joint + part**2 * b
    )
    marks.append(count + 3)
    count += 7
  pieces.append(points[-1:])
  marks.append(count)
  centre = np.concatenate(pieces)
  steps = np.hypot(*np.diff(centre, axis=0).T)
  arc = np.concatenate([[0], np.cumsum(steps)])
  return centre, arc[marks]


def noise(rng, shape, *, cells):
  """Smooth noise of about -1..1: (h, w) float32, `cells` = (rows, columns)."""
  grid = rng.uniform(-1, 1, (cells[0] + 3, cells[1] + 3)).astype(np.float32)
  return cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)


def noise_line(rng, value, *, scale):
  """Smooth 1-D noise of about -1..1 at any array of values."""
  grid = rng.uniform(-1, 1, 256).astype(np.float32)
  at = np.asarray(value, np.float32) * scale
  low = np.floor(at)
  part = at - low
  part = part * part * (3 - 2 * part)
  index = low.astype(np.int32) & 255
  return grid[index] * (1 - part) + grid[(index + 1) & 255] * part


def grain(rng, shape):
  """Fine grain of cloth, unit deviation: (h, w) float32, in a hidden repeat."""
  tile = rng.standard_normal((101, 101), np.float32)
  repeats = [-(-size // 101) for size in shape]
  return np.tile(tile, repeats)[: shape[0], : shape[1]]


def blur(image, sigma):
  """Gaussian blur; sigma in pixels."""
  return cv2.GaussianBlur(image, (0, 0), max(float(sigma), 0.3))


def tinted(base, lit, *, shadow=(0.70, 0.66, 0.70), gloss=0.08):
  """Shades a colour.

  Args:
    base: float32 (..., 3) colour.
    lit: float32 (h, w), Lambert term; 0.78 is seen as the colour itself.
    shadow: factors on the colour where no light falls.
    gloss: how much the brightest places move to white.

  Returns:
    float32 (h, w, 3).
  """
  lit = np.asarray(lit, np.float32)
  shadow = np.asarray(shadow, np.float32)
  level = np.clip(lit * np.float32(1.25), 0, 1)[..., None]
  colour = level * (1 - shadow)
  colour += shadow
  colour *= np.asarray(base, np.float32)
  if gloss:
    shine = np.clip(lit * np.float32(3.6) - np.float32(2.6), 0, 1)
    shine *= shine
    shine *= np.float32(gloss)
    colour += shine[..., None] * (1 - colour)
  return colour


def to_uint8(image):
  """float 0..1 to uint8, rounded."""
  return cv2.convertScaleAbs(np.clip(image, 0, 1), alpha=255)
