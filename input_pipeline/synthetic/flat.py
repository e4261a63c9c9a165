"""Draws the shop photo of a garment: flat, on pure white."""

import dataclasses

import cv2
import numpy as np

from input_pipeline.synthetic import drawing, fields, patterns, trims

FLAT_SHADOW = (0.55, 0.54, 0.58)


@dataclasses.dataclass(frozen=True)
class FlatGarment:
  """A garment drawn flat.

  Attributes:
    photo: float32 (h, w, 3), the shop photo, exactly 1 off the garment.
    mask: bool (h, w), the garment in it, with what shows of its inside.
    cover: float32 (h, w), coverage by the garment, 0..1; `mask` is its half.
    front: float32 (h, w), coverage of the front panel (neckline cut out).
    torso: float32 (h, w, 3), colour of the torso's cloth, unshaded.
    sleeves: dict side -> float32 (h, w, 3), the same of the sleeves.
    neck: float32 (h, w), coverage by a hood or a polo neck, or None; its
      cloth is in `torso`.
  """

  photo: np.ndarray
  mask: np.ndarray
  cover: np.ndarray
  front: np.ndarray
  torso: np.ndarray
  sleeves: dict
  neck: np.ndarray | None = None


def _neck_curve(garment, *, count=41):
  """The front neckline: (n, 2) in heads from side to side."""
  width, depth = garment.neck_width, garment.neck_depth
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
  """Draws the shop photo and the cloth that the worn image samples.

  Returns:
    A FlatGarment.
  """
  height, width, unit = garment.height, garment.width, garment.unit
  rng = garment.rng(1)
  shade = _flat_shade(rng, garment)
  photo = np.ones((height, width, 3), np.float32)
  total = np.zeros((height, width), np.float32)

  outline, collar = _torso_outline(garment), trims.neck_outline(garment)
  whole = outline if collar is None else np.concatenate([outline, collar])
  window = drawing.window_of(
    whole.min(0) - 3, whole.max(0) + 3, shape=(height, width)
  )
  box = np.s_[window[1] : window[3], window[0] : window[2]]
  body = drawing.polygon(outline, window)
  curve = _neck_curve(garment)
  above = np.array([[garment.neck_width, -0.6], [-garment.neck_width, -0.6]])
  line = garment.pixels(*curve.T)
  hole = drawing.polygon(
    np.concatenate([line, garment.pixels(*above.T)]), window
  )
  # Beside the line itself, its exact distance draws a smoother rim.
  rim = fields.limb_field(line, 0.1 * unit, shape=(height, width))
  assert rim is not None  # The neckline is within the photo.
  hole = _paste(hole, window, field=rim, values=np.clip(rim.across + 0.5, 0, 1))
  cover = body * (1 - hole)
  front = np.zeros((height, width), np.float32)
  front[box] = cover
  total[box] = cover
  _draw_inside(garment, photo, total=total, line=line)

  sleeves = {}
  for side in (-1, 1) if garment.sleeve else ():
    sleeves[side] = _draw_sleeve(
      garment, side, photo=photo, total=total, front=front, shade=shade
    )

  cloth = np.empty((height, width, 3), np.float32)
  cloth[:] = garment.cloth.colours[0]
  x, s = _cloth_grid(garment, window)
  cloth[box] = patterns.cloth_colour(garment.cloth, x, depth=s, texel=1 / unit)
  _sew_torso(garment, cloth, rim=rim, window=window)
  trims.sew(garment, cloth, window)
  neck = None
  if collar is not None:
    neck = np.zeros((height, width), np.float32)
    neck[box] = drawing.polygon(collar, window)
    lit = shade[box] - 0.2 * drawing.blur(1 - neck[box], 0.05 * unit)
    tone = drawing.tinted(cloth[box], lit, shadow=FLAT_SHADOW, gloss=0)
    photo[box] += neck[box][..., None] * (tone - photo[box])
    np.maximum(total, neck, out=total)
  # Cloth turns away at its rim; the neckline casts no such shade.
  rim = drawing.blur(1 - body, 0.07 * unit)
  tone = drawing.tinted(
    cloth[box], shade[box] - 0.16 * rim, shadow=FLAT_SHADOW, gloss=0
  )
  photo[box] += cover[..., None] * (tone - photo[box])
  # White cloth must still stand out from the paper, which alone is white.
  mask = total > 0.5
  np.minimum(photo, np.where(mask, np.float32(0.985), 1)[..., None], out=photo)
  return FlatGarment(photo, mask, total, front, cloth, sleeves, neck)


