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

from viton_jax.checkpoints.checkpoint import Checkpoint
from viton_jax.errors import InputError
from viton_jax.io import storage
from viton_jax.models.encoder_decoder import NUM_DOWNSAMPLES
from viton_jax.models.shapes import abstract_variables

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
  flat = traverse_util.flatten_dict(checkpoint.variables, sep='/')
  if half:
    flat = {
      name: value.astype(np.float16) if value.ndim > 1 else value
      for name, value in flat.items()
    }
  tensors = {name: np.ascontiguousarray(value) for name, value in flat.items()}
  metadata = {
    'format': _FORMAT,
    'network': checkpoint.network,
    'features': str(checkpoint.features),
    'fidelity': checkpoint.fidelity,
    'height': str(checkpoint.size[0]),
    'width': str(checkpoint.size[1]),
    'step': str(checkpoint.step),
    'config': json.dumps(checkpoint.config, sort_keys=True),
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
  if not path.is_file():
    raise InputError(
      f'{path}: no such file; give one that '
      '`python -m viton_jax.convert --to safetensors` wrote.'
    )
  try:
    with safe_open(path, 'np') as file:
      metadata = file.metadata() or {}
      flat = {name: _float32(file.get_tensor(name)) for name in file.keys()}
  except (SafetensorError, OSError) as error:
    raise InputError(
      f'{path}: cannot be read as safetensors ({error}); copy or convert it '
      'again.'
    ) from error
  if metadata.get('format') != _FORMAT:
    raise InputError(
      f'{path}: is safetensors, but not of viton_jax; give one that '
      '`python -m viton_jax.convert --to safetensors` wrote.'
    )
  try:
    checkpoint = Checkpoint(
      path=path,
      step=int(metadata['step']),
      network=metadata['network'],
      features=int(metadata['features']),
      fidelity=metadata['fidelity'],
      size=(int(metadata['height']), int(metadata['width'])),
      variables=traverse_util.unflatten_dict(flat, sep='/'),
      config=json.loads(metadata['config']),
    )
    abstract = abstract_variables(
      checkpoint.network,
      checkpoint.features,
      num_downsamples=checkpoint.num_downsamples or NUM_DOWNSAMPLES,
    )
  except (KeyError, ValueError) as error:
    raise InputError(
      f'{path}: its header is incomplete ({error}); convert it again.'
    ) from error
  expected: dict[str, Any] = traverse_util.flatten_dict(abstract, sep='/')
  for name in sorted(expected.keys() | flat.keys()):
    due, found = (
      tensors[name].shape if name in tensors else 'nothing'
      for tensors in (expected, flat)
    )
    if due != found:
      raise InputError(
        f'{path}: {name} is {found} where a {checkpoint.network} of '
        f'{checkpoint.features} features has {due}; convert it again.'
      )
  return checkpoint
