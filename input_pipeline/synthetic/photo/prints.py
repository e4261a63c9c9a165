"""Cloth of more colours, weaves and prints: flowers, camouflage, pictures."""

import dataclasses

import cv2
import numpy as np

from input_pipeline.synthetic import drawing, patterns

_SIZE = 256
_COLOURS = (
  np.array(
    [
      [22, 22, 24],
      [30, 34, 48],
      [246, 245, 242],
      [240, 234, 222],
      [120, 122, 126],
      [190, 190, 190],
      [60, 62, 68],
      [36, 48, 84],
      [96, 130, 176],
      [160, 190, 214],
      [140, 30, 42],
      [196, 52, 50],
      [226, 160, 160],
      [244, 212, 206],
      [222, 176, 72],
      [206, 120, 60],
      [122, 82, 56],
      [200, 180, 150],
      [92, 104, 74],
      [40, 78, 62],
      [150, 176, 150],
      [120, 96, 150],
      [196, 180, 214],
      [48, 120, 124],
    ],
    np.float32,
  )
  / 255
)
_SYLLABLES = ('LA', 'NO', 'RI', 'VE', 'KA', 'MO', 'TE', 'SU', 'DO', 'BE', 'XI')
_WEAVES = {
  'tee': ('jersey', 'jersey', 'plain', 'rib'),
  'shirt': ('linen', 'twill', 'plain', 'twill'),
  'hoodie': ('jersey', 'plain', 'plain', 'plain'),
  'turtle': ('knit', 'rib', 'knit', 'jersey'),
  'blouse': ('plain', 'plain', 'linen', 'plain'),
  'strap': ('rib', 'plain', 'jersey', 'plain'),
  'off': ('plain', 'rib', 'linen', 'plain'),
  'jacket': ('twill', 'knit', 'knit', 'plain'),
}
# Shares of: as it is, plain colour, all-over print, chest print.
_PRINTS = {
  'tee': (0.3, 0.25, 0.12, 0.33),
  'shirt': (0.0, 0.5, 0.18, 0.0),
  'hoodie': (0.1, 0.45, 0.05, 0.4),
  'turtle': (0.1, 0.8, 0.05, 0.05),
  'blouse': (0.1, 0.4, 0.5, 0.0),
  'strap': (0.2, 0.5, 0.25, 0.05),
  'off': (0.2, 0.5, 0.3, 0.0),
  'jacket': (0.0, 0.8, 0.2, 0.0),
}


def make_cloth(rng, cloth: patterns.Cloth, cut: str) -> patterns.Cloth:
  """A cloth for a garment of a cut (`garments._KINDS`), from a drawn one."""
  shares = np.array(_PRINTS[cut])
  kind = int(rng.choice(4, p=shares / shares.sum()))
  if cut == 'shirt' and rng.random() < 0.4:
    name = str(rng.choice(['stripes', 'checks']))
    cloth = dataclasses.replace(
      cloth,
      kind=name,
      variant=int(rng.choice([1, 3])),
      period=rng.uniform(0.06, 0.22),
    )
    kind = 0
  colours = cloth.colours
  if rng.random() < 0.75:
    some = rng.choice(len(_COLOURS), 3, replace=False)
    colours = _COLOURS[some] * rng.uniform(0.9, 1.08) + rng.normal(0, 0.012, 3)
    colours = np.clip(colours, 0.04, 0.965).astype(np.float32)
    # What is printed must be seen.
    if np.abs(colours[0] - colours[1]).max() < 0.25:
      colours[1] = 0.92 if colours[0].mean() < 0.5 else 0.12
  trimmed = cloth.trimmed and cut in ('tee', 'strap', 'jacket')
  changes = dict(
    colours=colours,
    trimmed=trimmed,
    trim=colours[1] if trimmed else colours[0] * np.float32(0.96),
    weave=str(rng.choice(_WEAVES[cut])),
  )
  if kind == 1:
    changes['kind'] = 'solid'
  elif kind == 2:
    draw = (_flowers, _camouflage, _spots, _dye)[int(rng.integers(4))]
    changes |= dict(kind='tile', art=draw(rng, colours))
  elif kind == 3:
    draw = (_text, _text, _landscape, _badge, _photo)[int(rng.integers(5))]
    changes |= dict(kind='print', art=draw(rng, colours))
  return dataclasses.replace(cloth, **changes)


def _blank(colour=None):
  art = np.zeros((_SIZE, _SIZE, 4), np.float32)
  if colour is not None:
    art[..., :3], art[..., 3] = colour, 1
  return art


