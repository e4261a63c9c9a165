"""Reading .npz files of unknown origin.

A member of zeros of 4 GB takes 4 MB in the file, so what the members promise is
added up before any of them is read.
"""

import math
import os
import zipfile

import numpy as np

from viton_jax.errors import InputError, shown
from viton_jax.io import files

MAX_BYTES = 1 << 32
_MAX_MEMBERS = 10_000


def read(
  path: str | os.PathLike,
  *,
  max_bytes: int = MAX_BYTES,
  remedy: str = 'copy it again',
) -> dict[str, np.ndarray]:
  """The arrays of an .npz file; nothing in it can run code.

  Args:
    path: the file.
    max_bytes: of all arrays together.
    remedy: what to do about it, the end of the error's sentence.

  Raises:
    InputError: it is missing, damaged or too large, or holds Python objects.
  """
  try:
    with (
      files.open_regular(
        path, '.npz file', limit=max_bytes, remedy=remedy
      ) as file,
      zipfile.ZipFile(file) as archive,
    ):
      members = archive.infolist()
      _check_sizes(archive, members, path, max_bytes=max_bytes, remedy=remedy)
      return {
        member.filename.removesuffix('.npy'): _member(archive, member)
        for member in members
      }
  except InputError:
    raise
  # zipfile, zlib and NumPy raise anything from EOFError to SyntaxError.
  except Exception as error:
    raise InputError(
      f'{shown(path)}: cannot be read as .npz ({type(error).__name__}: '
      f'{shown(error)}); {remedy}'
    ) from error


def _check_sizes(archive, members, path, *, max_bytes: int, remedy: str):
  total = 0
  for member in members[:_MAX_MEMBERS]:
    with archive.open(member) as file:
      shape, dtype = _header(file)
    total += math.prod(shape) * dtype.itemsize
  if total > max_bytes or len(members) > _MAX_MEMBERS:
    raise InputError(
      f'{shown(path)}: holds {len(members)} arrays of {total} bytes, above the '
      f'limits of {_MAX_MEMBERS} and {max_bytes}; {remedy}'
    )


def _header(file) -> tuple[tuple[int, ...], np.dtype]:
  version = np.lib.format.read_magic(file)
  read_header = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
  }[version]
  shape, _, dtype = read_header(file)
  if dtype.hasobject or any(x < 0 for x in shape):
    raise ValueError('an array of Python objects')
  return shape, dtype


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
  with archive.open(member) as file:
    values = np.lib.format.read_array(file, allow_pickle=False)
    # The checksum of the zip is looked at where the member ends.
    file.read(1)
  return values
