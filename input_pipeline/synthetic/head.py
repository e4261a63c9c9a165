"""Draws the face and its features.

Positions are in head heights: x beside the head's axis to the right of the
image, y from the crown (0) to the chin (1). The head is drawn on an enlarged
copy of its part of the canvas and shrunk back, because eyes and lips are only
a few pixels high.
"""

import cv2
import numpy as np

from input_pipeline.synthetic import drawing, hair
from input_pipeline.synthetic.figure import SKIN_SHADOW
from input_pipeline.synthetic.hair import head_frame

SUNGLASSES, FACE = 4, 13

JAW = np.array(
  [
    [0.0, 1.0],
    [0.095, 0.985],
    [0.195, 0.915],
    [0.272, 0.80],
    [0.318, 0.66],
    [0.338, 0.50],
    [0.330, 0.34],
    [0.285, 0.18],
    [0.18, 0.07],
    [0.0, 0.035],
  ]
)


def draw_head(canvas, person):
  """Face, features and the hair around the face."""
  frame = head_frame(person)
  window = frame.window((-0.62, -0.25), (0.62, 1.1), shape=canvas.shape)
  if window is None:
    return
  x0, y0, x1, y1 = window
  scale = int(np.clip(round(190 / person.unit), 2, 4))
  big = drawing.Canvas(
    *(
      np.repeat(np.repeat(a[y0:y1, x0:x1], scale, 0), scale, 1)
      for a in (canvas.rgb, canvas.parse, canvas.flat)
    )
  )
  frame = head_frame(person, scale=scale, origin=(x0, y0))
  _draw_face(big, person, frame=frame)
  hair.draw_cap(big, person, frame=frame)
  if person.glasses:
    _draw_glasses(big, person, frame=frame)
  if person.hat:
    hair.draw_hat(big, person, frame=frame)
  size = (x1 - x0, y1 - y0)
  canvas.rgb[y0:y1, x0:x1] = cv2.resize(
    big.rgb, size, interpolation=cv2.INTER_AREA
  )
  half = scale // 2
  canvas.parse[y0:y1, x0:x1] = big.parse[half::scale, half::scale]
  canvas.flat[y0:y1, x0:x1] = big.flat[half::scale, half::scale]


def _face_outline(person):
  wide, jaw, chin = person.face[:3]
  half = JAW.copy()
  lower = np.clip((half[:, 1] - 0.45) / 0.5, 0, 1)
  half[:, 0] *= 1 + 0.03 * wide + 0.05 * jaw * lower
  half[:3, 1] += 0.012 * chin
  points = np.concatenate([half, (half * (-1, 1))[-2:0:-1]])
  return drawing.spline(points, 6, closed=True)


def _draw_face(canvas, person, *, frame):
  window = frame.window((-0.42, 0.0), (0.42, 1.05), shape=canvas.shape)
  x, y = frame.grid(window)
  skin = person.skin
  turn = 0.05 * person.head_turn

  for side in (-1, 1):  # Ears.
    centre = (side * 0.335 - 0.3 * turn, 0.56)
    ring = np.linspace(0, 2 * np.pi, 33)[:-1]
    ear = centre + np.column_stack([0.045 * np.cos(ring), 0.095 * np.sin(ring)])
    alpha = drawing.polygon(frame.at(ear), window)
    inner = np.hypot((x - centre[0]) / 0.03, (y - centre[1]) / 0.07)
    lit = 0.62 - 0.12 * np.exp(-inner * inner)
    canvas.paint_lit(
      window, alpha, base=skin, lit=lit, label=FACE, shadow=SKIN_SHADOW
    )

  alpha = drawing.polygon(frame.at(_face_outline(person)), window)
  nx = np.clip((x - 0.3 * turn) / 0.40, -0.97, 0.97)
  ny = np.clip((y - 0.52) / 0.62, -0.97, 0.97)
  nz = np.sqrt(np.maximum(1 - nx * nx - 0.7 * ny * ny, 0.02))
  light = drawing.LIGHT
  lit = 0.72 * nx * light[0] + 0.5 * ny * light[1] + nz * light[2] + 0.12
  lit = lit + _face_relief(x, y, turn=turn)
  # Cheeks and the tip of the nose carry more blood.
  blush = 0.5 * _spot(x, y, at=(1.7 * turn, 0.655), size=(0.05, 0.05))
  for cheek in (turn - 0.185, turn + 0.185):
    blush += _spot(x, y, at=(cheek, 0.67), size=(0.085, 0.065))
  base = skin * (1 - blush[..., None] * np.array([0, 0.085, 0.07], np.float32))
  canvas.paint_lit(
    window,
    alpha,
    base=base,
    lit=lit,
    label=FACE,
    shadow=SKIN_SHADOW,
    gloss=0.10,
  )
  shape = canvas.shape
  part = frame.window((-0.14, 0.60), (0.14, 0.74), shape=shape)
  _draw_nose(canvas, person, frame=frame, window=part, turn=turn)
  part = frame.window((-0.24, 0.70), (0.24, 0.90), shape=shape)
  _draw_mouth(canvas, person, frame=frame, window=part, turn=turn)
  for side in (-1, 1):
    x0 = side * 0.15 + turn
    part = frame.window((x0 - 0.15, 0.38), (x0 + 0.15, 0.62), shape=shape)
    _draw_eye(canvas, person, frame=frame, window=part, side=side, turn=turn)


