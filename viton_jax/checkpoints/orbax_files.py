"""Orbax checkpoints of training: write, find, restore.

A workdir holds `checkpoints/<step>/` with these Orbax items:

    state     the whole TrainState: params, batch_stats, opt_state, ema, step
    metadata  JSON: what network it is (`describe`), step, resolved config, and
              the CRC-32C of every array of the state
    metrics   JSON: {'loss': ...}, the validation loss, if it was measured

Orbax writes to a temporary name and renames, so a killed job never leaves half
a checkpoint behind.
"""

import contextlib
import errno
import logging
import os
import pathlib
import sys
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from viton_jax import errors
from viton_jax.checkpoints import checking
from viton_jax.checkpoints.checkpoint import Checkpoint
from viton_jax.errors import InputError
from viton_jax.io import structured

FOLDER = 'checkpoints'


def open_manager(
  workdir: str | pathlib.Path, *, keep: int | None, keep_best: int = 0
) -> ocp.CheckpointManager:
  """Opens `workdir`'s checkpoints for training.

  Half-written ones that a killed job left are removed.

  Args:
    workdir: of the run.
    keep: so many of the newest stay; None: all.
    keep_best: and so many of those with the smallest validation loss.
  """
  policies = ocp.checkpoint_managers
  policy = policies.LatestN(keep)
  if keep_best:
    policy = policies.AnyPreservationPolicy(
      [
        policy,
        policies.BestN(
          get_metric_fn=_loss,
          reverse=True,  # The last in order stay.
          n=keep_best,
          keep_checkpoints_without_metrics=False,
        ),
      ]
    )
  return ocp.CheckpointManager(
    pathlib.Path(workdir).absolute() / FOLDER,
    options=ocp.CheckpointManagerOptions(
      preservation_policy=policy,
      # Without it Orbax does not write what it is to compare.
      best_fn=_loss if keep_best else None,
      best_mode='min',
      cleanup_tmp_directories=True,
    ),
  )


def check_name(path: str | os.PathLike) -> None:
  """Raises InputError if a path has bytes that are no UTF-8.

  Orbax's storage writes and reads no such files.
  """
  try:
    os.fspath(path).encode()
  except UnicodeEncodeError as error:
    raise InputError(
      f'{path}: the name is not UTF-8, and checkpoints cannot be kept there; '
      'give another'
    ) from error


def _loss(metrics):
  return metrics['loss']


def save(
  manager: ocp.CheckpointManager,
  step: int,
  state: Any,
  *,
  metadata: dict[str, Any],
  validation_loss: float | None = None,
) -> None:
  """Starts writing a checkpoint; returns when `state` may be donated.

  With several processes all of them have to call it.

  Raises:
    InputError: the disk is full, found out now or while the one before was
      being written.
  """
  metadata = checking.with_checksums(metadata, state)
  if jax.process_count() > 1:
    # pmap's results belong to one process; Orbax saves global arrays.
    state = jax.tree.map(
      ocp.utils.fully_replicated_host_local_array_to_global_array, state
    )
  with _explaining_a_full_disk(manager):
    manager.save(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardSave(state),
        metadata=ocp.args.JsonSave(metadata),
      ),
      metrics=None if validation_loss is None else {'loss': validation_loss},
    )


def write(checkpoint: Checkpoint, workdir: str | pathlib.Path) -> pathlib.Path:
  """Writes a network as training does, but for the optimiser's state.

  Returns:
    The step's folder.
  """
  manager = open_manager(workdir, keep=None)
  try:
    save(
      manager,
      checkpoint.step,
      checkpoint.variables,
      metadata=checkpoint.metadata,
    )
    manager.wait_until_finished()
  finally:
    manager.close()
  return find(workdir)


def finish(manager: ocp.CheckpointManager) -> None:
  """Waits until what `save` began is on the disk.

  Raises:
    InputError: the disk is full.
  """
  with _explaining_a_full_disk(manager):
    manager.wait_until_finished()


@contextlib.contextmanager
def _explaining_a_full_disk(manager):
  try:
    yield
  except Exception as error:
    # Which exception it is depends on the library that was writing.
    if os.strerror(errno.ENOSPC) not in str(error):
      raise
    # The manager may have dropped it from its list to keep the new one.
    steps = [
      int(x.name) for x in manager.directory.iterdir() if x.name.isdigit()
    ]
    raise InputError(
      f'{manager.directory}: the disk is full, the last whole checkpoint is '
      f'{f"step {max(steps)}" if steps else "still to come"}; make room and '
      'run the same command.'
    ) from error


def best(manager: ocp.CheckpointManager) -> tuple[int, float] | None:
  """(step, validation loss) of the best checkpoint that is there."""
  losses = {
    step: metrics['loss']
    for step in manager.all_steps()
    if (metrics := manager.metrics(step))
  }
  if not losses:
    return None
  step = min(losses, key=losses.__getitem__)
  return step, losses[step]


