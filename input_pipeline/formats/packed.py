"""Prepared pairs in one memory-mapped file a split: nothing to decode.

A file holds, field after field, the arrays of all examples, as they are in
memory: a batch is copied out of the map, and a whole split can be put on a
device as it lies. It begins with

    8 bytes   b'VITONPK1'
    8 bytes   length of the header, little-endian
    header    JSON: size, fidelity, examples of every split, bytes of the whole
              file, and of each field its name, dtype, shape, offset, SHA-256

Fields start at multiples of 4096 bytes. Names of files are fixed-width bytes,
padded with zeros. Photos are raw uint8: a JPEG would be a tenth, but decoding
it is what takes the time.

`python -m input_pipeline.packed` prints and checks what is in a file.
"""

from collections.abc import Iterable
import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import pathlib
import shutil

import numpy as np

from input_pipeline import sample
from input_pipeline.formats import records
from viton_jax import choices
from viton_jax.errors import InputError
from viton_jax.io import files, storage, structured
from viton_jax.runtime.progress import progress

SUFFIX = '.packed'
IDS = ('person_id', 'garment_id')
_MAGIC = b'VITONPK1'
_PAGE = 4096
_HASH_BYTES = 1 << 24  # Hashed at once when a file is checked.
_NO_RESERVING = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REMEDY = 'copy or prepare it again'


@dataclasses.dataclass(frozen=True)
class Field:
  """One array of a file.

  Attributes:
    name: of the array, as in `sample.working_example`.
    dtype: NumPy's name of its type; ids are 'S' and their width.
    shape: (examples, ...).
    offset: where it begins, in bytes.
    sha256: of its bytes.
  """

  name: str
  dtype: str
  shape: tuple[int, ...]
  offset: int
  sha256: str = '0' * 64

  @property
  def nbytes(self) -> int:
    return int(np.dtype(self.dtype).itemsize * np.prod(self.shape, dtype=int))


@dataclasses.dataclass(frozen=True)
class Header:
  """The header of a packed file.

  Attributes:
    height: working height in pixels.
    width: working width in pixels.
    fidelity: 'fixed' or 'original'.
    split: which one this file holds.
    num_examples: split -> number of examples, of all splits.
    num_bytes: of the whole file.
    fields: its arrays.
    exchanged: whether examples have `sample.EXCHANGE_FIELDS`.
  """

  height: int
  width: int
  fidelity: choices.Fidelity
  split: str
  num_examples: dict[str, int]
  num_bytes: int
  fields: tuple[Field, ...]
  exchanged: bool = False


def path_of(data_dir, split: str) -> pathlib.Path:
  return pathlib.Path(data_dir) / f'{split}{SUFFIX}'