def _paste(image, window, *, field, values):
  """A copy of a window's image with a field's values where it is near."""
  image = image.copy()
  x0, y0 = field.window[0] - window[0], field.window[1] - window[1]
  x1, y1 = field.window[2] - window[0], field.window[3] - window[1]
  # The field's window may reach over the image's.
  u, v = max(-x0, 0), max(-y0, 0)
  part = image[max(y0, 0) : y1, max(x0, 0) : x1]
  box = np.s_[v : v + part.shape[0], u : u + part.shape[1]]
  near = np.abs(field.across[box]) < 1e5
  part[near] = values[box][near]
  return image


def _cloth_grid(garment, window):
  """Positions on the cloth, in heads, of a window's pixels: x, s (h, w)."""
  x, y = drawing.pixel_grid(window)
  return np.broadcast_arrays(
    ((x - garment.origin[0]) / garment.unit).astype(np.float32),
    ((y - garment.origin[1]) / garment.unit).astype(np.float32),
  )


def _flat_shade(rng, garment):
  """Lambert term (h, w) of cloth lying flat: nearly level, faint folds."""
  shape = (garment.height, garment.width)
  # All of it is soft, so a quarter of the resolution is enough.
  y, x = np.meshgrid(
    (np.arange(0, shape[0], 4, dtype=np.float32) + 1.5 - garment.origin[1])
    / garment.unit,
    (np.arange(0, shape[1], 4, dtype=np.float32) + 1.5 - garment.origin[0])
    / garment.unit,
    indexing='ij',
  )
  shade = 0.79 + 0.035 * drawing.noise(rng, x.shape, cells=(7, 4))
  shade += 0.012 * drawing.noise(rng, x.shape, cells=(16, 22))
  for _ in range(4):
    x0, lean = rng.uniform(-0.6, 0.6), rng.uniform(-0.25, 0.25)
    off = (x - x0 - lean * y) / rng.uniform(0.05, 0.10)
    reach = np.exp(-(((y - rng.uniform(0.9, 2.2)) / 0.55) ** 2))
    shade -= 0.07 * garment.weight * off * np.exp(-off * off) * reach
  return cv2.resize(shade.astype(np.float32), shape[::-1])


def _sew_torso(garment, cloth, *, rim, window):
  """Draws collar band, hem and seams into the torso's cloth, in place."""
  unit = garment.unit
  box = np.s_[window[1] : window[3], window[0] : window[2]]
  band = 0.055 if garment.neckline == 'crew' else 0.038
  off = np.abs(rim.across) - band * unit
  empty = np.zeros((window[3] - window[1], window[2] - window[0]), np.float32)
  ring = _paste(empty, window, field=rim, values=np.clip(0.5 - off, 0, 1))
  cloth[box] += ring[..., None] * (garment.trim - cloth[box])
  dim = _paste(
    empty, window, field=rim, values=0.18 * np.exp(-((off - 0.3) ** 2))
  )
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
    dim = np.maximum(dim, 0.20 * drawing.stroke(stitch, window, width=0.9))
  cloth[box] *= 1 - dim[..., None]