def restore_state(manager: ocp.CheckpointManager, step: int, like: Any) -> Any:
  """The TrainState of `step`, as NumPy arrays shaped as `like`."""
  # Read as plain arrays, on however many processes it was written.
  path = pathlib.Path(manager.directory) / str(step)
  metadata = read_metadata(path)
  with damage_explained(path):
    tree = read_tree(path / 'state')
  checking.check_values(path, metadata, tree)

  def find_leaf(path, leaf):
    found: Any = tree
    try:
      for key in path:
        found = found[
          getattr(key, 'key', getattr(key, 'name', getattr(key, 'idx', '')))
        ]
      if np.shape(found) == np.shape(leaf) and (
        np.asarray(found).dtype == np.asarray(leaf).dtype
      ):
        return found
    except (KeyError, IndexError, TypeError):
      pass
    raise InputError(
      f'{manager.directory}/{step}: {jax.tree_util.keystr(path)} is missing '
      'or of another shape or type; give the config that the workdir was '
      'begun with.'
    )

  return jax.tree_util.tree_map_with_path(find_leaf, like)


def find(path: str | os.PathLike) -> pathlib.Path:
  """The folder of one step: `path` itself, or the newest in a workdir.

  Raises:
    InputError: there is none.
  """
  path = pathlib.Path(path).absolute()
  check_name(path)
  if (path / 'metadata').is_dir() and (path / 'state').is_dir():
    return path
  folder = path if path.name == FOLDER else path / FOLDER
  steps = [
    child
    for child in (folder.iterdir() if folder.is_dir() else ())
    if child.name.isdigit() and (child / 'metadata').is_dir()
  ]
  if not steps:
    if (path.parent / f'{path.name}.index').is_file():
      raise InputError(
        f'{path}: is a TensorFlow checkpoint; convert it with '
        '`python -m viton_jax.convert` and give what that writes.'
      )
    raise InputError(
      f'{path}: no checkpoint found; give a training workdir (a folder with '
      f'{FOLDER}/<step>/), one step of it, or what '
      '`python -m viton_jax.convert` wrote.'
    )
  return max(steps, key=lambda child: int(child.name))


def read_metadata(path: pathlib.Path) -> dict[str, Any]:
  """The JSON beside the arrays of one step.

  Raises:
    InputError: it cannot be read.
  """
  remedy = 'give a checkpoint that viton_jax wrote.'
  return structured.read_object(
    path / 'metadata' / 'metadata', 'metadata of the checkpoint', remedy=remedy
  )


def _is_no_read(record: logging.LogRecord) -> bool:
  """Whether asyncio logs something else than a failed read of an array."""
  error = record.exc_info[1] if record.exc_info else None
  return 'tensorstore' not in str(error)


@contextlib.contextmanager
def damage_explained(path: pathlib.Path):
  """Makes an InputError of whatever Orbax raises over damaged files."""
  for file in sorted((path / 'state').rglob('*')):
    # A cut-off copy. Orbax would find out too, among many words of its threads.
    if file.is_file() and not file.stat().st_size:
      raise InputError(
        f'{path}: the checkpoint is damaged ({file.name} is empty); copy it '
        'again or give another step.'
      )
  hook = sys.unraisablehook
  # Reads that are still under way find their event loop gone. It stays so where
  # one failed: they may end later than this.
  sys.unraisablehook = lambda found: (
    None if 'Event loop is closed' in str(found.exc_value) else hook(found)
  )
  try:
    yield
    sys.unraisablehook = hook
  except InputError:
    raise
  # Orbax and TensorStore have no class in common for it.
  except Exception as error:
    # Of several arrays that are damaged only the first is asked for its error.
    logging.getLogger('asyncio').addFilter(_is_no_read)
    raise InputError(
      f'{path}: the checkpoint is damaged ({type(error).__name__}: '
      f'{errors.shown(error)}); give another step.'
    ) from error


def tree_metadata(path: pathlib.Path) -> dict[str, Any]:
  """Names, shapes and types of an Orbax item, before anything of it is read."""
  with errors.log_errors_only(), ocp.PyTreeCheckpointer() as checkpointer:
    return dict(checkpointer.metadata(path).item_metadata.tree)


def read_tree(
  path: pathlib.Path, names: tuple[str, ...] | None = None
) -> dict[str, Any]:
  """Reads an Orbax item as NumPy arrays, wherever it was written.

  Args:
    path: the item's folder.
    names: branches to read; those that are not there are left out. None: all.
  """
  # Orbax misses metadata here that a step has and its items have not.
  with errors.log_errors_only(), ocp.PyTreeCheckpointer() as checkpointer:
    tree = checkpointer.metadata(path).item_metadata.tree
    wanted = {
      name: jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype),
        branch,
        is_leaf=lambda leaf: hasattr(leaf, 'shape'),
      )
      for name, branch in tree.items()
      if names is None or name in names
    }
    if not wanted:  # Orbax takes an empty tree for another kind of one.
      return {}
    return checkpointer.restore(
      path,
      args=ocp.args.PyTreeRestore(
        item=wanted,
        restore_args=jax.tree.map(
          lambda _: ocp.RestoreArgs(restore_type='np.ndarray'), wanted
        ),
        partial_restore=True,
      ),
    )
