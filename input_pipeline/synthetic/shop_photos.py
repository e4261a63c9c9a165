"""Draws photos of garments that are hard to cut out, with the true mask.

The garments are those of `flat`; ground, light, cloth, hanger, mannequin and
the camera's faults are drawn here. `KINDS` names what can be hard about a
photo; each draws its own numbers, and some faults on top by chance.
"""

import dataclasses

import cv2
import numpy as np

from input_pipeline.synthetic import (
  drawing,
  fields,
  garments,
  grounds,
  patterns,
)
from input_pipeline.synthetic.flat import FlatGarment, draw_flat
from input_pipeline.synthetic.people import SKINS

# Parts of 255, in which shop photos are thought of.
_LEVEL = np.float32(1 / 255)
# First word of a random generator's key: none of the streams of `people`.
_STREAM = 20


@dataclasses.dataclass(frozen=True)
class ShopPhoto:
  """A drawn photo of a garment.

  Attributes:
    kind: what is hard about it, of `KINDS`.
    photo: uint8 (h, w, 3) RGB.
    mask: bool (h, w), the garment in it; what is seen of hanger, mannequin or
      ground through a hole is not.
  """

  kind: str
  photo: np.ndarray
  mask: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Look:
  """What a kind of photo sets; the rest is as for the easiest photo.

  Attributes:
    ground: levels of 255 between which the ground's grey is drawn, or the
      name of a ground of `grounds`.
    tint: largest departure of the ground's channels, levels.
    vignette: share of the light that the corners may lose.
    cloth: of `_dye`.
    contrast: smallest difference of cloth and ground, levels.
    shadow: levels between which the shadow's depth is drawn.
    noise: largest standard deviation, levels.
    quality: of JPEG, between which it is drawn.
    prop: 'wire', 'wood' (hangers), 'mannequin' or 'neck' inside the garment.
    sleeves: 'folded' redraws them bent, with holes beside the body.
    cut: how many edges of the photo cut the garment off.
    bend: how far the outline is bent, shares of the height.
  """

  ground: tuple[int, int] | str = (255, 255)
  tint: float = 0
  vignette: float = 0
  cloth: str = 'any'
  contrast: float = 25
  shadow: tuple[float, float] = (0, 4)
  noise: float = 0.6
  quality: tuple[int, int] = (80, 96)
  prop: str = ''
  sleeves: str = ''
  cut: int = 0
  bend: float = 0.004


_LOOKS = {
  'white on light grey': _Look(ground=(244, 248), cloth='white'),
  'white on white': _Look(ground=(251, 255), cloth='faint'),
  'white, clipped, on 255': _Look(cloth='clipped', shadow=(0, 3)),
  'white, grey ground': _Look(ground=(215, 243), cloth='white'),
  'striped white on light grey': _Look(ground=(244, 248), cloth='white bars'),
  "stripes of the ground's colour": _Look(
    ground=(238, 253), cloth='ground bars'
  ),
  "dots of the ground's colour": _Look(ground=(235, 255), cloth='ground dots'),
  'pale on light grey': _Look(ground=(228, 252), cloth='pale'),
  'grey ground': _Look(ground=(150, 235)),
  'tinted ground': _Look(ground=(170, 240), tint=22),
  'coloured ground': _Look(ground=(90, 190), tint=60),
  'vignette': _Look(ground=(225, 255), vignette=0.3, shadow=(0, 10)),
  'soft shadow': _Look(ground=(240, 255), shadow=(8, 25)),
  'strong shadow': _Look(ground=(225, 255), shadow=(30, 70)),
  'white with a shadow': _Look(
    ground=(240, 250), cloth='white', shadow=(6, 25)
  ),
  'noise': _Look(ground=(200, 250), noise=9, contrast=35),
  'strong compression': _Look(ground=(235, 255), quality=(35, 60)),
  'wire hanger': _Look(ground=(235, 255), prop='wire'),
  'wooden hanger': _Look(ground=(225, 255), prop='wood'),
  'mannequin': _Look(ground=(235, 255), prop='mannequin', contrast=40),
  "a model's neck": _Look(ground=(235, 255), prop='neck', contrast=40),
  'folded sleeves': _Look(ground=(235, 255), sleeves='folded'),
  'cut off below': _Look(ground=(225, 255), cut=1),
  'cut off by two edges': _Look(ground=(225, 255), cut=2),
  'cut off by three edges': _Look(ground=(225, 255), cut=3),
  'black, cut off': _Look(ground=(190, 255), cloth='black', cut=3),
  'dark ground': _Look(ground=(6, 70), contrast=40, noise=3),
  'white on a dark ground': _Look(ground=(10, 90), cloth='white', noise=3),
  'crumpled': _Look(ground=(235, 255), bend=0.02, shadow=(5, 20)),
  'boards': _Look(ground='boards', contrast=45, shadow=(10, 40), noise=2),
  'tiles': _Look(ground='tiles', contrast=45, shadow=(10, 40), noise=2),
  'bed sheet': _Look(ground='sheet', contrast=35, shadow=(8, 30), noise=2),
  'carpet': _Look(ground='carpet', contrast=45, shadow=(10, 40), noise=2),
}
KINDS = tuple(_LOOKS)


