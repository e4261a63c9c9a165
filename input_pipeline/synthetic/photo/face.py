"""Draws faces: a relief of brow, nose, cheeks and lips, and what colours it.

Positions are in head heights: x beside the head's axis to the right of the
image, y from the crown (0) to the chin (1). A face is drawn on a patch of its
own and laid onto the canvas as a whole, since eyes are only a few pixels high.
"""

import dataclasses

import cv2
import numpy as np

from input_pipeline.synthetic import drawing
from input_pipeline.synthetic.hair import head_frame
from input_pipeline.synthetic.head import FACE, JAW, SUNGLASSES
from input_pipeline.synthetic.people import STREAM_SKIN
from input_pipeline.synthetic.photo import features
from input_pipeline.synthetic.photo.surface import slopes, unit_normal

_LOW, _HIGH = (-0.5, -0.02), (0.5, 1.1)


@dataclasses.dataclass
class Patch:
  """A face being drawn, all float32 (h, w, ...).

  Attributes:
    rate: pixels of a head.
    low: x, y in heads where the patch begins.
    x, y: (1, w) and (h, 1), position in heads.
    colour: (h, w, 3).
    relief: height in heads.
    gloss, openness: as of a Surface.
  """

  rate: np.floating
  low: tuple
  x: np.ndarray
  y: np.ndarray
  colour: np.ndarray
  relief: np.ndarray
  gloss: np.ndarray
  openness: np.ndarray

  def spot(self, x, y, wide, tall):
    """A soft spot, 1 in its middle: (h, w)."""
    across = np.exp(-(((self.x - x) / wide) ** 2))
    return across * np.exp(-(((self.y - y) / tall) ** 2))

  def at(self, points):
    """Pixels (n, 2) of positions in heads."""
    return (np.asarray(points, float) - self.low) * self.rate - 0.5

  def part(self, low, high):
    """The patch of a part of it, which shares its arrays."""
    first, last = (
      np.clip(
        np.round((np.array(at) - self.low) * self.rate).astype(int), 0, None
      )
      for at in (low, high)
    )
    box = np.s_[first[1] : last[1], first[0] : last[0]]
    return Patch(
      self.rate,
      tuple(self.low + first / self.rate),
      self.x[:, box[1]],
      self.y[box[0]],
      self.colour[box],
      self.relief[box],
      self.gloss[box],
      self.openness[box],
    )

  @property
  def window(self):
    return (0, 0, *self.relief.shape[::-1])

  def fill(self, points, *, blur=0.0):
    """Coverage of a shape, its rim `blur` heads soft."""
    cover = drawing.polygon(self.at(points), self.window)
    return drawing.blur(cover, blur * self.rate) if blur else cover

  def line(self, points, width, *, blur=0.0):
    """Coverage of a smooth line; lengths in heads."""
    path = self.at(drawing.spline(points, 5))
    cover = drawing.stroke(path, self.window, width=width * self.rate)
    return drawing.blur(cover, blur * self.rate) if blur else cover

  def tint(self, cover, colour):
    """Moves the colour to another, (3,) or (h, w, 3), where cover says."""
    box = drawing.covered(cover > 0.004)
    if box is not None:
      part = self.colour[box]
      colour = np.asarray(colour, np.float32)
      change = (colour[box] if colour.ndim > 1 else colour) - part
      change *= cover[box][..., None]
      part += change


def outline(person):
  """The face's outline (n, 2) in heads."""
  wide, jaw, chin = person.face[:3]
  look = person.look
  half = JAW.copy()
  lower = np.clip((half[:, 1] - 0.45) / 0.5, 0, 1)
  half[:, 0] *= 1 + 0.05 * wide + (0.06 * jaw + 0.05 * look.male) * lower
  half[:, 0] *= 1 + 0.05 * look.heavy * lower
  if look.age < 14:  # Round cheeks, a small chin.
    half[:, 0] *= 1.06 - 0.04 * lower
    half[:2, 1] -= 0.02
  half[:3, 1] += 0.018 * chin
  points = np.concatenate([half, (half * (-1, 1))[-2:0:-1]])
  return drawing.spline(points, 6, closed=True)


