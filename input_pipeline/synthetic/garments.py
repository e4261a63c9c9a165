"""Garments: what is cut from which cloth, and the flat shop photo of it.

A garment lives in the pixels of its own shop photo. Torso and sleeves are cut
from cloth whose colour is a function of those pixels; the worn picture samples
the same cloth, so the correspondence between both photos is exact.

The flat torso is described in heads, like a body: x beside the middle, s below
the pit of the neck. `part` is x over the half width at that depth.
"""

import dataclasses

import cv2
import numpy as np

from input_pipeline.synthetic import drawing, patterns
from input_pipeline.synthetic.people import STREAM_GARMENT, smooth_profile

SLEEVE_LENGTHS = {'none': 0.0, 'short': 0.85, 'long': 2.32}


@dataclasses.dataclass(frozen=True)
class Garment:
  """A garment's cut and cloth; lengths in heads.

  Attributes:
    unit: pixels of one head in the shop photo.
    origin: (2,) pixels of x = 0, s = 0 in the shop photo.
    sleeve: length of the sleeve along the arm, 0 for none.
    profile: (n, 2) rows (s, half width) of the flat torso.
    hem: depth of the hem at the side seams; `hem_curve` more in the middle.
  """

  seed: int
  index: int
  height: int
  width: int
  unit: float
  origin: np.ndarray
  sleeves: str
  sleeve: float
  cuff: float
  neckline: str
  neck_width: float
  neck_depth: float
  hem: float
  hem_curve: float
  ease: float
  flare: float
  tip: float
  profile: np.ndarray
  weight: float
  trim: np.ndarray
  cloth: patterns.Cloth

  def rng(self, *more):
    return np.random.default_rng([self.seed, self.index, STREAM_GARMENT, *more])

  def half_width(self, s):
    """Half width in heads of the flat torso at depth s."""
    return smooth_profile(self.profile, s)

  def top(self, part):
    """Depth of the flat upper edge (shoulder line) at `part`."""
    return -0.13 + 0.27 * np.minimum(np.abs(part), 1.3) ** 1.4

  def bottom(self, part):
    """Depth of the flat hem at `part`."""
    return self.hem + self.hem_curve * (1 - part * part)

  def pixels(self, x, s):
    """Pixels (..., 2) of a flat position in heads."""
    return np.stack(np.broadcast_arrays(
      self.origin[0] + self.unit * x, self.origin[1] + self.unit * s
    ), -1)

  def sleeve_edges(self, side, along):
    """Outer and inner edge of a flat sleeve.

    Args:
      side: -1 for the sleeve on the left of the picture, +1 for the other.
      along: 0 at the armhole to 1 at the cuff, any shape (...).

    Returns:
      Two arrays (..., 2), in heads (x, s).
    """
    along = np.asarray(along, float)[..., None]
    tip = np.array([self.tip, float(self.top(1.0))])
    pit = np.array([float(self.half_width(0.66)), 0.66])
    angle = np.radians(52 if self.sleeves == 'short' else 24)
    ahead = np.array([np.sin(angle), np.cos(angle)])
    aside = np.array([ahead[1], -ahead[0]])
    end = tip + ahead * (self.sleeve + 0.06)
    end = end + aside * 0.02
    inner_end = end - aside * 2 * self.cuff
    # Both edges bow a little, as cloth that lies on a table does.
    bow = (4 * along * (1 - along)) * aside
    outer = tip + along * (end - tip) + 0.03 * bow
    inner = pit + along * (inner_end - pit) - 0.025 * bow
    flip = np.array([side, 1.0])
    return outer * flip, inner * flip

  def sleeve_point(self, side, along, across):
    """Pixels (..., 2) of a flat sleeve; across -1 inner to +1 outer edge."""
    outer, inner = self.sleeve_edges(side, along)
    mix = (np.asarray(across)[..., None] + 1) / 2
    point = inner + mix * (outer - inner)
    return self.pixels(point[..., 0], point[..., 1])