def plan(
  split: str,
  num_examples: dict[str, int],
  *,
  height: int,
  width: int,
  fidelity: choices.Fidelity,
  id_bytes: tuple[int, int],
  exchanged: bool = False,
) -> Header:
  """Lays out the file of one split.

  Args:
    split: which one.
    num_examples: split -> number of examples, of all splits.
    height: working height in pixels.
    width: working width in pixels.
    fidelity: 'fixed' or 'original'.
    id_bytes: UTF-8 bytes of the longest name of a person and of a garment.
    exchanged: whether examples have `sample.EXCHANGE_FIELDS`.

  Returns:
    the header; its checksums are not known yet.
  """
  count = num_examples[split]
  exchange = {
    'flow': ('<u2', records.flow_shape(height, width)),
    'photo': ('|u1', (height, width, 3)),
    'photo_parse': ('|u1', (height, width)),
  }
  arrays = {
    'person': ('|u1', (height, width, 3)),
    'garment': ('|u1', (height, width, 3)),
    'head_mask': ('|u1', (height, width)),
    'parse': ('|u1', (height, width)),
    'garment_mask': ('|u1', (height, width)),
    **{
      name: ('<f4', shape)
      for name, shape in records.array_shapes(
        height, width, fidelity=fidelity
      ).items()
    },
    **(exchange if exchanged else {}),
    **{
      name: (f'|S{max(size, 1)}', ())
      for name, size in zip(IDS, id_bytes, strict=True)
    },
  }
  fields, end = [], _PAGE
  for name, (dtype, shape) in arrays.items():
    field = Field(name, dtype, (count, *shape), -(-end // _PAGE) * _PAGE)
    fields.append(field)
    end = field.offset + field.nbytes
  return Header(
    height, width, fidelity, split, num_examples, end, tuple(fields), exchanged
  )


def check_free_space(folder: pathlib.Path, needed: int, what: str) -> None:
  """Raises InputError if a disk has fewer bytes free than are needed."""
  free = shutil.disk_usage(folder).free
  if free < needed:
    raise InputError(
      f'{folder}: {what} need {needed / 1e9:.2f} GB, but the disk has only '
      f'{free / 1e9:.2f} GB free; free some space or give another --out_dir'
    )


def write(path: pathlib.Path, header: Header, examples: Iterable[dict]):
  """Writes one file; it is there when it is whole, or not at all.

  Args:
    path: where it goes.
    header: see `plan`.
    examples: working examples, as many as the header says.

  Raises:
    InputError: the disk is too full, before anything is written.
  """
  check_free_space(path.parent, header.num_bytes, 'packed examples')
  sums = {field.name: hashlib.sha256() for field in header.fields}
  with storage.partial_file(path) as partial, partial.open('wb') as file:
    _reserve(file.fileno(), header.num_bytes, path)
    count = 0
    for count, example in enumerate(examples, start=1):
      for field in header.fields:
        data = _row(example[field.name], field)
        sums[field.name].update(data)
        place = field.offset + (count - 1) * len(data)
        if os.pwrite(file.fileno(), data, place) != len(data):
          raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    if count != header.num_examples[header.split]:
      raise ValueError(f'{count} examples instead of those of {header}')
    fields = tuple(
      dataclasses.replace(field, sha256=sums[field.name].hexdigest())
      for field in header.fields
    )
    text = json.dumps(
      dataclasses.asdict(header)
      | {'fields': [dataclasses.asdict(field) for field in fields]}
    ).encode()
    if 16 + len(text) > header.fields[0].offset:
      raise ValueError(f'a header of {len(text)} bytes does not fit')
    file.write(_MAGIC + len(text).to_bytes(8, 'little') + text)
    file.flush()
    os.fsync(file.fileno())


def _row(value, field: Field) -> bytes:
  """The bytes of one example's field."""
  if field.name in IDS:
    name = value if isinstance(value, bytes) else value.encode()
    return name.ljust(np.dtype(field.dtype).itemsize, b'\0')
  value = np.ascontiguousarray(value, field.dtype)
  if value.shape != field.shape[1:]:
    raise ValueError(f'{field} got an array of shape {value.shape}')
  return value.tobytes()


def _reserve(descriptor: int, size: int, path: pathlib.Path) -> None:
  """Takes the disk space now, so that writing cannot run out of it."""
  try:
    os.posix_fallocate(descriptor, 0, size)
  except OSError as error:
    if error.errno in _FULL:
      raise InputError(
        f'{path}: the disk or the quota has too little space for '
        f'{size / 1e9:.2f} GB ({error.strerror}); free some space or give '
        'another --out_dir'
      ) from error
    if error.errno not in _NO_RESERVING:
      raise
    os.ftruncate(descriptor, size)


def read_header(path: pathlib.Path) -> Header:
  """Reads what is in a file, and checks that all of it is there.

  Raises:
    InputError: no such file, another kind of file, or one cut short.
  """
  with files.open_regular(path, 'packed file', remedy=_REMEDY) as file:
    start = file.read(16)
    text = file.read(min(int.from_bytes(start[8:], 'little'), _PAGE))
    size = os.fstat(file.fileno()).st_size
  if not start.startswith(_MAGIC):
    raise InputError(f'{path}: this is not a packed file; {_REMEDY}')
  try:
    values = structured.parse_json(text)
    fields = tuple(
      Field(**field | {'shape': tuple(field['shape'])})
      for field in values.pop('fields')
    )
    header = Header(**values, fields=fields)
    sound = _planned(header) == dataclasses.replace(
      header,
      fields=tuple(dataclasses.replace(x, sha256='0' * 64) for x in fields),
    )
  # AttributeError: JSON, but not an object.
  except (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    StopIteration,
  ) as error:
    raise InputError(f'{path}: its header is damaged; {_REMEDY}') from error
  if not sound:
    raise InputError(f'{path}: its header is damaged; {_REMEDY}')
  if size != header.num_bytes:
    raise InputError(
      f'{path}: the file has {size} bytes instead of {header.num_bytes}; '
      f'{_REMEDY}'
    )
  return header


def _planned(header: Header) -> Header:
  """The header of a file with such settings, counts and widths of names."""
  counts = header.num_examples
  numbers = [header.height, header.width, header.num_bytes, *counts.values()]
  numbers += [n for x in header.fields for n in (x.offset, *x.shape)]
  if not all(type(x) is int and 0 < x < 2**48 for x in numbers):
    raise ValueError('counts and sizes must be positive')
  sample.check_settings(header.height, header.width, fidelity=header.fidelity)
  id_bytes = tuple(
    int(field.dtype.removeprefix('|S'))
    for field in header.fields
    if field.name in IDS
  )
  if not all(0 < x < 2**16 for x in id_bytes) or len(id_bytes) != len(IDS):
    raise ValueError('names have no width')
  return plan(
    header.split,
    counts,
    height=header.height,
    width=header.width,
    fidelity=header.fidelity,
    id_bytes=(id_bytes[0], id_bytes[1]),
    exchanged=header.exchanged is True,
  )


def open_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Maps a file into memory; what is not touched is not read.

  Args:
    path: the file.

  Returns:
    name -> (n, ...) array, read-only; see `sample.working_example`, ids are
    fixed-width bytes.

  Raises:
    InputError: see `read_header`.
  """
  header = read_header(path)
  mapped = np.memmap(path, np.uint8, 'r')
  # Plain arrays: every slice of a `memmap` would be one, which costs.
  mapped = mapped.view(np.ndarray)
  return {
    field.name: mapped[field.offset : field.offset + field.nbytes]
    .view(field.dtype)
    .reshape(field.shape)
    for field in header.fields
  }


def check_sums(path: pathlib.Path) -> Header:
  """Compares a file's content with its SHA-256 sums.

  Raises:
    InputError: they differ, or see `read_header`.
  """
  header = read_header(path)
  bar = progress(header.num_bytes >> 20, path.name, unit='MiB')
  with contextlib.closing(bar), path.open('rb') as file:
    for field in header.fields:
      file.seek(field.offset)
      found, left = hashlib.sha256(), field.nbytes
      while left:
        data = file.read(min(left, _HASH_BYTES))
        found.update(data)
        left -= len(data)
        bar.update(len(data) >> 20)
      if found.hexdigest() != field.sha256:
        raise InputError(
          f"{path}: the content of '{field.name}' is not what was written; "
          f'{_REMEDY}'
        )
  return header