def draw_head(canvas, person):
  """Face, features and ears; hair follows on its own."""
  frame = head_frame(person)
  window = frame.window(_LOW, _HIGH, shape=canvas.shape)
  if window is None:
    return
  shape = outline(person)
  _cast_on_neck(canvas, frame, shape)
  rate = float(np.clip(1.6 * frame.unit, 40, 180))
  size = [round(rate * (_HIGH[k] - _LOW[k])) for k in (0, 1)]
  x = ((np.arange(size[0], dtype=np.float32) + 0.5) / rate + _LOW[0])[None]
  y = ((np.arange(size[1], dtype=np.float32) + 0.5) / rate + _LOW[1])[:, None]
  blank = np.zeros((size[1], size[0]), np.float32)
  patch = Patch(
    np.float32(rate), _LOW, x, y, np.zeros((*blank.shape, 3), np.float32),
    blank, blank.copy(), blank + 1,
  )  # fmt: skip
  alpha = patch.fill(shape)
  wide = np.interp(y[:, 0], *_half_widths(shape)).astype(np.float32)[:, None]
  _draw_skin(patch, person)
  features.draw_nose(patch.part((-0.3, 0.42), (0.3, 0.8)), person)
  features.draw_mouth(patch.part((-0.3, 0.68), (0.3, 1.08)), person)
  for side in (-1, 1):
    x = side * 0.17 + 0.05 * person.head_turn
    eye = patch.part((x - 0.22, 0.34), (x + 0.22, 0.8))
    features.draw_eye(eye, person, side=side)
  features.draw_age(patch, person)
  features.draw_beard(patch, person)
  normal = _normals(patch, wide, person)
  glasses = features.draw_glasses(patch, person)
  ears = _draw_ears(patch, person, normal, alpha)
  # Hollows see less of the light.
  low = drawing.blur(patch.relief, 0.03 * rate)
  patch.openness *= 1 - np.clip(9 * (low - patch.relief), -0.15, 0.5)
  alpha = np.maximum(alpha, ears)

  layers = cv2.merge(
    [*cv2.split(patch.colour), alpha, *cv2.split(normal), patch.openness]
    + [patch.gloss, glasses]
  )
  layers = drawing.blur(layers, 0.42 * rate / frame.unit)
  corners = np.array([_LOW, (_HIGH[0], _LOW[1]), (_LOW[0], _HIGH[1])])
  to = frame.at(corners) - window[:2]
  matrix = cv2.getAffineTransform(
    patch.at(corners).astype(np.float32), to.astype(np.float32)
  )
  size = (window[2] - window[0], window[3] - window[1])
  layers = np.dstack(
    [
      cv2.warpAffine(np.ascontiguousarray(layers[..., k : k + 4]), matrix, size)
      for k in (0, 4, 8)
    ]
  )
  cover = np.minimum(layers[..., 3] * 1.02, 1)
  canvas.lay(
    window,
    cover,
    colour=layers[..., :3],
    normal=layers[..., 4:6],
    label=FACE,
    openness=layers[..., 6],
    gloss=layers[..., 7],
  )
  if person.glasses:
    x0, y0, x1, y1 = window
    canvas.parse[y0:y1, x0:x1][layers[..., 8] > 0.5] = SUNGLASSES


def _cast_on_neck(canvas, frame, shape):
  """The head's shadow on neck, shoulders and garment."""
  window = frame.window((-0.8, -0.1), (0.8, 2.0), shape=canvas.shape)
  if window is None:
    return
  alpha = drawing.polygon(frame.at(shape), window)
  canvas.cast(window, alpha, height=0.24, depth=0.7)
  # Little light comes in below the chin, wherever the lamp stands.
  low = drawing.polygon(frame.at(shape * (0.86, 1) + (0, 0.13)), window)
  canvas.darken(window, 0.62 * drawing.blur(low, 0.06 * frame.unit))