def make_garment(seed, index, *, height):
  """Draws the garment of pair `index`; see `people.make_person`."""
  rng = np.random.default_rng([seed, index, STREAM_GARMENT])
  width = round(height * 3 / 4)
  sleeves = str(rng.choice(['none', 'short', 'long'], p=(0.24, 0.44, 0.32)))
  neckline = str(rng.choice(['crew', 'round', 'v'], p=(0.42, 0.30, 0.28)))
  ease = rng.uniform(0.03, 0.13)
  flare = rng.choice([0.0, 0.0, 0.03, 0.10]) + rng.uniform(0, 0.03)
  hem = rng.choice([1.72, 2.15, 2.35, 2.55, 2.80], p=(0.12, 0.2, 0.3, 0.23, 0.15))
  hem = hem + rng.uniform(-0.08, 0.08)
  tip = rng.uniform(0.50, 0.60) if sleeves == 'none' else 0.735 + 0.2 * ease
  neck_width = {
    'crew': rng.uniform(0.27, 0.31), 'round': rng.uniform(0.31, 0.40),
    'v': rng.uniform(0.28, 0.34),
  }[neckline]
  neck_width = min(neck_width, tip - 0.13)
  neck_depth = {
    'crew': rng.uniform(0.13, 0.20), 'round': rng.uniform(0.28, 0.46),
    'v': rng.uniform(0.42, 0.62),
  }[neckline]
  chest = 0.66 + ease
  hole = [0.34, tip - 0.05] if sleeves == 'none' else [0.34, 0.5 * (tip + chest)]
  profile = np.array([
    [0.08, tip], hole, [0.66, chest], [0.95, chest - 0.005],
    [1.42, 0.57 + 1.25 * ease], [2.0, 0.68 + ease + 0.5 * flare],
    [2.45, 0.73 + ease + flare], [3.2, 0.74 + ease + 1.7 * flare],
  ])
  cuff = rng.uniform(0.17, 0.24) if sleeves == 'short' else (
    rng.uniform(0.105, 0.14)
  )
  sleeve = SLEEVE_LENGTHS[sleeves] * rng.uniform(0.92, 1.06)
  trial = Garment(
    seed=seed, index=index, height=height, width=width, unit=1.0,
    origin=np.zeros(2), sleeves=sleeves, sleeve=sleeve, cuff=cuff,
    neckline=neckline, neck_width=neck_width, neck_depth=neck_depth, hem=hem,
    hem_curve=rng.uniform(0.02, 0.06), ease=ease, flare=flare, tip=tip,
    profile=profile, weight=rng.uniform(0, 1), trim=np.zeros(3), cloth=None,
  )
  # Fit the cut into the photo with a margin, as shops do.
  reach = float(trial.half_width(trial.hem)) if not sleeve else max(
    float(trial.sleeve_edges(1, 1.0)[0][0]), float(trial.half_width(trial.hem))
  )
  reach = max(reach, chest)
  top, bottom = float(trial.top(0.4)), trial.hem + trial.hem_curve
  if sleeve:
    bottom = max(bottom, float(trial.sleeve_edges(1, 1.0)[1][1]))
  unit = min(0.88 * height / (bottom - top), 0.45 * width / reach)
  unit *= rng.uniform(0.94, 1.0)
  origin = np.array([
    width / 2 + rng.uniform(-0.008, 0.008) * width,
    (height - unit * (bottom + top)) / 2,
  ])
  cloth = patterns.make_cloth(rng)
  return dataclasses.replace(
    trial, unit=unit, origin=origin, cloth=cloth, trim=cloth.trim
  )


@dataclasses.dataclass(frozen=True)
class FlatGarment:
  """A garment drawn flat.

  Attributes:
    photo: float32 (h, w, 3), the shop photo, exactly 1 off the garment.
    mask: bool (h, w), the garment in it, with what shows of its inside.
    front: float32 (h, w), coverage of the front panel (neckline cut out).
    torso: float32 (h, w, 3), colour of the torso's cloth, unshaded.
    sleeves: dict side -> float32 (h, w, 3), the same of the sleeves.
  """

  photo: np.ndarray
  mask: np.ndarray
  front: np.ndarray
  torso: np.ndarray
  sleeves: dict


def _neck_curve(garment, width, depth, *, count=41):
  """The front neckline: (n, 2) in heads from side to side."""
  x = np.linspace(-1, 1, count)
  side = float(garment.top(width / garment.tip))
  if garment.neckline == 'v':
    drop = (1 - np.sqrt(x * x + 0.006)) * (1 + 0.10 * np.abs(x))
  else:
    x = np.sin(x * np.pi / 2)
    drop = np.sqrt(np.maximum(1 - x * x, 0)) ** 0.9
  return np.column_stack([width * x, side + (depth - side) * drop])


