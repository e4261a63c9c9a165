"""Reading files of unknown origin: regular files, of limited size.

The one place that opens such a file. A FIFO would wait for ever, /dev/zero
never ends, and a sparse file of 20 GB takes no room on its disk: so a file is
opened without waiting, must be a regular one, and is no larger than what its
kind can be.
"""

import contextlib
import errno
import os
import pathlib
import stat
from typing import BinaryIO

from viton_jax.errors import InputError, shown

MAX_IMAGE_BYTES = 1 << 28
MAX_MODEL_BYTES = 1 << 32
MAX_TABLE_BYTES = 1 << 28  # Lists, labels, joints and other small things.
_COPY_AGAIN = 'check the name'


def open_regular(
  path: str | os.PathLike,
  what: str = 'file',
  *,
  limit: int | None = None,
  remedy: str = _COPY_AGAIN,
) -> BinaryIO:
  """Opens a regular file for reading.

  Args:
    path: the file; links are followed.
    what: it is, for the error: 'photo'.
    limit: the most bytes that it may have; None: any number.
    remedy: what to do about it, the end of the error's sentence.

  Raises:
    InputError: no such file, not a regular one, or larger than the limit.
  """
  try:
    # Without O_NONBLOCK opening a FIFO waits for a writer.
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
  except (OSError, ValueError) as error:  # ValueError: a zero in the name.
    raise _unreadable(path, what, error, remedy) from error
  with contextlib.ExitStack() as on_error:
    on_error.callback(os.close, number)
    found = os.fstat(number)
    if not stat.S_ISREG(found.st_mode):
      raise InputError(
        f'{shown(path)}: the {what} is {_kind(found.st_mode)} and no regular '
        f'file; {remedy}'
      )
    if limit is not None and found.st_size > limit:
      raise InputError(
        f'{shown(path)}: the {what} has {found.st_size} bytes, above the '
        f'limit of {limit}; {remedy}'
      )
    file = os.fdopen(number, 'rb')
    on_error.pop_all()
  return file


def read(
  path: str | os.PathLike,
  what: str = 'file',
  *,
  limit: int = MAX_TABLE_BYTES,
  remedy: str = _COPY_AGAIN,
) -> bytes:
  """The bytes of a regular file; see `open_regular`."""
  try:
    with open_regular(path, what, limit=limit, remedy=remedy) as file:
      return file.read(limit + 1)[:limit]
  except OSError as error:
    raise _unreadable(path, what, error, remedy) from error


def read_text(
  path: str | os.PathLike,
  what: str = 'file',
  *,
  limit: int = MAX_TABLE_BYTES,
  remedy: str = _COPY_AGAIN,
) -> str:
  """As `read`, of UTF-8 text; a byte order mark is left out."""
  try:
    return read(path, what, limit=limit, remedy=remedy).decode('utf-8-sig')
  except UnicodeDecodeError as error:
    raise InputError(
      f'{shown(path)}: the {what} is not UTF-8 text; {remedy}'
    ) from error


def check_regular(
  path: str | os.PathLike,
  what: str = 'file',
  *,
  limit: int | None = None,
  remedy: str = _COPY_AGAIN,
) -> None:
  """Raises InputError as `open_regular`; for libraries that open themselves."""
  open_regular(path, what, limit=limit, remedy=remedy).close()


def home(path: str | os.PathLike) -> pathlib.Path:
  """A path with ~ replaced by the home folder.

  Raises:
    InputError: there is none, because the user's number has no entry.
  """
  try:
    return pathlib.Path(path).expanduser()
  except RuntimeError as error:
    raise InputError(
      f'{shown(path)}: this user has no home folder; set HOME or give a path '
      'without ~'
    ) from error


def _unreadable(path, what, error, remedy) -> InputError:
  reason = getattr(error, 'strerror', None) or str(error)
  if getattr(error, 'errno', None) == errno.ENXIO:
    reason = 'it is a socket'
  return InputError(
    f'{shown(path)}: the {what} cannot be read ({reason}); {remedy}'
  )


def _kind(mode: int) -> str:
  for test, kind in (
    (stat.S_ISDIR, 'a folder'),
    (stat.S_ISFIFO, 'a pipe'),
    (stat.S_ISCHR, 'a device'),
    (stat.S_ISBLK, 'a device'),
    (stat.S_ISSOCK, 'a socket'),
  ):
    if test(mode):
      return kind
  return 'something else'
