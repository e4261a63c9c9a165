"""Reading JSON and TOML of unknown origin.

The one place that parses them. Both parsers recurse, and what they give is
walked by functions that recurse, so the depth is limited; numbers end where
float64 and int64 do, because everything behind them computes with these.
"""

import json
import os
import tomllib
from typing import Any

from viton_jax.errors import InputError, shown
from viton_jax.io import files

MAX_BYTES = 1 << 26
_MAX_TOML_BYTES = 1 << 20  # Its parser is slow.
_MAX_DEPTH = 32
_WRITE_AGAIN = 'write it again'


class BadStructure(ValueError):
  """What is wrong with a text, in words that complete a sentence."""


def parse_json(data: bytes | str) -> Any:
  """What a JSON text says.

  Raises:
    BadStructure: it is no JSON, nested more than 32 deep, or has a number
      beyond int64 or float64. NaN and Infinity are as Python writes them.
  """
  try:
    if isinstance(data, bytes):
      data = data.decode('utf-8-sig')
    value = _DECODER.decode(data)
  except RecursionError as error:
    raise BadStructure('it is nested too deep') from error
  except ValueError as error:
    raise BadStructure(str(error)) from error
  # Where fewer are opened than may be, no depth need be looked at.
  if data.count('[') + data.count('{') > _MAX_DEPTH:
    _check_depth(value)
  return value


def decode_json(
  data: bytes | str,
  name: str | os.PathLike,
  *,
  remedy: str = _WRITE_AGAIN,
) -> Any:
  """As `parse_json`; `name` is the file's.

  Raises:
    InputError: see `parse_json`.
  """
  try:
    return parse_json(data)
  except BadStructure as error:
    raise InputError(
      f'{shown(name)}: this is not a usable JSON file ({shown(error)}); '
      f'{remedy}'
    ) from error


def decode_object(
  data: bytes | str,
  name: str | os.PathLike,
  *,
  remedy: str = _WRITE_AGAIN,
) -> dict[str, Any]:
  """As `decode_json`, of a file that holds an object."""
  value = decode_json(data, name, remedy=remedy)
  if not isinstance(value, dict):
    raise InputError(
      f'{shown(name)}: holds a {type(value).__name__}, not an object; {remedy}'
    )
  return value


def read_object(
  path: str | os.PathLike,
  what: str = 'JSON file',
  *,
  remedy: str = _WRITE_AGAIN,
) -> dict[str, Any]:
  """The object in a JSON file.

  Raises:
    InputError: see `files.read` and `decode_object`.
  """
  data = files.read(path, what, limit=MAX_BYTES, remedy=remedy)
  return decode_object(data, path, remedy=remedy)


def read_toml(
  path: str | os.PathLike,
  what: str = 'TOML file',
  *,
  remedy: str = _WRITE_AGAIN,
) -> dict[str, Any]:
  """What a TOML file says; see `parse_json` about depth and numbers.

  Raises:
    InputError: it cannot be read, or is not such a file.
  """
  text = files.read_text(path, what, limit=_MAX_TOML_BYTES, remedy=remedy)
  try:
    value = tomllib.loads(text, parse_float=_real)
    _check_depth(value)
  except (RecursionError, ValueError) as error:
    reason = 'nested too deep' if isinstance(error, RecursionError) else error
    raise InputError(
      f'{shown(path)}: this is not a TOML file ({shown(reason)}); {remedy}'
    ) from error
  return value


def _integer(text: str) -> int:
  if len(text) > 20:
    raise BadStructure(f'the number {text[:20]}... is too large')
  value = int(text)
  if not -(2**63) <= value < 2**63:
    raise BadStructure(f'the number {text} is too large')
  return value


def _real(text: str) -> float:
  value = float(text)
  # NaN and infinity are said by name, and refused by what needs numbers.
  if value in (float('inf'), -float('inf')) and 'n' not in text.lower():
    raise BadStructure(f'the number {text[:20]} is too large')
  return value


# Made once: a manifest has a million lines.
_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_real)


def _check_depth(value: Any) -> None:
  level = [value]
  for _ in range(_MAX_DEPTH):
    level = [
      x
      for one in level
      if isinstance(one, dict | list)
      for x in (one.values() if isinstance(one, dict) else one)
    ]
  if level:
    raise BadStructure(f'it is nested more than {_MAX_DEPTH} deep')