def _wrapped(at, reach):
  """Copies of a place whose surroundings reach over a tile's rim."""
  for x in (-_SIZE, 0, _SIZE):
    for y in (-_SIZE, 0, _SIZE):
      moved = at + (x, y)
      if (moved > -reach).all() and (moved < _SIZE + reach).all():
        yield moved


def _full(colour):
  """A colour with full coverage, for OpenCV."""
  return (*(float(v) for v in colour), 1.0)


def _flowers(rng, colours):
  """Flowers and leaves strewn all over."""
  art = _blank()
  art[..., :3] = colours[0]
  green = np.array([0.28, 0.42, 0.25]) * rng.uniform(0.6, 1.4)
  petals = int(rng.integers(4, 8))
  for _ in range(int(rng.integers(14, 40))):
    place, size = rng.uniform(0, _SIZE, 2), rng.uniform(9, 26)
    turn = rng.uniform(0, 6.3)
    tone = (colours[1], colours[2])[int(rng.integers(2))] * rng.uniform(
      0.85, 1.1
    )
    for at in _wrapped(place, 2 * size):
      for k in range(2):
        angle = turn + 2 + 2.5 * k
        leaf = at + 1.4 * size * np.array([np.cos(angle), np.sin(angle)])
        box = (tuple(leaf), (size * 1.1, size * 0.4), float(np.degrees(angle)))
        cv2.ellipse(art, box, _full(green), -1)
      for k in range(petals):
        angle = turn + 6.283 * k / petals
        petal = at + 0.55 * size * np.array([np.cos(angle), np.sin(angle)])
        shade = tone * (0.88 + 0.24 * (k % 2))
        box = (tuple(petal), (size, size * 0.6), float(np.degrees(angle)))
        cv2.ellipse(art, box, _full(shade), -1)
      middle = (int(at[0]), int(at[1]))
      cv2.circle(art, middle, max(2, int(0.24 * size)), _full(tone * 0.5), -1)
  return art


def _periodic(rng, cells):
  """Noise that goes on over a tile's rim: (n, n)."""
  grid = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
  grid = np.pad(grid, 2, mode='wrap')
  scale = _SIZE // cells
  big = cv2.resize(
    grid, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC
  )
  size = cells * scale
  big = big[2 * scale : 2 * scale + size, 2 * scale : 2 * scale + size]
  return cv2.resize(big, (_SIZE, _SIZE))


def _camouflage(rng, colours):
  """Patches of three tones."""
  art = _blank(colours[0])
  for k in (1, 2):
    value = _periodic(rng, 4) + 0.5 * _periodic(rng, 16)
    art[..., :3][value > 0.25] = 0.6 * colours[k] + 0.4 * colours[0]
  return art


def _spots(rng, colours):
  """Spots of an animal's coat."""
  value = _periodic(rng, 16) + 0.35 * _periodic(rng, 32)
  art = _blank(colours[0])
  ring = drawing.smoothstep(0.32, 0.22, np.abs(value - 0.35))
  art[..., :3] += ring[..., None] * (colours[1] * 0.6 - art[..., :3])
  core = drawing.smoothstep(0.55, 0.65, value)
  art[..., :3] += core[..., None] * (colours[2] - art[..., :3])
  return art


def _dye(rng, colours):
  """Dye that ran: bands and clouds."""
  value = _periodic(rng, 4) + 0.6 * _periodic(rng, 8) + 0.4 * _periodic(rng, 32)
  share = drawing.smoothstep(-0.7, 0.7, value)[..., None]
  art = _blank()
  art[..., :3] = colours[0] + share * (colours[1] - colours[0])
  art[..., 3] = 1
  return art


def _words(rng):
  count = int(rng.integers(1, 4))
  word = ''.join(rng.choice(_SYLLABLES, count + 1))
  return word[: int(rng.integers(3, 9))]


