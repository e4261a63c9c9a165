"""Reads a network from any of the places where one may lie.

Readers take a workdir (newest step), a step's folder, a portable
`.safetensors` file, or the folder that `convert` wrote, in which each network
has a workdir or a file of its name.
"""

import pathlib
from typing import Any

from etils import epath
import orbax.checkpoint as ocp

from viton_jax.checkpoints import safetensors_files
from viton_jax.checkpoints.checkpoint import NETWORKS, Checkpoint, describe
from viton_jax.checkpoints.orbax_files import find, read_tree
from viton_jax.errors import InputError

_PORTABLE = '.safetensors'


def contents(path: str | pathlib.Path) -> dict[str, pathlib.Path]:
  """What `convert` wrote into a folder: network -> its workdir or file."""
  path = pathlib.Path(path)
  return {
    network: place
    for network in NETWORKS
    for place in (path / f'{network}{_PORTABLE}', path / network)
    if place.exists()
  }


def read_metadata(path: str | pathlib.Path) -> dict[str, Any]:
  """What `describe` wrote with a checkpoint of one network.

  Raises:
    InputError: no checkpoint, or not one of ours.
  """
  if _is_portable(path):
    one = safetensors_files.read(path)
    return describe(
      one.network,
      features=one.features,
      fidelity=one.fidelity,
      size=one.size,
      step=one.step,
      config=one.config,
    )
  path = find(path)
  try:
    metadata = ocp.Checkpointer(ocp.JsonCheckpointHandler()).restore(
      epath.Path(path / 'metadata')
    )
    metadata['network'], metadata['features'], metadata['fidelity']
    return metadata
  except (KeyError, ValueError, TypeError, OSError) as error:
    raise InputError(
      f'{path}: its metadata cannot be read ({error}); give a checkpoint '
      'that viton_jax wrote.'
    ) from error


def read(path: str | pathlib.Path, network: str) -> Checkpoint:
  """Reads parameters and statistics of a checkpoint, not the optimiser's.

  Args:
    path: a workdir, a step's folder, a portable file, or `convert`'s folder.
    network: the one that is wanted, 'encoder_decoder' or 'refinement'.

  Raises:
    InputError: no checkpoint, a damaged one, or one of another network.
  """
  inside = contents(path)
  if inside and network not in inside:
    raise InputError(
      f'{path}: holds a {next(iter(inside))} where the {network} is wanted; '
      'give the checkpoint of the other training stage.'
    )
  path = inside.get(network, path)
  if _is_portable(path):
    checkpoint = safetensors_files.read(path)
    _check_network(checkpoint.path, checkpoint.network, network)
    return checkpoint
  metadata = read_metadata(path)
  path = find(path)
  _check_network(path, metadata['network'], network)
  for file in sorted((path / 'state').rglob('*')):
    # A cut-off copy. Orbax would find out too, among many words of its threads.
    if file.is_file() and not file.stat().st_size:
      raise InputError(
        f'{path}: the checkpoint is damaged ({file.name} is empty); copy it '
        'again or give another step.'
      )
  try:
    variables = read_tree(path / 'state', ('ema',)).get('ema') or read_tree(
      path / 'state', ('params', 'batch_stats')
    )
  except (KeyError, ValueError, OSError, AttributeError) as error:
    raise InputError(
      f'{path}: the checkpoint is damaged ({type(error).__name__}: '
      f'{str(error).splitlines()[0]}); give another step.'
    ) from error
  return Checkpoint(
    path=path,
    step=metadata['step'],
    network=network,
    features=metadata['features'],
    fidelity=metadata['fidelity'],
    size=(metadata['height'], metadata['width']),
    variables=variables,
    config=metadata['config'],
  )


def _check_network(path, network, wanted):
  if network != wanted:
    raise InputError(
      f'{path}: holds a {network} where the {wanted} is wanted; give the '
      'checkpoint of the other training stage.'
    )


def _is_portable(path):
  return pathlib.Path(path).suffix == _PORTABLE