def _spot(x, y, *, at, size):
  """A Gaussian spot around `at`, of the given widths."""
  off = ((x - at[0]) / size[0]) ** 2 + ((y - at[1]) / size[1]) ** 2
  return np.exp(-off)


def _face_relief(x, y, *, turn):
  """Light and shade of brow, nose, lips and cheeks, added to the light."""
  relief = np.zeros_like(x)

  def spot(cx, cy, wx, wy):
    return _spot(x, y, at=(cx, cy), size=(wx, wy))

  for side in (-1, 1):
    cx = side * 0.15 + turn
    relief = relief - 0.13 * spot(cx, 0.515, 0.095, 0.045)  # Eye sockets.
    relief = relief + 0.05 * spot(cx + side * 0.05, 0.64, 0.07, 0.05)
    relief = relief - 0.07 * spot(side * 0.27, 0.78, 0.07, 0.12)
  nose = 1.7 * turn
  relief = relief + 0.09 * spot(0.6 * nose - 0.005, 0.57, 0.020, 0.10)
  relief = relief - 0.09 * spot(0.7 * nose + 0.050, 0.59, 0.030, 0.085)
  relief = relief - 0.12 * spot(0.8 * nose + 0.015, 0.712, 0.060, 0.022)
  relief = relief + 0.09 * spot(nose - 0.008, 0.655, 0.025, 0.022)
  relief = relief - 0.10 * spot(turn, 0.868, 0.085, 0.022)  # Below the lip.
  return relief + 0.04 * spot(turn, 0.93, 0.07, 0.04)


def _draw_nose(canvas, person, *, frame, window, turn):
  middle = 1.7 * turn
  dark = person.skin * np.array([0.62, 0.42, 0.38], np.float32)
  wide = 0.056 + 0.008 * person.face[3]
  for side in (-1, 1):
    hole = np.array(
      [[-0.020, 0.0], [0.0, -0.010], [0.018, 0.002], [0, 0.008]]
    ) * (side, 1) + (middle + side * 0.60 * wide, 0.692)
    hole = drawing.spline(hole, 5, closed=True)
    alpha = drawing.polygon(frame.at(hole), window)
    canvas.paint(window, 0.65 * alpha, colour=dark, label=None)
    wing = np.array(
      [[0.82, 0.648], [1.04, 0.668], [1.02, 0.692], [0.86, 0.701]]
    ) * (side * wide, 1) + (middle, 0)
    line = drawing.stroke(
      frame.at(drawing.spline(wing, 5)), window, width=0.009 * frame.unit
    )
    canvas.paint(window, 0.30 * line, colour=dark, label=None)


def _draw_mouth(canvas, person, *, frame, window, turn):
  half = 0.118 + 0.012 * person.face[4]
  full = 0.030 + 0.006 * person.face[5]
  rise = 0.007 + 0.018 * person.smile
  centre = np.array([1.25 * turn, 0.790])

  def curve(points):
    return frame.at(drawing.spline(np.array(points) + centre, 6))

  corner = (half, -rise)
  seam = [
    (-half, -rise),
    (-0.45 * half, 0.003),
    (-0.12 * half, 0.001),
    (0, 0.006),
    (0.12 * half, 0.001),
    (0.45 * half, 0.003),
    corner,
  ]
  upper = [
    (-half, -rise),
    (-0.5 * half, -0.62 * full),
    (-0.17 * half, -full),
    (0, -0.74 * full),
    (0.17 * half, -full),
    (0.5 * half, -0.62 * full),
    corner,
  ]
  lower = [
    (-half, -rise),
    (-0.55 * half, 0.85 * full),
    (0, 1.36 * full),
    (0.55 * half, 0.85 * full),
    corner,
  ]
  lips = person.lips
  for edge, factor in ((lower, 1.06), (upper, 0.86)):
    shape = np.concatenate([curve(edge), curve(seam)[::-1]])
    alpha = drawing.polygon(shape, window)
    canvas.paint(
      window, 0.86 * alpha, colour=np.minimum(lips * factor, 1), label=None
    )
  shine = [
    (-0.35 * half, 0.62 * full),
    (0, 0.75 * full),
    (0.30 * half, 0.60 * full),
  ]
  line = drawing.stroke(curve(shine), window, width=0.012 * frame.unit)
  line = drawing.blur(line, 0.008 * frame.unit)
  canvas.paint(window, 0.28 * line, colour=np.float32(1), label=None)
  dark = lips * np.array([0.50, 0.42, 0.44], np.float32)
  line = drawing.stroke(curve(seam), window, width=0.010 * frame.unit)
  canvas.paint(window, 0.75 * line, colour=dark, label=None)


