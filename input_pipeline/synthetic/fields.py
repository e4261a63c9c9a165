"""Coordinates along and across the centre lines of limbs.

See `drawing` for what is drawn with them. Positions are (x, y) in pixels.
"""

import dataclasses

import cv2
import numpy as np

from input_pipeline.synthetic.drawing import LIGHT, clip_window


@dataclasses.dataclass(frozen=True)
class Field:
  """Coordinates of the pixels near a centre line.

  Attributes:
    window: (x0, y0, x1, y1).
    along: float32 (h, w), arc length in pixels of the nearest centre point.
    across: float32 (h, w), signed distance; along a line that goes down the
      image it is positive on the right of the image. Huge where far away.
    normal: float32 (h, w, 2), unit vector in which `across` grows.
    length: arc length of the whole centre line.
  """

  window: tuple
  along: np.ndarray
  across: np.ndarray
  normal: np.ndarray
  length: float

  def coverage(self, radius):
    """Anti-aliased coverage of the limb with the given radius (h, w)."""
    return np.clip(radius - np.abs(self.across) + 0.5, 0, 1)

  def lit(self, radius, *, roundness=0.92):
    """Lambert term of a round limb, about 0..1; radius in pixels (h, w)."""
    part = np.clip(self.across / radius, -1, 1) * roundness
    facing = np.sqrt(1 - part * part)
    side = self.normal[..., 0] * LIGHT[0] + self.normal[..., 1] * LIGHT[1]
    return part * side + facing * LIGHT[2]


def _nearest_segments(rows, columns, *, shape, table):
  """Index of the nearest segment of each of the n given pixels.

  Cells of 4 x 4 pixels find theirs among all segments; their pixels then
  compare only that one and two neighbours on both sides. `table` has one row
  a segment: start x, y, direction x, y, length.
  """
  columns_of = np.ascontiguousarray(table.T)

  def distance(x, y, which):
    sx, sy, ux, uy, size = (column.take(which) for column in columns_of)
    dx, dy = x - sx, y - sy
    part = dx * ux + dy * uy
    np.minimum(np.maximum(part, 0, out=part), size, out=part)
    return (dx - part * ux) ** 2 + (dy - part * uy) ** 2

  count = len(table)
  if count * len(rows) < 40_000:
    x, y = columns.astype(np.float32), rows.astype(np.float32)
    return np.argmin(
      distance(x[:, None], y[:, None], np.arange(count)), axis=-1
    )
  y = np.arange(0, shape[0], 4, dtype=np.float32)[:, None, None] + 1.5
  x = np.arange(0, shape[1], 4, dtype=np.float32)[:, None] + 1.5
  cells = np.argmin(distance(x, y, np.arange(count)), axis=-1)
  guess = cells[rows // 4, columns // 4]
  x, y = columns.astype(np.float32), rows.astype(np.float32)
  best = guess
  least = distance(x, y, guess)
  for step in (-1, 1, -2, 2):
    other = np.clip(guess + step, 0, count - 1)
    value = distance(x, y, other)
    closer = value < least
    best = np.where(closer, other, best)
    least = np.where(closer, value, least)
  return best


def limb_field(centre, reach, *, shape):
  """Field around a centre line.

  Args:
    centre: (k, 2) points of a smooth line, k >= 2.
    reach: largest distance in pixels that matters.
    shape: (height, width) of the canvas.

  Returns:
    A Field, or None where nothing of it lies on the canvas.
  """
  centre = np.asarray(centre, float)
  window = clip_window(
    centre.min(0) - reach - 2, centre.max(0) + reach + 2, shape=shape
  )
  if window is None:
    return None
  x0, y0, x1, y1 = window
  near = np.zeros((y1 - y0, x1 - x0), np.uint8)
  cv2.polylines(
    near,
    [np.round(centre - (x0, y0)).astype(np.int32)],
    False,
    1,
    2 * int(np.ceil(reach)) + 5,
  )
  rows, columns = np.nonzero(near)
  start, step = centre[:-1] - (x0, y0), np.diff(centre, axis=0)
  length = np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-6)
  unit = step / length[:, None]
  table = np.column_stack([start, unit, length]).astype(np.float32)
  best = _nearest_segments(rows, columns, shape=near.shape, table=table)
  sx, sy, ux, uy, size = np.ascontiguousarray(table.T)[:, best]
  dx, dy = columns.astype(np.float32) - sx, rows.astype(np.float32) - sy
  part = np.clip(dx * ux + dy * uy, 0, size)
  distance = np.hypot(dx - part * ux, dy - part * uy)
  # Normals are blended along the line, else each segment would show.
  vertex = np.concatenate([unit[:1], unit[:-1] + unit[1:], unit[-1:]])
  vertex /= np.maximum(np.linalg.norm(vertex, axis=1, keepdims=True), 1e-6)
  vertex = vertex.astype(np.float32)
  mix = part / size
  tx = vertex[best, 0] * (1 - mix) + vertex[best + 1, 0] * mix
  ty = vertex[best, 1] * (1 - mix) + vertex[best + 1, 1] * mix
  along = np.zeros(near.shape, np.float32)
  across = np.full(near.shape, 1e6, np.float32)
  normal = np.zeros((*near.shape, 2), np.float32)
  offset = np.concatenate([[0], np.cumsum(length)]).astype(np.float32)
  along[rows, columns] = offset[best] + part
  across[rows, columns] = np.copysign(distance, uy * dx - ux * dy)
  normal[rows, columns, 0] = ty
  normal[rows, columns, 1] = -tx
  return Field(window, along, across, normal, float(offset[-1]))


