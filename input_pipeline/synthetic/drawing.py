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
    part = np.s_[y0:y1, x0:x1]
    np.copyto(self.parse[part], label, where=solid, casting='unsafe')
    cloth = np.float32(np.nan) if flat is None else flat
    np.copyto(self.flat[part], cloth, where=solid[..., None])

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