def _draw_eye(canvas, person, *, frame, window, side, turn):
  unit = frame.unit
  centre = (side * 0.150 + turn, 0.535)
  wide, tall = 0.073, 0.037 + 0.004 * person.face[6]

  def curve(points, count=6):
    return frame.at(
      drawing.spline(np.array(points) * (side, 1) + centre, count)
    )

  # From the inner to the outer corner; the outer one lies a little higher.
  lid = [
    (-wide, 0.007),
    (-0.58 * wide, -0.66 * tall),
    (0.0, -tall),
    (0.6 * wide, -0.74 * tall),
    (wide, -0.001),
  ]
  low = [
    (wide, -0.001),
    (0.55 * wide, 0.58 * tall),
    (-0.1 * wide, 0.72 * tall),
    (-wide, 0.007),
  ]
  opening = drawing.polygon(np.concatenate([curve(lid), curve(low)]), window)
  white = np.array([0.955, 0.945, 0.935], np.float32)
  canvas.paint(window, opening, colour=white, label=None)
  x, y = frame.grid(window)
  look = (centre[0] + 0.008 * person.head_turn, centre[1] - 0.004)
  distance = np.hypot(x - look[0], y - look[1])

  def disc(radius):
    return np.clip((radius - distance) * unit + 0.5, 0, 1) * opening

  iris = person.iris * np.float32(0.55)
  canvas.paint(window, disc(0.0315), colour=iris, label=None)
  ring = person.iris * (0.85 + 8 * np.maximum(y - look[1], 0))[..., None]
  canvas.paint(
    window,
    disc(0.0265),
    colour=np.minimum(ring, 1).astype(np.float32),
    label=None,
  )
  canvas.paint(window, disc(0.0135), colour=np.float32(0.05), label=None)
  spark = np.hypot(x - look[0] + 0.010, y - look[1] + 0.011)
  spark = np.clip((0.0075 - spark) * unit + 0.5, 0, 1) * opening
  canvas.paint(window, 0.95 * spark, colour=np.float32(1), label=None)
  # The lid's shadow on the eye, the lashes, the crease above.
  upper = curve(lid)
  shade = drawing.blur(
    drawing.stroke(upper, window, width=0.022 * unit), 0.010 * unit
  )
  canvas.paint(
    window, 0.55 * shade * opening, colour=np.float32(0.15), label=None
  )
  lash = np.array([34, 24, 24], np.float32) / 255
  line = drawing.stroke(upper, window, width=0.012 * unit)
  canvas.paint(window, 0.88 * line, colour=lash, label=None)
  wing = curve(
    [(0.5 * wide, -0.84 * tall), (wide, -0.006), (1.12 * wide, -0.014)]
  )
  line = drawing.stroke(wing, window, width=0.011 * unit)
  canvas.paint(window, 0.9 * line, colour=lash, label=None)
  line = drawing.stroke(curve(low), window, width=0.006 * unit)
  canvas.paint(window, 0.40 * line, colour=lash, label=None)
  crease = [(p[0], p[1] - 0.020) for p in lid[1:]]
  line = drawing.stroke(curve(crease), window, width=0.008 * unit)
  dark = person.skin * np.array([0.60, 0.44, 0.40], np.float32)
  canvas.paint(window, 0.45 * line, colour=dark, label=None)
  # Brow: thick inside, thin outside.
  arch = 0.010 * person.face[7]
  brow = [
    (-0.092, -0.092),
    (-0.03, -0.103 - arch),
    (0.045, -0.106 - arch),
    (0.112, -0.074),
    (0.045, -0.090 - arch),
    (-0.03, -0.083 - arch),
    (-0.090, -0.071),
  ]
  alpha = drawing.polygon(curve(brow, 5), window)
  alpha = drawing.blur(alpha, 0.005 * unit)
  tone = person.hair * np.float32(0.55) + person.skin * np.float32(0.12)
  canvas.paint(window, 0.82 * alpha, colour=tone, label=None)


def _draw_glasses(canvas, person, *, frame):
  window = (0, 0, canvas.shape[1], canvas.shape[0])
  turn = 0.05 * person.head_turn
  _, y = frame.grid(window)
  dark = np.array([0.10, 0.09, 0.10], np.float32)
  for side in (-1, 1):
    lens = np.array(
      [
        [-0.115, -0.045],
        [0.0, -0.060],
        [0.125, -0.050],
        [0.118, 0.03],
        [0.02, 0.075],
        [-0.085, 0.045],
      ]
    ) * (side, 1) + (side * 0.155 + turn, 0.545)
    alpha = drawing.polygon(
      frame.at(drawing.spline(lens, 8, closed=True)), window
    )
    shine = 0.05 + 0.28 * np.clip((y - 0.50) / 0.12, 0, 1)
    tone = dark + shine[..., None] * np.array([0.6, 0.5, 0.45], np.float32)
    canvas.paint(window, 0.97 * alpha, colour=tone, label=SUNGLASSES)
  bridge = np.array(
    [[-0.06 + turn, 0.515], [turn, 0.503], [0.06 + turn, 0.515]]
  )
  line = drawing.stroke(frame.at(bridge), window, width=0.020 * frame.unit)
  canvas.paint(window, line, colour=dark, label=SUNGLASSES)
