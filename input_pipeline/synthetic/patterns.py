"""Cloth: solid, stripes, checks, dots, gradient, a logo or lettering.

A cloth's colour is a function of a position in heads on the cloth, so it can
be drawn at any size; edges are softened over one texel.
"""

import dataclasses

import cv2
import numpy as np

from input_pipeline.synthetic import drawing

KINDS = (
  'solid',
  'solid',
  'stripes',
  'stripes',
  'checks',
  'dots',
  'gradient',
  'logo',
  'logo',
  'lettering',
  'lettering',
)
LOGOS = ('sun', 'heart', 'star', 'hills', 'rings', 'leaf')
WORDS = (
  'PARIS',
  'HELLO',
  'NORTH',
  'SUNDAY',
  'OCEAN',
  'BLOOM',
  'STUDIO',
  'ROMA',
  '1987',
  'TOKYO',
  'AVEC',
  'SOLEIL',
)
# Each row: the cloth, and two colours that go with it.
PALETTES = (
  np.array(
    [
      [[245, 243, 238], [34, 48, 78], [196, 72, 66]],
      [[240, 236, 226], [44, 44, 48], [214, 168, 92]],
      [[38, 48, 74], [238, 236, 230], [222, 140, 96]],
      [[40, 40, 44], [236, 234, 230], [206, 84, 74]],
      [[192, 70, 66], [246, 240, 230], [52, 50, 66]],
      [[224, 150, 142], [250, 244, 238], [130, 62, 72]],
      [[240, 202, 190], [166, 86, 92], [252, 248, 244]],
      [[226, 182, 92], [252, 248, 238], [72, 70, 82]],
      [[116, 142, 120], [244, 240, 228], [46, 66, 58]],
      [[52, 92, 88], [236, 224, 200], [226, 150, 110]],
      [[120, 162, 190], [250, 250, 248], [40, 66, 102]],
      [[172, 198, 212], [58, 84, 118], [252, 250, 246]],
      [[176, 160, 196], [250, 246, 250], [82, 66, 112]],
      [[112, 56, 76], [240, 222, 214], [214, 160, 116]],
      [[206, 190, 166], [96, 74, 60], [250, 246, 238]],
      [[150, 152, 156], [246, 246, 246], [44, 48, 56]],
      [[86, 106, 158], [244, 242, 236], [240, 190, 120]],
      [[226, 128, 88], [252, 244, 230], [60, 76, 92]],
    ],
    np.float32,
  )
  / 255
)


@dataclasses.dataclass(frozen=True)
class Cloth:
  """A cloth; lengths in heads, colours float32 RGB 0..1.

  Attributes:
    art: None, or what the kinds 'tile' (all over) and 'print' (on the chest)
      show: float32 (n, n, 4), colour and coverage.
    weave: 'jersey', 'rib', 'knit', 'twill', 'linen' or 'plain'.
  """

  kind: str
  colours: np.ndarray
  trim: np.ndarray
  trimmed: bool
  period: float
  share: float
  variant: int
  logo: str
  word: str
  seed: int
  art: np.ndarray | None = None
  weave: str = 'plain'


def make_cloth(rng):
  """Draws a cloth from a random generator."""
  colours = PALETTES[int(rng.integers(len(PALETTES)))].copy()
  if rng.random() < 0.5:
    colours[[1, 2]] = colours[[2, 1]]
  colours = np.clip(colours + rng.uniform(-0.025, 0.025, 3), 0.03, 0.965)
  colours = colours.astype(np.float32)
  trimmed = bool(rng.random() < 0.22)
  return Cloth(
    kind=str(rng.choice(KINDS)),
    colours=colours,
    trim=colours[1] if trimmed else colours[0] * np.float32(0.95),
    trimmed=trimmed,
    period=float(rng.uniform(0.12, 0.30)),
    share=float(rng.uniform(0.3, 0.6)),
    variant=int(rng.integers(4)),
    logo=str(rng.choice(LOGOS)),
    word=str(rng.choice(WORDS)),
    seed=int(rng.integers(2**31)),
  )


def _bars(value, *, share, texel):
  """Soft-edged stripes of period 1: coverage of the second colour."""
  part = np.abs(value - np.round(value))  # 0 in the middle of a stripe
  return np.clip((share / 2 - part) / texel + 0.5, 0, 1)


