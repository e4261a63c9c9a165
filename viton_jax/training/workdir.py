"""A run's folder: its config, its lock, and whether the disk has room."""

import json
import pathlib
import shutil
from typing import Any

import jax

from viton_jax.errors import InputError
from viton_jax.io import storage, structured
from viton_jax.training import config as configs
from viton_jax.training.clock import say

# Fields that may differ when a workdir is gone on with: they change how long,
# how often and where from, but no number of the training.
_MAY_CHANGE = (
  'num_steps data.dir data.cache vgg log_every eval_every sample_every '
  'checkpoint_every keep keep_best compile_cache profile eval.metrics '
  'eval.lpips_weights lpips_weights'
).split()
# What fields mean for workdirs that were begun before there were such fields.
_BEFORE = {
  'grad_accum_steps': 1,
  'num_downsamples': 6,
  'ema_decay': 0.0,
  'remat': False,
  'warmup_steps': 0,
  'schedule_steps': [],
  'schedule_factor': 0.1,
  'loss.kept': 1.0,
  'loss.lpips': 0.0,
  'loss.gradient': 0.0,
  'loss.adversarial': 0.0,
  'loss.feature_matching': 0.0,
  'loss.mask_iou': 0.0,
  'lpips_net': 'alex',
  'match_prediction': False,
  'data.mirror': False,
}
_OVERHEAD = 1.02  # Of a checkpoint's files over its arrays.


def lock(workdir: pathlib.Path) -> storage.Lock:
  """Makes a workdir and keeps other trainings out until the lock's release.

  Raises:
    InputError: another process trains there now, or it is not writable.
  """
  held = storage.hold(
    workdir / '.lock',
    busy='trains in this workdir; wait for it or give another --workdir.',
    unusable='give a --workdir that can be written.',
  )
  if not held.held:
    say(
      f'{workdir}: this file system has no locks; see to it that no two '
      'trainings share this workdir'
    )
  return held


def claim(workdir: pathlib.Path, config: Any) -> None:
  """Writes the resolved config into a new workdir, or checks an old one's.

  Raises:
    InputError: the workdir was begun with another config, or is not writable.
  """
  path = workdir / 'config.json'
  try:
    if not path.exists():
      storage.write_json(path, json.loads(config.to_json()))
      return
    probe = workdir / '.probe'
    storage.write_file(probe, b'can be written')
    probe.unlink()
  except OSError as error:
    raise _unusable(workdir, error) from error
  compare(workdir, config)


def compare(workdir: pathlib.Path, config: Any) -> None:
  """Checks a config against the one that a workdir was begun with, if any.

  Raises:
    InputError: they differ in a field that changes the training.
  """
  path = workdir / 'config.json'
  if not path.exists():
    return
  theirs = structured.read_object(
    path, 'config', remedy='restore it or give another --workdir.'
  )
  ours = _flatten(json.loads(config.to_json()))
  before = {name: _BEFORE[name] for name in _BEFORE.keys() & ours.keys()}
  theirs = before | _flatten(configs.with_current_names(theirs))
  for name in sorted(ours.keys() | theirs.keys()):
    if name not in _MAY_CHANGE and ours.get(name) != theirs.get(name):
      raise InputError(
        f'{path}: this workdir was begun with {name} = '
        f'{theirs.get(name)!r}, the config now says {ours.get(name)!r}; use '
        'another --workdir or the old value.'
      )


def check_space(workdir: pathlib.Path, state: Any, *, checkpoints: int) -> None:
  """Compares the disk's free space with what the checkpoints will take.

  Args:
    workdir: of the run; what its checkpoints take already counts as theirs.
    state: what each checkpoint holds.
    checkpoints: how many stay at a time, and the one in the making.

  Raises:
    InputError: they will not fit.
  """
  each = sum(x.nbytes for x in jax.tree.leaves(state)) * _OVERHEAD
  taken = sum(
    path.stat().st_size
    for path in (workdir / 'checkpoints').rglob('*')
    if path.is_file()
  )
  needed = each * checkpoints - taken
  # Before a dry run there may be no workdir yet.
  there = next(x for x in (workdir, *workdir.parents) if x.exists())
  free = shutil.disk_usage(there).free
  if free < needed:
    raise InputError(
      f'{workdir}: {_gigabytes(free)} are free, but {checkpoints} '
      f'checkpoints of {_gigabytes(each)} need {_gigabytes(needed)} more; '
      'make room, set a smaller --config.keep or give another --workdir.'
    )


def _unusable(workdir, error) -> InputError:
  return InputError(
    f'{workdir}: cannot be used as workdir ({error.strerror}); give a folder '
    'that can be written.'
  )


def _gigabytes(count: float) -> str:
  return f'{count / 1e9:.2f} GB'


def _flatten(tree: dict, prefix: str = '') -> dict:
  """{'a': {'b': 1}} -> {'a.b': 1}."""
  flat = {}
  for name, value in tree.items():
    if isinstance(value, dict):
      flat |= _flatten(value, f'{prefix}{name}.')
    else:
      flat[prefix + name] = value
  return flat
