"""What must hold of a network that was read, whatever wrote it.

Metadata, the names, shapes and types of all variables, that they are finite,
and their checksums where the file has some: Orbax finds out about most damaged
files, not about all.
"""

from collections.abc import Iterator, Mapping
import json
import os
from typing import Any

from flax import traverse_util
import google_crc32c
import jax
import numpy as np

from viton_jax.checkpoints.checkpoint import NETWORKS, num_downsamples_of
from viton_jax.choices import Fidelity, values_of
from viton_jax.errors import InputError, shown
from viton_jax.io import finite
from viton_jax.models.encoder_decoder import NUM_DOWNSAMPLES
from viton_jax.models.shapes import abstract_variables

CHECKSUMS, OWN_CHECKSUM = 'crc32c', 'crc32c_of_metadata'
_FIELDS = {
  *('network', 'features', 'fidelity', 'height', 'width', 'step', 'config'),
  *(CHECKSUMS, OWN_CHECKSUM),
}
_MAX_FEATURES = 1024
_MAX_SIDE = 1 << 14
_MAX_DOWNSAMPLES = 12
_REMEDY = 'copy it again or give another checkpoint.'


def named_leaves(tree: Any) -> Iterator[tuple[str, Any]]:
  """('params/encoder_1/kernel', leaf) of each; in the order of the tree.

  The same names for a TrainState and for what is read of it as dicts.
  """
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    keys = (
      getattr(key, 'key', getattr(key, 'name', getattr(key, 'idx', '')))
      for key in path
    )
    yield '/'.join(map(str, keys)), leaf


def checksum(values: Any) -> int:
  """CRC-32C of an array's bytes, in C order."""
  data = np.ascontiguousarray(values)
  return google_crc32c.value(data.reshape(-1).view(np.uint8).tobytes())


def with_checksums(metadata: Mapping[str, Any], state: Any) -> dict[str, Any]:
  """The metadata of a checkpoint with the checksums of its arrays, and its own.

  Args:
    metadata: see `describe`.
    state: a tree of arrays, each whole on this process's devices.
  """
  sums = {name: checksum(leaf) for name, leaf in named_leaves(state)}
  # As it will be read: tuples are lists to JSON.
  metadata = json.loads(json.dumps({**metadata, CHECKSUMS: sums}))
  return {**metadata, OWN_CHECKSUM: _checksum_of_json(metadata)}


def _checksum_of_json(values: Mapping[str, Any]) -> int:
  return google_crc32c.value(json.dumps(values, sort_keys=True).encode())


def check_metadata(
  path: str | os.PathLike, metadata: Mapping[str, Any]
) -> None:
  """Raises InputError where what `describe` wrote is missing or cannot be."""
  own = metadata.get(OWN_CHECKSUM)
  rest = {k: v for k, v in metadata.items() if k != OWN_CHECKSUM}
  if own is not None and own != _checksum_of_json(rest):
    raise InputError(
      f'{shown(path)}: its metadata are not what was written; {_REMEDY}'
    )
  unknown = sorted(metadata.keys() - _FIELDS)
  if unknown:
    raise InputError(
      f'{shown(path)}: its metadata have {shown(unknown)}, which is nothing of '
      'ours; give a checkpoint that this version of viton_jax reads.'
    )
  wrong = next(
    (
      name
      for name, right in (
        ('network', metadata.get('network') in NETWORKS),
        ('fidelity', metadata.get('fidelity') in values_of(Fidelity)),
        ('features', _within(metadata.get('features'), 1, _MAX_FEATURES)),
        ('height', _within(metadata.get('height'), 16, _MAX_SIDE)),
        ('width', _within(metadata.get('width'), 16, _MAX_SIDE)),
        ('step', _within(metadata.get('step'), 0, 2**53)),
        ('config', isinstance(metadata.get('config'), dict)),
        (CHECKSUMS, isinstance(metadata.get(CHECKSUMS, {}), dict)),
      )
      if not right
    ),
    None,
  )
  if wrong is not None:
    raise InputError(
      f'{shown(path)}: its metadata cannot be used ({wrong} is '
      f'{shown(metadata.get(wrong))}); give a checkpoint that viton_jax wrote.'
    )


def _within(value: Any, low: int, high: int) -> bool:
  return type(value) is int and low <= value <= high


def check_shapes(
  path: str | os.PathLike,
  metadata: Mapping[str, Any],
  variables: Mapping[str, Any],
) -> None:
  """Raises InputError unless these are the variables of such a network.

  Args:
    path: for the error.
    metadata: checked by `check_metadata`.
    variables: {'params': ..., 'batch_stats': ...} of anything with a shape and
      a type, so that it can be asked before anything is read.
  """
  network, features = metadata['network'], metadata['features']
  found: dict[str, Any] = traverse_util.flatten_dict(dict(variables), sep='/')
  depth = num_downsamples_of(variables.get('params') or {}) or NUM_DOWNSAMPLES
  if not 1 < depth <= _MAX_DOWNSAMPLES or (
    network == 'encoder_decoder'
    and any(metadata[side] % 2**depth for side in ('height', 'width'))
  ):
    raise InputError(
      f'{shown(path)}: {depth} downsamples do not fit {metadata["height"]} x '
      f'{metadata["width"]} pixels; {_REMEDY}'
    )
  due: dict[str, Any] = traverse_util.flatten_dict(
    abstract_variables(network, features, num_downsamples=depth), sep='/'
  )
  for name in sorted(due.keys() | found.keys()):
    wanted, got = (
      f'{np.dtype(leaves[name].dtype).name} {tuple(leaves[name].shape)}'
      if name in leaves
      else 'nothing'
      for leaves in (due, found)
    )
    if wanted != got:
      raise InputError(
        f'{shown(path)}: {shown(name)} is {got} where a {network} of '
        f'{features} features has {wanted}; {_REMEDY}'
      )


def check_values(
  path: str | os.PathLike,
  metadata: Mapping[str, Any],
  tree: Mapping[str, Any],
) -> None:
  """Raises InputError where an array is not what was written, or not finite.

  Args:
    path: for the error.
    metadata: of the checkpoint; without checksums if an earlier version or
      another program wrote it.
    tree: what was read of it: all, or some branches.
  """
  sums = metadata.get(CHECKSUMS) or {}
  for name, values in named_leaves(tree):
    if sums and sums.get(name) != checksum(values):
      raise InputError(
        f'{shown(path)}: the checkpoint is damaged, because {name} is not what '
        f'was written; {_REMEDY}'
      )
  finite.check(named_leaves(tree), path, remedy='give an earlier step.')
