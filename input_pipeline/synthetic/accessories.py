"""Draws what people wear and carry beside their clothes: scarves, bags, beards.

Ornaments keep the label of what lies below them: a necklace is skin, a strap
on a top is top. A bag is background.
"""

import cv2
import numpy as np

from input_pipeline.synthetic import drawing, hair
from input_pipeline.synthetic.people import Person
from viton_jax.labels import L_WRIST, R_WRIST

HAIR, TORSO, SCARF, FACE, SUNGLASSES = 2, 10, 11, 13, 4
# Pieces that are no label of their own.
BAG, ORNAMENT, BEARD = 20, 21, 22
_STREAM = 9


def paint_shape(canvas, points, *, colour, label, width=None):
  """Paints a polygon, or a line of a width; returns where, (h, w) bool."""
  window = (0, 0, *canvas.shape[::-1])
  if width is None:
    alpha = drawing.polygon(points, window)
  else:
    alpha = drawing.stroke(points, window, width=width)
  canvas.paint(window, alpha, colour=colour, label=label)
  return alpha > 0.5


def any_colour(rng: np.random.Generator) -> np.ndarray:
  return rng.uniform(0.03, 0.95, 3).astype(np.float32)


def draw_scarf(canvas, person: Person, rng: np.random.Generator) -> None:
  """A scarf around the neck with one end hanging down."""
  colour = any_colour(rng)
  wide, low = rng.uniform(0.3, 0.48), rng.uniform(0.1, 0.35)
  ring = [
    (-wide, -0.2),
    (-0.2, -0.36),
    (0.2, -0.36),
    (wide, -0.2),
    (0.7 * wide, low),
    (0, low + 0.12),
    (-0.7 * wide, low),
  ]
  side = rng.choice([-1, 1])
  end = rng.uniform(0.5, 1.7)
  tail = [(0.02, 0.0), (0.3, 0.0), (0.34, end), (0.08, end)]
  for shape in (np.array(tail) * (side, 1), np.array(ring)):
    points = person.place(shape[:, 0], shape[:, 1])
    if len(shape) == 7:
      points = drawing.spline(points, 8, closed=True)
    where = paint_shape(canvas, points, colour=colour, label=SCARF)
    rough = drawing.noise(rng, where.shape, cells=(60, 45))
    canvas.darken(
      (0, 0, *canvas.shape[::-1]), where * (0.15 + 0.15 * rough).clip(0, 1)
    )


def ornaments(
  canvas, person: Person, rng: np.random.Generator
) -> list[tuple[np.ndarray, int]]:
  """Necklaces, belts, braces and straps: they keep the label below them."""
  found = []
  unit = person.unit

  def line(points, width):
    points = np.array(points, float)
    path = drawing.spline(person.place(points[:, 0], points[:, 1]), 8)
    where = paint_shape(
      canvas, path, colour=any_colour(rng), label=None, width=width * unit
    )
    found.append((where, ORNAMENT))

  kind = rng.random()
  if kind < 0.35:  # A necklace, a chain, a tie or a lanyard.
    depth, wide = rng.uniform(0.08, 0.9), rng.uniform(0.2, 0.34)
    line(
      [(-wide, -0.12), (-0.55 * wide, depth * 0.7), (0, depth)]
      + [(0.55 * wide, depth * 0.7), (wide, -0.12)],
      rng.uniform(0.02, 0.07),
    )
  elif kind < 0.5:
    line(
      [(0, 0.0), (0.01, 0.5), (0, rng.uniform(0.9, 1.8))],
      rng.uniform(0.08, 0.2),
    )
  elif kind < 0.75:  # A belt.
    depth = rng.uniform(1.5, 2.1)
    wide = float(person.half_width(depth)) + 0.02
    line(
      [(-wide, depth), (0, depth + 0.04), (wide, depth)],
      rng.uniform(0.06, 0.16),
    )
  else:  # Braces, or the straps of a rucksack.
    at = rng.uniform(0.3, 0.5)
    for side in (-1, 1):
      line(
        [
          (side * at, -0.05),
          (side * at * 1.05, 0.6),
          (side * (at + 0.12), 1.3),
        ],
        rng.uniform(0.06, 0.16),
      )
  return found


