"""One file for one network: safetensors with what one must know to use it.

Tensors are named by their place ('params/encoder_1/kernel'); the header says
network, features, fidelity, size, step and the resolved training config.
"""

import json
import os
import pathlib
from typing import Any

from flax import traverse_util
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from viton_jax.checkpoints import checking
from viton_jax.checkpoints.checkpoint import Checkpoint
from viton_jax.errors import InputError, shown
from viton_jax.io import files, storage, structured

_FORMAT = 'viton_jax'


def write(
  checkpoint: Checkpoint, path: str | pathlib.Path, *, half: bool = False
) -> None:
  """Writes a network; the file is there whole or not at all.

  Args:
    checkpoint: the network.
    path: of the file.
    half: write kernels as float16, half as large; they are float32 again when
      read.
  """
  flat: dict[str, Any] = traverse_util.flatten_dict(
    checkpoint.variables, sep='/'
  )
  if half:
    flat = {
      name: value.astype(np.float16) if value.ndim > 1 else value
      for name, value in flat.items()
    }
  tensors = {name: np.ascontiguousarray(value) for name, value in flat.items()}
  # As they will be read.
  described = checking.with_checksums(
    checkpoint.metadata,
    traverse_util.unflatten_dict(
      {name: _float32(value) for name, value in tensors.items()}, sep='/'
    ),
  )
  metadata = {'format': _FORMAT} | {
    # Text alone may stand there.
    name: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    for name, value in described.items()
  }
  storage.write_file(pathlib.Path(path), save(tensors, metadata))


def _float32(value: np.ndarray) -> np.ndarray:
  return value.astype(np.float32) if value.dtype == np.float16 else value


def read(path: str | os.PathLike) -> Checkpoint:
  """Reads what `write` wrote.

  Raises:
    InputError: no such file, a damaged one, or not one of ours.
  """
  path = pathlib.Path(path)
  remedy = 'copy or convert it again.'
  if not path.exists():
    raise InputError(
      f'{shown(path)}: no such file; give one that '
      '`python -m viton_jax.convert --to safetensors` wrote.'
    )
  files.check_regular(
    path, 'weights', limit=files.MAX_MODEL_BYTES, remedy=remedy
  )
  try:
    with safe_open(path, 'np') as file:
      metadata = file.metadata() or {}
      flat = {name: _float32(file.get_tensor(name)) for name in file.keys()}
  # Of types that NumPy has not: TypeError or KeyError.
  except (SafetensorError, OSError, TypeError, KeyError, ValueError) as error:
    raise InputError(
      f'{shown(path)}: cannot be read as safetensors ({shown(error)}); copy or '
      'convert it again.'
    ) from error
  if metadata.get('format') != _FORMAT:
    raise InputError(
      f'{shown(path)}: is safetensors, but not of viton_jax; give one that '
      '`python -m viton_jax.convert --to safetensors` wrote.'
    )
  try:
    variables = traverse_util.unflatten_dict(flat, sep='/')
    described: dict[str, Any] = {
      name: text
      if name in ('network', 'fidelity')
      else structured.parse_json(text)
      for name, text in metadata.items()
      if name != 'format'
    }
  # Two names of which one is a folder of the other: AttributeError, TypeError.
  except (KeyError, ValueError, TypeError, AttributeError) as error:
    raise InputError(
      f'{shown(path)}: its header is incomplete ({shown(error)}); convert it '
      'again.'
    ) from error
  checking.check_metadata(path, described)
  checking.check_shapes(path, described, variables)
  checking.check_values(path, described, variables)
  return Checkpoint(
    path=path,
    step=described['step'],
    network=described['network'],
    features=described['features'],
    fidelity=described['fidelity'],
    size=(described['height'], described['width']),
    variables=variables,
    config=described['config'],
  )
