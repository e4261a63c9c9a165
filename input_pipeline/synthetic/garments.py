"""Garments: how they are cut, and how they lie in their shop photo.

A garment lives in the pixels of its own shop photo. Torso and sleeves are cut
from cloth whose colour is a function of those pixels; the worn image samples
the same cloth, so the correspondence between both photos is exact.

The flat torso is described in heads, like a body: x beside the middle, s below
the pit of the neck. `part` is x over the half width at that depth.
"""

import dataclasses

import numpy as np

from input_pipeline.synthetic import patterns
from input_pipeline.synthetic.people import (
  STREAM_GARMENT,
  profile_at,
  smooth_profile,
)

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
    collar: 'none', 'shirt', 'turtle' or 'hood'.
    front: 'closed', 'buttons', 'zip', or 'open' over a plain top.
    sleeve_shape: 'straight', 'puff' or 'bell'.
    drop: depth of the upper edge where shoulders are bare, -1 for none.
    pocket: whether there is one on the chest, or before the belly.
    sheen: strength of highlights.
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
  collar: str = 'none'
  front: str = 'closed'
  sleeve_shape: str = 'straight'
  drop: float = -1.0
  pocket: bool = False
  sheen: float = 0.0

  def rng(self, *more):
    return np.random.default_rng([self.seed, self.index, STREAM_GARMENT, *more])

  def half_width(self, s):
    """Half width in heads of the flat torso at depth s."""
    lookup = profile_at if np.size(s) > 1000 else smooth_profile
    return lookup(self.profile, s)

  def top(self, part):
    """Depth of the flat upper edge (shoulder line) at `part`."""
    line = -0.13 + 0.27 * np.minimum(np.abs(part), 1.3) ** 1.4
    return np.maximum(line, self.drop)

  def bottom(self, part):
    """Depth of the flat hem at `part`."""
    return self.hem + self.hem_curve * (1 - part * part)

  def pixels(self, x, s):
    """Pixels (..., 2) of a flat position in heads."""
    return np.stack(
      np.broadcast_arrays(
        self.origin[0] + self.unit * x, self.origin[1] + self.unit * s
      ),
      -1,
    )

  def swell(self, along):
    """Half width in heads that puffed and bell sleeves add at `along`."""
    if self.sleeve_shape == 'puff':
      # At the end itself the sine may be a rounding error below 0.
      wave = np.sin(np.pi * np.clip(along, 0, 1) ** 1.3)
      return 0.13 * np.maximum(wave, 0) ** 0.8
    if self.sleeve_shape == 'bell':
      part = np.clip((along - 0.45) / 0.55, 0, 1)
      return 0.16 * part * part * (2 - part)
    return 0 * along

  def sleeve_edges(self, side, along):
    """Outer and inner edge of a flat sleeve.

    Args:
      side: -1 for the sleeve on the left of the image, +1 for the other.
      along: 0 at the armhole to 1 at the cuff, any shape (...).

    Returns:
      Two arrays (..., 2), in heads (x, s).
    """
    along = np.asarray(along, float)[..., None]
    tip = np.array([self.tip, float(self.top(1.0))])
    pit = np.array([float(self.half_width(0.66)), 0.66])
    angle = np.radians(46 if self.sleeves == 'short' else 19)
    ahead = np.array([np.sin(angle), np.cos(angle)])
    aside = np.array([ahead[1], -ahead[0]])
    end = tip + ahead * (self.sleeve + 0.06)
    end = end + aside * 0.02
    inner_end = end - aside * 2 * self.cuff
    # Both edges bow a little, as cloth that lies on a table does.
    bow = (4 * along * (1 - along)) * aside
    outer = tip + along * (end - tip) + 0.03 * bow
    inner = pit + along * (inner_end - pit) - 0.025 * bow
    if self.sleeve_shape != 'straight':
      more = self.swell(along) * aside
      outer, inner = outer + more, inner - more
    flip = np.array([side, 1.0])
    return outer * flip, inner * flip

  def sleeve_point(self, side, *, along, across):
    """Pixels, float32 (h, w, 2), of a flat sleeve.

    Args:
      side: see `sleeve_edges`.
      along: float32 (h, w), 0 at the armhole to 1 at the cuff.
      across: float32 (h, w), -1 at the inner to +1 at the outer edge.
    """
    # The edges are parabolas in `along`; three points give them.
    point = np.empty((*along.shape, 2), np.float32)
    mix = (across + 1) / 2
    straight = dataclasses.replace(self, sleeve_shape='straight')
    outer, inner = straight.sleeve_edges(side, [0.0, 0.5, 1.0])
    for axis in (0, 1):
      edges = []
      for start, middle, end in (outer[:, axis], inner[:, axis]):
        bend = float(2 * start - 4 * middle + 2 * end)
        slope = float(end - start) - bend
        edges.append((bend * along + slope) * along + float(start))
      value = edges[1] + mix * (edges[0] - edges[1])
      point[..., axis] = value * self.unit + float(self.origin[axis])
    if self.sleeve_shape != 'straight':
      whole, _ = self.sleeve_edges(side, 0.5)
      aside = (whole - outer[1]) / self.swell(np.array(0.5))
      more = across * self.swell(along) * self.unit
      point += (more[..., None] * aside).astype(np.float32)
    return point


