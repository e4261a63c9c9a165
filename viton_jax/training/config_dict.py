"""Config files and their overrides on the command line.

`ConfigDict` and `define_config_file` are ml_collections' where that is
installed. Where it is not, the few operations that our configs use stand here,
so that training runs on an image with little more than JAX:

    config.a.b, config['a']['b'], config.lock(), config.to_dict(),
    config.to_json(), **config, and on the command line
    --config FILE:ARG --config.a.b=VALUE --config.a.b VALUE
"""

import ast
from collections.abc import Iterator
import importlib.util
import json
import sys
from typing import Any

from absl import flags

_PARSERS = {
  bool: flags.BooleanParser,
  int: flags.IntegerParser,
  float: flags.FloatParser,
  str: flags.ArgumentParser,
}


class PlainConfigDict:
  """A tree of named values that keep their types; see the module.

  A value may be replaced by one of its own type, or a float by an int.

  Raises:
    AttributeError, KeyError: no such name, or a new one after `lock`.
    TypeError: a value of another type.
  """

  def __init__(self, values: dict[str, Any] | None = None):
    object.__setattr__(self, '_values', {})
    object.__setattr__(self, '_locked', False)
    for name, value in (values or {}).items():
      self[name] = value

  def __getattr__(self, name: str) -> Any:
    try:
      return self._values[name]
    except KeyError:
      raise AttributeError(self._unknown(name)) from None

  def __getitem__(self, name: str) -> Any:
    if name not in self._values:
      raise KeyError(self._unknown(name))
    return self._values[name]

  def __setattr__(self, name: str, value: Any) -> None:
    if isinstance(value, dict):
      value = PlainConfigDict(value)
    if name in self._values:
      value = _as(type(self._values[name]), value, name)
    elif self._locked:
      raise AttributeError(self._unknown(name))
    self._values[name] = value

  __setitem__ = __setattr__

  def __iter__(self) -> Iterator[str]:
    return iter(self._values)

  def __contains__(self, name: str) -> bool:
    return name in self._values

  def __len__(self) -> int:
    return len(self._values)

  def __eq__(self, other: Any) -> bool:
    return isinstance(other, PlainConfigDict) and self._values == other._values

  def __repr__(self) -> str:
    return f'PlainConfigDict({self.to_dict()})'

  def keys(self):
    return self._values.keys()

  def items(self):
    return self._values.items()

  def values(self):
    return self._values.values()

  def get(self, name: str, default: Any = None) -> Any:
    return self._values.get(name, default)

  def lock(self) -> 'PlainConfigDict':
    """Takes no new names from now on, here and below; returns itself."""
    object.__setattr__(self, '_locked', True)
    for value in self._values.values():
      if isinstance(value, PlainConfigDict):
        value.lock()
    return self

  def to_dict(self) -> dict[str, Any]:
    return {
      name: value.to_dict() if isinstance(value, PlainConfigDict) else value
      for name, value in self._values.items()
    }

  def to_json(self, **options) -> str:
    return json.dumps(self.to_dict(), **options)

  def _unknown(self, name):
    return (
      f'There is no {name!r} in the config; there are '
      f'{", ".join(sorted(self._values))}.'
    )


def _as(kind: type, value: Any, name: str) -> Any:
  if kind is float and type(value) is int:
    return float(value)
  if kind is tuple and type(value) is list:
    return tuple(value)
  if type(value) is not kind:
    raise TypeError(
      f'{name} is of type {kind.__name__}, {value!r} is of type '
      f'{type(value).__name__}.'
    )
  return value


def load(path_and_arg: str) -> Any:
  """What `get_config(arg)` of a config file returns, for 'file.py:arg'.

  Raises:
    OSError: there is no such file.
  """
  path, colon, arg = path_and_arg.partition(':')
  spec = importlib.util.spec_from_file_location('viton_jax_config', path)
  if spec is None:
    raise OSError(f'{path}: is no Python file')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.get_config(arg) if colon else module.get_config()


def plain_config_file(
  name: str,
  default: str | None,
  help_text: str,
  *,
  flag_values: flags.FlagValues = flags.FLAGS,
) -> flags.FlagHolder:
  """A flag that reads a config file, and then a flag for each of its fields.

  The fields' flags exist once the file is read, so it comes first on the
  command line.
  """
  return flags.DEFINE_flag(
    _FileFlag(name, default, help_text, flag_values),
    flag_values,
    module_name=sys.argv[0],
  )


class _FileFlag(flags.Flag):
  def __init__(self, name, default, help_text, flag_values):
    self._flag_values = flag_values
    super().__init__(
      flags.ArgumentParser(),
      flags.ArgumentSerializer(),
      name,
      default,
      help_text,
    )

  def _parse(self, argument):
    config = load(argument)
    if hasattr(config, 'lock'):
      config.lock()
    self._define_fields(config, self.name)
    return config

  def _define_fields(self, config, prefix):
    for field, value in config.items():
      name = f'{prefix}.{field}'
      if isinstance(value, type(config)):
        self._define_fields(value, name)
      else:
        flags.DEFINE_flag(
          _FieldFlag(name, config, field),
          self._flag_values,
          module_name=sys.argv[0],
        )


class _FieldFlag(flags.Flag):
  def __init__(self, name, config, field):
    self._config, self._field = config, field
    kind = type(config[field])
    parser = _PARSERS.get(kind, _LiteralParser)()
    super().__init__(
      parser,
      flags.ArgumentSerializer(),
      name,
      None,
      'of the config',
      boolean=kind is bool,
      allow_override=True,
    )

  def _parse(self, argument):
    value = super()._parse(argument)
    if argument is not None:
      self._config[self._field] = value
    return value


class _LiteralParser(flags.ArgumentParser):
  """Tuples and the like: '(1, 2)' or '1,2'."""

  def parse(self, argument):
    try:
      return ast.literal_eval(argument)
    except (SyntaxError, ValueError) as error:
      raise ValueError(f'{argument!r} is no Python value') from error


def _installed(name):
  try:
    return importlib.util.find_spec(name) is not None
  except (ImportError, ValueError):  # ValueError: barred in sys.modules.
    return False


if _installed('ml_collections'):
  from ml_collections import ConfigDict, config_flags

  define_config_file = config_flags.DEFINE_config_file
else:
  ConfigDict = PlainConfigDict
  define_config_file = plain_config_file