def _torso_outline(garment):
  """The flat torso's outline in pixels, with its straight upper edge."""
  part = np.linspace(-1, 1, 41)
  top = np.column_stack([part * garment.tip, garment.top(part)])
  depth = np.linspace(float(garment.top(1.0)), garment.hem, 60)
  edge = np.column_stack([garment.half_width(depth), depth])
  last = garment.half_width(garment.hem)
  hem = np.column_stack([part[::-1] * last, garment.bottom(part[::-1])])
  left = edge[::-1] * (-1, 1)
  points = np.concatenate([top, edge, hem, left])
  return garment.pixels(points[:, 0], points[:, 1])


def draw_flat(garment):
  """Draws the shop photo and the cloth that the worn picture samples.

  Returns:
    A FlatGarment.
  """
  height, width, unit = garment.height, garment.width, garment.unit
  window = (0, 0, width, height)
  x, y = drawing.pixel_grid(window)
  across = (x - garment.origin[0]) / unit
  depth = (y - garment.origin[1]) / unit
  across, depth = np.broadcast_arrays(across, depth)
  body = drawing.polygon(_torso_outline(garment), window)
  curve = _neck_curve(garment, garment.neck_width, garment.neck_depth)
  above = np.array([[garment.neck_width, -0.6], [-garment.neck_width, -0.6]])
  line = garment.pixels(*curve.T)
  hole = drawing.polygon(
    np.concatenate([line, garment.pixels(*above.T)]), window
  )
  front = body * (1 - hole)

  torso = patterns.cloth_colour(garment.cloth, across, depth, texel=1 / unit)
  _sew_torso(garment, torso, line=line, window=window, depth=depth)
  sleeves = {}
  sleeve_masks = {}
  for side in (-1, 1) if garment.sleeve else ():
    sleeves[side], sleeve_masks[side] = _draw_sleeve(
      garment, side, across=across, depth=depth, window=window
    )

  rng = garment.rng(1)
  photo = np.ones((height, width, 3), np.float32)
  total = np.maximum(front, _draw_inside(garment, photo, body, line, window))
  shade = _flat_shade(rng, garment, across, depth)
  for side, mask in sleeve_masks.items():
    lit = shade - 0.05 * drawing.blur(1 - mask, 0.06 * unit)
    lit -= 0.10 * drawing.blur(front, 0.04 * unit)  # Under the torso's seam.
    tone = drawing.tinted(sleeves[side], lit, shadow=(0.55, 0.54, 0.58), gloss=0)
    photo += mask[..., None] * (tone - photo)
    total = np.maximum(total, mask)
  # Cloth turns away at its rim; the neckline casts no such shade.
  rim = drawing.blur(1 - body, 0.07 * unit)
  tone = drawing.tinted(
    torso, shade - 0.16 * rim, shadow=(0.55, 0.54, 0.58), gloss=0
  )
  photo += front[..., None] * (tone - photo)
  # White cloth must still stand out from the paper, which alone is white.
  photo = np.where(total[..., None] > 0.5, np.minimum(photo, 0.985), photo)
  return FlatGarment(photo, total > 0.5, front, torso, sleeves)


def _flat_shade(rng, garment, across, depth):
  """Lambert term of cloth lying flat: nearly level, faint long folds."""
  shape = across.shape
  soft = drawing.noise(rng, shape, cells=(7, 4))
  fine = drawing.noise(rng, shape, cells=(16, 22))
  shade = 0.79 + 0.035 * soft + 0.012 * fine
  for _ in range(4):
    x0, lean = rng.uniform(-0.6, 0.6), rng.uniform(-0.25, 0.25)
    off = (across - x0 - lean * depth) / rng.uniform(0.05, 0.10)
    reach = np.exp(-(((depth - rng.uniform(0.9, 2.2)) / 0.55) ** 2))
    shade = shade - 0.07 * garment.weight * off * np.exp(-off * off) * reach
  return shade.astype(np.float32)


def _sew_torso(garment, torso, *, line, window, depth):
  """Draws collar band, hem and seams into the torso's cloth, in place."""
  unit = garment.unit
  trim = garment.trim.astype(np.float32)
  band = 0.055 if garment.neckline == 'crew' else 0.038
  ring = drawing.stroke(line, window, width=2 * band * unit)
  seam = drawing.stroke(line, window, width=2 * band * unit + 2.2) - ring
  torso += ring[..., None] * (trim - torso)
  torso *= 1 - 0.16 * np.clip(seam, 0, 1)[..., None]
  x = np.linspace(-1, 1, 41)
  wide = garment.half_width(garment.hem)
  hems = [garment.pixels(x * wide, garment.bottom(x) - 0.075)]
  if garment.sleeves == 'none':
    s = np.linspace(float(garment.top(1.0)) - 0.1, 0.66, 30)
    hems += [
      garment.pixels(side * (garment.half_width(s) - 0.035), s)
      for side in (-1, 1)
    ]
  for stitch in hems:
    mark = drawing.stroke(stitch, window, width=0.9)
    torso *= 1 - 0.20 * mark[..., None]