def cloth_colour(cloth, across, *, depth, texel, motif=True):
  """Colours of the cloth.

  Args:
    cloth: a Cloth.
    across, depth: (h, w) positions in heads; for the torso, beside the middle
      and below the pit of the neck.
    texel: heads per pixel, the softness of edges.
    motif: whether a logo or lettering is printed (not on sleeves).

  Returns:
    float32 (h, w, 3).
  """
  base, second, third = cloth.colours
  period = cloth.period
  image = np.empty((*across.shape, 3), np.float32)
  image[:] = base

  def lay(colour, cover):
    image[...] += cover[..., None].astype(np.float32) * (colour - image)

  if cloth.kind == 'stripes':
    edge = texel / period
    value = (across if cloth.variant == 3 else depth) / period
    lay(second, _bars(value, share=cloth.share, texel=edge))
    if cloth.variant == 1:
      lay(third, _bars(value + 0.5, share=0.12, texel=edge))
  elif cloth.kind == 'checks':
    edge = texel / period
    rows = _bars(depth / period, share=0.5, texel=edge)
    columns = _bars(across / period, share=0.5, texel=edge)
    lay(second, 0.45 * rows)
    lay(second, 0.45 * columns)
    if cloth.variant % 2:
      for value in (depth / period, across / period):
        lay(third, 0.7 * _bars(value + 0.5, share=0.08, texel=edge))
  elif cloth.kind == 'dots':
    step = 0.6 * period + 0.05
    row = np.round(depth / step)
    dy = depth - row * step
    shift = 0.5 * (row % 2)
    dx = across - (np.round(across / step - shift) + shift) * step
    radius = step * (0.16 + 0.22 * cloth.share)
    lay(second, np.clip((radius - np.hypot(dx, dy)) / texel + 0.5, 0, 1))
  elif cloth.kind == 'gradient':
    lay(second, 0.9 * drawing.smoothstep(0.3, 2.3, depth))
  elif cloth.kind == 'logo' and motif:
    _print(
      image,
      across,
      depth=depth - 0.95,
      art=_logo(cloth),
      colours=(second, third),
      size=0.62,
    )
  elif cloth.kind == 'lettering' and motif:
    _print(
      image,
      across,
      depth=depth - 0.86,
      art=_lettering(cloth),
      colours=(second, third),
      size=0.82,
    )
  elif cloth.kind == 'tile':
    _tile(image, across, depth=depth, art=cloth.art, size=3 * period)
  elif cloth.kind == 'print' and motif:
    size = 0.5 + 0.5 * cloth.share
    _picture(image, across, depth=depth - 0.92, art=cloth.art, size=size)
  if cloth.weave != 'plain':
    image *= 1 + _woven(cloth.weave, across, depth, texel=texel)[..., None]
  weave = drawing.grain(np.random.default_rng(cloth.seed), across.shape)
  image += np.float32(0.006) * weave[..., None]
  return image


def _tile(image, across, *, depth, art, size):
  """Covers an image with repeats of art, `size` heads wide, in place."""
  count = art.shape[0]
  at = np.dstack([across / size, depth / size]) * count
  step = abs(float(at[0, 1, 0] - at[0, 0, 0]))
  edge = 12
  soft = np.pad(art, ((edge, edge), (edge, edge), (0, 0)), mode='wrap')
  soft = drawing.blur(soft, min(0.45 * step, 3.0))[edge:-edge, edge:-edge]
  at = at.astype(np.float32)
  found = drawing.sample(np.ascontiguousarray(soft), at, border=cv2.BORDER_WRAP)
  image += found[..., 3:] * (found[..., :3] - image)


def _picture(image, across, *, depth, art, size):
  """Prints art at the origin, `size` heads wide, in place."""
  count = art.shape[0]
  at = (np.dstack([across, depth]) / size + 0.5) * count - 0.5
  at = at.astype(np.float32)
  step = abs(float(at[0, 1, 0] - at[0, 0, 0]))
  found = drawing.sample(drawing.blur(art, 0.45 * step), at)
  image += 0.94 * found[..., 3:] * (found[..., :3] - image)


def _woven(kind, across, depth, *, texel):
  """Brightness about 0 that a weave adds: (h, w) float32; lengths in heads."""
  wave = 2 * np.pi
  if kind == 'rib':
    value = 0.10 * np.abs(np.sin(wave * 0.5 * across / 0.045)) - 0.06
  elif kind == 'knit':
    # Stitches are rows of small V.
    column = np.abs(across / 0.06 % 1 - 0.5)
    value = 0.07 * np.sin(wave * (depth / 0.045 + 1.6 * column))
    value = value - 0.10 * np.exp(-((column / 0.12) ** 2))
  elif kind == 'twill':
    value = 0.035 * np.sin(wave * (across + 0.8 * depth) / 0.035)
  elif kind == 'linen':
    rng = np.random.default_rng(7)
    value = 0.05 * drawing.noise_line(rng, depth + 0.003 * across, scale=60)
    value = value + 0.05 * drawing.noise_line(rng, across, scale=60)
  else:
    value = 0.018 * np.sin(wave * across / 0.028)
  # What is finer than the pixels is left out.
  return (value * min(1.0, 0.012 / texel)).astype(np.float32)


