"""Writes records of the schema that the original's scripts write."""

import pathlib

import numpy as np

from input_pipeline import sample
from input_pipeline.formats import original_records
from viton_jax.io import images


def write(pairs, folder: pathlib.Path, *, edit=None) -> None:
  """Writes samples as one file.

  Args:
    pairs: an iterable of `sample.Sample` with control points.
    folder: where zalando-train-00000-of-00001 goes.
    edit: changes the features of record `number`: (number, features) -> None.
  """
  tf = original_records.tensorflow()
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / 'zalando-train-00000-of-00001'
  with tf.io.TFRecordWriter(str(path)) as writer:
    for number, pair in enumerate(pairs):
      record = _example(tf, pair)
      if edit:
        edit(number, record.features.feature)
      writer.write(record.SerializeToString())


def pose_map(pair: sample.Sample) -> np.ndarray:
  """(256, 192, 18) uint8: boxes as the original draws them."""
  height, width = pair.person.shape[:2]
  drawn = np.zeros((256, 192, 18), np.uint8)
  for joint, (x, y, confidence) in enumerate(pair.keypoints.astype(float)):
    if not confidence:
      x = y = -1.0
    x, y = int(x * 192 / width), int(y * 256 / height)
    if x < 0:
      continue
    bottom, right = min(y + 6, 256, height), min(x + 6, 192, width)
    drawn[max(y - 5, 0) : bottom, max(x - 5, 0) : right, joint] = 1
  return drawn


def _example(tf, pair):
  def of_bytes(value):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

  def of_int(value):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

  points = (pair.control_points + 1) / 2
  features = {
    'image_id': of_bytes(pair.person_id.encode()),
    'product_image_id': of_bytes(pair.garment_id.encode()),
    'image': of_bytes(images.encode_jpeg(pair.person)),
    'product_image': of_bytes(images.encode_jpeg(pair.garment)),
    'height': of_int(pair.person.shape[0]),
    'width': of_int(pair.person.shape[1]),
    'pose_map': of_bytes(pose_map(pair).tobytes()),
    'segment_map': of_bytes(pair.parse.tobytes()),
    'tps_control_points': tf.train.Feature(
      float_list=tf.train.FloatList(value=points.T.ravel())
    ),
  }
  return tf.train.Example(features=tf.train.Features(feature=features))
