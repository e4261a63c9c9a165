"""Draws hair as single strands, and what covers it.

Positions are in head heights: x beside the head's axis to the right of the
image, y from the crown (0) to the chin (1).
"""

import numpy as np

from input_pipeline.synthetic import drawing
from input_pipeline.synthetic.hair import HAIR, HAT, head_frame
from input_pipeline.synthetic.people import STREAM_SKIN
from input_pipeline.synthetic.photo.surface import slopes, unit_normal

# Brightness of strands, those that lie on top last, and how many there are.
_TONES = np.array([0.62, 0.74, 0.84, 0.93, 1.03, 1.15, 1.32], np.float32)
_SHARES = (0.18, 0.2, 0.2, 0.17, 0.13, 0.08, 0.04)


def _resampled(points, count=22):
  """`count` points at even distances along a spline through points."""
  curve = drawing.spline(np.asarray(points, float), 8)
  arc = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
  at = np.linspace(0, arc[-1], count)
  return np.column_stack([np.interp(at, arc, curve[:, k]) for k in (0, 1)])


def _between(rng, first, last, *, count, spread=0.0, waves=0.0, ragged=0.0):
  """Strands between two guides: (count, k, 2) in heads.

  Args:
    rng: decides on each strand.
    first, last: (k, 2), the outermost strands.
    count: of strands.
    spread: how far they stray, in heads.
    waves: amplitude of waves, in heads.
    ragged: share of the length by which ends differ.
  """
  k = len(first)
  mix = rng.uniform(-0.02, 1.02, (count, 1, 1))
  paths = first + mix * (last - first)
  along = np.linspace(0, 1, k)
  stray = rng.normal(0, spread, (count, 2)) * np.array([1, 0.4])
  paths = paths + stray[:, None] * along[None, :, None] ** 1.5
  if waves:
    # Neighbours wave together.
    phase = 2.2 * np.sin(4 * mix[:, 0, :] + 1) + rng.normal(0, 0.35, (count, 1))
    turn = 15 * along * rng.uniform(0.9, 1.1) + phase
    paths[..., 0] += waves * np.sin(turn) * np.minimum(along * 3, 1)
  if ragged:
    end = 1 - ragged * rng.random((count, 1))
    at = along * end * (k - 1)
    low = np.minimum(at.astype(int), k - 2)
    part = (at - low)[..., None]
    rows = np.arange(count)[:, None]
    paths = paths[rows, low] * (1 - part) + paths[rows, low + 1] * part
  return paths