def _print(image, across, *, depth, art, colours, size):
  """Prints art (two layers of coverage, 256 x 256) at the origin, in place."""
  x = ((across / size + 0.5) * 256 - 0.5).astype(np.float32)
  y = ((depth / size + 0.5) * 256 - 0.5).astype(np.float32)
  rows = np.flatnonzero((y[:, 0] > -2) & (y[:, 0] < 258))
  columns = np.flatnonzero((x[0] > -2) & (x[0] < 258))
  if not rows.size or not columns.size:
    return
  box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
  # The art is blurred to the texel first, else small letters would flicker.
  step = float(x[0, 1] - x[0, 0])
  for layer, colour in zip(art, colours, strict=True):
    soft = drawing.blur(layer, 0.45 * step)
    cover = cv2.remap(
      soft,
      np.ascontiguousarray(x[box]),
      np.ascontiguousarray(y[box]),
      cv2.INTER_LINEAR,
    )
    image[box] += 0.94 * cover[..., None] * (colour - image[box])


def _lettering(cloth):
  """A word, perhaps underlined: two layers (256, 256) in 0..1."""
  first = np.zeros((256, 256), np.uint8)
  second = np.zeros((256, 256), np.uint8)
  font = (
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_SIMPLEX,
  )[cloth.variant]
  thick = (10, 7, 7, 14)[cloth.variant]
  (wide, tall), _ = cv2.getTextSize(cloth.word, font, 3.0, thick)
  scale = 3.0 * min(236 / wide, 110 / tall)
  thick = max(2, round(thick * scale / 3.0))
  (wide, tall), _ = cv2.getTextSize(cloth.word, font, scale, thick)
  at = (round((256 - wide) / 2), round((256 + tall) / 2))
  cv2.putText(first, cloth.word, at, font, scale, 255, thick, cv2.LINE_AA)
  if cloth.share > 0.45:
    y = at[1] + 22
    cv2.line(second, (38, y), (218, y), 255, 6, cv2.LINE_AA)
    y = at[1] - tall - 22
    cv2.line(second, (38, y), (218, y), 255, 6, cv2.LINE_AA)
  return first.astype(np.float32) / 255, second.astype(np.float32) / 255


def _logo(cloth):
  """A simple emblem: two layers (256, 256) in 0..1."""
  window = (0, 0, 256, 256)
  turn = np.linspace(0, 2 * np.pi, 73)[:-1]
  ring = np.column_stack([np.sin(turn), -np.cos(turn)])
  middle = np.array([128.0, 128.0])
  empty = np.zeros((256, 256), np.float32)
  if cloth.logo == 'sun':
    rays = empty.copy()
    for angle in np.arange(12) * np.pi / 6:
      ahead = np.array([np.sin(angle), -np.cos(angle)])
      rays = np.maximum(
        rays,
        drawing.stroke(
          np.array([middle + 78 * ahead, middle + 112 * ahead]),
          window,
          width=11,
        ),
      )
    return drawing.polygon(middle + 60 * ring, window), rays
  if cloth.logo == 'heart':
    x = 16 * np.sin(turn) ** 3
    y = (
      13 * np.cos(turn)
      - 5 * np.cos(2 * turn)
      - 2 * np.cos(3 * turn)
      - np.cos(4 * turn)
    )
    shape = np.column_stack([x, -y])
    return (
      drawing.polygon(middle + 6.4 * shape, window),
      drawing.polygon(middle + 3.4 * shape, window),
    )
  if cloth.logo == 'star':
    angle = np.arange(10) * np.pi / 5
    size = np.where(np.arange(10) % 2, 46, 112)[:, None]
    star = middle + size * np.column_stack([np.sin(angle), -np.cos(angle)])
    return drawing.polygon(star, window), empty
  if cloth.logo == 'hills':
    disc = drawing.polygon(middle + 112 * ring, window)
    hills = np.array([[0, 236], [84, 112], [122, 168], [168, 92], [256, 236]])
    return disc, drawing.polygon(hills, window) * disc
  if cloth.logo == 'rings':
    layers = [
      drawing.stroke(at + 62 * ring, window, width=15, closed=True)
      for at in (middle - (44, 0), middle + (44, 0))
    ]
    return layers[0], layers[1]
  leaf = drawing.spline(
    [[128, 18], [200, 92], [176, 190], [128, 226], [80, 190], [56, 92]],
    12,
    closed=True,
  )
  vein = drawing.stroke(np.array([[128, 60], [128, 250]]), window, width=8)
  for y in (110, 150, 190):
    for x in (-34, 34):
      vein = np.maximum(
        vein,
        drawing.stroke(
          np.array([[128, y], [128 + x, y - 30]]), window, width=6
        ),
      )
  return drawing.polygon(leaf, window), vein
