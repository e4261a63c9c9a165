"""Random access to the records of TFRecord files.

A TFRecord file is a row of: length (8 bytes), checksum of the length (4),
payload, checksum of the payload (4). One walk over the lengths gives the place
of every record, so that any of them costs one read, at whatever step training
resumes. The walk compares the lengths with their checksums, and every read its
payload with its own.
"""

from collections.abc import Sequence
import contextlib
import dataclasses
import os
import pathlib
import struct
from typing import BinaryIO

import numpy as np

from viton_jax.errors import InputError
from viton_jax.io import files, tfrecords

_HEADER, _FOOTER = 12, 4


@dataclasses.dataclass(frozen=True)
class RecordIndex:
  """Where all records of some files are, in order; holds no open file.

  Attributes:
    paths: the files.
    file_numbers: (n,) int32, the file of each record.
    offsets: (n,) int64, where its payload begins.
    lengths: (n,) int64, bytes of its payload.
  """

  paths: tuple[pathlib.Path, ...]
  file_numbers: np.ndarray
  offsets: np.ndarray
  lengths: np.ndarray

  def __len__(self) -> int:
    return len(self.offsets)

  def name(self, index: int) -> str:
    """A record in an error message: file and number in it."""
    number = self.file_numbers[index]
    first = np.searchsorted(self.file_numbers, number)
    return f'{self.paths[number]}, record {index - first}'

  def read(self, index: int) -> bytes:
    """The payload of one record; opens and closes its file."""
    with _opened(self.paths[self.file_numbers[index]]) as file:
      return _payload(file, self, int(index))

  def open(self) -> 'RecordReader':
    """Opens all files, to read many records; raises InputError."""
    return RecordReader(self)


class RecordReader:
  """The open files of an index; a context manager that closes them."""

  def __init__(self, index: RecordIndex):
    self._index = index
    with contextlib.ExitStack() as stack:
      self._files = [stack.enter_context(_opened(path)) for path in index.paths]
      self._close = stack.pop_all().close

  def read(self, index: int) -> bytes:
    """The payload of one record; may be called from many threads."""
    file = self._files[self._index.file_numbers[index]]
    return _payload(file, self._index, int(index))

  def close(self) -> None:
    self._close()

  def __enter__(self) -> 'RecordReader':
    return self

  def __exit__(self, *_) -> None:
    self.close()


def _opened(path: pathlib.Path) -> BinaryIO:
  return files.open_regular(path, 'record file', remedy='copy the file again')


def _payload(file: BinaryIO, found: RecordIndex, index: int) -> bytes:
  length = int(found.lengths[index])
  data = os.pread(file.fileno(), length + _FOOTER, found.offsets[index])
  payload = data[:length]
  if len(data) != length + _FOOTER or (
    tfrecords.masked_crc32c(payload)
    != struct.unpack_from('<I', data, length)[0]
  ):
    raise InputError(
      f'{found.name(index)}: the record is damaged, its checksum is another; '
      'copy or prepare the records again'
    )
  return payload


def index_records(paths: Sequence[pathlib.Path]) -> RecordIndex:
  """Finds the records of TFRecord files.

  Args:
    paths: the files, in the order in which their records are to be numbered.

  Returns:
    the places of the records.

  Raises:
    InputError: a file cannot be read, is not TFRecord, or ends inside a
      record.
  """
  numbers, offsets, lengths = [], [], []
  for number, path in enumerate(paths):
    with _opened(path) as file:
      found = _walk(file.fileno(), path)
    numbers += [number] * len(found)
    offsets += [offset for offset, _ in found]
    lengths += [length for _, length in found]
  return RecordIndex(
    paths=tuple(paths),
    file_numbers=np.array(numbers, np.int32),
    offsets=np.array(offsets, np.int64),
    lengths=np.array(lengths, np.int64),
  )


def _walk(descriptor: int, path) -> list[tuple[int, int]]:
  """(offset, length) of each payload of one file."""
  size = os.fstat(descriptor).st_size
  found, position = [], 0
  while position < size:
    header = os.pread(descriptor, _HEADER, position)
    # A length that leads out of the file: cut short, or not TFRecord at all.
    length = struct.unpack_from('<Q', header)[0] if len(header) == 12 else size
    if len(header) == 12 and (
      tfrecords.masked_crc32c(header[:8])
      != struct.unpack_from('<I', header, 8)[0]
    ):
      raise InputError(
        f'{path}: record {len(found)} has a damaged length; copy or prepare '
        'the file again'
      )
    start = position + _HEADER
    position = start + length + _FOOTER
    if position > size:
      raise InputError(
        f'{path}: the file ends inside record {len(found)}; copy or prepare '
        'it again'
      )
    found.append((start, length))
  return found
