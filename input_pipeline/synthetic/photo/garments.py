"""Shirts, blouses, hoodies, polo necks and tops of many cuts."""

from collections.abc import Callable
import dataclasses

import numpy as np

from input_pipeline.synthetic import garments
from input_pipeline.synthetic.garments import Garment
from input_pipeline.synthetic.photo import prints

_KINDS = (
  'tee',
  'shirt',
  'hoodie',
  'turtle',
  'blouse',
  'strap',
  'off',
  'jacket',
)
_SHARES = (0.34, 0.14, 0.09, 0.08, 0.12, 0.08, 0.05, 0.10)
_STREAM = 20


def make_garment(seed: int, index: int, *, height: int) -> Garment:
  """Draws the garment of pair `index`; see `garments.make_garment`."""
  garment = garments.make_garment(seed, index, height=height)
  rng = garment.rng(_STREAM)
  kind = str(rng.choice(_KINDS, p=_SHARES))
  changes = _CUTS[kind](garment, rng)
  cloth = prints.make_cloth(rng, garment.cloth, kind)
  garment = dataclasses.replace(
    garment,
    **changes,
    cloth=cloth,
    trim=cloth.trim,
    sheen=float(
      rng.choice([0.0, 0.015, 0.05, 0.16], p=(0.4, 0.35, 0.17, 0.08))
    ),
  )
  return _fitted(garment, rng)


def _profile(*, tip, chest, garment, tight=0.0):
  """The flat torso's profile for another chest or other shoulders."""
  hole = 0.5 * (tip + chest) if garment['sleeves'] != 'none' else tip - 0.05
  if garment['drop'] > -1:
    hole = tip  # Nothing narrows above what covers the arms.
  ease, flare = garment['ease'], garment['flare']
  return np.array(
    [
      [0.08, tip],
      [0.34, hole],
      [0.66, chest],
      [0.95, chest - 0.005],
      [1.42, 0.57 + 1.25 * ease - tight],
      [2.0, 0.68 + ease + 0.5 * flare],
      [2.45, 0.73 + ease + flare],
      [3.2, 0.74 + ease + 1.7 * flare],
    ]
  )


def _cut(garment, *, tip=None, tight=0.0, **changes):
  """The changes of a cut, with the profile that follows from them."""
  whole = {**vars(garment), **changes}
  sleeved = whole['sleeves'] != 'none'
  if tip is None:
    tip = 0.735 + 0.2 * whole['ease'] if sleeved else min(garment.tip, 0.6)
  chest = 0.66 + whole['ease']
  profile = _profile(tip=tip, chest=chest, garment=whole, tight=tight)
  width = min(whole['neck_width'], tip - 0.07)
  return {**changes, 'tip': tip, 'profile': profile, 'neck_width': width}


def _sleeves(rng, kind):
  """Changes that give sleeves of a kind."""
  length = garments.SLEEVE_LENGTHS[kind] * rng.uniform(0.88, 1.06)
  cuff = (
    rng.uniform(0.17, 0.24) if kind == 'short' else rng.uniform(0.105, 0.15)
  )
  return {'sleeves': kind, 'sleeve': length, 'cuff': cuff}


def _tee(garment, rng):
  if garment.sleeves != 'long':
    return {'pocket': bool(rng.random() < 0.08)}
  # Sleeves of every length.
  return {'sleeve': rng.uniform(1.25, 2.4)}


def _shirt(garment, rng):
  kind = 'long' if rng.random() < 0.65 else 'short'
  return _cut(
    garment,
    **_sleeves(rng, kind),
    collar='shirt',
    front='buttons',
    neckline='v',
    neck_width=rng.uniform(0.25, 0.29),
    neck_depth=rng.uniform(0.14, 0.36),
    ease=rng.uniform(0.05, 0.15),
    hem_curve=rng.uniform(0.04, 0.13),
    hem=rng.uniform(2.2, 2.8),
    weight=rng.uniform(0.3, 0.8),
    pocket=bool(rng.random() < 0.35),
  )


def _hoodie(garment, rng):
  return _cut(
    garment,
    **_sleeves(rng, 'long'),
    collar='hood',
    front='zip' if rng.random() < 0.35 else 'closed',
    neckline='round',
    neck_width=rng.uniform(0.27, 0.32),
    neck_depth=rng.uniform(0.16, 0.3),
    ease=rng.uniform(0.10, 0.18),
    hem=rng.uniform(2.1, 2.6),
    weight=rng.uniform(0.6, 1.0),
    pocket=bool(rng.random() < 0.75),
  )


