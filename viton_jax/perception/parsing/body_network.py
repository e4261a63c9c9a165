"""The body parser that comes with the project: its weights and its use."""

from collections.abc import Mapping
import functools
import hashlib
import pathlib
from typing import Any

import cv2
from flax import traverse_util
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from viton_jax.errors import InputError
from viton_jax.io import files, finite
from viton_jax.labels import GARMENT_LABEL
from viton_jax.models.body_parser import LABEL_STRIDE, BodyParser
from viton_jax.perception.parsing.body_classes import (
  CLASS_LABELS,
  NUM_CLASSES,
  SKIRT,
  TROUSERS,
)
from viton_jax.perception.parsing.body_colours import weigh_colours
from viton_jax.perception.parsing.body_frame import BodyFrame, frame_person

WEIGHTS = pathlib.Path(__file__).parent / 'weights' / 'body_parser.safetensors'
# Of the file that belongs to this version.
WEIGHTS_SHA256 = (
  'bfd0eda4329bdb797f084709eb05d14771d116bfba58ab894815e6c074402270'
)
# Less than this is no photo.
_LEAST_PX = 8
# The probabilities follow the photo's edges within this many of their cells.
_EDGE_RADIUS = 3
# Contrast below which an edge is none; levels of grey as parts of 1.
_EDGE_CONTRAST = 0.04


def stack_pixels(
  images: UInt8[np.ndarray, 'b h w 3'],
  inside: Float[np.ndarray, 'b h w'],
  masks: Float[np.ndarray, 'b h w'],
) -> Float[np.ndarray, 'b h w 5']:
  """The network's pixels.

  Args:
    images: RGB.
    inside: 1 in the photo, 0 beyond its border.
    masks: 2 p - 1 for a probability p of the person; all 0: not known.

  Returns:
    float32, see `BodyParser`.
  """
  weight = inside[..., None]
  total = np.maximum(weight.sum(axis=(1, 2, 3), keepdims=True), 1)
  mean = (images * weight).sum(axis=(1, 2), keepdims=True).sum(
    axis=3, keepdims=True
  ) / (3 * total)
  centred = (images - mean) * weight
  spread = (centred**2).sum(axis=(1, 2, 3), keepdims=True) / (3 * total)
  pixels = centred / np.sqrt(spread + 1)
  return np.concatenate(
    [pixels, weight, (masks * inside)[..., None]], axis=-1
  ).astype(np.float32)


@functools.cache
def load_weights(path: pathlib.Path = WEIGHTS) -> Mapping[str, Any]:
  """The variables of `BodyParser` as float32 arrays.

  Raises:
    InputError: the file is missing, damaged or another one.
  """
  remedy = 'install viton_jax again'
  data = files.read(path, 'parser', remedy=remedy)
  found = hashlib.sha256(data).hexdigest()
  if path == WEIGHTS and found != WEIGHTS_SHA256:
    raise InputError(
      f'{path}: its SHA-256 is {found}, not {WEIGHTS_SHA256}, so the file is '
      f'damaged or of another version; {remedy}'
    )
  try:
    flat = load(data)
  except SafetensorError as error:
    raise InputError(
      f'{path}: cannot be read as safetensors ({error}); {remedy}'
    ) from error
  finite.check(flat.items(), path, remedy=remedy)
  return traverse_util.unflatten_dict(
    {name: jnp.asarray(x, jnp.float32) for name, x in flat.items()}, sep='/'
  )


@jax.jit
def _probabilities(
  variables: Mapping[str, Any],
  pixels: Float[Array, 'b h w 5'],
  keypoints: Float[Array, 'b k 3'],
) -> Float[Array, 'b _ _ _']:
  logits = BodyParser(NUM_CLASSES).apply(variables, pixels, keypoints)
  assert isinstance(logits, jax.Array)
  return jax.nn.softmax(logits, axis=-1)


def label_body(
  image: UInt8[np.ndarray, 'h w 3'],
  keypoints: np.ndarray | None = None,
  mask: np.ndarray | None = None,
  *,
  weights: pathlib.Path = WEIGHTS,
) -> UInt8[np.ndarray, 'h w']:
  """Labels each pixel of a photo of one person.

  Args:
    image: RGB.
    keypoints: (18, 3) COCO-18: x, y in pixels, confidence (0: missing); None:
      none is known, and the person fills the photo.
    mask: (h, w) the probability of the person in [0, 1]; None: not known.
    weights: another file of weights.

  Returns:
    LIP-20 labels: background 0, hair and hats 2, upper clothes 5, trousers 9
    or a skirt 12, skin of the torso 10, face and neck 13, arms 14 (left) and
    15, legs 16 and 17, shoes 18 and 19.

  Raises:
    InputError: key points or a mask of another shape, joints outside the
      photo, or no upper clothes.
  """
  size = image.shape[:2]
  keypoints = _checked_keypoints(keypoints, size)
  if mask is not None and mask.shape != size:
    raise InputError(
      f'the person mask has shape {mask.shape}, the photo {size}; give the '
      'mask at the size of the photo'
    )
  labels = np.zeros(size, np.uint8)
  rows, columns = _without_repeated_border(image)
  part = np.ascontiguousarray(image[rows, columns])
  if keypoints is not None:
    keypoints = keypoints - np.array([columns.start, rows.start, 0], np.float32)
  if mask is not None:
    mask = mask[rows, columns]
  if min(part.shape[:2]) >= _LEAST_PX:
    frame = frame_person(keypoints, part.shape[:2], mask)
    pixels, points = network_inputs(part, keypoints, mask, frame=frame)
    shares = np.asarray(
      _probabilities(load_weights(weights), pixels[None], points[None])[0]
    )
    labels[rows, columns] = _labels_in_photo(shares, part, frame)
  if not (labels == GARMENT_LABEL).any():
    raise InputError(
      'no upper clothes were found in the photo; give one of a person from '
      'the front, better joints by --pose FILE, or a label map by --parse FILE'
    )
  return labels


