"""Reads records that the original VITON's scripts have written.

One `tf.train.Example` a pair: image_id, product_image_id, image,
product_image (JPEG), height, width, pose_map (raw 0/1 bytes of 256 x 192 x
18), segment_map (raw labels of height x width), tps_control_points (200
floats). They become the same dict as `working_example` makes, except that in
fidelity 'original' images and head mask stay float32 in 0..255, unrounded.
"""

import dataclasses
import functools
import os
import pathlib

import numpy as np

from input_pipeline import sample
from input_pipeline.formats.record_files import RecordIndex, index_records
from viton_jax import choices, labels
from viton_jax.choices import Fidelity
from viton_jax.errors import InputError
from viton_jax.io import finite, images

HEIGHT, WIDTH = 256, 192  # Pose maps are stored at this size.
_BOX_RADIUS = 5
_POSE_SHAPE = (HEIGHT, WIDTH, labels.NUM_KEYPOINTS)
_MAX_SIDE = 1 << 14
_BYTES, _INTEGERS, _FLOATS = 'bytes_list', 'int64_list', 'float_list'
# Feature -> the kind of its values.
_FEATURES = {
  'image_id': _BYTES,
  'product_image_id': _BYTES,
  'image': _BYTES,
  'product_image': _BYTES,
  'height': _INTEGERS,
  'width': _INTEGERS,
  'pose_map': _BYTES,
  'segment_map': _BYTES,
  'tps_control_points': _FLOATS,
}
_NAMES = ('image_id', 'product_image_id')


def index_original_records(data_dir, split: str = 'train') -> RecordIndex:
  """Finds the records of '*-train-?????-of-?????' files.

  Args:
    data_dir: their folder.
    split: 'train', or another word in the file names.

  Returns:
    their places.

  Raises:
    InputError: no such files, or some of the set are missing.
  """
  data_dir = pathlib.Path(data_dir)
  paths = sorted(data_dir.glob(f'*-{split}-?????-of-?????'))
  if not paths:
    raise InputError(
      f"{data_dir}: there are no files '*-{split}-?????-of-?????'; name the "
      "folder with the original's records"
    )
  total = int(paths[0].name.rpartition('-of-')[2])
  if len(paths) != total:
    raise InputError(
      f'{data_dir}: {len(paths)} of {total} record files are there; copy the '
      'missing ones'
    )
  return index_records(paths)


def read_record(data: bytes, name: str, *, fidelity: choices.Fidelity) -> dict:
  """Turns one of the original's records into a working example.

  Args:
    data: the serialised `tf.train.Example`.
    name: name of the record in error messages: file and number.
    fidelity: 'original': TensorFlow 1's resizing and its fast JPEG decoding,
      float32 images. 'fixed': antialiased uint8 images; joints whose box says
      "missing" are missing.

  Returns:
    the dict of `sample.working_example` at 256 x 192, but without
    garment_mask, which training does not use.

  Raises:
    InputError: a feature is missing or has another size or content.
  """
  content = read_content(data, name, fidelity=fidelity)
  person, size = content.person, (HEIGHT, WIDTH)
  original = fidelity == 'original'
  example = sample.shrink(
    person, content.garment, content.parse, size=size, fidelity=fidelity
  )
  keypoints = content.keypoints
  if original:
    example['pose_limit'] = sample.pose_limit(person.shape[:2], size=size)
  else:
    keypoints[drawn_missing(keypoints)] = 0
  example['keypoints'] = keypoints
  example['control_points'] = content.control_points
  example['person_id'] = content.person_id
  example['garment_id'] = content.garment_id
  return example


@dataclasses.dataclass(frozen=True)
class Content:
  """What one of the original's records holds, at the photos' size.

  Attributes:
    person_id, garment_id: file names, bytes.
    person, garment: (h, w, 3) uint8 RGB, each of its own size.
    parse: (h, w) uint8 LIP-20, of the person.
    keypoints: (18, 3) float32 in pixels at 256 x 192, see
      `keypoints_from_boxes`.
    control_points: (100, 2) float32 x, y in [-1, 1].
  """

  person_id: bytes
  garment_id: bytes
  person: np.ndarray
  garment: np.ndarray
  parse: np.ndarray
  keypoints: np.ndarray
  control_points: np.ndarray


def read_content(data: bytes, name: str, *, fidelity: Fidelity) -> Content:
  """Takes a record apart; see `read_record`."""
  features = _parse(data, name)
  height, width = (
    int(features[key].int64_list.value[0]) for key in ('height', 'width')
  )
  if not (0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE):
    raise InputError(
      f'{name}: width and height say {width} x {height}; write the record again'
    )
  parse = _raw_map(features, 'segment_map', name, shape=(height, width))
  if parse.max() >= labels.NUM_LABELS:
    raise InputError(
      f'{name}: segment_map has the label {parse.max()}; LIP-20 labels go '
      'from 0 to 19'
    )
  photos = []
  for key in ('image', 'product_image'):
    photo = features[key].bytes_list.value[0]
    photos.append(_decode(photo, f'{name}, {key}', fidelity=fidelity))
  if photos[0].shape[:2] != (height, width):
    raise InputError(
      f'{name}: the image is {photos[0].shape[1]} x {photos[0].shape[0]}, '
      f'but width and height say {width} x {height}; write the record again'
    )
  points = np.array(features['tps_control_points'].float_list.value, np.float32)
  if points.shape != (200,):
    raise InputError(
      f'{name}: tps_control_points has {points.size} values instead of 200; '
      'write the record again'
    )
  finite.check(
    [('tps_control_points', points)], name, remedy='write the record again'
  )
  limit = sample.pose_limit((height, width), size=(HEIGHT, WIDTH))
  pose_map = _raw_map(features, 'pose_map', name, shape=_POSE_SHAPE)
  return Content(
    person_id=features['image_id'].bytes_list.value[0],
    garment_id=features['product_image_id'].bytes_list.value[0],
    person=photos[0],
    garment=photos[1],
    parse=parse,
    keypoints=keypoints_from_boxes(pose_map, limit, name=name),
    control_points=points.reshape(2, 100).T * 2 - 1,
  )