def _lay(
  canvas, person, rng, *, frame, shape, strands, shine, label=HAIR, dim=0.0
):
  """Lays a mass of hair and its strands.

  Args:
    canvas, person: what they say.
    rng: decides on the strands' brightness.
    frame: the head's.
    shape: (n, 2) outline of the mass in heads, or None for strands alone.
    strands: (count, k, 2) in heads.
    shine: (y, width) of the bright band across, in heads.
    label: of what is drawn.
    dim: share of the light that it loses, behind the neck.
  """
  points = strands.reshape(-1, 2)
  if shape is not None:
    points = np.concatenate([points, shape])
  pixels = frame.at(points)
  # With room for the shadow that it throws.
  room = 2 + 0.1 * frame.unit
  window = drawing.clip_window(
    pixels.min(0) - room, pixels.max(0) + room, shape=canvas.shape
  )
  if window is None:
    return None
  x0, y0, x1, y1 = window
  size = (y1 - y0, x1 - x0)
  image = np.zeros((*size, 4), np.uint8)
  paths = frame.at(strands) - (x0, y0)
  order = rng.choice(len(_TONES), len(paths), p=_SHARES)
  width = max(1, round(frame.unit / 110))
  for k, tone in enumerate(_TONES):
    some = paths[order == k]
    # A strand is seldom of the mean colour alone.
    colour = person.hair * tone * np.array([1.04, 1.0, 0.95]) ** (tone - 1)
    colour = (*(255 * colour.clip(0, 1)).tolist(), 255)
    drawing.hair_lines(image, some, colour, width=width)
  image = image.astype(np.float32) / 255
  colour, alpha = image[..., :3], image[..., 3]
  if shape is not None:
    mass = drawing.polygon(frame.at(shape), window)
    base = person.hair * np.float32(0.62)
    colour = colour + ((1 - alpha) * mass)[..., None] * base
    alpha = alpha + (1 - alpha) * mass
  colour = colour / np.maximum(alpha, 1e-3)[..., None]
  x, y = frame.grid(window)
  # Round as a whole: each row turns away at both ends.
  inside = alpha > 0.4
  some = inside.any(1)
  first = np.where(some, inside.argmax(1), 0).astype(np.float32)
  last = np.where(some, size[1] - 1 - inside[:, ::-1].argmax(1), size[1])
  columns = np.arange(size[1], dtype=np.float32)
  wide = np.maximum(last - first, 1).astype(np.float32)
  part = (columns - first[:, None]) / wide[:, None]
  nx = 1.5 * np.clip(part, 0, 1) - 0.75
  ny = np.clip((y - 0.32) * 1.6, -0.8, 0.25)
  grey = np.ascontiguousarray(colour[..., 1])
  rough = slopes(drawing.blur(grey, 0.6) * np.float32(1.5))
  normal = np.dstack([nx, ny]).astype(np.float32) + rough
  # Light runs along strands: it shows as a band across them.
  light = canvas.light.direction
  band = np.exp(-(((y - shine[0] - 0.5 * x * x) / shine[1]) ** 2))
  band = band * np.clip(0.6 + x * light[0] * 1.2, 0, 1)
  strong = np.clip(2.2 * (grey / max(float(person.hair[1]), 0.05) - 0.6), 0, 2)
  glow = (0.26 * band * strong)[..., None]
  colour = colour + glow * (person.hair * 0.7 + np.float32(0.22))
  canvas.cast(window, alpha, height=0.05, depth=0.5)
  canvas.lay(
    window,
    alpha.astype(np.float32),
    colour=colour,
    normal=unit_normal(normal),
    label=label,
    gloss=0.03 * strong,
    openness=1 - dim,
  )
  return window, alpha


def _hairline(person, *, low, fringe):
  """The inner rim of the hair around the face: (n, 2) from right to left."""
  p, look = person.parting, person.look
  if fringe:
    return np.array(
      [[0.325, 0.66], [0.318, 0.50], [0.27, 0.435], [0.12, 0.425], [0, 0.415]]
      + [[-0.12, 0.42], [-0.27, 0.44], [-0.318, 0.50], [-0.325, 0.66]]
    )
  back = 0.06 * look.receding
  return np.array(
    [
      [0.332, low],
      [0.314, 0.43],
      [0.262 - 0.4 * back, 0.30 - back],
      [0.5 * p + 0.12, 0.225 - 0.8 * back],
      [p, 0.185 - 0.6 * back],
      [0.5 * p - 0.12, 0.225 - 0.8 * back],
      [-0.262 + 0.4 * back, 0.30 - back],
      [-0.314, 0.43],
      [-0.332, low],
    ]
  )


