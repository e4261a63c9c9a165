"""What a prepared record holds, and how it is packed and unpacked.

About 40 kB instead of the 1.9 MB of the original's records: photos as JPEG at
working size, and only what the 22-channel person representation is computed
from. The head, which the network must keep, is stored without loss beside the
JPEG and put back when a record is read.
"""

import numpy as np

from input_pipeline import sample
from viton_jax import flow_levels
from viton_jax.choices import Fidelity
from viton_jax.io import images
from viton_jax.labels import NUM_KEYPOINTS

_JPEG_QUALITY = 95


def pack(example: dict) -> dict:
  """Packs a working example with control points for a record.

  Args:
    example: see `sample.working_example`.

  Returns:
    a dict: person, garment as JPEG; head as RGBA PNG (colours where alpha, the
    soft head mask, is above 0); parse and garment_mask as PNG; of the fields of
    an exchange, if there are any, photo as JPEG, flow and photo_parse as PNG;
    the numeric arrays and ids as they are.
  """
  head = np.dstack([example['person'], example['head_mask']])
  head[example['head_mask'] == 0] = 0
  packed = dict(example)
  del packed['head_mask']
  for name in ('person', 'garment', 'photo'):
    if name in example:
      packed[name] = images.encode_jpeg(example[name], quality=_JPEG_QUALITY)
  packed['head'] = images.encode_png(head)
  for name in ('parse', 'garment_mask', 'flow', 'photo_parse'):
    if name in example:
      packed[name] = images.encode_png(example[name])
  return packed


def packed_size(packed: dict) -> int:
  """Bytes that a packed example takes, its framing aside."""
  return sum(
    value.nbytes if isinstance(value, np.ndarray) else len(value)
    for value in packed.values()
  )


def array_shapes(
  height: int, width: int, *, fidelity: Fidelity
) -> dict[str, tuple[int, ...]]:
  """Shapes of the float32 arrays in a record."""
  shapes: dict[str, tuple[int, ...]] = {
    'body': (height // 16, width // 16),
    'keypoints': (NUM_KEYPOINTS, 3),
    'control_points': (100, 2),
  }
  if fidelity == 'original':
    shapes['pose_limit'] = (2,)
  return shapes


def flow_shape(height: int, width: int) -> tuple[int, int, int]:
  """Shape of `flow`, see `sample.training_example`."""
  return (height // flow_levels.STEP, width // flow_levels.STEP, 3)


def unpack(tf, serialized, info) -> dict:
  """Unpacks one serialised record with TensorFlow operations.

  Args:
    tf: the TensorFlow module.
    serialized: scalar string tensor, a `tf.train.Example`.
    info: has height, width, fidelity, and exchanged, whether records have
      `sample.EXCHANGE_FIELDS`.

  Returns:
    a dict of tensors, see `sample.working_example`.
  """
  shapes = array_shapes(info.height, info.width, fidelity=info.fidelity)
  names = ['person', 'garment', 'head', 'parse', 'garment_mask']
  if info.exchanged:
    names += sample.EXCHANGE_FIELDS
  features = {
    name: tf.io.FixedLenFeature((), tf.string)
    for name in (*names, 'person_id', 'garment_id')
  }
  for name, shape in shapes.items():
    features[name] = tf.io.FixedLenFeature(shape, tf.float32)
  example = tf.io.parse_single_example(serialized, features)
  size = (info.height, info.width)

  def decode_jpeg(data):
    # The accurate transform: what the JPEG was made with.
    image = tf.io.decode_jpeg(data, 3, dct_method='INTEGER_ACCURATE')
    return tf.ensure_shape(image, (*size, 3))

  def decode_png(data, channels):
    image = tf.io.decode_png(data, channels)
    return tf.ensure_shape(image, (*size, channels))

  head = decode_png(example.pop('head'), 4)
  colours, alpha = head[..., :3], head[..., 3]
  person = decode_jpeg(example['person'])
  example['person'] = tf.where(alpha[..., None] > 0, colours, person)
  example['garment'] = decode_jpeg(example['garment'])
  example['head_mask'] = alpha
  for name in ('parse', 'garment_mask'):
    example[name] = decode_png(example[name], 1)[..., 0]
  if info.exchanged:
    example['photo'] = decode_jpeg(example['photo'])
    example['photo_parse'] = decode_png(example['photo_parse'], 1)[..., 0]
    example['flow'] = tf.ensure_shape(
      tf.io.decode_png(example['flow'], 3, tf.uint16),
      flow_shape(info.height, info.width),
    )
  return example