def read_names(data: bytes, name: str) -> tuple[str, str]:
  """File names of a record's person and garment.

  Raises:
    InputError: one of them is missing.
  """
  features = _parse(data, name, _NAMES)
  return tuple(
    features[key].bytes_list.value[0].decode(errors='replace') for key in _NAMES
  )


def drawn_missing(keypoints):
  """(18,) bool: joints whose box, or its lack, only says that they miss."""
  return (keypoints[:, :2] <= 0).all(axis=1)


def keypoints_from_boxes(pose_map, limit, *, name: str):
  """Finds the joints whose 11 x 11 boxes were drawn.

  Args:
    pose_map: (256, 192, 18) uint8 0/1.
    limit: (2,) x and y at which boxes were cut off.
    name: name of the the record in error messages.

  Returns:
    (18, 3) float32. A box around (0, 0) is a missing joint (all zero); a joint
    without a box lies at `sample.OUTSIDE` with confidence 1.

  Raises:
    InputError: a map is not one box of that size.
  """
  used = [pose_map.any(axis=0), pose_map.any(axis=1)]  # By x and by y.
  keypoints = np.zeros((labels.NUM_KEYPOINTS, 3), np.float32)
  for joint in range(labels.NUM_KEYPOINTS):
    if not used[0][:, joint].any():
      keypoints[joint] = sample.OUTSIDE, sample.OUTSIDE, 1
      continue
    centre, area = [], 1
    for axis in (0, 1):
      places = np.flatnonzero(used[axis][:, joint])
      first, last = places[0], places[-1]
      # A side that was cut off tells nothing, so take the other one.
      place = first + _BOX_RADIUS if first > 0 else last - _BOX_RADIUS
      cut = min(place + _BOX_RADIUS, int(limit[axis]) - 1)
      whole = first == max(place - _BOX_RADIUS, 0) and last == cut
      area = area * len(places) if whole else 0
      centre.append(place)
    if area != pose_map[..., joint].sum():
      raise InputError(
        f'{name}: channel {joint} of pose_map is not one 11 x 11 box, so its '
        'joint cannot be determined; write the record again'
      )
    keypoints[joint] = *centre, any(centre)
  return keypoints


def _parse(data: bytes, name: str, needed=tuple(_FEATURES)):
  """The features of a serialised example, the needed ones there."""
  tf = tensorflow()
  try:
    features = tf.train.Example.FromString(data).features.feature
  # protobuf's own error class is not part of TensorFlow's interface.
  except Exception as error:
    raise InputError(
      f'{name}: this is not a tf.train.Example; copy the file again'
    ) from error
  for key in needed:
    kind = features[key].WhichOneof('kind') if key in features else None
    if kind is None or not getattr(features[key], kind).value:
      raise InputError(
        f"{name}: the feature '{key}' is missing; write the records again "
        'with image, product_image, pose_map, segment_map and '
        'tps_control_points'
      )
    if kind != _FEATURES[key]:
      raise InputError(
        f"{name}: the feature '{key}' is a {kind} instead of a "
        f'{_FEATURES[key]}; write the records again'
      )
  return features


def _raw_map(features, key: str, name: str, *, shape):
  data = np.frombuffer(features[key].bytes_list.value[0], np.uint8)
  if data.size != np.prod(shape) or not data.size:
    raise InputError(
      f'{name}: {key} has {data.size} bytes, but {shape} needs '
      f'{np.prod(shape)}; write the record again at that size'
    )
  return data.reshape(shape)


def _decode(data: bytes, name: str, *, fidelity: Fidelity):
  if fidelity == 'original':
    return decode_photo_tf(data, name)
  return images.decode_image(data, name)


def decode_photo_tf(data: bytes, name: str):
  """Decodes a JPEG as the original did, with the fast integer DCT.

  It differs from OpenCV's by up to 7 levels.

  Args:
    data: the file.
    name: its name in error messages.

  Returns:
    (h, w, 3) uint8 RGB.

  Raises:
    InputError: not an image, too large, or damaged.
  """
  images.check_image(data, name)
  tf = tensorflow()
  try:
    return tf.io.decode_image(data, channels=3, expand_animations=False).numpy()
  except tf.errors.InvalidArgumentError as error:
    raise InputError(
      f'{name}: the image data are damaged; copy the file again'
    ) from error


@functools.cache
def tensorflow():
  """Imports TensorFlow and hides the accelerators from it.

  Here and not at the top: packed data need no TensorFlow, whose import takes
  seconds.
  """
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  import tensorflow as tf

  tf.config.set_visible_devices([], 'GPU')
  return tf