def _draw_sleeve(garment, side, *, across, depth, window):
  """Cloth (h, w, 3) and mask (h, w) of one flat sleeve."""
  along = np.linspace(0, 1, 25)
  outer, inner = garment.sleeve_edges(side, along)
  points = np.concatenate([outer, inner[::-1]])
  mask = drawing.polygon(garment.pixels(*points.T), window)
  # The sleeve's cloth is cut along its own axis.
  middle = (outer + inner) / 2
  ahead = middle[-1] - middle[0]
  ahead = ahead / np.hypot(*ahead)
  dx, dy = across - middle[0, 0], depth - middle[0, 1]
  cloth = patterns.cloth_colour(
    garment.cloth, (dx * ahead[1] - dy * ahead[0]).astype(np.float32),
    (dx * ahead[0] + dy * ahead[1] + 0.3).astype(np.float32),
    texel=1 / garment.unit, motif=False,
  )
  edges = garment.sleeve_edges(side, 1 - 0.07 / max(garment.sleeve, 0.2))
  stitch = drawing.stroke(garment.pixels(*np.array(edges).T), window, width=0.9)
  cloth *= 1 - 0.20 * stitch[..., None]
  if garment.cloth.trimmed:
    ends = np.array(
      [*edges, *garment.sleeve_edges(side, 1.1)[::-1]]
    )
    cuff = drawing.polygon(garment.pixels(*ends.T), window)
    cloth += cuff[..., None] * (garment.trim - cloth)
  return cloth, mask


def _draw_inside(garment, photo, body, line, window):
  """Back of the neck, seen through the opening: inner cloth and a label.

  Returns:
    float32 (h, w), its coverage.
  """
  unit = garment.unit
  side = float(garment.top(garment.neck_width / garment.tip))
  x = np.linspace(-1, 1, 31)
  back = np.column_stack([
    garment.neck_width * x, side + 0.075 * np.sqrt(1 - x * x)
  ])
  front = np.column_stack([
    (line[:, 0] - garment.origin[0]) / unit,
    (line[:, 1] - garment.origin[1]) / unit,
  ])[::-1]
  # A little wider than the opening, so that no white shows at the seam.
  low = front + np.array([0.0, 0.03])
  inside = drawing.polygon(
    garment.pixels(*np.concatenate([back, low]).T), window
  )
  rows = (np.arange(photo.shape[0], dtype=np.float32) - garment.origin[1]) / unit
  lit = 0.52 - 0.20 * drawing.smoothstep(side + 0.05, 0.6, rows)[:, None]
  lit = np.broadcast_to(lit, inside.shape)
  base = garment.cloth.colours[0] * np.float32(0.96)
  tone = drawing.tinted(base, lit, shadow=(0.42, 0.41, 0.45), gloss=0)
  photo += inside[..., None] * (tone - photo)
  band = drawing.stroke(
    garment.pixels(back[:, 0], back[:, 1] + 0.02), window, width=0.05 * unit
  ) * inside
  photo += band[..., None] * (garment.trim * np.float32(0.86) - photo)
  low = side + 0.075 + 0.035
  tag = garment.pixels(
    np.array([-0.06, 0.06, 0.06, -0.06]),
    np.array([low, low, low + 0.085, low + 0.085]),
  )
  tag = drawing.polygon(tag, window) * inside
  colour = np.array([0.93, 0.92, 0.90], np.float32)
  photo += tag[..., None] * (colour - photo)
  mark = garment.pixels(np.array([-0.03, 0.03]), np.array([low + 0.042] * 2))
  ink = drawing.stroke(mark, window, width=max(1, 0.012 * unit)) * tag
  photo += 0.7 * ink[..., None] * (np.float32(0.3) - photo)
  return inside


def to_uint8(picture):
  """float 0..1 to uint8, rounded."""
  return cv2.convertScaleAbs(np.clip(picture, 0, 1), alpha=255)