def _draw_sleeve(garment, side, *, photo, total, front, shade):
  """Draws one flat sleeve into photo and total; returns its cloth (h, w, 3)."""
  along = np.linspace(0, 1, 25)
  outer, inner = garment.sleeve_edges(side, along)
  outline = garment.pixels(*np.concatenate([outer, inner[::-1]]).T)
  window = drawing.window_of(
    outline.min(0) - 3, outline.max(0) + 3, shape=total.shape
  )
  box = np.s_[window[1] : window[3], window[0] : window[2]]
  mask = drawing.polygon(outline, window)
  if garment.drop > -1:
    edge = garment.origin[1] + garment.unit * garment.drop
    rows = drawing.pixel_grid(window)[1]
    mask *= np.clip(rows - edge + 0.5, 0, 1).astype(np.float32)
  # The sleeve's cloth is cut along its own axis.
  middle = ((outer + inner) / 2).astype(np.float32)
  ahead = middle[-1] - middle[0]
  ahead = ahead / np.hypot(*ahead)
  x, s = _cloth_grid(garment, window)
  dx, dy = x - middle[0, 0], s - middle[0, 1]
  colour = patterns.cloth_colour(
    garment.cloth,
    dx * ahead[1] - dy * ahead[0],
    depth=dx * ahead[0] + dy * ahead[1] + np.float32(0.3),
    texel=1 / garment.unit,
    motif=False,
  )
  edges = garment.sleeve_edges(side, 1 - 0.07 / max(garment.sleeve, 0.2))
  stitch = drawing.stroke(garment.pixels(*np.array(edges).T), window, width=0.9)
  colour *= 1 - 0.20 * stitch[..., None]
  if garment.cloth.trimmed:
    ends = np.array([*edges, *garment.sleeve_edges(side, 1.1)[::-1]])
    cuff = drawing.polygon(garment.pixels(*ends.T), window)
    colour += cuff[..., None] * (garment.trim - colour)
  lit = shade[box] - 0.16 * drawing.blur(1 - mask, 0.06 * garment.unit)
  # The torso's seam lies on the sleeve.
  lit -= 0.12 * drawing.blur(front[box], 0.03 * garment.unit)
  tone = drawing.tinted(colour, lit, shadow=FLAT_SHADOW, gloss=0)
  photo[box] += mask[..., None] * (tone - photo[box])
  np.maximum(total[box], mask, out=total[box])
  cloth = np.empty(photo.shape, np.float32)
  cloth[:] = garment.cloth.colours[0]
  cloth[box] = colour
  return cloth


def _draw_inside(garment, photo, *, total, line):
  """Back of the neck, seen through the opening: inner cloth and a label.

  Args:
    photo, total: image and coverage, changed in place.
    line: (n, 2) pixels of the front neckline.
  """
  unit = garment.unit
  side = float(garment.top(garment.neck_width / garment.tip))
  x = np.linspace(-1, 1, 31)
  back = np.column_stack(
    [garment.neck_width * x, side + 0.075 * np.sqrt(1 - x * x)]
  )
  # A little lower than the opening, so that no white shows at the seam.
  low = line[::-1] + (0, 0.03 * unit)
  outline = np.concatenate([garment.pixels(*back.T), low])
  window = drawing.window_of(
    outline.min(0) - 3, outline.max(0) + 3, shape=total.shape
  )
  box = np.s_[window[1] : window[3], window[0] : window[2]]
  inside = drawing.polygon(outline, window)
  part = photo[box]

  def lay(colour, cover):
    part[...] += cover[..., None] * (colour - part)

  _, s = _cloth_grid(garment, window)
  lit = 0.50 - 0.22 * drawing.smoothstep(side + 0.05, 0.6, s)
  base = garment.cloth.colours[0] * np.float32(0.96)
  lay(drawing.tinted(base, lit, shadow=(0.42, 0.41, 0.45), gloss=0), inside)
  band = drawing.stroke(
    garment.pixels(back[:, 0], back[:, 1] + 0.02), window, width=0.05 * unit
  )
  lay(garment.trim * np.float32(0.86), band * inside)
  low = side + 0.075 + 0.035
  tag = (
    drawing.polygon(
      garment.pixels(
        np.array([-0.06, 0.06, 0.06, -0.06]),
        np.array([low, low, low + 0.085, low + 0.085]),
      ),
      window,
    )
    * inside
  )
  lay(np.array([0.93, 0.92, 0.90], np.float32), tag)
  mark = garment.pixels(np.array([-0.03, 0.03]), np.array([low + 0.042] * 2))
  ink = drawing.stroke(mark, window, width=max(1, 0.012 * unit)) * tag
  lay(np.float32(0.3), 0.7 * ink)
  np.maximum(total[box], inside, out=total[box])
