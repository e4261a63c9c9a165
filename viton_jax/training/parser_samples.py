"""What the body parser is trained on: drawn people, each time in new clothes.

Every sample shows one of a pool of drawn people with random colours, textures
and background, turned, stretched, bent, mirrored and cut by a photo's borders,
framed as `frame_person` frames photos, with joints that are off or missing and
now and then a person mask as soft and as wrong as a network's.
"""

import concurrent.futures
import dataclasses
import functools
import multiprocessing

import cv2
import numpy as np

from input_pipeline.synthetic import drawing, outfits
from input_pipeline.synthetic.accessories import BAG
from input_pipeline.synthetic.outfits import OutfitPicture, mirror_labels
from input_pipeline.synthetic.retexture import relight, retexture
from viton_jax.labels import (
  L_HIP,
  L_KNEE,
  L_SHOULDER,
  L_WRIST,
  MIRRORED_JOINTS,
  NECK,
  R_HIP,
  R_KNEE,
  R_SHOULDER,
  R_WRIST,
)
from viton_jax.models.body_parser import HEIGHT, WIDTH
from viton_jax.perception.parsing.body_frame import frame_person, head_height

_HAIR, _FACE = 2, 13
_STREAM = 10


@dataclasses.dataclass(frozen=True)
class ParserSample:
  """An example as the network sees a photo.

  Attributes:
    image: (h, w, 3) uint8 RGB, 0 beyond the photo's border.
    inside: (h, w) bool, where there is a photo.
    mask: (h, w) float32 probability of the person, or None.
    keypoints: (18, 3) float32, pixels of `image`, confidence 0: missing.
    labels: (h, w) uint8, LIP-20; what lies beyond the border is 0.
  """

  image: np.ndarray
  inside: np.ndarray
  mask: np.ndarray | None
  keypoints: np.ndarray
  labels: np.ndarray


def draw_pool(
  seed: int, count: int, *, workers: int, style: str = 'plain'
) -> list[OutfitPicture]:
  """Draws people 1 to count of a seed in a style, in fresh processes."""
  draw = functools.partial(outfits.render_outfit, style=style)
  context = multiprocessing.get_context('spawn')
  with concurrent.futures.ProcessPoolExecutor(
    workers, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)
  ) as pool:
    return list(
      pool.map(draw, [seed] * count, range(1, count + 1), chunksize=16)
    )


