"""Checkpoints of the networks: what training writes, what all others read."""

from viton_jax.checkpoints.checkpoint import (
  NETWORKS,
  Checkpoint,
  describe,
  num_downsamples_of,
)
from viton_jax.checkpoints.orbax_files import (
  best,
  check_name,
  find,
  finish,
  open_manager,
  read_tree,
  restore_state,
  save,
  write,
)
from viton_jax.checkpoints.reading import (
  OWN,
  contents,
  digest_of_own,
  read,
  read_metadata,
  read_pair,
)

__all__ = [
  'NETWORKS',
  'OWN',
  'Checkpoint',
  'best',
  'check_name',
  'contents',
  'describe',
  'digest_of_own',
  'find',
  'finish',
  'num_downsamples_of',
  'open_manager',
  'read',
  'read_metadata',
  'read_pair',
  'read_tree',
  'restore_state',
  'save',
  'write',
]