def _without_repeated_border(image: np.ndarray) -> tuple[slice, slice]:
  """The rows and columns without those that repeat the image's border.

  Where a photo was enlarged by repeating its last pixels, hair would go on as a
  hat up to the edge. A plain wall that is cut off so is no loss.
  """
  found = []
  for axis in (0, 1):
    lines = np.moveaxis(image, axis, 0)
    changes = np.flatnonzero((lines[1:] != lines[:-1]).any(axis=(1, 2)))
    first, last = (changes[0], changes[-1] + 2) if len(changes) else (0, 1)
    found.append(slice(int(first), int(last)))
  return found[0], found[1]


def _checked_keypoints(
  keypoints: np.ndarray | None, size: tuple[int, int]
) -> np.ndarray | None:
  """The key points as float32, or None where no joint is known."""
  if keypoints is None:
    return None
  keypoints = np.asarray(keypoints, np.float32)
  if keypoints.shape != (18, 3) or not np.isfinite(keypoints).all():
    raise InputError(
      f'key points to parse a person must be 18 rows of finite x, y, '
      f'confidence, not {keypoints.shape}; give the pose by --pose FILE'
    )
  seen = keypoints[:, 2] > 0
  if not seen.any():
    return None
  x, y = keypoints[seen, :2].T
  if ((x < 0) | (x >= size[1]) | (y < 0) | (y >= size[0])).all():
    raise InputError(
      f'the joints lie outside the photo of {size[1]} x {size[0]} pixels; give '
      'the pose of this photo by --pose FILE or a label map by --parse FILE'
    )
  return keypoints


def network_inputs(
  image: np.ndarray,
  keypoints: np.ndarray | None,
  mask: np.ndarray | None,
  *,
  frame: BodyFrame,
) -> tuple[np.ndarray, np.ndarray]:
  """`BodyParser`'s pixels (256, 192, 5) and key points (18, 3)."""
  inside = frame.cut(np.ones(image.shape[:2], np.float32))
  person = np.zeros_like(inside)
  if mask is not None:
    person = 2 * frame.cut(mask.astype(np.float32)) - 1
  points = np.zeros((18, 3), np.float32)
  if keypoints is not None:
    seen = keypoints[:, 2:] > 0
    points = np.where(seen, frame.points(keypoints), 0).astype(np.float32)
  whole = (inside > 0.99).astype(np.float32)
  pixels = stack_pixels(frame.cut(image)[None], whole[None], person[None])
  return pixels[0], points


def _labels_in_photo(
  shares: np.ndarray, image: np.ndarray, frame: BodyFrame
) -> np.ndarray:
  """The likeliest label of each pixel, with outlines on the photo's edges."""
  small = cv2.resize(
    frame.cut(image), shares.shape[1::-1], interpolation=cv2.INTER_AREA
  )
  shares = weigh_colours(shares, small)
  # One kind of lower clothes for the whole person: the one seen more of.
  kept, other = (
    (TROUSERS, SKIRT)
    if shares[..., TROUSERS].sum() >= shares[..., SKIRT].sum()
    else (SKIRT, TROUSERS)
  )
  shares[..., kept] += shares[..., other]
  shares[..., other] = 0
  h, w = image.shape[:2]
  x0, y0 = max(int(frame.left), 0), max(int(frame.top), 0)
  x1 = min(int(np.ceil(frame.left + 2 * shares.shape[1] / frame.scale)), w)
  y1 = min(int(np.ceil(frame.top + 2 * shares.shape[0] / frame.scale)), h)
  # From pixels of that part of the photo to cells of the map.
  scale = frame.scale / LABEL_STRIDE
  offset = (np.array([x0 - frame.left, y0 - frame.top]) + 0.5) * scale - 0.5
  to_cells = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
  size = (x1 - x0, y1 - y0)
  part = cv2.cvtColor(image[y0:y1, x0:x1], cv2.COLOR_RGB2GRAY)
  guide = part.astype(np.float32) / 255
  small = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)

  def enlarge(values):
    return cv2.warpAffine(
      values,
      to_cells,
      size,
      flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
      borderMode=cv2.BORDER_REPLICATE,
    )

  best = np.full(size[::-1], -np.inf, np.float32)
  labels = np.zeros(image.shape[:2], np.uint8)
  view = labels[y0:y1, x0:x1]
  for k, label in enumerate(CLASS_LABELS):
    if shares[..., k].max() < 0.05:
      continue
    slope, base = _edge_model(shares[..., k], small / 255)
    value = enlarge(slope) * guide + enlarge(base)
    better = value > best
    view[better] = label
    np.maximum(best, value, out=best)
  return labels


def _edge_model(
  share: np.ndarray, guide: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Fits share = slope * guide + base around each cell, and smooths both.

  The fast guided filter: the fit is made on few pixels and used on all.

  References:
    He and Sun, Fast guided filter, 2015.
  """
  side = (2 * _EDGE_RADIUS + 1,) * 2

  def mean(values):
    return cv2.blur(values, side)

  of_guide, of_share = mean(guide), mean(share)
  spread = mean(guide * guide) - of_guide**2 + _EDGE_CONTRAST**2
  slope = (mean(guide * share) - of_guide * of_share) / spread
  return mean(slope), mean(of_share - slope * of_guide)