def render_shop_photo(seed: int, index: int, height: int = 512) -> ShopPhoto:
  """Draws a photo of the kind `KINDS[index % len(KINDS)]`.

  Args:
    seed: non-negative int of the set.
    index: number of the photo, from 0.
    height: in pixels, at least 128; the width is 3/4 of it.

  Returns:
    a photo that is a function of the arguments alone.
  """
  kind = KINDS[index % len(KINDS)]
  look = _LOOKS[kind]
  rng = np.random.default_rng([seed, index, _STREAM])
  garment = garments.make_garment(seed, index + 1, height=height)
  shape = (garment.height, garment.width)
  ground = grounds.draw_ground(
    rng, shape, look.ground, tint=look.tint, vignette=look.vignette
  )
  level = ground.mean(axis=(0, 1))
  if look.sleeves == 'folded':
    garment = dataclasses.replace(garment, sleeves='none', sleeve=0.0)
  cloth = _dye(rng, garment.cloth, look, level=level)
  trim = cloth.colours[0] * np.float32(0.95)
  garment = dataclasses.replace(garment, cloth=cloth, trim=trim)
  flat = draw_flat(garment)
  cover = flat.cover
  # The paper's share of each pixel, off; what is left is added to any ground.
  colour = flat.photo - (1 - cover)[..., None]
  if look.sleeves == 'folded':
    colour, cover = _fold_sleeves(rng, garment, colour=colour, cover=cover)
  colour = _expose(rng, look, colour, cover=cover, level=level)

  under = np.zeros((*shape, 4), np.float32)
  if look.prop in ('wire', 'wood'):
    under = _hanger(rng, garment, wood=look.prop == 'wood')
  elif look.prop:
    neck = _neck(rng, garment, skin=look.prop == 'neck')
    # In front of the garment's inside, behind its front.
    seen = neck[..., 3] * (1 - _front(flat))
    colour = colour * (1 - seen[..., None])
    cover = cover * (1 - seen)
    under = neck

  maps = np.dstack([colour, cover, under])
  maps = _bend(rng, maps, amount=look.bend)
  colour, cover, under = maps[..., :3], maps[..., 3], maps[..., 4:]
  hard = np.maximum(cover, under[..., 3])
  picture = _shade(rng, ground, hard, depth=rng.uniform(*look.shadow))
  picture = under[..., :3] + picture * (1 - under[..., 3:])
  picture = colour + picture * (1 - cover)[..., None]
  mask = cover > 0.5
  if look.cut:
    picture, mask = _cut(rng, picture, mask, edges=look.cut)
  return ShopPhoto(kind, _photograph(rng, picture, look), mask)


# ------------------------------------------------------------------- the cloth


