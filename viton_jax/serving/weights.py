"""Reads safetensors with NumPy alone.

The format is a length (8 bytes, little endian), that many bytes of JSON, and
the raw numbers: nothing in it can run code.
"""

import json
import math
from typing import Any

import numpy as np

from viton_jax.errors import InputError

_DTYPES = {'F32': np.dtype('<f4'), 'F64': np.dtype('<f8')}


def read(data: bytes, name: str) -> dict[str, Any]:
  """A tree of arrays from tensors named by their place, 'params/a/kernel'.

  Args:
    data: the file.
    name: what to call it in an error.

  Returns:
    Nested dicts; the arrays share memory with `data`.

  Raises:
    InputError: not such a file, or a damaged one.
  """
  tree: dict[str, Any] = {}
  try:
    length = int.from_bytes(data[:8], 'little')
    header = json.loads(data[8 : 8 + length])
    for place, entry in header.items():
      if place == '__metadata__':
        continue
      begin, end = (8 + length + at for at in entry['data_offsets'])
      dtype, shape = _DTYPES[entry['dtype']], tuple(entry['shape'])
      if end > len(data) or end - begin != dtype.itemsize * math.prod(shape):
        raise ValueError(f'{place} does not fit')
      *folders, leaf = place.split('/')
      branch = tree
      for folder in folders:
        branch = branch.setdefault(folder, {})
      branch[leaf] = np.frombuffer(data[begin:end], dtype).reshape(shape)
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise InputError(
      f'{name}: cannot be read as safetensors ({error}); export again.'
    ) from error
  return tree