def draw_cap(canvas, person):
  """Hair on the skull and around the face."""
  style = person.hair_style
  if style == 'bald':
    return
  rng = person.rng(STREAM_SKIN, 40)
  frame = head_frame(person)
  p = person.parting
  short = style in ('short', 'crop')
  back = style in ('tail', 'bun')
  fringe = style in ('bob', 'long') and rng.random() < 0.4
  puff = 0.03 if style == 'curly' else 0.0
  puff = puff + rng.uniform(-0.01, 0.025)
  if style == 'crop':
    puff = -0.012
  side_y = 0.52 if short or back else 0.86
  outer = np.array(
    [
      [0.345, side_y],
      [0.375 + puff, 0.48],
      [0.385 + puff, 0.33],
      [0.345 + puff, 0.15],
      [0.23 + puff, 0.02 - puff],
      [0.08, -0.035 - puff],
    ]
  )
  if back or short:
    outer = outer * (0.97, 1) + (0, 0.012)
  low = 0.55 if short or back else 0.62
  inner = _hairline(person, low=low, fringe=fringe)
  whole = np.concatenate([outer, (outer * (-1, 1))[::-1]])
  rim = np.concatenate(
    [drawing.spline(whole, 8), drawing.spline(inner[::-1], 8)]
  )
  shine = (rng.uniform(0.06, 0.14), rng.uniform(0.05, 0.09))
  if style == 'curly':
    strands = _curls(rng, outer, inner, count=700)
  elif short:
    strands = _bristles(
      rng, outer, inner, count=800, size=0.035 if style == 'crop' else 0.085
    )
  else:
    strands = []
    for side in (-1, 1):
      half = (outer if side > 0 else outer * (-1, 1))[::-1]
      line = inner if side > 0 else inner[::-1]
      line = line[: len(line) // 2 + 1][::-1]
      if back:  # From the face to the crown.
        first = _resampled([line[0], (0.3 * line[0][0], -0.02)])
        last = _resampled([line[-1], (side * 0.36, 0.35), half[-2]])
        first = _resampled([(p, 0.19), (0.5 * p, 0.05), (0, -0.04)])
        strands.append(_between(rng, first, last, count=110, spread=0.01))
      if fringe:
        first = _resampled([(p, -0.03), (0.4 * p, 0.18), (0.0, 0.43)])
        last = _resampled(
          [(p, -0.03), (side * 0.24, 0.15), (side * 0.29, 0.46)]
        )
        strands.append(
          _between(rng, first, last, count=110, spread=0.01, ragged=0.06)
        )
      top = np.array([[p + side * 0.01, -0.02 - puff]])
      first = _resampled(np.concatenate([[(p, 0.17)], line[1:]]))
      last = _resampled(np.concatenate([top, half[1:]]))
      waves = 0.012 if style == 'wavy' else 0.0
      strands.append(
        _between(rng, first, last, count=150, spread=0.008, waves=waves)
      )
    strands = np.concatenate(strands)
  found = _lay(
    canvas, person, rng, frame=frame, shape=rim, strands=strands, shine=shine
  )
  if found and not (fringe or back or short or style == 'curly'):
    window, alpha = found
    line = frame.at([(p, 0.185), (0.9 * p, 0.06), (0.8 * p, -0.02)])
    line = drawing.stroke(line, window, width=max(1.0, 0.012 * frame.unit))
    line = drawing.blur(line, 0.008 * frame.unit)
    canvas.darken(window, 0.6 * line * alpha)


def _inside(rng, outer, inner, count):
  """Random places (count, 2) between the rims, and how far out (count,)."""
  whole = np.concatenate([outer, (outer * (-1, 1))[::-1]])
  far = _resampled(whole, 120)
  near = _resampled(inner, 120)
  k = rng.integers(0, 120, count)
  mix = rng.random(count)
  places = near[k] + mix[:, None] * (far[k] - near[k])
  return places, mix, far[k] - near[k]


def _curls(rng, outer, inner, *, count):
  """Arcs that wind: (count, 12, 2)."""
  places, mix, _ = _inside(rng, outer, inner, count)
  order = np.argsort(-mix)  # The inner ones lie above.
  places = places[order]
  radius = rng.uniform(0.012, 0.034, (count, 1))
  start = rng.uniform(0, 6.3, (count, 1))
  turn = start + np.linspace(0, 4.5, 12) * rng.choice([-1, 1], (count, 1))
  grow = radius * np.linspace(0.6, 1.2, 12)
  arcs = np.stack([grow * np.cos(turn), 0.9 * grow * np.sin(turn)], -1)
  return places[:, None] + arcs


def _bristles(rng, outer, inner, *, count, size):
  """Short hair that grows from the face up and aside: (count, 6, 2)."""
  places, mix, out = _inside(rng, outer, inner, count)
  out = out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-6)
  lean = np.array([rng.uniform(0.3, 1.0) * rng.choice([-1, 1]), 0.0])
  ahead = (
    out + lean * (1 - np.abs(out[:, :1])) + rng.normal(0, 0.12, (count, 2))
  )
  reach = size * rng.uniform(0.6, 1.3, (count, 1)) * (1 - 0.55 * mix[:, None])
  along = np.linspace(0, 1, 6)[None, :, None]
  bend = np.stack([ahead[:, 1], -ahead[:, 0]], -1) * rng.normal(
    0, 0.15, (count, 1)
  )
  steps = along * ahead[:, None] + along**2 * bend[:, None]
  return places[:, None] + steps * reach[:, None]