def coarse_field(centre, reach, *, shape):
  """`limb_field` from half the resolution: a quarter of the time.

  Its error is far below a pixel, but for lines that turn within a few.
  """
  height, width = shape
  field = limb_field(
    (np.asarray(centre, float) - 0.5) / 2,
    reach / 2 + 1,
    shape=((height + 1) // 2, (width + 1) // 2),
  )
  if field is None:
    return None
  x0, y0, x1, y1 = field.window
  window = (2 * x0, 2 * y0, min(2 * x1, width), min(2 * y1, height))
  size = (2 * (x1 - x0), 2 * (y1 - y0))
  box = np.s_[: window[3] - window[1], : window[2] - window[0]]
  packed = np.dstack([2 * field.along, 2 * field.across, field.normal])
  packed = cv2.resize(packed, size)[box]
  along, across = (np.ascontiguousarray(packed[..., k]) for k in (0, 1))
  return Field(window, along, across, packed[..., 2:], 2 * field.length)


def limb_line(points, *, unit, bend=0.26):
  """A smooth centre line through the joints of a limb.

  Args:
    points: (n, 2) joints in pixels.
    unit: pixels of a head.
    bend: how far from a joint, in heads, its rounding begins.

  Returns:
    centre (k, 2) and the arc length in pixels at each joint (n,).
  """
  pieces, marks = [points[:1]], [0]
  count = 1
  for before, joint, after in zip(
    points[:-2], points[1:-1], points[2:], strict=True
  ):
    to_before, to_after = before - joint, after - joint
    size = [np.hypot(*to_before), np.hypot(*to_after)]
    reach = min(bend * unit, 0.45 * min(size))
    a = joint + to_before / size[0] * reach
    b = joint + to_after / size[1] * reach
    part = np.linspace(0, 1, 7)[:, None]
    pieces.append(
      (1 - part) ** 2 * a + 2 * part * (1 - part) * joint + part**2 * b
    )
    marks.append(count + 3)
    count += 7
  pieces.append(points[-1:])
  marks.append(count)
  centre = np.concatenate(pieces)
  steps = np.hypot(*np.diff(centre, axis=0).T)
  arc = np.concatenate([[0], np.cumsum(steps)])
  return centre, arc[marks]
