"""Draws what stands behind people: paper, walls, rooms, streets, gardens.

All of it is out of focus, so a quarter of the resolution is enough.
"""

import cv2
import numpy as np

from input_pipeline.synthetic import drawing

_WALLS = (
  np.array(
    [
      [236, 234, 230],
      [222, 214, 202],
      [204, 208, 210],
      [198, 188, 170],
      [176, 190, 186],
      [186, 160, 140],
      [150, 150, 152],
      [120, 134, 140],
      [96, 108, 98],
      [224, 200, 188],
      [84, 84, 90],
      [140, 96, 78],
    ],
    np.float32,
  )
  / 255
)


def draw_scene(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
  """A background: (h, w) -> float32 (h, w, 3), 0..1."""
  small = (max(shape[0] // 4, 24), max(shape[1] // 4, 18))
  kinds = (_paper, _wall, _room, _street, _garden)
  kind = int(rng.choice(5, p=(0.34, 0.2, 0.2, 0.15, 0.11)))
  image, blur = kinds[kind](rng, small)
  image = drawing.blur(image, blur * small[0] / 128)
  image = cv2.resize(image, shape[::-1], interpolation=cv2.INTER_CUBIC)
  if kind == 1:
    # Plaster, concrete or paint, in focus as far as it goes.
    rough = drawing.noise(rng, shape, cells=(shape[0] // 5, shape[1] // 5))
    rough += 0.7 * drawing.noise(rng, shape, cells=(40, 30))
    image *= 1 + np.float32(rng.uniform(0.0, 0.03)) * rough[..., None]
  return np.clip(image, 0, 1)


def _grid(size):
  y = np.linspace(0, 1, size[0], dtype=np.float32)[:, None]
  x = np.linspace(0, 1, size[1], dtype=np.float32)[None]
  return x, y


def _tone(rng, *, low=0.0, high=1.0):
  """A muted colour."""
  tone = rng.uniform(low, high) + rng.normal(0, 0.06, 3)
  return np.clip(tone, 0.02, 0.98).astype(np.float32)


def _light(rng, size):
  """Light that falls off across the picture: (h, w, 1)."""
  x, y = _grid(size)
  ahead = rng.uniform(-1, 1, 2) * 0.35
  light = 1 + ahead[0] * (x - 0.5) + ahead[1] * (y - 0.5)
  at = rng.uniform(0.2, 0.8, 2)
  glow = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 0.18)
  return (light + rng.uniform(0, 0.15) * (glow - 0.5))[..., None].astype(
    np.float32
  )


def _boxes(image, rng, *, count, low, high, area, tones=(0.05, 0.95)):
  """Fills upright boxes within rows `low` to `high` (0..1)."""
  h, w = image.shape[:2]
  for _ in range(count):
    wide = w * rng.uniform(0.3, 1) * area
    tall = h * rng.uniform(0.3, 1) * area
    x, y = rng.uniform(-0.1, 1) * w, rng.uniform(low, high) * h
    tone = tuple(float(v) for v in _tone(rng, low=tones[0], high=tones[1]))
    first, last = (int(x), int(y)), (int(x + wide), int(y + tall))
    cv2.rectangle(image, first, last, tone, -1)


def _paper(rng, size):
  """Studio paper: white, grey or coloured, with a soft fall of light."""
  if rng.random() < 0.7:
    tone = rng.uniform(0.78, 0.985) + rng.normal(0, 0.008, 3)
  else:
    tone = _WALLS[int(rng.integers(len(_WALLS)))]
  image = np.float32(tone) * (0.75 + 0.25 * _light(rng, size))
  x, y = _grid(size)
  floor = rng.uniform(0.75, 1.4)
  dim = rng.uniform(0, 0.12) * drawing.smoothstep(floor - 0.15, floor, y)
  return (image * (1 - dim + 0 * x)[..., None]).astype(np.float32), 2.0


def _wall(rng, size):
  """A wall: painted, of bricks, panelled or of concrete; perhaps a floor."""
  h, w = size
  tone = _WALLS[int(rng.integers(len(_WALLS)))] + rng.normal(0, 0.03, 3)
  image = np.empty((h, w, 3), np.float32)
  image[:] = tone
  kind = rng.random()
  x, y = _grid(size)
  if kind < 0.25:  # Bricks.
    rows = rng.uniform(14, 30)
    row = np.floor(y * rows)
    column = x * rows * 0.4 + 0.5 * (row % 2)
    each = np.sin(row * 12.9898 + np.floor(column) * 78.233) * 43758.5453
    each = each - np.floor(each)
    joint = np.minimum(y * rows % 1, 1 - y * rows % 1) < 0.09
    joint = joint | (np.minimum(column % 1, 1 - column % 1) < 0.04)
    base = np.float32(rng.choice([0, 1])) * np.array([0.2, 0.0, -0.07])
    image += base.astype(np.float32)
    image *= (0.86 + 0.28 * each)[..., None]
    image[joint] = 0.55 * image[joint] + 0.45 * 0.75
    blur = rng.uniform(0.5, 1.6)
  elif kind < 0.45:  # Panels.
    count = rng.uniform(3, 12)
    groove = np.minimum(x * count % 1, 1 - x * count % 1) < 0.035
    image *= (
      np.where(groove, 0.8, 1.0)[..., None].astype(np.float32)
      + 0 * y[..., None]
    )
    blur = rng.uniform(0.5, 1.5)
  else:
    clouds = np.sum(
      [
        0.6**k * drawing.noise(rng, size, cells=(3 * 2**k, 3 * 2**k))
        for k in range(4)
      ],
      axis=0,
    )
    image *= 1 + np.float32(rng.uniform(0.0, 0.07)) * clouds[..., None]
    blur = 0.7
  if rng.random() < 0.35:
    edge = int(h * rng.uniform(0.72, 1.0))
    image[edge:] = _tone(rng, low=0.2, high=0.7)
    image[max(edge - h // 24, 0) : edge] *= 0.9
  return image * _light(rng, size), blur


def _room(rng, size):
  """A room: window, pictures, shelves, furniture, lamps, a floor."""
  h, w = size
  image = np.empty((h, w, 3), np.float32)
  image[:] = _WALLS[int(rng.integers(len(_WALLS)))]
  corner = int(w * rng.uniform(-0.3, 1.3))
  image[:, : max(corner, 0)] *= rng.uniform(0.75, 0.95)
  floor = int(h * rng.uniform(0.68, 0.95))
  wood = np.array([0.55, 0.42, 0.30]) * rng.uniform(0.6, 1.3)
  image[floor:] = wood if rng.random() < 0.6 else _tone(rng, low=0.3, high=0.8)
  image[floor - 3 : floor] *= 1.1
  if rng.random() < 0.5:  # A window, or a door to the light.
    x, y = int(w * rng.uniform(-0.1, 0.8)), int(h * rng.uniform(-0.1, 0.25))
    wide, tall = int(w * rng.uniform(0.2, 0.5)), int(h * rng.uniform(0.3, 0.7))
    cv2.rectangle(image, (x, y), (x + wide, y + tall), (0.9, 0.93, 0.95), -1)
    for k in range(int(rng.integers(0, 3))):
      at = x + wide * (k + 1) // 3
      cv2.line(image, (at, y), (at, y + tall), (0.7, 0.7, 0.7), 2)
    cv2.rectangle(image, (x, y), (x + wide, y + tall), (0.75, 0.73, 0.7), 2)
  _boxes(image, rng, count=int(rng.integers(1, 5)), low=0.0, high=0.4, area=0.3)
  tones = (0.05, 0.7)
  count = int(rng.integers(2, 7))
  _boxes(image, rng, count=count, low=0.4, high=0.85, area=0.55, tones=tones)
  if rng.random() < 0.4:  # Shelves with books.
    top = rng.uniform(0.05, 0.4)
    left, step = rng.uniform(-0.1, 0.7) * w, rng.uniform(0.10, 0.16) * h
    for row in range(int(rng.integers(2, 5))):
      y = int(top * h + row * step)
      x = left
      while x < left + 0.4 * w:
        wide = rng.uniform(1.5, 4.5)
        tall = int(step * rng.uniform(0.5, 0.85))
        tone = tuple(float(v) for v in rng.uniform(0.1, 0.85, 3))
        first = (int(x), y - tall)
        cv2.rectangle(image, first, (int(x + wide), y), tone, -1)
        x += wide + 1
      end = (int(left + 0.4 * w), y)
      cv2.line(image, (int(left), y), end, (0.35, 0.26, 0.18), 2)
  _plants(image, rng, count=int(rng.integers(0, 3)))
  return image * _light(rng, size), rng.uniform(1.0, 3.5)


def _plants(image, rng, *, count):
  """Leaves in clusters."""
  h, w = image.shape[:2]
  for _ in range(count):
    at = rng.uniform((0, 0.3), (1, 0.8)) * (w, h)
    for _ in range(25):
      leaf = at + rng.normal(0, 0.07, 2) * (w, h)
      tone = np.array([0.16, 0.30, 0.13]) * rng.uniform(0.5, 1.6)
      size = (rng.uniform(2, 5), rng.uniform(5, 13))
      cv2.ellipse(
        image,
        (tuple(leaf.tolist()), size, rng.uniform(0, 180)),
        tuple(tone.tolist()),
        -1,
      )


def _street(rng, size):
  """Facades with windows, sky, pavement, cars, lights."""
  h, w = size
  image = np.empty((h, w, 3), np.float32)
  x, y = _grid(size)
  sky = np.array([0.78, 0.86, 0.95]) * rng.uniform(0.7, 1.05)
  image[:] = np.clip(sky * (1.0 - 0.15 * y + 0 * x)[..., None], 0, 1)
  edge = int(h * rng.uniform(0.7, 0.9))
  left = -rng.uniform(0, 0.3) * w
  while left < w:
    wide = w * rng.uniform(0.25, 0.6)
    top = int(h * rng.uniform(-0.4, 0.35))
    tone = _WALLS[int(rng.integers(len(_WALLS)))] * rng.uniform(0.6, 1.0)
    last = (int(left + wide), edge)
    cv2.rectangle(image, (int(left), top), last, tuple(tone.tolist()), -1)
    step = rng.uniform((0.08, 0.10), (0.16, 0.18)) * (w, h)
    glass = tone * rng.uniform(0.25, 0.6)
    for u in np.arange(left + 0.3 * step[0], left + wide - 3, step[0]):
      for v in np.arange(top + 0.3 * step[1], edge - 0.6 * step[1], step[1]):
        shade = glass * rng.uniform(0.7, 1.5)
        end = (int(u + 0.5 * step[0]), int(v + 0.6 * step[1]))
        at = (int(u), int(v))
        cv2.rectangle(image, at, end, tuple(shade.tolist()), -1)
    left += wide
  image[edge:] = _tone(rng, low=0.35, high=0.65)
  count = int(rng.integers(0, 4))
  _boxes(image, rng, count=count, low=0.6, high=0.85, area=0.4)
  _plants(image, rng, count=int(rng.integers(0, 3)))
  for _ in range(int(rng.integers(0, 12))):  # Lamps out of focus.
    at = (int(rng.uniform(0, w)), int(rng.uniform(0, 0.8) * h))
    tone = np.array([1.0, rng.uniform(0.7, 0.95), rng.uniform(0.4, 0.9)])
    cv2.circle(image, at, int(rng.integers(1, 5)), tuple(tone.tolist()), -1)
  return image * _light(rng, size), rng.uniform(1.6, 4.5)


def _garden(rng, size):
  """Leaves and light between them, a lawn or a path."""
  h, w = size
  clouds = np.sum(
    [
      0.75**k * drawing.noise(rng, size, cells=(3 * 2**k, 2 * 2**k))
      for k in range(5)
    ],
    axis=0,
  )
  share = np.clip(0.5 + 0.45 * clouds, 0, 1)[..., None]
  dark = np.array([0.10, 0.17, 0.08]) * rng.uniform(0.7, 1.5)
  bright = np.array([0.50, 0.62, 0.30]) * rng.uniform(0.7, 1.2)
  image = (dark + share * (bright - dark)).astype(np.float32)
  edge = int(h * rng.uniform(0.6, 1.0))
  lawn = (
    np.array([0.42, 0.52, 0.26])
    if rng.random() < 0.6
    else np.array([0.62, 0.58, 0.52])
  )
  image[edge:] = 0.3 * image[edge:] + 0.7 * lawn
  for _ in range(int(rng.integers(5, 40))):
    at = (int(rng.uniform(0, w)), int(rng.uniform(0, 0.6) * h))
    tone = np.array([0.93, 0.95, 0.80]) * rng.uniform(0.7, 1.05)
    cv2.circle(image, at, int(rng.integers(1, 5)), tuple(tone.tolist()), -1)
  for _ in range(int(rng.integers(0, 4))):
    x = int(rng.uniform(0, w))
    end = (x + int(rng.normal(0, 5)), h)
    cv2.line(image, (x, 0), end, (0.22, 0.17, 0.12), int(rng.integers(2, 8)))
  return image * _light(rng, size), rng.uniform(1.8, 4.5)