def make_sample(
  pool: list[OutfitPicture],
  seed: int,
  index: int,
  *,
  size: tuple[int, int] = (HEIGHT, WIDTH),
) -> ParserSample:
  """Sample `index` at a size of 4 : 3; a function of the arguments alone."""
  rng = np.random.default_rng([seed, index, _STREAM])
  drawn = pool[int(rng.integers(len(pool)))]
  labels, pieces, points = drawn.labels, drawn.pieces, drawn.keypoints
  rgb = drawn.rgb
  if rng.random() < 0.5:
    rgb = rgb[:, ::-1]
    labels, pieces = (mirror_labels(x[:, ::-1]) for x in (labels, pieces))
    points = points[list(MIRRORED_JOINTS)]
    points = np.where(
      points[:, 2:] > 0, np.abs(points - [outfits.WIDTH - 1, 0, 0]), 0
    )
  if rng.random() < 0.04:  # Bald.
    bald = (labels == _HAIR) & (_rows(labels) < points[NECK, 1])
    labels, pieces = (np.where(bald, _FACE, x) for x in (labels, pieces))

  if rng.random() < 0.15:
    labels, pieces = _hold_something(labels, pieces, points, rng=rng)

  turn, points = _turned(points.astype(np.float32), rng)
  photo = _photo_rectangle(points, rng)
  points = _as_found(points, photo, rng)
  left, top, scale = _frame(points, photo, rng)
  scale *= size[0] / HEIGHT
  # From the input's pixels to those of the drawing.
  back = turn @ np.array([[1 / scale, 0, left], [0, 1 / scale, top], [0, 0, 1]])
  x, y = np.meshgrid(
    np.arange(size[1], dtype=np.float32), np.arange(size[0], dtype=np.float32)
  )
  where = np.stack([x, y], -1) @ back[:2, :2].T + back[:2, 2]
  where = where.astype(np.float32)
  for axis in (0, 1):  # Bodies differ from the drawn ones in all places.
    bend = drawing.noise(rng, x.shape, cells=(4, 3))
    where[..., axis] += rng.uniform(0, 5) * bend

  def moved(image, how, border=cv2.BORDER_CONSTANT):
    return cv2.remap(
      np.ascontiguousarray(image),
      where,
      None,  # pyright: ignore[reportArgumentType, reportCallIssue]
      how,
      borderMode=border,
    )

  labels = moved(labels, cv2.INTER_NEAREST)
  pieces = moved(pieces, cv2.INTER_NEAREST)
  rgb = moved(rgb, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
  if rng.random() < 0.08:
    picture = rgb.astype(np.float32) / 255
  else:
    picture = retexture(rgb, pieces, rng)
  image = relight(picture, rng)

  x0, y0 = (photo[:2] - (left, top)) * scale
  x1, y1 = (photo[2:] - (left, top)) * scale
  inside = (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
  labels = np.where(inside, labels, 0).astype(np.uint8)
  found = labels > 0
  if rng.random() < 0.35:
    # Shops often fill a photo up by repeating the pixels of its border.
    image = _repeat_border(image, inside)
    inside = np.ones_like(inside)
  else:
    image = np.where(inside[..., None], image, 0).astype(np.uint8)
  mask = None
  if rng.random() < 0.6:
    mask = _soft_mask(found, rng)
    mask = np.where(inside, mask, 0).astype(np.float32)
  placed = points.copy()
  placed[:, :2] = (points[:, :2] - (left, top)) * scale
  placed = np.where(points[:, 2:] > 0, placed, 0).astype(np.float32)
  return ParserSample(image, inside, mask, placed, labels)


def _rows(labels: np.ndarray) -> np.ndarray:
  return np.arange(labels.shape[0])[:, None]


def _hold_something(
  labels: np.ndarray,
  pieces: np.ndarray,
  points: np.ndarray,
  *,
  rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
  """A thing before the person, which is background: a phone, a box, a dog."""
  joint = rng.choice([R_WRIST, L_WRIST, R_HIP, L_HIP])
  at = points[joint, :2] + rng.normal(0, 15, 2)
  size = np.exp(rng.uniform(np.log(10), np.log(110), 2))
  box = (tuple(at), tuple(size), rng.uniform(0, 180))
  thing = np.zeros(labels.shape, np.uint8)
  if rng.random() < 0.5:
    cv2.ellipse(thing, box, 1, -1)
  else:
    cv2.fillConvexPoly(thing, cv2.boxPoints(box).astype(np.int32), 1)
  return np.where(thing, 0, labels), np.where(thing, BAG, pieces)


def _turned(
  points: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
  """Turns and stretches: the matrix back, and the points moved, (18, 3)."""
  angle = np.radians(rng.normal(0, 6))
  wide = np.exp(rng.uniform(np.log(0.68), np.log(1.22)))
  cos, sin = np.cos(angle), np.sin(angle)
  linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([wide, 1.0])
  middle = np.array([outfits.WIDTH, outfits.HEIGHT]) / 2
  forth = np.eye(3)
  forth[:2, :2], forth[:2, 2] = linear, middle - linear @ middle
  moved = points.copy()
  moved[:, :2] = points[:, :2] @ linear.T + forth[:2, 2]
  moved[points[:, 2] == 0] = 0
  return np.linalg.inv(forth), moved


def _photo_rectangle(
  points: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
  """What the photo shows of the scene: x0, y0, x1, y1."""
  neck, unit = points[NECK, :2], head_height(points)
  assert unit  # All joints but those of a hidden face are there.
  crown = neck[1] - 1.55 * unit
  low = {
    'whole': points[:, 1].max() + rng.uniform(0.3, 1.5) * unit,
    'knees': points[[R_KNEE, L_KNEE], 1].mean() + rng.normal(0, 0.6) * unit,
    'hips': points[L_HIP, 1] + rng.uniform(-0.3, 1.0) * unit,
    'bust': neck[1] + rng.uniform(0.4, 2.0) * unit,
  }
  kind = rng.choice(list(low), p=(0.18, 0.28, 0.32, 0.22))
  top = crown - rng.uniform(0.1, 1.6) * unit
  if rng.random() < 0.2:  # The head is cut off, up to the nose or the chin.
    top = crown + rng.uniform(0.0, 1.1) * unit
  shoulders = points[[R_SHOULDER, L_SHOULDER], 0]
  x0 = min(points[:, 0].min(), shoulders.min()) - rng.uniform(0.2, 3) * unit
  x1 = max(points[:, 0].max(), shoulders.max()) + rng.uniform(0.2, 3) * unit
  if rng.random() < 0.25:  # Arms are cut off.
    x0 = shoulders.min() - rng.uniform(-0.2, 0.6) * unit
  if rng.random() < 0.25:
    x1 = shoulders.max() + rng.uniform(-0.2, 0.6) * unit
  return np.array([x0, top, x1, low[kind]], np.float32)


def _as_found(
  points: np.ndarray, photo: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
  """Joints as a pose network finds them in the photo: (18, 3)."""
  unit = head_height(points)
  assert unit
  found = points.copy()
  off = np.exp(rng.uniform(np.log(0.02), np.log(0.12)))
  found[:, :2] += rng.normal(0, off * unit, (18, 2))
  lost = rng.random(18) < rng.choice([0.0, 0.08, 0.25])
  x, y = found[:, 0], found[:, 1]
  lost |= (x < photo[0]) | (x > photo[2]) | (y < photo[1]) | (y > photo[3])
  for group in ([9, 10, 12, 13], [8, 11], [4, 7], [14, 15, 16, 17]):
    if rng.random() < 0.1:
      lost[group] = True
  if rng.random() < 0.04:
    lost[:] = True
  found[lost] = 0
  return found


def _frame(
  points: np.ndarray, photo: np.ndarray, rng: np.random.Generator
) -> tuple[float, float, float]:
  """Left, top and scale of the network's frame in the scene."""
  size = photo[2:] - photo[:2]
  local = points.copy()
  local[:, :2] -= photo[:2]
  seen = points[:, 2].any()
  frame = frame_person(
    local * (points[:, 2:] > 0) if seen else None,
    (int(np.ceil(size[1])), int(np.ceil(size[0]))),
  )
  zoom = np.exp(rng.normal(0, 0.07))
  height = HEIGHT / frame.scale
  middle = np.array([frame.left, frame.top]) + (
    0.5 * height * np.array([WIDTH / HEIGHT, 1])
    + rng.normal(0, 0.03, 2) * height
  )
  height *= zoom
  left, top = middle - 0.5 * height * np.array([WIDTH / HEIGHT, 1]) + photo[:2]
  return float(left), float(top), HEIGHT / height


def _repeat_border(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
  """The image with the last pixels inside repeated outwards."""
  rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
  if not len(rows) or not len(columns):
    return image
  part = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
  h, w = inside.shape
  return cv2.copyMakeBorder(
    part,
    int(rows[0]),
    int(h - 1 - rows[-1]),
    int(columns[0]),
    int(w - 1 - columns[-1]),
    cv2.BORDER_REPLICATE,
  )


def _soft_mask(person: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """A person mask as a network of 256 x 256 for whole bodies gives it."""
  mask = person.astype(np.float32)
  if rng.random() < 0.3:  # A hand, a foot, a strand too few, or too much.
    at = rng.uniform(0, 1, 2) * mask.shape[::-1]
    size = rng.uniform(4, 30, 2)
    box = (tuple(at), tuple(size), rng.uniform(0, 180))
    cv2.ellipse(mask, box, float(rng.integers(2)), -1)
  mask = drawing.blur(mask, np.exp(rng.uniform(np.log(1.0), np.log(4.5))))
  rough = drawing.noise(rng, mask.shape, cells=(20, 15))
  level = 0.5 + rng.normal(0, 0.08) + rng.uniform(0, 0.2) * rough
  gain = np.exp(rng.uniform(np.log(3), np.log(25)))
  return (1 / (1 + np.exp(-gain * (mask - level)))).astype(np.float32)