def draw_hat(canvas, person):
  """A knitted cap."""
  if not person.hat:
    return
  rng = person.rng(STREAM_SKIN, 5)
  frame = head_frame(person)
  half = np.array(
    [[0.385, 0.27], [0.395, 0.15], [0.32, -0.05], [0.12, -0.15], [0, -0.155]]
  )
  rim = np.array([[-0.2, 0.235], [0.0, 0.225], [0.2, 0.235]])
  shape = np.concatenate([half, (half * (-1, 1))[-2::-1], rim])
  pixels = frame.at(drawing.spline(shape, 8, closed=True))
  window = drawing.clip_window(pixels.min(0), pixels.max(0), shape=canvas.shape)
  if window is None:
    return
  alpha = drawing.polygon(pixels, window)
  x, y = frame.grid(window)
  nx = np.clip(x / 0.42, -0.97, 0.97)
  bent = np.arcsin(nx)
  brim = drawing.smoothstep(0.11, 0.125, y - 0.04 * np.cos(3 * x))
  height = 0.006 * np.sin(bent * rng.uniform(40, 70)) + 0.02 * brim
  normal = np.dstack([0.9 * nx, np.clip((y - 0.2) * 2, -0.8, 0.1)])
  normal = normal.astype(np.float32) + slopes(
    (height * frame.unit).astype(np.float32)
  )
  colour = rng.uniform(0.1, 0.85) + rng.normal(0, 0.13, 3)
  rough = 1 + np.float32(0.05) * drawing.grain(rng, alpha.shape)
  canvas.cast(window, alpha, height=0.08, depth=0.6)
  canvas.lay(
    window,
    alpha,
    colour=(colour.clip(0.03, 0.95) * rough[..., None]).astype(np.float32),
    normal=unit_normal(normal),
    label=HAT,
  )


