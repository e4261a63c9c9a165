"""What is seen at each pixel before light falls on it, and the light.

The painters of this style paint no colours of light and shade: they lay down
the colour of a material, the direction that its surface faces, and how open it
lies to the light. One light then shades all of it, so that face, arms, cloth
and trousers agree, whatever side it comes from.
"""

import dataclasses

import cv2
import numpy as np

from input_pipeline.synthetic import drawing

# Channels of `Surface.layers`.
_OPEN, _COVER = 5, 7
_IS_SKIN = np.isin(np.arange(256), (10, 13, 14, 15, 16, 17)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Light:
  """One soft lamp or window, and the light of the surroundings.

  Attributes:
    direction: (3,) float32 unit vector to the lamp: right, down, to the viewer.
    key: (3,) float32, the lamp's colour and strength.
    ambient: (3,) float32, the surroundings'.
    wrap: how far around a body the lamp reaches, 0 a point to 0.5 a window.
  """

  direction: np.ndarray
  key: np.ndarray
  ambient: np.ndarray
  wrap: float

  @property
  def away(self) -> np.ndarray:
    """(2,) where shadows fall, in heads for what stands out by one head."""
    away = -self.direction[:2] / max(float(self.direction[2]), 0.45)
    return away / max(1.0, float(np.hypot(*away)))


class Surface(drawing.Canvas):
  """A canvas of materials; `flat` and `parse` as of any canvas.

  Attributes:
    layers: float32 (8, h, w): red, green, blue, normal x and y, openness to the
      light, gloss, all times coverage, and coverage.
    light: the Light; shadows fall as it says.
    unit: pixels of a head.
  """

  def __init__(self, height: int, width: int, *, light: Light, unit: float):
    blank = drawing.blank(height, width)
    self.layers = np.zeros((8, height, width), np.float32)
    colours = self.layers[:3].transpose(1, 2, 0)
    super().__init__(colours, blank.parse, blank.flat)
    self.light, self.unit = light, unit

  def lay(
    self,
    window,
    alpha,
    *,
    colour,
    normal,
    label,
    gloss=0.0,
    openness=1.0,
    flat=None,
  ):
    """Lays a material over a window.

    Args:
      window: (x0, y0, x1, y1), inside the canvas.
      alpha: float32 (h, w), coverage in 0..1.
      colour: float32 (3,) or (h, w, 3).
      normal: float32 (h, w, 2), x and y of the unit vector that it faces.
      label: LIP-20 label; None keeps the one below, with its garment.
      gloss: strength of highlights, (h, w) or a number.
      openness: share of the light that reaches it, (h, w) or a number.
      flat: float32 (h, w, 2) garment coordinates, or None.
    """
    box = drawing.covered(alpha)
    if box is None:
      return

    def cut(value):
      return value[box] if np.ndim(value) > 1 else value

    part = np.s_[
      window[1] + box[0].start : window[1] + box[0].stop,
      window[0] + box[1].start : window[0] + box[1].stop,
    ]
    alpha = alpha[box].astype(np.float32, copy=False)
    colour, normal = cut(np.asarray(colour, np.float32)), cut(normal)
    red, green, blue = (colour[..., k] for k in range(3))
    nx, ny = normal[..., 0], normal[..., 1]
    new = (red, green, blue, nx, ny, cut(openness), cut(gloss), 1)
    for layer, value in zip(self.layers, new, strict=True):
      below = layer[part]
      below += alpha * (value - below)
    if label is None:
      return
    solid = alpha > 0.5
    np.copyto(self.parse[part], label, where=solid, casting='unsafe')
    cloth = np.float32(np.nan) if flat is None else flat[box]
    np.copyto(self.flat[part], cloth, where=solid[..., None])

  def paint(self, window, alpha, *, colour, label, flat=None):
    """Colours what is there, which keeps its form; see `Canvas.paint`."""
    super().paint(window, alpha, colour=colour, label=label, flat=flat)
    x0, y0, x1, y1 = window
    cover = self.layers[_COVER, y0:y1, x0:x1]
    bare = cover < alpha
    self.layers[_OPEN, y0:y1, x0:x1][bare] = alpha[bare]
    cover[bare] = alpha[bare]

  def darken(self, window, amount):
    """Takes light away from a window: amount (h, w) in 0..1."""
    x0, y0, x1, y1 = window
    self.layers[_OPEN, y0:y1, x0:x1] *= 1 - amount.astype(np.float32)

  def cast(self, window, alpha, *, height, depth=0.5, where=None):
    """Shades what lies behind something that is drawn next.

    Args:
      window: (x0, y0, x1, y1).
      alpha: float32 (h, w), coverage of what throws the shadow.
      height: heads by which it stands out.
      depth: share of the light that it takes.
      where: (h, w) bool or None, what can be shaded.
    """
    if min(alpha.shape) < 4:
      return
    # Half the resolution is plenty for something so soft.
    small = cv2.resize(
      alpha, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA
    )
    reach = height * self.unit / 2
    move = self.light.away * reach
    soft = drawing.blur(small, (0.25 + self.light.wrap) * reach + 0.5)
    shift = np.array([[1, 0, move[0]], [0, 1, move[1]]], np.float32)
    size = small.shape[::-1]
    shade = cv2.warpAffine(soft, shift, size)
    # All around lies what the surroundings' light does not reach.
    shade = 0.75 * shade + 0.25 * soft
    shade = depth * cv2.resize(shade, alpha.shape[::-1])
    self.darken(window, shade if where is None else shade * where)

  def copy(self):
    return self.layers.copy(), self.parse.copy(), self.flat.copy()

  def restore(self, before, where):
    self.layers[:, where] = before[0][:, where]
    self.parse[where] = before[1][where]
    self.flat[where] = before[2][where]

  def lit(self, background) -> np.ndarray:
    """Shades everything and lays it before a background.

    Args:
      background: float32 (h, w, 3).

    Returns:
      float32 (h, w, 3), 0..1.
    """
    image = background.copy()
    box = drawing.covered(self.layers[_COVER])
    if box is None:
      return image
    red, green, blue, nx, ny, openness, gloss, cover = (
      layer[box] for layer in self.layers
    )
    light, wrap = self.light, np.float32(self.light.wrap)
    lx, ly, lz = light.direction
    nz = np.sqrt(np.maximum(1 - nx * nx - ny * ny, np.float32(0.02)))
    facing = nx * lx
    facing += ny * ly
    facing += nz * lz
    openness = openness / np.maximum(cover, np.float32(1e-3))
    direct = np.clip((facing + wrap) * (1 / (1 + wrap)), 0, 1)
    direct *= openness
    # More comes from the sky and the ceiling than from the floor.
    around = np.float32(0.72) - np.float32(0.28) * ny
    around *= np.float32(0.35) + np.float32(0.65) * openness
    half = light.direction + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    shine = nx * half[0]
    shine += ny * half[1]
    shine += nz * half[2]
    np.maximum(shine, 0, out=shine)
    for _ in range(4):
      shine *= shine
    shine *= gloss
    shine *= openness
    # Light enters skin and comes out red beside where it fell.
    bleed = np.exp(-12 * facing * facing)
    bleed *= np.float32(0.09) * _IS_SKIN[self.parse[box]]
    part = image[box]
    clear = 1 - cover
    for k, colour in enumerate((red, green, blue)):
      level = direct * light.key[k]
      level += around * light.ambient[k]
      if k == 0:
        level += bleed
      # Colours are times coverage, and so is the root of their square.
      level *= colour
      level *= colour
      level += shine * light.key[k]
      # The upper end is compressed, as by a camera.
      level = np.minimum(
        level, 1 - np.float32(0.09) / np.maximum(level - 0.4, np.float32(0.3))
      )
      np.sqrt(np.maximum(level, 0), out=level)
      level += part[..., k] * clear
      part[..., k] = level
    return image


def slopes(height: np.ndarray) -> np.ndarray:
  """x and y of the normal of a relief: (h, w) pixels -> float32 (h, w, 2)."""
  return np.dstack(
    [
      cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=-0.125),
      cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=-0.125),
    ]
  )


