"""Measures batch sizes and types one after the other, each in its own process.

Only the end of a process surely gives a device's memory back, and one that has
run out of memory ends alone. Competitors that do not fit into memory side by
side are measured one at a time instead of in turns, and that is said.
"""

import argparse
from collections.abc import Callable
import importlib.util
import multiprocessing
import os
import signal
import sys

import jax

from benchmarks import timing
from viton_jax import errors
from viton_jax.runtime import environment

OURS = 'ours'
# Name -> the package it needs.
COMPETITORS = {
  'torch': 'torch',
  'torch_compile': 'torch',
  'tensorflow': 'tensorflow',
}
_TOO_LARGE = 9  # Exit code; SIGKILL is what the system sends.
# In words of JAX and TensorFlow, of CUDA, of PyTorch on processors.
_NO_MEMORY = ('resource_exhausted', 'out of memory', "can't allocate memory")


def parser_of(text: str, batch: str) -> argparse.ArgumentParser:
  """Options that both benchmarks of the networks have."""
  parser = argparse.ArgumentParser(
    description=text, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--batch', default=batch, help='sizes, with commas')
  parser.add_argument(
    '--dtype', default='float32', help='float32, bfloat16 or both'
  )
  parser.add_argument('--features', type=int, default=64)
  parser.add_argument('--size', default='256x192', help='height x width')
  parser.add_argument('--repeats', type=int, default=10, help='turns')
  parser.add_argument(
    '--against', default='', help=f'any of {", ".join(COMPETITORS)}'
  )
  return parser


def parse_size(text: str) -> tuple[int, int]:
  try:
    h, w = map(int, text.split('x'))
  except ValueError:
    raise errors.InputError(
      f'--size {text}: give height x width, for example 256x192.'
    ) from None
  return h, w


def sweep(
  measure: Callable, arguments: argparse.Namespace, *, remark: str = ''
) -> int:
  """Measures every batch size and type that the options name.

  Args:
    measure: (arguments, names, batch_size, dtype) prints its figures; defined
      in a module, where another process finds it. `names` are `OURS` and
      competitors, or one of them where not all fit into memory.
    arguments: of `parser_of`.
    remark: said in the headline.

  Returns:
    the exit code: 1 if a measurement failed for anything but memory.
  """
  parse_size(arguments.size)
  # With all of the device's memory in JAX's hands nothing is left for PyTorch.
  os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
  names = [OURS, *installed([x for x in arguments.against.split(',') if x])]
  codes = [in_a_process(_say_where, arguments, remark)]
  for batch_size in map(int, arguments.batch.split(',')):
    for dtype in arguments.dtype.split(','):
      codes += _measure_all(measure, arguments, names, batch_size, dtype)
  return int(any(codes))


def _measure_all(measure, arguments, names, batch_size, dtype) -> list[int]:
  """In turns, or one at a time where memory wants it; exit codes."""
  if dtype != 'float32':  # TensorFlow's twin has no other type.
    names = [name for name in names if name != 'tensorflow']
  code = in_a_process(measure, arguments, names, batch_size, dtype)
  if code != _TOO_LARGE:
    return [code]
  print('  too large for this memory side by side; one at a time:')
  codes = []
  for name in names:
    code = in_a_process(measure, arguments, [name], batch_size, dtype)
    if code == _TOO_LARGE:
      print(f'  {name}: too large for this memory')
    else:
      codes.append(code)
  return codes


def in_a_process(function: Callable, *arguments) -> int:
  """Calls a function in a fresh process; its exit code, or `_TOO_LARGE`."""
  sys.stdout.flush()
  process = multiprocessing.get_context('spawn').Process(
    target=_call, args=(function, arguments)
  )
  process.start()
  process.join()
  if process.exitcode == -signal.SIGKILL:
    return _TOO_LARGE
  return process.exitcode


def _call(function, arguments):
  try:
    function(*arguments)
  except Exception as error:
    said = str(error).lower()
    if not isinstance(error, MemoryError) and not any(
      words in said for words in _NO_MEMORY
    ):
      raise
    sys.exit(_TOO_LARGE)


def _say_where(arguments, remark):
  print(
    f'{timing.device()}, {environment.cores()} cores, '
    f'jax {jax.__version__}, features {arguments.features}, '
    f'{arguments.size}{remark}'
  )


def installed(names: list[str]) -> list[str]:
  """Those that can run; says which cannot, and why."""
  found = []
  for name in names:
    if name not in COMPETITORS:
      raise errors.InputError(
        f'--against {name}: unknown; choose from {", ".join(COMPETITORS)}.'
      )
    if importlib.util.find_spec(COMPETITORS[name]) is None:
      print(f'{name}: left out, {COMPETITORS[name]} is not installed')
    else:
      found.append(name)
  return found
