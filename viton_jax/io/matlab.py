"""Reading MATLAB files that somebody else wrote.

A compressed variable of 3 MB may inflate to 3 GB, and a cell array promises
any number of cells: so sizes are counted before SciPy reads anything.
"""

from collections.abc import Sequence
import io
import math
import os
import struct
from typing import Any
import zlib

import scipy.io

from viton_jax.errors import InputError, shown
from viton_jax.io import files

MAX_BYTES = 1 << 28
_COMPRESSED = 15
_PIECE = 1 << 20
_NUMBERS = frozenset(
  'int8 int16 int32 int64 uint8 uint16 uint32 uint64 single double logical '
  'char sparse'.split()
)
_REMEDY = 'write it again in the format of version 5 to 7.2'


def read(
  path: str | os.PathLike,
  *,
  names: Sequence[str] | None = None,
  max_bytes: int = MAX_BYTES,
  structures: bool = False,
) -> dict[str, Any]:
  """Reads a file of version 5 to 7.2: its variables by name.

  Args:
    path: the file.
    names: variables to read; None: all.
    max_bytes: of the file, and of what it inflates to.
    structures: whether cells and structs are admitted.

  Raises:
    InputError: it is missing, damaged or too large.
  """
  data = files.read(path, 'MATLAB file', limit=max_bytes, remedy=_REMEDY)
  try:
    if _inflated(data, max_bytes) > max_bytes:
      raise InputError(
        f'{shown(path)}: inflates to more than {max_bytes} bytes; {_REMEDY}'
      )
    found = scipy.io.whosmat(io.BytesIO(data))
    for name, shape, kind in found:
      if (kind not in _NUMBERS and not structures) or (
        math.prod(map(int, shape)) > max_bytes
      ):
        raise InputError(
          f'{shown(path)}: {shown(name)} is a {kind} of shape {shown(shape)}, '
          f'not numbers of a usable size; {_REMEDY}'
        )
    return scipy.io.loadmat(io.BytesIO(data), variable_names=names)
  except InputError:
    raise
  # SciPy raises anything from ValueError to zlib.error on a damaged file.
  except Exception as error:
    raise InputError(
      f'{shown(path)}: the MATLAB file cannot be read ({shown(error)}); '
      f'{_REMEDY}'
    ) from error


def _inflated(data: bytes, limit: int) -> int:
  """Bytes of all variables, inflated; stops counting above the limit."""
  order = '>' if data[126:128] == b'MI' else '<'
  position, total = 128, 0
  while position + 8 <= len(data):
    kind, length = struct.unpack_from(f'{order}II', data, position)
    if kind == _COMPRESSED:
      stream = zlib.decompressobj()
      piece = data[position + 8 : position + 8 + length]
      while piece and not stream.eof and total <= limit:
        total += len(stream.decompress(piece, _PIECE))
        piece = stream.unconsumed_tail
    else:
      total += length
    if total > limit:
      break
    # Compressed variables are not padded.
    padding = 0 if kind == _COMPRESSED else -length % 8
    position += 8 + length + padding
  return total
