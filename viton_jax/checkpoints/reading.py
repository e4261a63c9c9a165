"""Reads a network from any of the places where one may lie.

Readers take a workdir (newest step), a step's folder, a portable
`.safetensors` file, or a folder with all networks: one that `convert` wrote, in
which each has a workdir or a file of its name; one that `export` wrote, which
has such files; or the demo's, with workdirs stage1/, stage2/ and stage3/.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import hashlib
import os
import pathlib
from typing import Any

from viton_jax.checkpoints import checking, orbax_files, safetensors_files
from viton_jax.checkpoints.checkpoint import NETWORKS, Checkpoint
from viton_jax.checkpoints.orbax_files import FOLDER, find, read_tree
from viton_jax.errors import InputError

# The networks that come with the project; its README.md is their card.
OWN = pathlib.Path(__file__).parent / 'weights'
_PORTABLE = '.safetensors'
_STAGES = dict(zip(NETWORKS, ('stage1', 'stage2', 'stage3'), strict=True))


def contents(path: str | os.PathLike) -> dict[str, pathlib.Path]:
  """The networks in a folder for both: network -> its workdir or file."""
  path = pathlib.Path(path)
  found = {
    network: place
    for network in NETWORKS
    for place in (path / f'{network}{_PORTABLE}', path / network)
    if place.exists()
  }
  # Folders stage1/ and stage2/ of the original hold TensorFlow's files.
  return found or {
    network: path / stage
    for network, stage in _STAGES.items()
    if (path / stage / FOLDER).is_dir()
  }


def read_pair(
  checkpoint: str | os.PathLike | None,
  refine_checkpoint: str | os.PathLike | None = None,
) -> tuple[Checkpoint, Checkpoint]:
  """Reads encoder-decoder and refinement network, and the flow's if any.

  Args:
    checkpoint: a folder with both networks, and maybe an appearance flow
      network, or the encoder-decoder alone; any form that the module names;
      None: the networks that come with the project.
    refine_checkpoint: the refinement network where it lies elsewhere.

  Returns:
    Both; an appearance flow network is the second's `flow`.

  Raises:
    InputError: one is missing, damaged or of another network, or the two do
      not belong together; names the flag.
  """
  if checkpoint is None:
    if refine_checkpoint is not None:
      raise InputError(
        f'--refine_checkpoint {refine_checkpoint}: give the encoder-decoder '
        'that it was trained with as --checkpoint.'
      )
    checkpoint = OWN
  with _naming('--checkpoint'):
    first = read(checkpoint, 'encoder_decoder')
  if refine_checkpoint is not None:
    with _naming('--refine_checkpoint'):
      second = read(refine_checkpoint, 'refinement')
  elif 'refinement' in contents(checkpoint):
    with _naming('--checkpoint'):
      second = read(checkpoint, 'refinement')
  else:
    raise InputError(
      f'--checkpoint {checkpoint}: holds no refinement network; give it with '
      "--refine_checkpoint, or a folder with both: the demo's, or what "
      '`python -m viton_jax.convert` or `export` wrote.'
    )
  _check_together('--refine_checkpoint', first, second)
  if 'appearance_flow' in contents(checkpoint):
    with _naming('--checkpoint'):
      third = read(checkpoint, 'appearance_flow')
    _check_together('--checkpoint', first, third)
    second = dataclasses.replace(second, flow=third)
  return first, second


def _check_together(flag: str, first: Checkpoint, other: Checkpoint) -> None:
  for name in ('fidelity', 'size'):
    if getattr(first, name) != getattr(other, name):
      raise InputError(
        f'{flag} {other.path}: trained with {name} {getattr(other, name)}, the '
        f'encoder-decoder {first.path} with {getattr(first, name)}; give two '
        'checkpoints that belong together.'
      )


def digest_of_own() -> str:
  """Tells the networks that come with the project from those of a version."""
  digest = hashlib.sha256()
  for path in sorted(OWN.glob(f'*{_PORTABLE}')):
    digest.update(path.read_bytes())
  return digest.hexdigest()[:16]


@contextlib.contextmanager
def _naming(flag: str) -> Iterator[None]:
  """Puts the flag before the message of an InputError."""
  try:
    yield
  except InputError as error:
    raise InputError(f'{flag} {error}') from error


def read_metadata(path: str | os.PathLike) -> dict[str, Any]:
  """What `describe` wrote with a checkpoint of one network.

  Raises:
    InputError: no checkpoint, or not one of ours.
  """
  if _is_portable(path):
    return safetensors_files.read(path).metadata
  path = find(path)
  metadata = orbax_files.read_metadata(path)
  checking.check_metadata(path, metadata)
  return metadata


def read(path: str | os.PathLike, network: str) -> Checkpoint:
  """Reads parameters and statistics of a checkpoint, not the optimiser's.

  Args:
    path: any form that the module names.
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
  with orbax_files.damage_explained(path):
    found = orbax_files.tree_metadata(path / 'state')
    averages = found.get('ema')
    wanted = ('ema',) if averages else ('params', 'batch_stats')
    checking.check_shapes(
      path, metadata, averages or {x: found[x] for x in wanted if x in found}
    )
    tree = read_tree(path / 'state', wanted)
  checking.check_values(path, metadata, tree)
  # The refinement network has no statistics, and portable files no empty place.
  variables = {
    x: y for x, y in (tree['ema'] if averages else tree).items() if y
  }
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
