"""Training configs: which file is meant, old names of fields, the checks.

A config is an `ml_collections.ConfigDict` with the fields of
configs/defaults.py. This is the one place that knows the names that fields had
before: on the command line, in a user's config file, and in the
config.json of an old workdir.

In signatures a config is `Any`: type checkers do not know its fields.
"""

from collections.abc import Iterable, Mapping
import copy
import math
import pathlib
import re
from typing import Any

import jax
from ml_collections import ConfigDict

from configs import defaults
from input_pipeline import batches
from viton_jax import choices
from viton_jax.errors import InputError, shown

# Old name -> the name now. All of them are leaves at the top.
_RENAMED = {
  'accumulate': 'grad_accum_steps',
  'depth': 'num_downsamples',
  'ema': 'ema_decay',
  'norm_decay': 'bn_momentum',
}
_MANY = 10**9
_BELOW_1 = math.nextafter(1.0, 0.0)
# Field -> lowest and highest value; whole numbers where these are.
_RANGES: dict[str, tuple[float, float]] = {
  'seed': (0, 2**32 - 1),
  'features': (1, 1024),
  'num_downsamples': (2, 12),
  'bn_momentum': (0.0, _BELOW_1),
  'batch_size': (1, 2**20),
  'grad_accum_steps': (1, 2**20),
  'num_steps': (1, _MANY),
  'learning_rate': (0.0, 10.0),
  'schedule_factor': (0.0, 1e38),
  'warmup_steps': (0, _MANY),
  'ema_decay': (0.0, _BELOW_1),
  'log_every': (1, _MANY),
  'eval_every': (1, _MANY),
  'sample_every': (1, _MANY),
  'checkpoint_every': (1, _MANY),
  'keep': (1, _MANY),
  'keep_best': (0, _MANY),
}
# Where the configs lie that come along, in a clone and in a wheel alike.
_OURS = pathlib.Path(__file__).parents[2] / 'configs'


def with_current_names(values: Mapping[str, Any]) -> dict[str, Any]:
  """The same values under the names that fields have now."""
  return {_RENAMED.get(name, name): value for name, value in values.items()}


def current(config: Any) -> Any:
  """A locked copy of a config, old names of fields replaced.

  A user's config file that starts from configs/defaults.py and sets
  a field by its old name has both; the old name is the one that was meant.
  """
  config = copy.deepcopy(check_fields(config))
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


def is_of_file(error: BaseException, argv: Iterable[str]) -> bool:
  """Whether an error comes out of the config file that arguments name."""
  named = ' '.join(argv)
  trace, places = error.__traceback__, []
  while trace is not None:
    places.append(trace.tb_frame.f_code.co_filename)
    trace = trace.tb_next
  return any(x.endswith('.py') and x in named for x in places)


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


def check_numbers(config: Any) -> None:
  """Raises InputError where a number of a config is out of its range."""
  values = {name: config[name] for name in _RANGES}
  ranges = dict(_RANGES)
  for name, value in config.loss.items():
    values[f'loss.{name}'], ranges[f'loss.{name}'] = value, (0.0, 1e9)
  for i, step in enumerate(config.schedule_steps):
    values[f'schedule_steps[{i}]'] = step
    ranges[f'schedule_steps[{i}]'] = (1, _MANY)
  for name, value in values.items():
    low, high = ranges[name]
    whole = isinstance(low, int)
    # A bool is an int to Python; NaN is within no range.
    if (
      isinstance(value, bool)
      or not isinstance(value, int if whole else int | float)
      or not low <= value <= high
    ):
      raise InputError(
        f'config.{name}: {shown(value)} is not a {"whole " * whole}number from '
        f'{low:g} to {high:g}; set --config.{name} to one.'
      )


def check_fields(config: Any) -> Any:
  """The config, if it is one: a ConfigDict with the fields of the defaults.

  Raises:
    InputError: a config file has made something else.
  """
  if not isinstance(config, ConfigDict):
    raise InputError(
      f'--config: its get_config returns a {type(config).__name__}; start from '
      'configs.defaults.get_config() and return that.'
    )
  for name, value in defaults.get_config().items():
    old = [x for x, new in _RENAMED.items() if new == name]
    if name not in config and not any(x in config for x in old):
      raise InputError(
        f'--config: there is no field {name!r} in it; start from '
        'configs.defaults.get_config().'
      )
    if name in config and isinstance(value, ConfigDict) != isinstance(
      config[name], ConfigDict
    ):
      raise InputError(
        f'--config: its field {name!r} is {shown(config[name])}; start from '
        'configs.defaults.get_config().'
      )
  return config


def _check_flow(config: Any, info: batches.RecordsInfo) -> None:
  """Raises InputError where stage 3 cannot learn from the data."""
  if config.data.format == 'original_records':
    raise InputError(
      'config.data.format: original_records have no masks of garments, which '
      'stage 3 needs; prepare them with `python -m input_pipeline.prepare '
      '--from_records`.'
    )
  if config.loss.flow and not info.exchanged:
    raise InputError(
      f'config.loss.flow: {config.loss.flow}, but {config.data.dir} has no '
      'true flow, as drawn data with --exchange have; set --config.loss.flow=0 '
      'and --config.loss.warped=20.'
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
  check_numbers(config)
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
  if config.data.mirror and config.fidelity != 'fixed':
    raise InputError(
      f'config.data.mirror: True, but fidelity is {config.fidelity!r}, whose '
      'joints have no mirror image; set --config.data.mirror=False.'
    )
  if config.stage == 3:
    _check_flow(config, info)
  choices.check('config.data.cache', config.data.cache, choices.Cache)
  choices.check('config.lpips_net', config.lpips_net, choices.LossLpips)
  for name in config.eval.metrics:
    choices.check('config.eval.metrics', name, choices.ValidationMetric)
  if config.keep_best and not info.num_examples.get('validation'):
    raise InputError(
      f'config.keep_best: {config.keep_best}, but {config.data.dir} has '
      f'{info.num_examples.get("validation", 0)} held-out pairs to tell the '
      'best by; set --config.keep_best=0.'
    )
