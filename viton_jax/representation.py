"""From a batch of small arrays to the networks' inputs, on the device.

One jit-able function for training, batch inference, serving and export. The 22
channels of the person representation are never stored and never sent to the
device: they are made here from images, keypoints and small masks.

Source: Han et al., VITON, CVPR 2018, section 3.1.
"""

from collections.abc import Mapping
from typing import overload

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num, Shaped, UInt8
import numpy as np

from viton_jax import choices
from viton_jax.choices import Fidelity
from viton_jax.labels import (
  ARM_LABELS,
  GARMENT_LABEL,
  HEAD_LABELS,
  LOWER_LABELS,
  SKIN,
)

POSE_RADIUS_PX = 5
CELL_PX = 16  # `body` has one value for so many pixels a side.
# A coordinate from which no joint's square reaches the image.
_OUTSIDE = -1000.0
# Garment, skin of the neck, gloves and arms; and how far around them, of the
# height.
_CHANGED_LABELS = (GARMENT_LABEL, SKIN, 3, *ARM_LABELS)
_CHANGED_REACH = 1 / 32
NUM_INPUT_CHANNELS = 3 + 1 + 3 + 18  # Garment, body, head, joints.
# Garment and its mask, both as the spline lays them, where from, mask, coarse
# image, person, place; see `predictions.flow_inputs`.
NUM_FLOW_CHANNELS = 4 + 4 + 2 + 1 + 3 + 22 + 2
# What the appearance flow network tells apart, in photos and in what it makes
# of them: part 1, 2, ...; 0 is the rest. Gloves count as skin.
_PARTS = ((GARMENT_LABEL,), (SKIN, 3, *ARM_LABELS), LOWER_LABELS, HEAD_LABELS)
GARMENT_PART, SKIN_PART, LOWER_PART, HEAD_PART = range(1, len(_PARTS) + 1)
NUM_PARTS = 1 + len(_PARTS)
NUM_PHOTO_CHANNELS = 3 + len(_PARTS)


def person_representation(
  batch: Mapping[str, Array | np.ndarray], *, fidelity: Fidelity
) -> Float[Array, 'b h w 22']:
  """What is kept of the person: everything but the garment.

  Args:
    batch: `person` (b, h, w, 3) and `head_mask` (b, h, w), both 0..255, any
      dtype; `body` (b, h/16, w/16) float in 0..1; `keypoints` (b, 18, 3) float
      (x, y in pixels, confidence; 0: missing). More is ignored.
    fidelity: 'fixed', or 'original': TensorFlow 1's resizing, and a missing
      joint marks the top-left corner.

  Returns:
    (b, h, w, 22) float32: body shape 0..1 (1 channel), head in [-1, 1] times
    its mask (3), joints 0/1 (18).
  """
  choices.check('fidelity', fidelity, Fidelity)
  h, w = batch['person'].shape[1:3]
  limit = batch.get('pose_limit')
  return jnp.concatenate(
    [
      body_shape(jnp.asarray(batch['body']), (h, w), fidelity=fidelity),
      _head(jnp.asarray(batch['person']), jnp.asarray(batch['head_mask'])),
      pose_map(
        jnp.asarray(batch['keypoints']),
        (h, w),
        fidelity=fidelity,
        limit=None if limit is None else jnp.asarray(limit),
      ),
    ],
    axis=-1,
  )


def network_inputs(
  batch: Mapping[str, Array | np.ndarray], *, fidelity: Fidelity
) -> Float[Array, 'b h w 25']:
  """The encoder-decoder's input: garment, then person representation.

  Args:
    batch: as for `person_representation`, and `garment` (b, h, w, 3) in 0..255.
    fidelity: 'fixed' or 'original'.

  Returns:
    (b, h, w, 25) float32.
  """
  return jnp.concatenate(
    [
      to_norm(batch['garment']),
      person_representation(batch, fidelity=fidelity),
    ],
    axis=-1,
  )


