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

import numpy as np

_POLYNOMIAL = np.uint32(0x82F63B78)  # Castagnoli's, bits reversed.
_BLOCK = 1024  # Bytes that are summed at once.
_MASK_DELTA = 0xA282EAD8
_ONES = 0xFFFFFFFF


def _byte_table() -> np.ndarray:
  """(256,) uint32: what one byte makes of an empty register."""
  table = np.arange(256, dtype=np.uint32)
  for _ in range(8):
    table = np.where(table & 1, (table >> 1) ^ _POLYNOMIAL, table >> 1)
  return table


def _block_table(one: np.ndarray) -> np.ndarray:
  """(block, 256) uint32: what a byte makes of it, by its place in a block."""
  rows = [one]
  for _ in range(_BLOCK - 1):  # One more zero byte behind it each time.
    rows.append(one[rows[-1] & 0xFF] ^ (rows[-1] >> 8))
  return np.stack(rows[::-1])


_BYTE = _byte_table()
_BYTE_LIST = _BYTE.tolist()
_PLACES = _block_table(_BYTE)
_ROWS = np.arange(_BLOCK) * 256
# A register, byte by byte, after a whole block of zeros: the register's lowest
# byte meets the first byte of what follows.
_SHIFT = [_PLACES[place].tolist() for place in range(4)]


def crc32c(data: bytes) -> int:
  """CRC-32C. The sum is linear, so all bytes of a block are looked up at once.

  Args:
    data: any bytes.

  Returns:
    the checksum, below 2 ** 32.
  """
  if len(data) < _BLOCK:
    register = _ONES
    for byte in data:
      register = _BYTE_LIST[(register ^ byte) & 0xFF] ^ (register >> 8)
    return register ^ _ONES
  # A register of ones is the same as the first four bytes inverted; zeros in
  # front of everything change nothing.
  padded = np.zeros(-(-len(data) // _BLOCK) * _BLOCK, np.uint8)
  message = padded[len(padded) - len(data) :]
  message[:] = np.frombuffer(data, np.uint8)
  message[:4] ^= 0xFF
  values = _PLACES.reshape(-1)[padded.reshape(-1, _BLOCK) + _ROWS]
  register = 0
  for block in np.bitwise_xor.reduce(values, axis=1).tolist():
    shifted = 0
    for place in range(4):
      shifted ^= _SHIFT[place][(register >> 8 * place) & 0xFF]
    register = shifted ^ block
  return register ^ _ONES


def masked_crc32c(data: bytes) -> int:
  """The checksum as TFRecord stores it: rotated, and a constant added."""
  crc = crc32c(data)
  return ((crc >> 15 | crc << 17) + _MASK_DELTA) & _ONES


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
