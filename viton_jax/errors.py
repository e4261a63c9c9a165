"""Errors that a person can put right, and what an entry point does with them.

One rule for the whole project: whatever a user can get wrong ends in one
sentence that names the file, the value and the remedy, and exit code 2.
Anything else is a defect of ours and keeps its traceback.
"""

from collections.abc import Callable
import contextlib
import sys

EXIT_OK = 0
EXIT_BAD_INPUT = 2
EXIT_SOME_FAILED = 3  # A batch job finished, but some of its items failed.
EXIT_NOT_FINITE = 4  # Training came to infinity or to what is no number.
EXIT_PEER_LOST = 5  # Another process of the same job vanished.
EXIT_INTERRUPTED = 130


class InputError(ValueError):
  """Bad input; the message is one sentence: file, value, remedy.

  Attributes:
    about: which of several inputs it is about, where somebody shows them side
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


def run(main: Callable[[], int | None]) -> None:
  """Runs an entry point and exits with the project's exit codes.

  Args:
    main: takes no arguments; returns an exit code, or None for success.
  """
  try:
    code = main()
  except InputError as error:
    print(f'error: {error}', file=sys.stderr)
    code = EXIT_BAD_INPUT
  except KeyboardInterrupt:
    print('interrupted; run the same command to go on', file=sys.stderr)
    code = EXIT_INTERRUPTED
  sys.exit(code or EXIT_OK)


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
