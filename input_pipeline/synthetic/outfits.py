"""Draws people in more kinds of clothes than try-on pairs need, for parsers.

`render_pair` draws one top over one pair of trousers or a skirt. A parser must
also know crop tops over bare bellies, high waists with the top tucked in,
shorts, open coats, scarves, bags and their straps, jewellery, beards, folded
arms and whole people down to the shoes. Here they are drawn, with the label of
each pixel and the piece that it belongs to, so that pieces can be given other
colours (`retexture`).
"""

import dataclasses

import numpy as np

from input_pipeline.synthetic import (
  accessories,
  drawing,
  fields,
  figure,
  garments,
  styles,
)
from input_pipeline.synthetic.people import Person, arm_pose
from viton_jax.labels import (
  L_ANKLE,
  L_EYE,
  L_SHOULDER,
  MIRRORED_JOINTS,
  MIRRORED_LABELS,
  NECK,
  NOSE,
  NUM_KEYPOINTS,
  R_ANKLE,
  R_EYE,
  R_SHOULDER,
)

HEIGHT, WIDTH = 448, 336
# Labels that LIP has; the skin of the torso is 10 as everywhere here.
UPPER, COAT, TORSO, FACE = 5, 7, 10, 13
LEFT_SHOE, RIGHT_SHOE = 18, 19
# Of what is worn under a coat, until that is drawn.
INNER = 23
_STREAM = 9
# Draws of the person's own generator are of a picture of this height.
_DRAWN_HEIGHT = 280


@dataclasses.dataclass(frozen=True)
class OutfitPicture:
  """A drawn person.

  Attributes:
    rgb: (448, 336, 3) uint8.
    labels: (448, 336) uint8, LIP-20.
    pieces: (448, 336) uint8: as `labels`, but coats 7, scarves 11, bags 20,
      ornaments 21 (belts, straps, jewellery) and beards 22 stand apart.
    keypoints: (18, 3) float32, COCO-18, pixels; all joints, also hidden ones.
  """

  rgb: np.ndarray
  labels: np.ndarray
  pieces: np.ndarray
  keypoints: np.ndarray


def render_outfit(
  seed: int, index: int, *, style: str = 'plain'
) -> OutfitPicture:
  """Draws person `index` in a style; a function of the arguments alone."""
  painters = styles.style_of(style)
  rng = np.random.default_rng([seed, index, _STREAM])
  person = painters.make_person(seed, index, height=_DRAWN_HEIGHT)
  person = _pose(_tall(person), rng)
  canvas = painters.start(person)
  painters.draw_back_hair(canvas, person)
  painters.draw_torso(canvas, person)
  plan = _Plan(painters, person, rng)
  if not plan.tucked:
    _draw_lower(canvas, plan)
  _draw_top(canvas, plan)
  if plan.tucked:
    _draw_lower(canvas, plan)
  _draw_shoes(canvas, person, rng)
  sleeved = plan.top
  if plan.coat is not None:
    _draw_coat(canvas, plan, plan.coat)
    sleeved = plan.coat
  pieces: list[tuple[np.ndarray, int]] = []
  if rng.random() < 0.5:
    pieces += accessories.ornaments(canvas, person, rng)
  _draw_arms(canvas, plan, sleeved)
  if plan.coat is not None:
    canvas.parse[canvas.parse == UPPER] = COAT
    canvas.parse[canvas.parse == INNER] = UPPER
  if rng.random() < 0.10:
    accessories.draw_scarf(canvas, person, rng)
  painters.draw_head(canvas, person)
  if rng.random() < 0.22:
    pieces += accessories.beard(canvas, person, rng)
  painters.draw_front_hair(canvas, person)
  behind = rng.random() < 0.06
  if behind:
    accessories.cover_face(canvas, person)
  labels = canvas.parse.copy()
  labels[np.isin(labels, (COAT, accessories.SCARF))] = UPPER
  drawn = canvas.parse.copy()
  for where, piece in pieces:
    # What was drawn later lies over it.
    drawn[where & np.isin(drawn, (FACE, TORSO, UPPER, COAT, 9, 12))] = piece
  for where, piece, label in accessories.bags(canvas, person, rng):
    drawn[where] = piece
    if label is not None:
      labels[where] = label
  keypoints = np.ones((NUM_KEYPOINTS, 3), np.float32)
  keypoints[:, :2] = person.joints
  if behind:
    keypoints[[NOSE, R_EYE, L_EYE]] = 0
    keypoints = keypoints[list(MIRRORED_JOINTS)]
    labels, drawn = mirror_labels(labels), mirror_labels(drawn)
  return OutfitPicture(
    painters.finish(canvas, person), labels, drawn, keypoints
  )