def _put(art, text, y, tall, font, colour, thick):
  """Writes a line of text, centred at row `y`, as wide as fits."""
  (wide, high), _ = cv2.getTextSize(text, font, 1.0, 1)
  scale = min(tall / high, 0.9 * _SIZE / wide)
  thick = max(1, round(thick * scale))
  (wide, high), _ = cv2.getTextSize(text, font, scale, thick)
  at = ((_SIZE - wide) // 2, int(y + high / 2))
  layer = np.zeros(art.shape[:2], np.uint8)
  cv2.putText(layer, text, at, font, scale, 255, thick, cv2.LINE_AA)
  cover = layer.astype(np.float32)[..., None] / 255
  art += cover * (np.array(_full(colour), np.float32) - art)


def _text(rng, colours):
  """One to three lines of lettering, a number, a bar."""
  art = _blank()
  font = int(
    rng.choice(
      [
        cv2.FONT_HERSHEY_DUPLEX,
        cv2.FONT_HERSHEY_TRIPLEX,
        cv2.FONT_HERSHEY_SIMPLEX,
        cv2.FONT_HERSHEY_COMPLEX,
        cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
      ]
    )
  )
  thick = rng.uniform(2, 7)
  kind = rng.random()
  if kind < 0.4:
    _put(art, _words(rng), 128, 80, font, colours[1], thick)
    if rng.random() < 0.5:
      _put(art, _words(rng).lower(), 190, 22, font, colours[2], 2)
  elif kind < 0.7:
    for k in range(3):
      tone = colours[1 + k % 2]
      _put(art, _words(rng), 60 + 64 * k, 44, font, tone, thick)
  else:
    number = str(int(rng.integers(1, 100)))
    _put(art, number, 140, 130, font, colours[1], thick + 2)
    _put(art, _words(rng), 40, 34, font, colours[2], 3)
  return art


def _landscape(rng, colours):
  """Sun, hills and sea in a frame."""
  art = _blank(colours[1])
  y = np.linspace(0, 1, _SIZE, dtype=np.float32)[:, None, None]
  warm = np.array([0.95, 0.6, 0.35], np.float32) * np.float32(
    rng.uniform(0.7, 1.05)
  )
  art[..., :3] = colours[1] + y * (warm - colours[1])
  at = (int(rng.uniform(60, 196)), int(rng.uniform(70, 140)))
  cv2.circle(art, at, int(rng.uniform(18, 46)), _full([0.98, 0.9, 0.6]), -1)
  x = np.arange(_SIZE)
  for k in range(3):
    line = 130 + 34 * k + 30 * drawing.noise_line(rng, x, scale=0.02 + 0.01 * k)
    shape = np.column_stack([x, line])
    shape = np.concatenate([shape, [(_SIZE, _SIZE), (0, _SIZE)]])
    tone = colours[2] * (0.9 - 0.25 * k)
    cv2.fillPoly(art, [shape.astype(np.int32)], _full(tone))
  return _framed(rng, art)


def _framed(rng, art):
  """Cuts a picture to a disc or to a rectangle with a margin."""
  cover = np.zeros((_SIZE, _SIZE), np.uint8)
  if rng.random() < 0.4:
    cv2.circle(cover, (128, 128), 112, 255, -1, cv2.LINE_AA)
  else:
    x, y = int(rng.uniform(8, 40)), int(rng.uniform(8, 50))
    cv2.rectangle(cover, (x, y), (_SIZE - x, _SIZE - y), 255, -1)
  art[..., 3] = cover.astype(np.float32) / 255
  return art


def _badge(rng, colours):
  """A ring with a word and a star."""
  art = _blank()
  cv2.circle(art, (128, 128), 108, _full(colours[1]), -1, cv2.LINE_AA)
  cv2.circle(art, (128, 128), 94, _full(colours[0]), 4, cv2.LINE_AA)
  angle = np.arange(10) * np.pi / 5
  size = np.where(np.arange(10) % 2, 18, 42)[:, None]
  star = np.column_stack([np.sin(angle), -np.cos(angle)]) * size + (128, 76)
  cv2.fillPoly(art, [star.astype(np.int32)], _full(colours[2]), cv2.LINE_AA)
  _put(art, _words(rng), 150, 42, cv2.FONT_HERSHEY_DUPLEX, colours[0], 4)
  art[..., 3] = art[..., 3].clip(0, 1)
  return art


def _photo(rng, colours):
  """Something like a printed photo: clouds of colour, high in contrast."""
  value = np.dstack(
    [
      _periodic(rng, 4) + 0.5 * _periodic(rng, 16) + 0.3 * _periodic(rng, 64)
      for _ in range(3)
    ]
  )
  mean = value.mean(axis=2, keepdims=True)
  value = mean + (value - mean) * rng.uniform(0, 0.4)
  art = _blank()
  art[..., :3] = np.clip(0.5 + 0.7 * value, 0.04, 0.96)
  at = rng.uniform(80, 176, 2)
  far = np.hypot(*(np.mgrid[:_SIZE, :_SIZE] - at[:, None, None])) / 60
  art[..., :3] += np.exp(-far * far)[..., None] * (colours[1] - art[..., :3])
  return _framed(rng, art.astype(np.float32))