def bags(
  canvas, person: Person, rng: np.random.Generator
) -> list[tuple[np.ndarray, int, int | None]]:
  """Bracelets, a bag and its strap: where, piece, label (None: as below)."""
  found: list[tuple[np.ndarray, int, int | None]] = []
  for wrist in (R_WRIST, L_WRIST):
    # A watch, a bracelet or a ring on an arm.
    if rng.random() < 0.12:
      elbow = person.joints[wrist - 1]
      at = person.joints[wrist]
      ahead = (at - elbow) / max(np.hypot(*(at - elbow)), 1)
      across = np.array([-ahead[1], ahead[0]]) * 0.09 * person.unit
      middle = at - ahead * rng.uniform(0, 0.15) * person.unit
      where = paint_shape(
        canvas,
        np.stack([middle - across, middle + across]),
        colour=any_colour(rng),
        label=None,
        width=rng.uniform(0.04, 0.1) * person.unit,
      )
      found.append((where & (canvas.parse > 0), ORNAMENT, None))
  if rng.random() > 0.18:
    return found
  side = rng.choice([-1, 1])
  colour, crossed = any_colour(rng), rng.random() < 0.6
  hip = np.array([side * rng.uniform(0.55, 0.95), rng.uniform(1.9, 2.7)])
  start = np.array([(-side if crossed else side) * 0.42, 0.0])
  points = person.place(*np.stack([start, (start + hip) / 2, hip]).T)
  where = paint_shape(
    canvas,
    points,
    colour=colour * 0.8,
    label=None,
    width=rng.uniform(0.04, 0.12) * person.unit,
  )
  # Off the person the strap is background.
  found.append((where, ORNAMENT, None))
  wide, high = rng.uniform(0.22, 0.5), rng.uniform(0.3, 0.8)
  box = np.array(
    [[-1, 0], [-0.85, -0.1], [0.85, -0.1], [1, 0], [1, 1], [-1, 1]]
  )
  box = box * (wide, high) + hip
  bag = paint_shape(
    canvas, person.place(box[:, 0], box[:, 1]), colour=colour, label=None
  )
  found.append((bag, BAG, 0))
  return found


def beard(
  canvas, person: Person, rng: np.random.Generator
) -> list[tuple[np.ndarray, int]]:
  """A beard, or a moustache: face by label."""
  frame = hair.head_frame(person)
  if rng.random() < 0.3:
    shape = [(-0.13, 0.75), (0, 0.71), (0.13, 0.75), (0, 0.765)]
    shape = np.array(shape)
  else:
    full = rng.uniform(1.0, 1.12)
    outer = [(-0.33, 0.62), (-0.28, 0.84), (-0.14, 0.99), (0, full)]
    inner = [(0.2, 0.75), (0.12, 0.72), (0, 0.73), (-0.12, 0.72), (-0.2, 0.75)]
    outer += [(-x, y) for x, y in outer[-2::-1]]
    shape = np.array(outer + inner)
  points = drawing.spline(frame.at(shape), 6, closed=True)
  tone = person.hair * rng.uniform(0.6, 1.0)
  window = (0, 0, *canvas.shape[::-1])
  alpha = drawing.polygon(points, window)
  alpha = alpha * np.isin(canvas.parse, (FACE, TORSO))
  canvas.paint(window, alpha, colour=tone, label=None)
  return [(alpha > 0.5, BEARD)]


def cover_face(canvas, person: Person) -> None:
  """Hair instead of the face: the person turns their back to the camera."""
  frame = hair.head_frame(person)
  x, y = frame.grid((0, 0, *canvas.shape[::-1]))
  face = (canvas.parse == FACE) | (canvas.parse == SUNGLASSES)
  face &= (y < 0.9) & (np.abs(x) < 0.32)
  rough = 1 + 0.2 * cv2.resize(
    drawing.noise(person.rng(_STREAM), (56, 336), cells=(4, 120)),
    canvas.shape[::-1],
  )
  canvas.rgb[face] = (person.hair * rough[..., None]).clip(0, 1)[face]
  canvas.parse[face] = HAIR