def mirror_labels(labels: np.ndarray) -> np.ndarray:
  """The same map with left and right limbs exchanged."""
  table = np.arange(256, dtype=np.uint8)
  table[: len(MIRRORED_LABELS)] = MIRRORED_LABELS
  return table[labels]


def _tall(person: Person) -> Person:
  """The person on a canvas with room for feet and raised arms."""
  shift = np.array([(WIDTH - person.width) / 2, 30.0])
  return dataclasses.replace(
    person,
    height=HEIGHT,
    width=WIDTH,
    pit=person.pit + shift,
    joints=person.joints + shift,
  )


def _pose(person: Person, rng: np.random.Generator) -> Person:
  """Other arms, legs apart, and now and then glasses or a hat."""
  joints = person.joints.copy()
  unit = person.unit
  folded = rng.random() < 0.15
  kinds, rises = [], []
  for k, (side, first) in enumerate(((-1, R_SHOULDER), (1, L_SHOULDER))):
    joints[first, 1] += person.rise[k] * unit
    kind, upper, lower = arm_pose(rng)
    if folded:
      kind, upper = 'cross', rng.uniform(4, 22)
      lower = rng.uniform(-112, -62)
    rise = 0.13 if upper > 100 else 0.0
    joints[first, 1] -= rise * unit
    for joint, angle, size in (
      (first + 1, upper, 1.36 * rng.uniform(0.8, 1.03)),
      (first + 2, lower, 1.12 * rng.uniform(0.7, 1.03)),
    ):
      angle = np.radians(angle)
      joints[joint] = joints[joint - 1] + unit * size * np.array(
        [side * np.sin(angle), np.cos(angle)]
      )
    kinds.append(kind)
    rises.append(rise)
  joints[NECK] = (joints[R_SHOULDER] + joints[L_SHOULDER]) / 2
  for side, first in ((-1, R_ANKLE - 2), (1, L_ANKLE - 2)):
    spread = rng.uniform(-0.05, 0.2)
    joints[first + 1, 0] += side * spread * unit
    joints[first + 2, 0] += side * rng.uniform(0.6, 2) * spread * unit
  bottom = 'skirt' if rng.random() < 0.35 else 'trousers'
  return dataclasses.replace(
    person,
    joints=joints,
    arms=tuple(kinds),
    rise=tuple(rises),
    bottom=bottom,
    bottom_length=rng.uniform(2.85, 4.9),
    hat=bool(rng.random() < 0.10),
    glasses=bool(rng.random() < 0.12),
  )


class _Plan:
  """What a person wears."""

  def __init__(
    self, painters: styles.Style, person: Person, rng: np.random.Generator
  ):
    self.painters, self.person, self.rng = painters, person, rng
    seed, index = person.seed, person.index
    top = painters.make_garment(seed, index, height=_DRAWN_HEIGHT)
    kind = rng.random()
    if kind < 0.16:  # A crop top over a bare belly.
      top = dataclasses.replace(top, hem=rng.uniform(1.05, 1.6))
      self.waist = rng.uniform(1.65, 2.05)
    elif kind < 0.40:
      self.waist = rng.uniform(1.5, 1.85)
    else:
      self.waist = rng.uniform(1.5, 2.0)
    # High trousers and skirts hold the top in.
    self.tucked = 0.16 <= kind < 0.40
    if kind > 0.95:  # A dress, or a long tunic.
      top = dataclasses.replace(top, hem=rng.uniform(2.9, 3.6), flare=0.12)
    if top.sleeves == 'long':
      top = dataclasses.replace(top, sleeve=rng.uniform(1.2, 2.45))
    self.top = top
    self.coat = None
    if rng.random() < 0.22:
      coat = painters.make_garment(seed, index + 500_000, height=_DRAWN_HEIGHT)
      self.coat = dataclasses.replace(
        coat,
        sleeves='long',
        sleeve=rng.uniform(2.1, 2.45),
        cuff=rng.uniform(0.11, 0.16),
        tip=0.735 + 0.2 * coat.ease,
        ease=coat.ease + 0.05,
        hem=rng.uniform(1.7, 3.3),
        neckline='v',
        neck_width=0.3,
        neck_depth=0.5,
      )


def _grid(person: Person) -> tuple[np.ndarray, np.ndarray]:
  return figure.torso_grid(person, (0, 0, WIDTH, HEIGHT))


