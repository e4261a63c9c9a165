"""Errors that a person can put right, and what an entry point does with them.

One rule for the whole project: whatever a user can get wrong ends in one
sentence that names the file, the value and the remedy, and exit code 2.
Anything else is a defect of ours and keeps its traceback.
"""

from collections.abc import Callable
import contextlib
import errno
import io
import os
import reprlib
import signal
import sys
import threading
import types
from typing import Any

from viton_jax import startup

EXIT_OK = 0
EXIT_BAD_INPUT = 2
EXIT_SOME_FAILED = 3  # A batch job finished, but some of its items failed.
EXIT_NOT_FINITE = 4  # Training came to infinity or to what is no number.
EXIT_PEER_LOST = 5  # Another process of the same job vanished.
EXIT_INTERRUPTED = 130


class InputError(ValueError):
  """Bad input; the message is one sentence: file, value, remedy.

  Attributes:
    about: which of several inputs it is about, for pages that show them side
      by side: 'person', 'garment', 'pose', 'parse' or 'garment_mask'.
  """

  about: str | None = None


class NoAnswer(InputError):
  """A server that is asked cannot be reached, or answers as none of ours."""


@contextlib.contextmanager
def concerning(what: str):
  """Says of an InputError that leaves the context what it is about."""
  try:
    yield
  except InputError as error:
    error.about = error.about or what
    raise


_RETRY_S = 0.05
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 80
_OUT_OF_PLACE = (
  errno.ENOSPC,
  errno.EDQUOT,
  errno.EROFS,
  errno.EACCES,
  errno.EPERM,
  errno.ENAMETOOLONG,
  errno.EFBIG,
  errno.EMFILE,
  errno.ENFILE,
  errno.ELOOP,
  errno.ENOTDIR,
  errno.EISDIR,
  errno.EBUSY,
  errno.EIO,
  errno.ENOENT,
  errno.EEXIST,
)


def shown(value: Any, limit: int = 200) -> str:
  """A value as a message repeats it: in one line, cut at a limit.

  Args:
    value: text, a path or an exception as they are; of anything else, which
      may be nested without end, the outer parts.
    limit: characters.
  """
  if isinstance(value, str | os.PathLike | BaseException):
    text = os.fspath(value) if isinstance(value, os.PathLike) else str(value)
    text = text if isinstance(text, str) else os.fsdecode(text)
  else:
    text = _REPR.repr(value)
  text = ''.join(x if x.isprintable() else ' ' for x in text[: 2 * limit])
  text = ' '.join(text.split()) if '  ' in text else text
  return text if len(text) <= limit else f'{text[: limit - 3]}...'


def run(main: Callable[[], int | None]) -> None:
  """Runs an entry point and exits with the project's exit codes.

  The one place where commands meet the terminal. A reader of standard output
  that goes away (`| head -1`) does not end a job, and is nothing to be told; a
  full disk behind it does not end it either, but is told at the end.

  Args:
    main: takes no arguments; returns an exit code, or None for success.
  """
  output = _guard_streams()
  if startup.is_importing():
    signal.signal(signal.SIGINT, signal.default_int_handler)
  try:
    code = main()
  except InputError as error:
    print(f'error: {error}', file=sys.stderr)
    code = EXIT_BAD_INPUT
  except OSError as error:
    if error.errno not in _OUT_OF_PLACE:
      raise
    print(f'error: {_sentence(error)}', file=sys.stderr)
    code = EXIT_BAD_INPUT
  except KeyboardInterrupt:
    print('interrupted; run the same command to go on', file=sys.stderr)
    code = EXIT_INTERRUPTED
  except SystemExit as error:
    if not isinstance(error.code, int | None):
      raise
    code = error.code
  sys.exit(_flushed(output, code or EXIT_OK))


def clean_up_on_sigterm() -> None:
  """Makes SIGTERM end a command as Ctrl-C does: temporary folders go."""
  if threading.current_thread() is threading.main_thread():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
      if signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: types.FrameType | None) -> None:
  """Raises KeyboardInterrupt, a little later where it would be lost.

  Python drops exceptions out of finalisers and of callbacks of the garbage
  collector, of which JAX has one.
  """
  del number
  while frame is not None:
    if frame.f_code.co_name in ('__del__', '_xla_gc_callback'):
      signal.setitimer(signal.ITIMER_REAL, _RETRY_S)
      return
    frame = frame.f_back
  raise KeyboardInterrupt


def _sentence(error: OSError) -> str:
  """What the system says of a file that no reader or writer spoke for."""
  names = [shown(x) for x in (error.filename, error.filename2) if x]
  # Python does not say what a write was to.
  where = f'{" -> ".join(names) or "a file that is written"}: '
  remedy = (
    'free some space'
    if error.errno in (errno.ENOSPC, errno.EDQUOT)
    else 'check the name, the permissions and the room there'
  )
  return (
    f'{where}cannot be used ({error.strerror}); {remedy} and run the same '
    'command again'
  )


class _Output(io.RawIOBase):
  """Standard output that goes on after the first failure, and remembers it."""

  def __init__(self, descriptor: int):
    self.descriptor, self.error = descriptor, None

  def writable(self) -> bool:
    return True

  def fileno(self) -> int:
    return self.descriptor

  def isatty(self) -> bool:
    return os.isatty(self.descriptor)

  def write(self, data: Any) -> int:
    if self.error is None:
      try:
        return os.write(self.descriptor, data)
      except OSError as error:
        self.error = error
    return len(data)


def _guard_streams() -> _Output | None:
  """Makes the standard streams safe to write to, whatever stands behind them.

  A name that is not UTF-8 is escaped. A stream that is closed becomes the null
  device: else the next file that is opened would get its number, and what
  libraries print.
  """
  for number in range(3):
    try:
      os.fstat(number)
    except OSError:
      os.open(os.devnull, os.O_RDWR)  # Takes the lowest free number.
  for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(errors='backslashreplace')
  # A notebook's or a test's own stream is theirs.
  if not isinstance(sys.stdout, io.TextIOWrapper) or (
    sys.stdout is not sys.__stdout__
  ):
    return None
  sys.stdout.flush()
  output = _Output(sys.stdout.fileno())
  sys.stdout = io.TextIOWrapper(
    io.BufferedWriter(output),
    encoding=sys.stdout.encoding,
    errors='backslashreplace',
    line_buffering=sys.stdout.line_buffering,
    write_through=sys.stdout.write_through,
  )
  return output


def _flushed(output: _Output | None, code: int) -> int:
  """The exit code, after everything is written or said to be lost."""
  if output is None or sys.stdout is None:
    return code
  sys.stdout.flush()
  error = output.error
  # With a code one error is said already.
  if code or error is None or error.errno == errno.EPIPE:
    return code
  print(
    f'error: standard output cannot be written ({error.strerror}), so '
    'what was printed is lost; free some space or print elsewhere',
    file=sys.stderr,
  )
  return EXIT_BAD_INPUT


@contextlib.contextmanager
def log_errors_only():
  """Keeps libraries from logging anything below an error."""
  from absl import logging  # Here, because a loaded try-on has JAX alone.

  before = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)
  try:
    yield
  finally:
    logging.set_verbosity(before)