def unit_normal(normal: np.ndarray) -> np.ndarray:
  """Shortens x, y (h, w, 2) of normals to at most 0.97."""
  x, y = normal[..., 0], normal[..., 1]
  square = np.maximum(x * x + y * y, np.float32(0.94))
  return normal * (np.float32(0.97) / np.sqrt(square))[..., None]


def make_light(rng: np.random.Generator) -> Light:
  """Any lamp: from the side, above or the front, hard or soft, warm or cold."""
  side = rng.uniform(-1, 1)
  side = np.sign(side) * abs(side) ** 0.7
  direction = np.array(
    [0.85 * side, -rng.uniform(0.1, 0.75), rng.uniform(0.45, 1.0)], np.float32
  )
  direction /= np.linalg.norm(direction)
  wrap = rng.uniform(0.05, 0.5)
  share = rng.uniform(0.2, 0.44)  # Of the light that comes from all around.
  warm = rng.normal(0, 0.04)
  tint = np.array([1 + warm, 1.0, 1 - warm], np.float32)
  exposure = rng.uniform(0.86, 1.06)
  # A surface that faces half way to the lamp is seen as its own colour.
  middle = np.sqrt((1 + direction[2]) / 2)
  key = exposure * (1 - share) / ((middle + wrap) / (1 + wrap))
  ambient = exposure * share / 0.75
  return Light(
    direction=direction,
    key=(key * tint).astype(np.float32),
    ambient=(ambient / tint).astype(np.float32),
    wrap=float(wrap),
  )


def photograph(
  image: np.ndarray, rng: np.random.Generator, *, sharp: float
) -> np.ndarray:
  """What lens and sensor make of it: float32 (h, w, 3) -> uint8.

  Args:
    image: 0..1.
    rng: decides on contrast, blur and noise.
    sharp: pixels of the image for one of a picture of 512 rows.
  """
  h, w = image.shape[:2]
  image = drawing.blur(image, sharp * rng.uniform(0.35, 0.95))
  y = np.linspace(-1, 1, h, dtype=np.float32)[:, None]
  x = np.linspace(-1, 1, w, dtype=np.float32)
  gain = 1 - np.float32(rng.uniform(0, 0.14)) * (0.6 * x * x + 0.4 * y * y)
  low = rng.uniform(-0.03, 0.035)
  contrast = rng.uniform(0.94, 1.06)
  noise = rng.uniform(0.002, 0.011)
  # Sensors are finer than pixels in brightness and coarser in colour.
  grain = rng.standard_normal((128, 128, 3), np.float32)
  grain = 0.6 * drawing.blur(grain, 0.7) + rng.standard_normal(
    (128, 128, 1), np.float32
  )
  grain = grain * np.float32(noise) + np.float32(low)
  grain = np.tile(grain, (-(-h // 128), -(-w // 128), 1))
  image *= (np.float32(contrast) * gain)[..., None]
  image += grain[:h, :w]
  return drawing.to_uint8(image)
