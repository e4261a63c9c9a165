"""Training configs: which file is meant, old names of fields, the checks.

A config is an `ml_collections.ConfigDict` with the fields of
configs/defaults.py. This is the one place that knows the names that fields had
before: on the command line, in a config file of somebody's own, and in the
config.json of an old workdir.

In signatures a config is `Any`: type checkers do not know its fields.
"""

from collections.abc import Iterable, Mapping
import copy
import pathlib
import re
from typing import Any

import jax

from input_pipeline import batches
from viton_jax import choices
from viton_jax.errors import InputError

# Old name -> the name now. All of them are leaves at the top.
_RENAMED = {
  'accumulate': 'grad_accum_steps',
  'depth': 'num_downsamples',
  'ema': 'ema_decay',
  'norm_decay': 'bn_momentum',
}
# Where the configs lie that come along, in a clone and in a wheel alike.
_OURS = pathlib.Path(__file__).parents[2] / 'configs'


def with_current_names(values: Mapping[str, Any]) -> dict[str, Any]:
  """The same values under the names that fields have now."""
  return {_RENAMED.get(name, name): value for name, value in values.items()}


def current(config: Any) -> Any:
  """A locked copy of a config, old names of fields replaced.

  A config file of somebody's own that starts from configs/defaults.py and sets
  a field by its old name has both; the old name is the one that was meant.
  """
  config = copy.deepcopy(config)
  with config.unlocked():
    for old, new in _RENAMED.items():
      if old in config:
        config[new] = config[old]
        del config[old]
  return config.lock()


def translate_flags(argv: Iterable[str]) -> list[str]:
  """The command line with current names of fields and an existing config file.

  `--config stage1`, `--config stage1:smoke` and, where there is no such file,
  `--config configs/stage1.py` mean a config that comes along.

  Raises:
    InputError: `--config` names no file.
  """
  argv = list(argv)
  for i, argument in enumerate(argv):
    if argument == '--':
      break
    if match := re.fullmatch(r'--?config(?:=(.*))?', argument, re.DOTALL):
      if match[1] is not None:
        argv[i] = f'--config={find(match[1])}'
      elif i + 1 < len(argv):
        argv[i + 1] = find(argv[i + 1])
    elif match := re.match(r'--?config\.(\w+)(?=[=]|$)', argument):
      new = _RENAMED.get(match[1], match[1])
      argv[i] = f'--config.{new}{argument[match.end() :]}'
  return argv


def find(path_and_arg: str) -> str:
  """'FILE' or 'FILE:ARG' with the path of an existing file.

  Raises:
    InputError: there is no such file, here or among those that come along.
  """
  path, colon, arg = path_and_arg.partition(':')
  if pathlib.Path(path).is_file():
    return path_and_arg
  name = pathlib.PurePath(path)
  ours = _OURS / f'{name.stem}.py'
  # Only what can be meant so: not `my_configs/stage1.py`.
  if str(name.parent) in ('.', 'configs') and ours.is_file():
    return f'{ours}{colon}{arg}'
  known = ', '.join(
    sorted({x.stem for x in _OURS.glob('*.py')} - {'__init__', 'defaults'})
  )
  raise InputError(
    f'--config {path}: there is no such file; give a Python file with '
    f'get_config, or one of those that come along: {known}.'
  )


def check(config: Any, info: batches.RecordsInfo) -> None:
  """Compares a config with the data and the devices.

  Raises:
    InputError: they do not fit.
  """
  if config.fidelity != info.fidelity:
    raise InputError(
      f'{config.data.dir}: prepared with fidelity {info.fidelity!r}, the '
      f'config says {config.fidelity!r}; set --config.fidelity or prepare '
      'the data again.'
    )
  for name in (
    'num_steps',
    'batch_size',
    'grad_accum_steps',
    'log_every',
    'eval_every',
    'sample_every',
    'checkpoint_every',
    'keep',
  ):
    if config[name] < 1:
      raise InputError(
        f'config.{name}: {config[name]} is not positive; set 1 or more.'
      )
  if config.batch_size % (jax.device_count() * config.grad_accum_steps):
    micro_batches = (
      f' in {config.grad_accum_steps} micro-batches'
      if config.grad_accum_steps > 1
      else ''
    )
    raise InputError(
      f'config.batch_size: {config.batch_size} does not divide over '
      f'{jax.device_count()} devices{micro_batches}; set a multiple of it.'
    )
  for name, side in (('height', info.height), ('width', info.width)):
    if config.num_downsamples < 2 or side % 2**config.num_downsamples:
      raise InputError(
        f'config.num_downsamples: {config.num_downsamples} downsamples do not '
        f'fit the {name} of {side} of {config.data.dir}; set 2 or more, so '
        'that the sides are multiples of 2 to that power.'
      )
  if not 0 <= config.ema_decay < 1:
    raise InputError(
      f'config.ema_decay: {config.ema_decay} is not within 0 and 1; set e.g. '
      '0.999.'
    )
  choices.check('config.data.cache', config.data.cache, choices.Cache)
  if config.keep_best < 0 or (
    config.keep_best and not info.num_examples.get('validation')
  ):
    raise InputError(
      f'config.keep_best: {config.keep_best}, but {config.data.dir} has '
      f'{info.num_examples.get("validation", 0)} held-out pairs to tell the '
      'best by; set --config.keep_best=0.'
    )
