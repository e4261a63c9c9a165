"""Random access to the records of TFRecord files.

A TFRecord file is a row of: length (8 bytes), checksum of the length (4),
payload, checksum of the payload (4). One walk over the lengths gives the place
of every record, so that any of them costs one read, wherever training stands.
"""

from collections.abc import Sequence
import dataclasses
import os
import pathlib
import struct

import numpy as np

from viton_jax.errors import InputError

_HEADER, _FOOTER = 12, 4


@dataclasses.dataclass(frozen=True)
class RecordFiles:
  """All records of some files, in order.

  Attributes:
    paths: the files.
    file_numbers: (n,) int32, the file of each record.
    offsets: (n,) int64, where its payload begins.
    lengths: (n,) int64, bytes of its payload.
    descriptors: the open files.
  """

  paths: tuple[pathlib.Path, ...]
  file_numbers: np.ndarray
  offsets: np.ndarray
  lengths: np.ndarray
  descriptors: tuple[int, ...]

  def __len__(self) -> int:
    return len(self.offsets)

  def __del__(self):
    for descriptor in self.descriptors:
      os.close(descriptor)

  def read(self, index: int) -> bytes:
    """The payload of one record; may be called from many threads."""
    return os.pread(
      self.descriptors[self.file_numbers[index]],
      self.lengths[index],
      self.offsets[index],
    )

  def name(self, index: int) -> str:
    """What to call a record in an error: file and number in it."""
    number = self.file_numbers[index]
    first = np.searchsorted(self.file_numbers, number)
    return f'{self.paths[number]}, record {index - first}'


def open_records(paths: Sequence[pathlib.Path]) -> RecordFiles:
  """Finds the records of TFRecord files.

  Args:
    paths: the files, in the order in which their records are to be numbered.

  Returns:
    the records.

  Raises:
    InputError: a file cannot be read, is not TFRecord, or ends inside a
      record.
  """
  descriptors, numbers, offsets, lengths = [], [], [], []
  try:
    for number, path in enumerate(paths):
      try:
        descriptors.append(os.open(path, os.O_RDONLY))
      except OSError as error:
        raise InputError(
          f'{path}: the records cannot be read ({error.strerror}); copy the '
          'file again'
        ) from error
      found = _walk(descriptors[-1], path)
      numbers += [number] * len(found)
      offsets += [offset for offset, _ in found]
      lengths += [length for _, length in found]
  except BaseException:
    for descriptor in descriptors:
      os.close(descriptor)
    raise
  return RecordFiles(
    paths=tuple(paths),
    file_numbers=np.array(numbers, np.int32),
    offsets=np.array(offsets, np.int64),
    lengths=np.array(lengths, np.int64),
    descriptors=tuple(descriptors),
  )


def _walk(descriptor: int, path) -> list[tuple[int, int]]:
  """(offset, length) of each payload of one file."""
  size = os.fstat(descriptor).st_size
  found, position = [], 0
  while position < size:
    header = os.pread(descriptor, _HEADER, position)
    # A length that leads out of the file: cut short, or not TFRecord at all.
    length = struct.unpack_from('<Q', header)[0] if len(header) == 12 else size
    start = position + _HEADER
    position = start + length + _FOOTER
    if position > size:
      raise InputError(
        f'{path}: the file ends inside record {len(found)}; copy or prepare '
        'it again'
      )
    found.append((start, length))
  return found
