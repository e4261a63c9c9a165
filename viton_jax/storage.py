"""Files that are never half-written, and the manifest of a batch job."""

from collections.abc import Iterator
import json
import os
import pathlib
from typing import Any


def write_file(path: pathlib.Path, data: bytes) -> None:
  """Writes under a temporary name, then renames."""
  partial = path.with_name(f'.{path.name}.{os.getpid()}.partial')
  partial.write_bytes(data)
  os.replace(partial, path)


def write_json(path: pathlib.Path, value: Any) -> None:
  """As `write_file`, for something JSON can hold; readable and sorted."""
  text = json.dumps(value, indent=2, sort_keys=True) + '\n'
  write_file(path, text.encode())


class Manifest:
  """What became of each item of a job: JSON lines, appended one by one.

  A line is written after its item's files are in place. A killed job may leave
  half a last line; it is dropped, so that item is done again.
  """

  def __init__(self, path: pathlib.Path):
    self.path = path
    whole = list(_read_lines(path))
    if path.exists():
      text = ''.join(json.dumps(line) + '\n' for line in whole)
      if text.encode() != path.read_bytes():
        write_file(path, text.encode())
    self.lines = whole
    self._file = path.open('a', encoding='utf-8')

  def add(self, line: dict) -> None:
    self.lines.append(line)
    self._file.write(json.dumps(line) + '\n')
    self._file.flush()

  def close(self) -> None:
    self._file.close()


def _read_lines(path: pathlib.Path) -> Iterator[dict]:
  if not path.exists():
    return
  for text in path.read_text(encoding='utf-8', errors='replace').splitlines():
    try:
      yield json.loads(text)
    except json.JSONDecodeError:
      continue
