"""Checks before `python -m viton_jax.X` imports anything else.

The mistakes found here would otherwise end in a traceback of an import.
Standard library alone.
"""

import importlib.util
import os
import pathlib
import signal
import sys

_INTERRUPTED = 130


def check_interpreter() -> None:
  """Ends `python -m viton_jax.X` in a Python that lacks what is required.

  Nothing else: a program that imports this package gets its ImportError.
  """
  needed = ['cv2', 'flax', 'jax']
  if 'viton_jax.serving.artifact' in sys.orig_argv:
    needed = ['jax']  # Exported try-ons run where nothing else is installed.
  missing = [x for x in needed if importlib.util.find_spec(x) is None]
  if not missing:
    return
  root = pathlib.Path(__file__).resolve().parents[1]
  activate = root / '.venv' / 'bin' / 'activate'
  remedy = f'source {activate}'
  if not activate.is_file():
    venv = root / '.venv'
    remedy = (
      f'python3 -m venv {venv} && {venv}/bin/pip install --editable {root} && '
      + remedy
    )
  print(
    f'error: {sys.executable} has no {", ".join(missing)}: it is not the '
    f'Python that viton_jax is installed into; type: {remedy}',
    file=sys.stderr,
  )
  sys.exit(2)


def end_by_interrupt() -> None:
  """Makes Ctrl-C end a command in one line while it still imports.

  Until `errors.run` takes over; a SIGINT that is ignored stays so.
  """
  if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _end)


def _end(*_) -> None:
  os.write(2, b'interrupted; run the same command to go on\n')
  os._exit(_INTERRUPTED)


def is_importing() -> bool:
  """Whether `end_by_interrupt` is what Ctrl-C does now."""
  return signal.getsignal(signal.SIGINT) is _end


def check_shadows() -> None:
  """Ends `python -m viton_jax.X` where other modules hide packages of ours.

  Python looks in the working directory first, and projects that use Flax often
  have a folder configs/ there.
  """
  root = pathlib.Path(__file__).resolve().parents[1]
  for name in ('input_pipeline', 'configs'):
    ours = root / name / '__init__.py'
    spec = importlib.util.find_spec(name)
    if spec is None or not ours.is_file():
      continue
    # A folder without __init__.py has no origin.
    found = spec.origin or next(iter(spec.submodule_search_locations or ()), '')
    if pathlib.Path(found).resolve() == ours:
      continue
    print(
      f'error: {found} hides the package {name} that belongs to viton_jax; '
      'run the command in another directory, or rename the file or folder',
      file=sys.stderr,
    )
    sys.exit(2)
