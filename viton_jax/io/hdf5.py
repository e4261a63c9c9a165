"""Reading weights from HDF5 files that somebody else wrote.

A dataset says how large it is, whatever is stored: compressed zeros, or nothing
at all. It may also lie in another file. So both are looked at before any is
read.
"""

from collections.abc import Callable
import os

import h5py
import numpy as np

from viton_jax.errors import InputError, shown
from viton_jax.io import files

_ALWAYS = 1 << 26
_INFLATION = 4  # Weights are noise, which does not compress.


def read(
  path: str | os.PathLike,
  wanted: Callable[[str], bool],
  *,
  remedy: str = 'copy it again',
) -> dict[str, np.ndarray]:
  """The arrays of numbers in a file, by their names with all groups.

  Args:
    path: the file.
    wanted: whether an array of this name is to be read.
    remedy: what to do about it, the end of the error's sentence.

  Raises:
    InputError: no HDF5 file, or a damaged one; an array is not of numbers, lies
      elsewhere, or is larger than the file can hold.
  """
  found: dict[str, np.ndarray] = {}
  with files.open_regular(
    path, 'HDF5 file', limit=files.MAX_MODEL_BYTES, remedy=remedy
  ) as raw:
    left = max(_ALWAYS, _INFLATION * os.fstat(raw.fileno()).st_size)

    def keep(name: str, item) -> None:
      nonlocal left
      if not isinstance(item, h5py.Dataset) or not wanted(name):
        return
      if item.dtype.kind not in 'iuf' or item.is_virtual or item.external:
        raise ValueError(f'{shown(name)} is no array of numbers in this file')
      left -= item.size * item.dtype.itemsize
      if left < 0:
        raise ValueError(f'{shown(name)} is larger than the file can hold')
      found[name] = item[()]

    try:
      with h5py.File(raw, 'r') as file:
        file.visititems(keep)
    # h5py tells of damage by any of these.
    except (
      OSError,
      RuntimeError,
      ValueError,
      KeyError,
      TypeError,
      AttributeError,
      MemoryError,
    ) as error:
      raise InputError(
        f'{shown(path)}: the HDF5 file cannot be read ({shown(error)}); '
        f'{remedy}'
      ) from error
  return found