def _half_widths(shape):
  """y, and half width there, of an outline."""
  right = shape[shape[:, 0] >= 0]
  order = np.argsort(right[:, 1])
  return right[order, 1], np.maximum(right[order, 0], 0.02)


def _draw_skin(patch, person):
  """Skin with blood in cheeks, nose and forehead, freckles and unevenness."""
  rng = person.rng(STREAM_SKIN, 30)
  look, turn = person.look, 0.05 * person.head_turn
  shape = patch.relief.shape
  blush = 0.7 * patch.spot(1.7 * turn, 0.665, 0.06, 0.05)
  for side in (-1, 1):
    strength = 0.7 + 0.5 * rng.random()
    blush += strength * patch.spot(turn + side * 0.19, 0.67, 0.1, 0.075)
    blush += 0.5 * patch.spot(side * 0.34, 0.57, 0.04, 0.1)
  blush += 0.45 * drawing.noise(rng, shape, cells=(18, 16))
  pale = 0.35 * patch.spot(turn, 0.3, 0.2, 0.1)
  tone = np.array([0.005, -0.095, -0.075], np.float32)
  patch.colour[:] = person.skin * (1 + (blush - pale)[..., None] * tone)
  fine = drawing.noise(rng, shape, cells=(shape[0] // 3, shape[1] // 3))
  patch.colour *= 1 + np.float32(0.012 + 0.0003 * look.age) * fine[..., None]
  if rng.random() < 0.2 and person.skin.mean() > 0.55:  # Freckles.
    spots = drawing.noise(rng, shape, cells=(70, 62))
    spots = drawing.smoothstep(0.35, 0.75, spots)
    spots *= patch.spot(turn, 0.62, 0.24, 0.12)
    patch.tint(0.5 * spots, person.skin * (0.72, 0.56, 0.48))
  # The forehead, nose and cheek bones shine.
  patch.gloss[:] = 0.05 + 0.05 * patch.spot(turn, 0.3, 0.16, 0.12)
  patch.gloss += 0.09 * patch.spot(1.5 * turn, 0.6, 0.03, 0.09)
  for side in (-1, 1):
    patch.gloss += 0.06 * patch.spot(turn + side * 0.19, 0.6, 0.06, 0.05)


def _normals(patch, wide, person):
  """Normals of the head's round form and of the relief: (h, w, 2)."""
  u = np.clip(patch.x / np.maximum(wide, 0.05), -1, 1)
  v = np.clip((patch.y - 0.50) / 0.52, -1, 1)
  nx = 0.94 * u * (0.5 + 0.5 * np.abs(u))
  ny = 0.62 * v * np.abs(v) + 0.10 * v
  # A turned head shows more of one side.
  nx = nx - 0.14 * person.head_turn * (1 - u * u)
  normal = np.dstack(np.broadcast_arrays(nx, ny)).astype(np.float32)
  return unit_normal(normal + slopes(patch.relief * patch.rate))


def _draw_ears(patch, person, normal, alpha):
  """Ears beside the face, into colour and normals; returns their coverage."""
  turn = 0.05 * person.head_turn
  ring = np.linspace(0, 2 * np.pi, 33)[:-1]
  total = np.zeros_like(alpha)
  for side in (-1, 1):
    x, y = side * 0.335 - 0.3 * turn, 0.57
    shape = np.column_stack(
      [x + 0.05 * np.cos(ring), y + 0.098 * np.sin(ring) - 0.01]
    )
    shape[:, 0] -= side * 0.014 * np.sin(ring)
    ear = patch.fill(shape) * (1 - alpha)
    inner = patch.spot(x + side * 0.005, y, 0.028, 0.065)
    patch.tint(ear * 0.9, person.skin * (1.0, 0.90, 0.88))
    patch.openness -= ear * (0.5 * inner + 0.12)
    normal[..., 0] += ear * (0.45 * side - normal[..., 0])
    normal[..., 1] += ear * ((patch.y - y) * 4 - normal[..., 1])
    total = np.maximum(total, ear)
  return total