def make_garment(seed, index, *, height):
  """Draws the garment of pair `index`; see `people.make_person`."""
  rng = np.random.default_rng([seed, index, STREAM_GARMENT])
  width = round(height * 3 / 4)
  sleeves = str(rng.choice(['none', 'short', 'long'], p=(0.24, 0.44, 0.32)))
  neckline = str(rng.choice(['crew', 'round', 'v'], p=(0.42, 0.30, 0.28)))
  ease = rng.uniform(0.03, 0.13)
  flare = rng.choice([0.0, 0.0, 0.03, 0.10]) + rng.uniform(0, 0.03)
  # From cropped, just over the waistband, to a tunic.
  hem = rng.choice(
    [1.85, 2.15, 2.35, 2.55, 2.80], p=(0.12, 0.2, 0.3, 0.23, 0.15)
  ) + rng.uniform(-0.08, 0.08)
  tip = rng.uniform(0.50, 0.60) if sleeves == 'none' else 0.735 + 0.2 * ease
  neck_width = {
    'crew': rng.uniform(0.27, 0.31),
    'round': rng.uniform(0.31, 0.40),
    'v': rng.uniform(0.28, 0.34),
  }[neckline]
  neck_width = min(neck_width, tip - 0.13)
  neck_depth = {
    'crew': rng.uniform(0.13, 0.20),
    'round': rng.uniform(0.28, 0.46),
    'v': rng.uniform(0.42, 0.62),
  }[neckline]
  chest = 0.66 + ease
  hole = [0.34, tip - 0.05 if sleeves == 'none' else 0.5 * (tip + chest)]
  profile = np.array(
    [
      [0.08, tip],
      hole,
      [0.66, chest],
      [0.95, chest - 0.005],
      [1.42, 0.57 + 1.25 * ease],
      [2.0, 0.68 + ease + 0.5 * flare],
      [2.45, 0.73 + ease + flare],
      [3.2, 0.74 + ease + 1.7 * flare],
    ]
  )
  cuff = (
    rng.uniform(0.17, 0.24)
    if sleeves == 'short'
    else (rng.uniform(0.105, 0.14))
  )
  sleeve = SLEEVE_LENGTHS[sleeves] * rng.uniform(0.92, 1.06)
  trial = Garment(
    seed=seed,
    index=index,
    height=height,
    width=width,
    unit=1.0,
    origin=np.zeros(2),
    sleeves=sleeves,
    sleeve=sleeve,
    cuff=cuff,
    neckline=neckline,
    neck_width=neck_width,
    neck_depth=neck_depth,
    hem=float(hem),
    hem_curve=rng.uniform(0.02, 0.06),
    ease=ease,
    flare=float(flare),
    tip=tip,
    profile=profile,
    weight=rng.uniform(0, 1),
    trim=np.zeros(3),
    # Drawn at the end, after the numbers that the fit draws.
    cloth=None,  # pyright: ignore[reportArgumentType]
  )
  # Fit the cut into the photo with a margin, as shops do.
  reach = (
    float(trial.half_width(trial.hem))
    if not sleeve
    else max(
      float(trial.sleeve_edges(1, 1.0)[0][0]),
      float(trial.half_width(trial.hem)),
    )
  )
  reach = max(reach, chest)
  top, bottom = float(trial.top(0.4)), trial.hem + trial.hem_curve
  if sleeve:
    bottom = max(bottom, float(trial.sleeve_edges(1, 1.0)[1][1]))
  unit = min(0.88 * height / (bottom - top), 0.465 * width / reach)
  unit *= float(rng.uniform(0.94, 1.0))
  origin = np.array(
    [
      width / 2 + rng.uniform(-0.008, 0.008) * width,
      (height - unit * (bottom + top)) / 2,
    ]
  )
  cloth = patterns.make_cloth(rng)
  return dataclasses.replace(
    trial, unit=unit, origin=origin, cloth=cloth, trim=cloth.trim
  )
