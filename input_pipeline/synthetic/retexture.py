"""Gives the pieces of a drawn picture random colours, cloths and light.

A network that has seen only drawings learns their few colours and plain walls
by heart. Where every piece and the background take any colour or pattern, it
has to go by shapes, edges and joints, and knows photos too (domain
randomisation).

References:
  Tobin et al., Domain randomization, IROS 2017.
"""

import math

import cv2
import numpy as np

from input_pipeline.synthetic import drawing
from input_pipeline.synthetic.people import HAIRS, SKINS

_HAIR_PIECES, _SKIN_PIECES = (2,), (10, 13, 14, 15, 16, 17)
_BEARD = 22
# What clothes often are: black, white, greys, navy, denim, beige, red, green.
_CLOTHS = (
  np.array(
    [
      [18, 18, 20],
      [245, 245, 242],
      [120, 122, 125],
      [190, 190, 188],
      [28, 34, 58],
      [84, 106, 142],
      [196, 178, 150],
      [160, 40, 44],
      [52, 74, 56],
      [90, 62, 48],
    ],
    np.float32,
  )
  / 255
)


def retexture(
  rgb: np.ndarray, pieces: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
  """Colours a drawn picture anew.

  Args:
    rgb: (h, w, 3) uint8, the drawing, for its shading.
    pieces: (h, w) uint8, which piece each pixel belongs to; 0: background.
    rng: decides everything.

  Returns:
    (h, w, 3) float32 in [0, 1].
  """
  drawn = rgb.astype(np.float32) / 255
  picture = background(pieces.shape, rng)
  skin = _skin_tone(rng)
  hair = _hair_tone(rng)
  used = [picture.mean(axis=(0, 1)), skin, hair]
  for piece in np.unique(pieces):
    if piece == 0:
      continue
    where = pieces == piece
    pixels = drawn[where]
    middle = np.median(pixels, axis=0)
    # What the drawing has of light, folds, seams, eyes and lips.
    relief = ((pixels + 0.06) / (middle + 0.06)).clip(0.35, 1.8)
    relief = relief ** rng.uniform(0.4, 1.3)
    if piece in _SKIN_PIECES:
      tone = skin * rng.uniform(0.93, 1.07)
      if rng.random() < 0.1:  # Tights, make-up, a shadow.
        tone = tone * rng.uniform(0.6, 1.1, 3)
      base = np.broadcast_to(tone, pixels.shape)
    elif piece in (*_HAIR_PIECES, _BEARD):
      base = np.broadcast_to(hair * rng.uniform(0.85, 1.1), pixels.shape)
    elif rng.random() < 0.1:
      base = pixels / relief
    else:
      rows, columns = (np.flatnonzero(where.any(axis=k)) for k in (1, 0))
      box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
      base = texture(where[box].shape, rng, used)[where[box]]
      used.append(base.mean(axis=0))
    picture[where] = base * relief
  if rng.random() < 0.3:
    _cast_shadow(picture, pieces > 0, rng)
  return picture.clip(0, 1).astype(np.float32)


def texture(
  shape: tuple[int, int], rng: np.random.Generator, used: list[np.ndarray]
) -> np.ndarray:
  """A cloth of any kind: (h, w, 3) float32.

  Args:
    shape: (h, w).
    rng: decides everything.
    used: colours of other pieces; now and then this one has nearly the same.
  """
  first, second = colour(rng, used), colour(rng, used)
  kind = rng.random()
  if kind < 0.45:
    share = np.zeros(shape, np.float32)
  elif kind < 0.62:
    share = _clouds(shape, rng)
  elif kind < 0.86:
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    angle = float(rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)]))
    rate = 2 * math.pi / math.exp(rng.uniform(math.log(4), math.log(50)))
    wide = rng.uniform(-0.6, 0.6)
    bend = rng.uniform(0, 3) * np.sin(x / 25 + y / 31)
    cos, sin = rate * math.cos(angle), rate * math.sin(angle)
    along = x * cos + y * sin + rate * bend
    across = y * cos - x * sin
    waves = np.sin(along)
    if kind > 0.78:  # Checks or dots.
      other = np.sin(across)
      waves = waves * other if rng.random() < 0.6 else np.maximum(waves, other)
    share = (4 * (waves - wide) + 0.5).clip(0, 1)
  elif kind < 0.94:
    y = np.linspace(0, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(0, 1, shape[1], dtype=np.float32)
    turn = rng.uniform(0, 2 * np.pi)
    slope = (x - 0.5) * math.cos(turn) + (y - 0.5) * math.sin(turn)
    share = (0.5 + slope).clip(0, 1)
  else:  # Prints in several colours.
    cells = rng.integers(6, 40)
    grid = rng.uniform(0, 1, (cells, cells * 3 // 4, 3)).astype(np.float32)
    how = cv2.INTER_NEAREST if rng.random() < 0.4 else cv2.INTER_CUBIC
    return cv2.resize(grid, shape[::-1], interpolation=how)
  cloth = first + share[..., None] * (second - first)
  weave = rng.uniform(0, 0.06) * drawing.grain(rng, shape)
  return cloth + weave[..., None]


def colour(rng: np.random.Generator, used: list[np.ndarray]) -> np.ndarray:
  """(3,) float32: any colour, a usual one, or nearly one of `used`."""
  kind = rng.random()
  if kind < 0.22 and used:
    near = used[int(rng.integers(len(used)))]
    tone = near * rng.uniform(0.85, 1.15) + rng.normal(0, 0.03, 3)
  elif kind < 0.6:
    tone = _CLOTHS[int(rng.integers(len(_CLOTHS)))] + rng.normal(0, 0.04, 3)
  else:
    tone = rng.uniform(0, 1, 3)
    tone = tone.mean() + (tone - tone.mean()) * rng.uniform(0.2, 1)
  return np.clip(tone, 0.01, 1).astype(np.float32)


def background(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
  """A studio's paper, a wall, or clutter out of focus: (h, w, 3) float32."""
  kind = rng.random()
  if kind < 0.35:
    tone = (rng.uniform(0.75, 1.0) + rng.normal(0, 0.015, 3)).astype(np.float32)
    uneven = rng.uniform(0, 0.08) * drawing.noise(rng, shape, cells=(2, 2))
    return (tone + uneven[..., None]).astype(np.float32)
  if kind < 0.5:
    return texture(shape, rng, [])
  clouds = _clouds(shape, rng)[..., None]
  first, second = colour(rng, []), colour(rng, [])
  picture = np.ascontiguousarray(first + clouds * (second - first))
  for _ in range(int(rng.integers(2, 28))):
    tone = tuple(float(x) for x in colour(rng, []))
    at = rng.uniform(-0.1, 1.1, 2) * shape[::-1]
    size = np.exp(rng.uniform(np.log(4), np.log(120), 2))
    form = rng.random()
    if form < 0.5:
      box = cv2.boxPoints((tuple(at), tuple(size), rng.uniform(-20, 20)))
      cv2.fillConvexPoly(picture, box.astype(np.int32), tone)
    elif form < 0.75:
      cv2.ellipse(
        picture, (tuple(at), tuple(size), rng.uniform(0, 180)), tone, -1
      )
    else:
      end = at + rng.normal(0, 80, 2)
      first_end, last = ((int(x), int(y)) for x, y in (at, end))
      cv2.line(picture, first_end, last, tone, int(rng.integers(1, 14)))
  if rng.random() < 0.7:
    picture = drawing.blur(picture, rng.uniform(0.5, 7))
  return picture


def relight(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Light, lens, sensor and JPEG: (h, w, 3) float32 in [0, 1] -> uint8."""
  h, w = picture.shape[:2]
  y = np.linspace(-1, 1, h, dtype=np.float32)[:, None]
  x = np.linspace(-1, 1, w, dtype=np.float32)
  turn = rng.uniform(0, 2 * np.pi)
  slope = rng.uniform(0, 0.35)
  light = 1 + slope * (x * math.cos(turn) + y * math.sin(turn))
  if rng.random() < 0.4:
    light = light * (1 + 0.25 * drawing.noise(rng, (h, w), cells=(3, 3)))
  cast = rng.uniform(0.85, 1.12, 3).astype(np.float32)
  picture = picture * light[..., None] * cast
  picture = picture.clip(0, 1) ** math.exp(rng.normal(0, 0.3))
  low, high = rng.uniform(0, 0.12), rng.uniform(0.75, 1.1)
  picture = low + (high - low) * picture
  if rng.random() < 0.08:
    picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
  blur = rng.uniform(0.4, 0.7) if rng.random() < 0.5 else rng.uniform(0.5, 1.7)
  picture = drawing.blur(picture, blur)
  noise = rng.uniform(0, 0.035) * (rng.random() < 0.6)
  if noise:
    picture = picture + noise * rng.standard_normal(picture.shape, np.float32)
  result = drawing.to_uint8(picture)
  if rng.random() < 0.6:
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))]
    result = cv2.imdecode(cv2.imencode('.jpg', result, quality)[1], 1)
  assert result is not None
  return result


def _skin_tone(rng: np.random.Generator) -> np.ndarray:
  at = rng.uniform(0, len(SKINS) - 1)
  low = int(at)
  tone = SKINS[low] + (at - low) * (SKINS[low + 1] - SKINS[low])
  return (tone * rng.uniform(0.9, 1.1, 3)).astype(np.float32)


def _hair_tone(rng: np.random.Generator) -> np.ndarray:
  kind = rng.random()
  if kind < 0.12:
    return colour(rng, [])
  if kind < 0.25:  # Grey and white.
    return np.float32(rng.uniform(0.4, 0.95)) * np.ones(3, np.float32)
  tone = HAIRS[int(rng.integers(len(HAIRS)))]
  return (tone * rng.uniform(0.6, 1.2)).astype(np.float32)


def _clouds(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
  """Noise of several scales, (h, w) float32 in [0, 1]."""
  total = np.zeros(shape, np.float32)
  rough = rng.uniform(0.3, 0.9)
  for k in range(5):
    cells = 2 ** (k + 1)
    total += rough**k * drawing.noise(rng, shape, cells=(cells, cells))
  return (0.5 + rng.uniform(0.3, 1.2) * total).clip(0, 1)


def _cast_shadow(
  picture: np.ndarray, person: np.ndarray, rng: np.random.Generator
) -> None:
  """Darkens the background beside the person."""
  shade = drawing.blur(person.astype(np.float32), rng.uniform(2, 9))
  shift = rng.integers(-12, 13, 2)
  shade = np.roll(shade, tuple(shift), axis=(0, 1)) * ~person
  picture *= 1 - rng.uniform(0.1, 0.5) * shade[..., None]