def _dye(rng, cloth: patterns.Cloth, look: _Look, *, level) -> patterns.Cloth:
  """Colours a cloth as `look.cloth` says; `level` (3,) is the ground's."""
  white = np.full(3, 0.965, np.float32)
  grounds_own = np.minimum(level, 0.965).astype(np.float32)
  kind, colours = cloth.kind, cloth.colours.copy()
  if look.cloth in ('white', 'faint', 'clipped'):
    kind = str(rng.choice(['solid', 'solid', 'logo', 'lettering']))
    if np.abs(colours[1] - white).max() < 0.15:
      colours[1] = (0.2, 0.2, 0.25)
    colours[0] = white
  elif look.cloth == 'white bars':
    kind, colours[0] = 'stripes', white
    colours[1] = patterns.PALETTES[int(rng.integers(2, 10)), 0]
  elif look.cloth in ('ground bars', 'ground dots'):
    kind = 'stripes' if look.cloth == 'ground bars' else 'dots'
    while np.abs(colours[0] - level).max() < 40 * _LEVEL:
      colours[0] = patterns.PALETTES[int(rng.integers(18)), 0]
    colours[1] = colours[2] = grounds_own
  elif look.cloth == 'pale':
    kind = str(rng.choice(['solid', 'solid', 'logo']))
    colours[0] = level - rng.uniform(6, 18) * _LEVEL
    colours[0] += rng.uniform(-3, 3, 3).astype(np.float32) * _LEVEL
  elif look.cloth == 'black':
    kind = str(rng.choice(['solid', 'logo', 'lettering']))
    colours[0] = rng.uniform(12, 40) * _LEVEL
  else:
    # What cannot be told from the ground is drawn by the kinds above.
    tries = 0
    while np.abs(colours - level).max(axis=1).min() < look.contrast * _LEVEL:
      colours = patterns.PALETTES[int(rng.integers(18))].copy()
      tries += 1
      if tries > 60:
        kind = 'solid'
        colours[:] = 0.1 if level.mean() > 0.5 else 0.9
  return dataclasses.replace(cloth, kind=kind, colours=colours, trimmed=False)


def _expose(rng, look: _Look, colour, *, cover, level):
  """Sets the brightness of cloth that is near the ground's.

  Shops expose white cloth to 250 and more, with shades of few levels.
  """
  if look.cloth not in ('white', 'faint', 'clipped', 'pale', 'white bars'):
    return colour
  tone = colour / np.maximum(cover, 0.05)[..., None]
  # From the seams and the rim alone, prints keep their colours.
  if look.cloth == 'pale':
    print_ = np.abs(tone - level).max(axis=2)
    keep = drawing.smoothstep(0.15, 0.3, print_)[..., None]
    top = np.quantile(tone[cover > 0.9], 0.5, axis=0)
    new = level - rng.uniform(6, 18) * _LEVEL + 0.35 * (tone - top)
  else:
    white = np.median(tone[cover > 0.9].max(axis=1))
    white = max(float(white), 0.7)
    # Weave and shade are not print; collar and label keep some of their own.
    print_ = drawing.blur(tone.min(axis=2), 0.7)
    keep = drawing.smoothstep(0.8 * white, 0.6 * white, print_)[..., None]
    low, high, share = {
      'white': (252, 256, (0.08, 0.25)),
      'white bars': (252, 256, (0.08, 0.25)),
      'faint': (250, 254, (0.06, 0.14)),
      'clipped': (255, 257, (0.08, 0.18)),
    }[look.cloth]
    new = rng.uniform(low, high) * _LEVEL + rng.uniform(*share) * (tone - white)
    if look.cloth in ('faint', 'clipped'):
      # Cloth that ends bends away: a dark line, of few levels, at the rim.
      rim = drawing.blur(cover, cover.shape[0] / 250)
      rim = np.clip(2 * (1 - rim), 0, 1)[..., None]
      new -= rng.uniform(3, 7) * _LEVEL * rim
      new = np.minimum(new, 1)
  return (keep * tone + (1 - keep) * new) * cover[..., None]