def draw_back_hair(canvas, person):
  """Hair behind neck and shoulders."""
  rng = person.rng(STREAM_SKIN, 41)
  style, frame = person.hair_style, head_frame(person)
  waves = 0.03 if style == 'wavy' else 0.004

  def mass(left, right, *, count, dim, **more):
    first, last = _resampled(left), _resampled(right)
    strands = _between(rng, first, last, count=count, spread=0.03, **more)
    shape = np.concatenate([first[:-1], last[:-1][::-1]])
    shine = (0.9, 0.2)
    _lay(
      canvas, person, rng, frame=frame, shape=shape, strands=strands,
      shine=shine, dim=dim,
    )  # fmt: skip

  if style in ('long', 'wavy'):
    low, wide = rng.uniform(1.25, 1.6), rng.uniform(0.40, 0.5)
    mass(
      [(-0.3, 0.15), (-0.39, 0.6), (-wide, low)],
      [(0.3, 0.15), (0.39, 0.6), (wide, low)],
      count=260,
      dim=0.35,
      waves=waves,
      ragged=0.12,
    )
  elif style == 'bob':
    low = rng.uniform(0.98, 1.15)
    mass(
      [(-0.3, 0.15), (-0.40, 0.6), (-0.36, low)],
      [(0.3, 0.15), (0.40, 0.6), (0.36, low)],
      count=180,
      dim=0.35,
      ragged=0.06,
    )
  elif style == 'tail':
    side = 1 if person.parting > 0 else -1
    points = np.array([(0.12, 0.1), (0.33, 0.35), (0.43, 0.8), (0.42, 1.3)])
    wide = np.array([[0.09], [0.13], [0.12], [0.05]]) * (1, 0)
    mass(
      (points - wide) * (side, 1),
      (points + wide) * (side, 1),
      count=120,
      dim=0.1,
      waves=0.01,
      ragged=0.2,
    )
  elif style == 'bun':
    ring = np.linspace(0, 2 * np.pi, 25)
    radius = rng.uniform(0.15, 0.2)
    middle = np.array([0.0, -0.10 + 0.04 * rng.random()])
    ball = middle + radius * np.column_stack([np.cos(ring), np.sin(ring)])
    # It is wound: strands are arcs around its middle.
    turn = rng.uniform(0, 6.3, (130, 1)) + np.linspace(0, 2.4, 10)
    size = radius * rng.uniform(0.25, 1.03, (130, 1))
    arcs = np.stack([size * np.cos(turn), 0.85 * size * np.sin(turn)], -1)
    _lay(
      canvas, person, rng, frame=frame, shape=ball, strands=middle + arcs,
      shine=(-0.15, 0.06), dim=0.05,
    )  # fmt: skip
  elif style == 'curly':
    size, low = rng.uniform(0.10, 0.30), rng.uniform(0.62, 1.05)
    half = np.array(
      [[0.30, low], [0.38 + 0.7 * size, 0.6], [0.37 + size, 0.3]]
      + [[0.28 + 0.8 * size, 0.0], [0.0, -0.04 - 0.8 * size]]
    )
    shape = np.concatenate([half, (half * (-1, 1))[-2::-1]])
    inner = half * (0.35, 0.8) + (0, 0.12)
    inner = np.concatenate([inner, (inner * (-1, 1))[-2::-1]])
    strands = _curls(rng, half, inner, count=1300)
    _lay(
      canvas, person, rng, frame=frame,
      shape=drawing.spline(shape, 6, closed=True), strands=strands,
      shine=(0.0, 0.12), dim=0.12,
    )  # fmt: skip


def draw_front_hair(canvas, person):
  """Locks that fall over shoulders and garment."""
  rng = person.rng(STREAM_SKIN, 42)
  style, frame = person.hair_style, head_frame(person)
  if style not in ('long', 'wavy', 'bob'):
    return
  end = rng.uniform(1.45, 2.1) if style != 'bob' else rng.uniform(0.95, 1.12)
  waves = rng.uniform(0.012, 0.03) * (style == 'wavy')
  for side in (-1, 1):
    reach = end + rng.uniform(-0.1, 0.1)
    if style != 'bob' and rng.random() < 0.3:
      reach = 1.15  # Tucked behind this shoulder.
    inner = [(0.30, 0.30), (0.322, 0.62), (0.305, 0.95)]
    outer = [(0.37, 0.30), (0.40, 0.62), (0.45, 0.95)]
    if reach > 1.2:
      inner.append((0.27, 0.5 * (0.95 + reach)))
      outer.append((0.47, 0.5 * (0.95 + reach)))
    inner.append((0.33 if reach > 1.2 else 0.31, reach))
    outer.append((0.40, reach))
    first = _resampled(np.array(inner) * (side, 1))
    last = _resampled(np.array(outer) * (side, 1))
    strands = _between(
      rng, first, last, count=110, spread=0.018, waves=waves, ragged=0.14
    )
    shape = np.concatenate([first[:-3], last[:-3][::-1]])
    if waves:
      shape = None
      strands = np.concatenate(
        [
          strands,
          _between(rng, first, last, count=90, spread=0.01, waves=waves),
        ]
      )
    _lay(
      canvas, person, rng, frame=frame, shape=shape, strands=strands,
      shine=(0.75, 0.16),
    )  # fmt: skip
