"""Files that are never half-written, the manifest of a job, and its lock."""

from collections.abc import Iterator
import contextlib
import errno
import fcntl
import json
import os
import pathlib
import shutil
import socket
from typing import Any

from viton_jax.errors import InputError, shown
from viton_jax.io import files, structured

_MAX_LINE = 1 << 20  # Of a manifest; longer ones are torn in pieces.
# Errors of a file system without locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


@contextlib.contextmanager
def partial_file(
  path: pathlib.Path, *, partial_dir: pathlib.Path | None = None
) -> Iterator[pathlib.Path]:
  """Yields a temporary path to write to, and renames it afterwards.

  Args:
    path: the file.
    partial_dir: a folder of the same file system for the temporary file, so
      that what a killed job leaves is found there; None: beside the file.
  """
  name = f'.{path.name}.{os.getpid()}.partial'
  partial = (partial_dir or path.parent) / name
  try:
    yield partial
    os.replace(partial, path)
  except BaseException as error:
    if isinstance(error, OSError) and error.filename is None:
      error.filename = os.fspath(path)  # Of a write Python does not say it.
    partial.unlink(missing_ok=True)
    raise


def write_file(
  path: pathlib.Path,
  data: bytes,
  *,
  partial_dir: pathlib.Path | None = None,
) -> None:
  """Writes `data` under a temporary name, then renames; see `partial_file`."""
  with partial_file(path, partial_dir=partial_dir) as partial:
    partial.write_bytes(data)


def write_json(path: pathlib.Path, value: Any) -> None:
  """As `write_file`, for something JSON can hold; readable and sorted."""
  text = json.dumps(value, indent=2, sort_keys=True) + '\n'
  write_file(path, text.encode())


@contextlib.contextmanager
def partial_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields an empty folder beside `path`, for what is not finished.

  It is gone afterwards. What a killed process left there goes when the next
  one begins, and no two are at work for one path.

  Args:
    path: of the file or folder that is made; its folder is made, too.

  Raises:
    InputError: another process is at work, or the place cannot be written.
  """
  folder = path.with_name(f'.{path.name}.partial')
  remedy = 'give another --out_dir'
  with hold(
    folder / '.lock',
    busy=f'is writing {shown(path)}; wait for it, or {remedy}',
    unusable=remedy,
  ):
    try:
      for old in folder.iterdir():
        if old.is_dir():
          shutil.rmtree(old)
        elif old.name != '.lock':
          old.unlink()
      work = folder / 'work'
      work.mkdir()
      yield work
    finally:
      # With the lock's file: who waits for that one finds no folder.
      shutil.rmtree(folder, ignore_errors=True)


class Manifest:
  """The status of each item of a job: JSON lines, appended.

  A line is written after its item's files are in place. Half a last line, which
  a killed job may leave, is cut off when the manifest is opened, so that item
  is done again. Nothing is kept in memory: `read_lines` reads them.
  """

  def __init__(self, path: pathlib.Path):
    self.path = path
    cut_torn_line(path)
    self._file = path.open('ab', buffering=0)

  def add(self, *lines: dict) -> None:
    """Appends lines, all of them or none.

    Raises:
      OSError: they could not be written, because the disk is full, say.
    """
    data = ''.join(json.dumps(line) + '\n' for line in lines).encode()
    before = self._file.seek(0, os.SEEK_END)
    try:
      written = self._file.write(data)
      if written != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
    except OSError:
      self._file.truncate(before)
      raise

  def close(self) -> None:
    """Makes the lines durable and closes the file; may be called again."""
    if self._file.closed:
      return
    with self._file:
      os.fsync(self._file.fileno())


def cut_torn_line(path: pathlib.Path) -> None:
  """Truncates a file, if it exists, after its last newline."""
  if not path.exists():
    return
  with path.open('r+b') as file:
    end = size = file.seek(0, os.SEEK_END)
    kept = 0
    while end and not kept:
      start = max(end - 65536, 0)
      file.seek(start)
      kept = start + 1 + file.read(end - start).rfind(b'\n')
      kept, end = (0, start) if kept == start else (kept, start)
    if kept != size:
      file.truncate(kept)


def read_lines(path: pathlib.Path) -> Iterator[tuple[int, dict]]:
  """(byte offset, line) of a manifest, one by one; torn lines are left out.

  Raises:
    InputError: it is no regular file, or cannot be read.
  """
  if not path.exists():
    return
  with files.open_regular(path, 'manifest') as file:
    offset = 0
    while text := file.readline(_MAX_LINE):
      try:
        line = structured.parse_json(text)
      except structured.BadStructure:
        line = None
      if isinstance(line, dict) and text.endswith(b'\n'):
        yield offset, line
      offset += len(text)


def hold(path: pathlib.Path, *, busy: str, unusable: str) -> 'Lock':
  """Takes the lock of a folder, which is made if it is not there.

  Args:
    path: of the lock's file in the folder.
    busy: what another process is doing there, and the remedy.
    unusable: the remedy where the folder cannot be written.

  Raises:
    InputError: another process holds it, or the folder cannot be written.
  """
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    return Lock(path)
  except BlockingIOError as error:
    raise InputError(
      f'{path.parent}: {holder(path) or "another process"} {busy}'
    ) from error
  except OSError as error:
    raise InputError(
      f'{shown(path.parent)}: cannot be written ({error.strerror}); {unusable}'
    ) from error


class Lock:
  """A lock that the system releases when its process ends.

  Attributes:
    path: its file, which stays.
    held: whether the file system has locks at all.
  """

  def __init__(self, path: pathlib.Path, *, wait: bool = False):
    """Takes the lock.

    Args:
      path: its file.
      wait: until its holder releases it; otherwise that is an error.

    Raises:
      BlockingIOError: another process holds it.
    """
    self.path = path
    self.held = True
    self._file = path.open('a+')
    try:
      fcntl.flock(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
      if error.errno not in _NO_LOCKS:
        self._file.close()
        raise
      self.held = False
    if not wait:
      try:
        self._file.truncate(0)
        self._file.write(f'process {os.getpid()} on {socket.gethostname()}')
        self._file.flush()
      except OSError:  # The disk is full.
        self._file.close()
        raise

  def release(self) -> None:
    self._file.close()

  def __enter__(self) -> 'Lock':
    return self

  def __exit__(self, *_) -> None:
    self.release()


def holder(path: pathlib.Path) -> str | None:
  """The process that holds the lock of this file, in words, or None."""
  try:
    file = path.open('r')
  except FileNotFoundError:
    return None
  with file:
    try:
      fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
      return file.read() or 'another process'
    except OSError as error:
      if error.errno not in _NO_LOCKS:
        raise
  return None