def _turtle(garment, rng):
  kind = 'long' if rng.random() < 0.8 else 'none'
  sleeves = _sleeves(rng, 'long')
  if kind == 'none':
    sleeves = {'sleeves': 'none', 'sleeve': 0.0}
  return _cut(
    garment,
    **sleeves,
    collar='turtle',
    neckline='crew',
    neck_width=0.28,
    neck_depth=rng.uniform(0.08, 0.13),
    ease=rng.uniform(0.02, 0.14),
    weight=rng.uniform(0.4, 1.0),
  )


def _blouse(garment, rng):
  shape = str(rng.choice(['puff', 'bell']))
  kind = 'short' if rng.random() < 0.45 else 'long'
  sleeves = _sleeves(rng, kind)
  if shape == 'puff' and kind == 'short':
    sleeves['cuff'] = 0.16
  return _cut(
    garment,
    **sleeves,
    sleeve_shape=shape,
    front='buttons' if rng.random() < 0.3 else 'closed',
    ease=rng.uniform(0.05, 0.15),
    flare=rng.uniform(0.0, 0.12),
    weight=rng.uniform(0.0, 0.35),
  )


def _strap(garment, rng):
  tip = rng.uniform(0.36, 0.46)
  return _cut(
    garment,
    tip=tip,
    tight=0.03,
    sleeves='none',
    sleeve=0.0,
    neckline=str(rng.choice(['round', 'v'])),
    neck_width=tip - rng.uniform(0.07, 0.10),
    neck_depth=rng.uniform(0.42, 0.6),
    ease=rng.uniform(0.0, 0.09),
    hem=rng.uniform(1.7, 2.7),
  )


def _off(garment, rng):
  drop = rng.uniform(0.26, 0.40)
  sleeves = _sleeves(rng, str(rng.choice(['short', 'long'])))
  if rng.random() < 0.2:
    sleeves = {'sleeves': 'none', 'sleeve': 0.0}
  ease = rng.uniform(0.0, 0.08)
  return _cut(
    garment,
    tip=0.66 + ease,
    **sleeves,
    drop=drop,
    sleeve_shape=str(rng.choice(['straight', 'puff'])),
    neckline='round',
    neck_width=0.5,
    neck_depth=drop + rng.uniform(0.03, 0.1),
    ease=ease,
  )


def _jacket(garment, rng):
  front = str(rng.choice(['buttons', 'zip', 'open'], p=(0.25, 0.25, 0.5)))
  # An open one shows the round neckline of what is worn below.
  neck = {'neckline': 'v', 'neck_depth': rng.uniform(0.2, 0.75)}
  if front == 'open':
    neck = {'neckline': 'round', 'neck_depth': rng.uniform(0.14, 0.3)}
  return _cut(
    garment,
    **_sleeves(rng, 'long'),
    **neck,
    front=front,
    ease=rng.uniform(0.08, 0.16),
    hem=rng.uniform(2.1, 3.1),
    weight=rng.uniform(0.6, 1.0),
    pocket=bool(rng.random() < 0.4) and front != 'open',
  )


_CUTS: dict[str, Callable] = dict(
  zip(
    _KINDS,
    (_tee, _shirt, _hoodie, _turtle, _blouse, _strap, _off, _jacket),
    strict=True,
  )
)


def _fitted(garment, rng):
  """Lays the garment into its photo with a margin, as shops do."""
  reach = float(garment.half_width(np.linspace(0.1, garment.hem, 20)).max())
  top = -0.56 if garment.collar == 'hood' else float(garment.top(0.4))
  if garment.collar == 'turtle':
    top = -0.36
  bottom = garment.hem + garment.hem_curve
  if garment.sleeve:
    outer, inner = garment.sleeve_edges(1, np.linspace(0, 1, 12))
    reach = max(reach, float(outer[:, 0].max()))
    ends = (outer[:, 1].max(), inner[:, 1].max())
    bottom = max(bottom, float(max(ends)))
  width, height = garment.width, garment.height
  unit = min(0.9 * height / (bottom - top), 0.465 * width / reach)
  unit *= float(rng.uniform(0.88, 1.0))
  origin = np.array(
    [
      width / 2 + rng.uniform(-0.008, 0.008) * width,
      (height - unit * (bottom + top)) / 2,
    ]
  )
  return dataclasses.replace(garment, unit=unit, origin=origin)