def from_labels(
  parse: Shaped[Array | np.ndarray, 'b h w'],
  keypoints: Shaped[Array | np.ndarray, 'b k 3'],
  *,
  fidelity: Fidelity,
) -> dict[str, Array]:
  """What `working_example` makes of labels and joints at the working size.

  Args:
    parse: (b, h, w) LIP-20 labels; h and w are multiples of 16.
    keypoints: (b, k, 3) float32 x, y in pixels and confidence; 0: missing.
    fidelity: 'fixed' or 'original'.

  Returns:
    `head_mask` (b, h, w) uint8, 0 or 255, and `body` (b, h/16, w/16) float32;
    in 'original' also `keypoints` with whole coordinates, where a missing joint
    lies far outside, and `pose_limit` (b, 2) float32.
  """
  choices.check('fidelity', fidelity, Fidelity)
  parse, keypoints = jnp.asarray(parse), jnp.asarray(keypoints)
  b, h, w = parse.shape
  heads = [parse == label for label in HEAD_LABELS]
  is_head = jnp.stack(heads).any(axis=0)
  is_body = ((parse != 0) & ~is_head).astype(jnp.float32)
  cells = is_body.reshape(b, h // CELL_PX, CELL_PX, w // CELL_PX, CELL_PX)
  made = {
    'head_mask': jnp.where(is_head, 255, 0).astype(jnp.uint8),
    'body': cells.mean(axis=(2, 4)),
  }
  if fidelity == 'original':
    # VITON's released code truncates coordinates, and places a missing joint
    # where it draws nothing.
    place = jnp.trunc(keypoints[..., :2])
    whole = jnp.concatenate([place, keypoints[..., 2:]], axis=-1)
    outside = jnp.array([_OUTSIDE, _OUTSIDE, 1], jnp.float32)[None, None]
    made['keypoints'] = jnp.where(keypoints[..., 2:] > 0, whole, outside)
    limit = jnp.array([w, h], jnp.float32)[None]
    made['pose_limit'] = jnp.broadcast_to(limit, (b, 2))
  return made


def photo_channels(
  photo: Num[Array | np.ndarray, 'b h w 3'],
  parse: Num[Array | np.ndarray, 'b h w'],
) -> Float[Array, 'b h w 7']:
  """A photo as the appearance flow network sees it, old garment and all.

  Args:
    photo: (b, h, w, 3) in 0..255.
    parse: (b, h, w), its LIP-20 labels.

  Returns:
    (b, h, w, 7) float32: colours in 0..1, and 0 or 1 for the old garment, skin,
    lower clothes and head. A black photo without labels is 0 everywhere.
  """
  parts = jax.nn.one_hot(parts_of(parse), NUM_PARTS, dtype=jnp.float32)
  return jnp.concatenate(
    [jnp.asarray(photo).astype(jnp.float32) / 255.0, parts[..., 1:]], axis=-1
  )


def parts_of(parse: Num[Array | np.ndarray, 'b h w']) -> UInt8[Array, 'b h w']:
  """LIP-20 labels -> `GARMENT_PART`, `SKIN_PART`, ..., or 0, of each pixel."""
  parse = jnp.asarray(parse)
  parts = jnp.zeros(parse.shape, jnp.uint8)
  for part, labels in enumerate(_PARTS, 1):
    inside = jnp.stack([parse == x for x in labels]).any(axis=0)
    parts = jnp.where(inside, jnp.uint8(part), parts)
  return parts


def garment_region(
  batch: Mapping[str, Array | np.ndarray],
) -> Float[Array, 'b h w 1']:
  """Where the person wears the garment: float32, 0 or 1.

  Args:
    batch: `parse` (b, h, w), LIP-20 labels.
  """
  return _is_garment(jnp.asarray(batch['parse'])).astype(jnp.float32)[..., None]


def changed_region(
  batch: Mapping[str, Array | np.ndarray],
) -> Float[Array, 'b h w 1']:
  """What of a photo an exchange of the garment may change: float32, 0 or 1.

  The garment, arms and the neck's skin, and everything within 1/32 of the
  image's height of them: another garment is a little longer or wider, and the
  skin beside it is drawn anew.

  Args:
    batch: `parse` (b, h, w), LIP-20 labels.
  """
  parse = jnp.asarray(batch['parse'])
  inside = jnp.stack([parse == x for x in _CHANGED_LABELS]).any(axis=0)
  reach = round(_CHANGED_REACH * parse.shape[1])
  window = 2 * reach + 1
  region = inside.astype(jnp.float32)
  for shape in ((1, window, 1), (1, 1, window)):
    region = lax.reduce_window(region, 0.0, lax.max, shape, (1,) * 3, 'SAME')
  return region[..., None]


def pose_map(
  keypoints: Float[Array, 'b k 3'],
  size: tuple[int, int],
  *,
  fidelity: Fidelity,
  limit: Num[Array, 'b 2'] | None = None,
) -> Float[Array, 'b {size[0]} {size[1]} k']:
  """One channel a joint: ones in a square of 11 pixels around it.

  Args:
    keypoints: (b, k, 3) x, y in pixels and confidence; 0: missing.
    size: (h, w).
    fidelity: 'fixed' draws nothing for a missing joint; 'original' draws its
      square around (0, 0), as the published weights learned it.
    limit: (b, 2) x, y where squares end before the border of a photo that is
      smaller than (h, w); 'original' alone has it.

  Returns:
    (b, h, w, k) float32, 0 or 1; squares are cut off at the borders.
  """
  choices.check('fidelity', fidelity, Fidelity)
  h, w = size
  seen = keypoints[..., 2] > 0
  x, y = (jnp.where(seen, jnp.round(keypoints[..., i]), 0.0) for i in (0, 1))
  rows = jnp.arange(h, dtype=x.dtype)[None, :, None]
  columns = jnp.arange(w, dtype=x.dtype)[None, :, None]
  inside_rows = jnp.abs(rows - y[:, None, :]) <= POSE_RADIUS_PX
  inside_columns = jnp.abs(columns - x[:, None, :]) <= POSE_RADIUS_PX
  if limit is not None:
    inside_rows &= rows < limit[:, None, 1:]
    inside_columns &= columns < limit[:, None, :1]
  if fidelity == 'fixed':
    inside_rows &= seen[:, None, :]
  squares = inside_rows[:, :, None, :] & inside_columns[:, None, :, :]
  return squares.astype(jnp.float32)


def body_shape(
  body: Num[Array, 'b _ _'], size: tuple[int, int], *, fidelity: Fidelity
) -> Float[Array, 'b {size[0]} {size[1]} 1']:
  """Enlarges the coarse body shape bilinearly.

  Args:
    body: (b, h/16, w/16), 0..1.
    size: (h, w).
    fidelity: 'original': TensorFlow 1's source positions, dst * src / dst size;
      'fixed': pixel centres.

  Returns:
    (b, h, w, 1) float32.
  """
  choices.check('fidelity', fidelity, Fidelity)
  body = body.astype(jnp.float32)
  if fidelity == 'fixed':
    body = jax.image.resize(body, (body.shape[0], *size), 'bilinear')
  else:
    rows = jnp.asarray(_tf1_bilinear(body.shape[1], size[0]))
    columns = jnp.asarray(_tf1_bilinear(body.shape[2], size[1]))
    # Exact on every device: a TPU's default would round to bfloat16.
    body = jnp.einsum(
      'hy,byx,wx->bhw', rows, body, columns, precision='highest'
    )
  return body[..., None]


def halved(
  x: Float[Array, 'b h w c'],
) -> Float[Array, 'b h//2 w//2 c']:
  """Means of squares of 2 x 2 pixels."""
  b, h, w, c = x.shape
  return x.reshape(b, h // 2, 2, w // 2, 2, c).mean(axis=(2, 4))


def to_norm(
  images: Num[Array | np.ndarray, '*shape'],
) -> Float[Array, '*shape']:
  """0..255 of any dtype -> float32 in [-1, 1]."""
  return jnp.asarray(images).astype(jnp.float32) / 127.5 - 1.0


@overload
def to_uint8(
  images: np.ndarray, value_range: tuple[float, float] = (-1, 1)
) -> np.ndarray: ...


@overload
def to_uint8(
  images: Array, value_range: tuple[float, float] = (-1, 1)
) -> Array: ...


def to_uint8(
  images: Shaped[Array, '*shape'] | Shaped[np.ndarray, '*shape'],
  value_range: tuple[int | float, int | float] = (-1, 1),
) -> UInt8[Array, '*shape'] | UInt8[np.ndarray, '*shape']:
  """Numbers within `value_range` -> uint8 in 0..255, of the same kind.

  Rounded to the nearest; what lies outside is clipped.

  Args:
    images: any shape and dtype; NumPy's stay NumPy's.
    value_range: what becomes 0 and what becomes 255.
  """
  xp = np if isinstance(images, np.ndarray) else jnp
  low, high = value_range
  scaled = (images.astype(np.float32) - low) * (255.0 / (high - low))
  return xp.clip(xp.round(scaled), 0, 255).astype(np.uint8)


def _head(
  person: Num[Array, 'b h w 3'], head_mask: Num[Array, 'b h w']
) -> Float[Array, 'b h w 3']:
  """The person within [-1, 1], times the mask of the head, both from 0..255."""
  return head_mask.astype(jnp.float32)[..., None] / 255.0 * to_norm(person)


def _is_garment(parse: Num[Array, 'b h w']) -> Bool[Array, 'b h w']:
  return parse == GARMENT_LABEL


def _tf1_bilinear(
  size_in: int, size_out: int
) -> Float[np.ndarray, '{size_out} {size_in}']:
  """TensorFlow 1's resizing as a matrix, float32."""
  position = np.arange(size_out, dtype=np.float32) * np.float32(
    size_in / size_out
  )
  low = np.floor(position).astype(int)
  high = np.minimum(low + 1, size_in - 1)
  share = position - low.astype(np.float32)
  matrix = np.zeros((size_out, size_in), np.float32)
  rows = np.arange(size_out)
  np.add.at(matrix, (rows, low), 1 - share)
  np.add.at(matrix, (rows, high), share)
  return matrix