def _draw_lower(canvas, plan: _Plan) -> None:
  """Trousers or a skirt from the waist down; shorts end early."""
  person, rng = plan.person, plan.rng
  before = canvas.copy()
  t, s = _grid(person)
  if person.bottom == 'trousers' and rng.random() < 0.2:
    bare = dataclasses.replace(person, bottom='skirt', bottom_length=2.2)
    plan.painters.draw_bottom(canvas, bare)
    legs = canvas.copy()
    plan.painters.draw_bottom(canvas, person)
    cut = rng.uniform(2.9, 5.4)
    canvas.restore(legs, np.broadcast_to(s >= cut, t.shape))
  else:
    plan.painters.draw_bottom(canvas, person)
  waist = plan.waist + rng.uniform(-0.05, 0.05) * t * t
  canvas.restore(before, ~(s > waist))


def _draw_top(canvas, plan: _Plan) -> None:
  before = canvas.copy()
  flat = plan.painters.draw_flat(plan.top)
  fold_seed = (plan.person.seed, plan.person.index, plan.top.index)
  plan.painters.dress_torso(
    canvas, plan.person, garment=plan.top, flat=flat, fold_seed=fold_seed
  )
  if plan.tucked:
    t, s = _grid(plan.person)
    inside = s < plan.waist + 0.1
    canvas.restore(before, np.broadcast_to(~inside, t.shape))
  if plan.rng.random() < 0.2:  # A collar or a polo neck.
    wide, low = plan.rng.uniform(0.21, 0.3), plan.rng.uniform(0.0, 0.15)
    high = plan.rng.uniform(-0.36, -0.16)
    ring = [(-wide, -0.08), (-0.2, high), (0.2, high), (wide, -0.08), (0, low)]
    points = plan.person.place(*np.array(ring).T)
    colour = canvas.rgb[canvas.parse == UPPER].mean(axis=0)
    accessories.paint_shape(canvas, points, colour=colour * 0.9, label=UPPER)


def _draw_coat(canvas, plan: _Plan, coat: garments.Garment) -> None:
  """A coat or jacket, open in front; its label is UPPER until it is done."""
  person, rng = plan.person, plan.rng
  canvas.parse[canvas.parse == UPPER] = INNER
  before = canvas.copy()
  flat = plan.painters.draw_flat(coat)
  fold_seed = (person.seed, person.index, coat.index)
  plan.painters.dress_torso(
    canvas, person, garment=coat, flat=flat, fold_seed=fold_seed
  )
  t, s = _grid(person)
  low, high = rng.uniform(0.0, 0.35), rng.uniform(0.12, 0.42)
  closed = rng.uniform(0.6, 4.0)  # Buttoned from here down, if at all.
  half = np.interp(s, [-0.3, 0.3, coat.hem], [0.2, high, low])
  middle = rng.uniform(-0.08, 0.08)
  half = half * drawing.smoothstep(closed, closed - 0.5, s)
  canvas.restore(before, ~(np.abs(t - middle) > half))
  edge = np.exp(-(((np.abs(t - middle) - half - 0.02) / 0.02) ** 2))
  canvas.darken(
    (0, 0, WIDTH, HEIGHT),
    0.35 * edge * (canvas.parse == UPPER) * (half > 0.01),
  )


def _draw_arms(canvas, plan: _Plan, garment) -> None:
  """Both arms with the sleeves of a garment, the nearer one last."""
  person = plan.person
  plan.painters.draw_arms(
    canvas,
    person,
    garment=garment,
    flat=plan.painters.draw_flat(garment),
    fold_seed=(person.seed, person.index, garment.index),
    sides=(-1, 1) if plan.rng.random() < 0.5 else (1, -1),
  )


def _draw_shoes(canvas, person: Person, rng: np.random.Generator) -> None:
  """A shoe at each ankle."""
  unit, colour = person.unit, rng.uniform(0.05, 0.9, 3).astype(np.float32)
  high = rng.uniform(-0.35, 0.0)  # Boots begin above the ankle.
  for side, ankle, label in (
    (-1, R_ANKLE, RIGHT_SHOE),
    (1, L_ANKLE, LEFT_SHOE),
  ):
    at = person.joints[ankle]
    toe = at + unit * np.array([side * rng.uniform(0.0, 0.18), 0.34])
    line = np.stack([at + unit * np.array([0, high]), at, toe])
    field = fields.limb_field(line, 0.2 * unit, shape=canvas.shape)
    if field is None:
      continue
    part = field.along / max(field.length, 1)
    radius = (0.12 + 0.04 * part**2).astype(np.float32) * unit
    canvas.paint_lit(
      field.window,
      field.coverage(radius),
      base=colour,
      lit=field.lit(radius),
      label=label,
      shadow=(0.4, 0.4, 0.4),
    )