def _front(flat: FlatGarment) -> np.ndarray:
  """Coverage (h, w) by front and sleeves, without what shows of the inside."""
  tall = np.ones((5, 5), np.uint8)
  columns = np.nonzero(flat.front.max(axis=0) > 0.5)[0]
  front = flat.front.copy()
  # Sleeves begin at the side of the front.
  sides = np.ones(front.shape[1], bool)
  margin = max(1, (columns[-1] - columns[0]) // 8)
  sides[columns[0] + margin : columns[-1] - margin] = False
  front[:, sides] = flat.cover[:, sides]
  return np.minimum(cv2.dilate(front, tall), flat.cover)


def _fold_sleeves(rng, garment, *, colour, cover):
  """Lays bent long sleeves over a sleeveless garment.

  They leave the shoulder, bend away from the body and come back to it, so that
  ground is seen between, or cross before it.
  """
  unit = garment.unit
  for side in (-1, 1):
    crossing = rng.random() < 0.3
    elbow_x = garment.tip + rng.uniform(0.28, 0.5)
    wrist_x = -0.1 if crossing else garment.half_width(1.8) - 0.04
    joints = garment.pixels(
      side * np.array([garment.tip - 0.12, elbow_x, wrist_x]),
      np.array([0.22, rng.uniform(1.0, 1.25), rng.uniform(1.6, 1.95)]),
    )
    edge = 0.03 * garment.width
    joints[:, 0] = np.clip(joints[:, 0], edge, garment.width - edge)
    centre, _ = fields.limb_line(joints, unit=unit)
    field = fields.limb_field(centre, 0.35 * unit, shape=cover.shape)
    assert field is not None  # The joints lie within the photo.
    along = np.clip(field.along / field.length, 0, 1)
    radius = unit * (0.24 - 0.11 * along)
    x0, y0, x1, y1 = field.window
    box = np.s_[y0:y1, x0:x1]
    part = field.coverage(radius)
    part *= np.clip(field.length - field.along, 0, 1)
    dye = patterns.cloth_colour(
      garment.cloth,
      field.across / np.float32(unit),
      depth=field.along / np.float32(unit),
      texel=1 / unit,
      motif=False,
    )
    lit = 0.80 - 0.14 * (field.across / radius).clip(-1, 1) ** 2
    tone = drawing.tinted(dye, lit, shadow=(0.55, 0.54, 0.58), gloss=0)
    tone = np.minimum(tone, np.float32(0.985))
    colour[box] += part[..., None] * (tone - colour[box])
    cover[box] = np.maximum(cover[box], part)
  return colour, cover


# ----------------------------------------------------------------- the props


def _hanger(rng, garment, *, wood: bool) -> np.ndarray:
  """A hanger behind the garment: (h, w, 4) colour times coverage, coverage."""
  unit = garment.unit
  shape = (garment.height, garment.width)
  window = (0, 0, shape[1], shape[0])
  top = float(garment.top(0.0))
  turn = np.linspace(-0.5 * np.pi, np.pi, 24)
  hook = np.column_stack(
    [0.13 * np.cos(turn), top - 0.30 + 0.13 * np.sin(turn)]
  )[::-1]
  hook = np.concatenate([[[0.0, top + 0.06], [0.0, top - 0.12]], hook[::-1]])
  # The part of the hook that stands in the photo.
  width = max(1.0, unit * rng.uniform(0.015, 0.03))
  wire = drawing.stroke(garment.pixels(*hook.T), window, width=width)
  grey = np.float32(rng.uniform(0.25, 0.7))
  layers = np.zeros((*shape, 4), np.float32)
  layers[..., :3] = wire[..., None] * grey
  layers[..., 3] = wire
  x = np.linspace(-1, 1, 31) * (garment.tip - 0.05)
  bar = garment.pixels(x, garment.top(x / garment.tip) + 0.04)
  wide = unit * (rng.uniform(0.07, 0.11) if wood else 0.02)
  cover = drawing.stroke(bar, window, width=max(1.0, wide))
  tone = np.array([0.62, 0.44, 0.27] if wood else [grey] * 3, np.float32)
  layers[..., :3] += cover[..., None] * (tone - layers[..., :3])
  layers[..., 3] = np.maximum(layers[..., 3], cover)
  return layers


def _neck(rng, garment, *, skin: bool) -> np.ndarray:
  """A neck that ends above the collar: (h, w, 4), see `_hanger`."""
  unit = garment.unit
  shape = (garment.height, garment.width)
  window = (0, 0, shape[1], shape[0])
  half = min(garment.neck_width - 0.02, rng.uniform(0.22, 0.30))
  top = float(garment.top(0.0)) - rng.uniform(0.12, 0.30)
  low = garment.neck_depth + 0.25
  # Narrow, then out to the shoulders below the collar.
  y = np.linspace(top, low, 24)
  x = half * (1 + 0.9 * drawing.smoothstep(0.0, low, y) ** 2)
  right = garment.pixels(x, y)
  left = garment.pixels(-x[::-1], y[::-1])
  cover = drawing.polygon(np.concatenate([right, left]), window)
  if skin:
    tone = SKINS[int(rng.integers(len(SKINS)))]
  else:
    tone = np.full(3, rng.uniform(0.55, 0.82), np.float32)
  columns = np.arange(shape[1], dtype=np.float32) - garment.origin[0]
  side = np.clip(columns / (unit * half), -1, 1)
  lit = np.broadcast_to(0.78 - 0.2 * side**2, shape)
  colour = drawing.tinted(tone, lit, gloss=0)
  return np.dstack([colour * cover[..., None], cover]).astype(np.float32)


# ------------------------------------------------------------ light and camera


def _bend(rng, maps, *, amount: float):
  """Turns by a few degrees and bends smoothly, as no garment lies straight."""
  h, w = maps.shape[:2]
  y, x = np.mgrid[:h, :w].astype(np.float32)
  angle = np.radians(rng.uniform(-2.5, 2.5))
  cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
  u, v = x - w / 2, y - h / 2
  cells = (4, 3)
  at = np.dstack(
    [
      cos * u
      - sin * v
      + w / 2
      + amount * h * drawing.noise(rng, (h, w), cells=cells),
      sin * u
      + cos * v
      + h / 2
      + amount * h * drawing.noise(rng, (h, w), cells=cells),
    ]
  ).astype(np.float32)
  # remap takes four channels at a time.
  return np.dstack(
    [
      drawing.sample(np.ascontiguousarray(maps[..., k : k + 4]), at)
      for k in range(0, maps.shape[2], 4)
    ]
  )


def _shade(rng, ground, cover, *, depth: float):
  """The ground with a soft shadow, `depth` levels deep, below the garment."""
  h = cover.shape[0]
  softness = h * rng.uniform(0.008, 0.03)
  shift = rng.uniform(-0.012, 0.012), rng.uniform(0.0, 0.022)
  move = np.array([[1, 0, shift[0] * h], [0, 1, shift[1] * h]], np.float32)
  moved = cv2.warpAffine(cover, move, cover.shape[::-1])
  shade = drawing.blur(moved, softness)
  # At the rim itself the blur has lost half of it.
  return ground * (1 - np.minimum(1.6 * shade, 1)[..., None] * depth * _LEVEL)


def _cut(rng, picture, mask, *, edges: int):
  """Cuts the garment off: below; or the sides, and below by the third."""
  rows = np.nonzero(mask.any(axis=1))[0]
  columns = np.nonzero(mask.any(axis=0))[0]
  tall, wide = rows[-1] - rows[0], columns[-1] - columns[0]
  sides = {1: ('below',), 2: ('left', 'right'), 3: ('left', 'right', 'below')}
  chosen = sides[edges]
  if edges == 2 and rng.random() < 0.5:
    chosen = ('left', 'below')
  y1, x0, x1 = mask.shape[0], 0, mask.shape[1]
  if 'below' in chosen:
    y1 = rows[-1] - int(tall * rng.uniform(0.05, 0.3))
  if 'left' in chosen:
    x0 = columns[0] + int(wide * rng.uniform(0.04, 0.14))
  if 'right' in chosen:
    x1 = columns[-1] - int(wide * rng.uniform(0.04, 0.14))
  return picture[:y1, x0:x1], mask[:y1, x0:x1]


def _photograph(rng, picture, look: _Look) -> np.ndarray:
  """Lens blur, noise, 8 bits, JPEG: uint8."""
  picture = drawing.blur(np.clip(picture, 0, 1), rng.uniform(0.4, 0.8))
  deviation = rng.uniform(0.4, 1) * look.noise * _LEVEL
  picture = picture + deviation * rng.standard_normal(
    picture.shape, dtype=np.float32
  )
  image = np.ascontiguousarray(drawing.to_uint8(picture)[..., ::-1])
  quality = int(rng.integers(*look.quality, endpoint=True))
  data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
  decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
  assert decoded is not None  # It was encoded a line above.
  return np.ascontiguousarray(decoded[..., ::-1])
