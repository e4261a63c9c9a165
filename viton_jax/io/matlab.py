"""Reading MATLAB files of unknown origin.

Arrays of numbers are read here: SciPy's reader is fast C that trusts what the
file says, and damaged files end the process. Structs and cells of one large
file that many have, VGG19's, are left to it. A compressed variable of 3 MB may
inflate to 3 GB, so sizes are counted first.

References:
  MATLAB, MAT-File Format, 2019, chapter 1: level 5.
"""

from collections.abc import Iterator, Sequence
import io
import math
import os
import struct
from typing import Any
import zlib

import numpy as np
import scipy.io

from viton_jax.errors import InputError, shown
from viton_jax.io import files

MAX_BYTES = 1 << 28
_PIECE = 1 << 20
_MATRIX, _COMPRESSED = 14, 15
# Numbers as they are stored, and as the classes of arrays have them.
_STORED: dict[int, str] = dict(
  zip(
    (1, 2, 3, 4, 5, 6, 7, 9, 12, 13),
    ('i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'f4', 'f8', 'i8', 'u8'),
    strict=True,
  )
)
_CLASSES: dict[int, str] = dict(
  zip(
    range(6, 16),
    ('f8', 'f4', 'i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'i8', 'u8'),
    strict=True,
  )
)
_TEXT = 4
_COMPLEX = 0x0800
_REMEDY = 'write it again in the format of version 5 to 7.2'


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads a file of version 5 to 7.2: its arrays of numbers by name.

  Text in it is left out.

  Raises:
    InputError: it is missing, damaged or too large, or holds something else.
  """
  data = files.read(path, 'MATLAB file', limit=MAX_BYTES, remedy=_REMEDY)
  try:
    return dict(_arrays(data))
  except (ValueError, IndexError, KeyError, struct.error, zlib.error) as error:
    raise InputError(
      f'{shown(path)}: the MATLAB file cannot be read ({shown(error)}); '
      f'{_REMEDY}'
    ) from error


def read_structures(
  path: str | os.PathLike, names: Sequence[str], *, remedy: str = _REMEDY
) -> dict[str, Any]:
  """As `scipy.io.loadmat` reads some variables; for files that are known.

  Args:
    path: the file.
    names: of the variables.
    remedy: what to do about it, the end of the error's sentence.

  Raises:
    InputError: it is missing, damaged or too large.
  """
  limit = files.MAX_MODEL_BYTES
  data = files.read(path, 'MATLAB file', limit=limit, remedy=remedy)
  try:
    for kind, body in _elements(data, '<', 128):
      if kind == _COMPRESSED:
        limit -= len(_inflated(body, limit))
    return scipy.io.loadmat(io.BytesIO(data), variable_names=names)
  # SciPy raises anything from ValueError to zlib.error on a damaged file.
  except Exception as error:
    raise InputError(
      f'{shown(path)}: the MATLAB file cannot be read ({shown(error)}); '
      f'{remedy}'
    ) from error


def _arrays(data: bytes) -> Iterator[tuple[str, np.ndarray]]:
  """(name, array) of each array of numbers in a file."""
  order = {b'IM': '<', b'MI': '>'}.get(data[126:128])
  if order is None or data[125 if order == '<' else 124] != 1:
    raise ValueError('it is no file of level 5')
  left = MAX_BYTES
  for kind, body in _elements(data, order, 128):
    if kind == _COMPRESSED:
      inflated = _inflated(body, left)
      left -= len(inflated)
      parts = list(_elements(inflated, order, 0))
    else:
      parts = [(kind, body)]
    for kind, body in parts:
      if kind != _MATRIX:
        raise ValueError('a part of it is no array')
      name, values = _array(body, order)
      if values is not None:
        yield name, values


def _array(body: bytes, order: str) -> tuple[str, np.ndarray | None]:
  """Name and values of an array; None of text."""
  parts = _elements(body, order, 0)
  flags = struct.unpack(f'{order}II', _next(parts, 6))[0]
  sizes = np.frombuffer(_next(parts, 5), f'{order}i4').tolist()
  name = _next(parts, 1).decode('latin1')
  kind = flags & 0xFF
  if kind == _TEXT:
    return name, None
  if kind not in _CLASSES or flags & _COMPLEX:
    raise ValueError(f'{shown(name)} is no array of numbers')
  stored, content = next(parts, (0, b''))
  values = np.frombuffer(content, order + _STORED[stored])
  if len(sizes) < 2 or min(sizes) < 0 or math.prod(sizes) != values.size:
    raise ValueError(f'{shown(name)} does not fill its shape {shown(sizes)}')
  with np.errstate(invalid='ignore', over='ignore'):
    values = values.astype(_CLASSES[kind])
  return name, values.reshape(sizes, order='F')


def _next(parts: Iterator[tuple[int, bytes]], wanted: int) -> bytes:
  kind, body = next(parts, (0, b''))
  if kind != wanted:
    raise ValueError('a part of it is missing')
  return body


def _elements(
  data: bytes, order: str, position: int
) -> Iterator[tuple[int, bytes]]:
  """(kind, content) of each element from a place on."""
  while position < len(data):
    kind, length = struct.unpack_from(f'{order}II', data, position)
    start = position + 8
    if kind >> 16:  # Up to four bytes stand within the header.
      kind, length, start = kind & 0xFFFF, kind >> 16, position + 4
      position += 8
    else:
      # Compressed variables are not padded.
      position = start + length + (0 if kind == _COMPRESSED else -length % 8)
    if start + length > len(data) or (start == position - 4 and length > 4):
      raise ValueError('it ends within a part')
    yield kind, data[start : start + length]


def _inflated(data: bytes, limit: int) -> bytes:
  stream, pieces, total = zlib.decompressobj(), [], 0
  while data and not stream.eof:
    pieces.append(stream.decompress(data, _PIECE))
    total += len(pieces[-1])
    if total > limit:
      raise ValueError(f'it inflates to more than {limit} bytes')
    data = stream.unconsumed_tail
  if not stream.eof:
    raise ValueError('a compressed part of it is cut short')
  return b''.join(pieces)
