"""TFRecord files of tf.train.Example, written without TensorFlow.

A record is: length (8 bytes, little endian), masked CRC-32C of these, payload,
masked CRC-32C of the payload. The payload here is the protocol buffer message
tf.train.Example: names of features, each a list of bytes, floats or int64.

References:
  The framing: tensorflow.org/tutorials/load_data/tfrecord. CRC-32C: RFC 3720,
  appendix B.4. Wire format: protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Mapping
import struct

import google_crc32c
import numpy as np

_MASK_DELTA = 0xA282EAD8


def masked_crc32c(data: bytes) -> int:
  """CRC-32C as TFRecord stores it: rotated, and a constant added."""
  crc = google_crc32c.value(data)
  return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def frame(payload: bytes) -> bytes:
  """One record, ready to be appended to a file."""
  length = struct.pack('<Q', len(payload))
  return b''.join(
    (
      length,
      struct.pack('<I', masked_crc32c(length)),
      payload,
      struct.pack('<I', masked_crc32c(payload)),
    )
  )


def encode_example(features: Mapping[str, object]) -> bytes:
  """tf.train.Example, serialised, its features in order of their names.

  Args:
    features: name -> str, bytes, int, or an array of floats (float32 in the
      file).
  """
  entries = (
    _field(1, _field(1, name.encode()) + _field(2, _feature(value)))
    for name, value in sorted(features.items())
  )
  return _field(1, b''.join(entries))


def _feature(value) -> bytes:
  """tf.train.Feature: 1 bytes_list, 2 float_list, 3 int64_list."""
  if isinstance(value, str):
    value = value.encode()
  if isinstance(value, bytes):
    return _field(1, _field(1, value))
  if isinstance(value, int):
    return _field(3, _field(1, _varint(value % 2**64)))
  return _field(2, _field(1, np.asarray(value, '<f4').tobytes()))


def _field(number: int, content: bytes) -> bytes:
  """A field with a length before its content."""
  return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
  groups = []
  while value > 0x7F:
    groups.append(value & 0x7F | 0x80)
    value >>= 7
  return bytes([*groups, value])
