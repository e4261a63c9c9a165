"""Limits the linear algebra of NumPy and SciPy to one thread.

Small systems are solved faster by one thread than by several that wait for
each other, and much faster where other programs use the CPUs.
"""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import functools
import threading
from typing import Any

import threadpoolctl

_lock = threading.Lock()
_active = 0  # Threads inside `one_blas_thread`.
_before: list[int] = []  # Of the libraries of the process, before the first.


@dataclasses.dataclass(frozen=True)
class _Libraries:
  """BLAS libraries by what a limit holds for: the process, or one thread."""

  of_process: list[Any]
  of_thread: list[Any]


@functools.cache
def _libraries() -> _Libraries:
  """Finds the loaded libraries; that takes a millisecond, hence once."""
  found = [
    library
    for library in threadpoolctl.ThreadpoolController().lib_controllers
    if library.user_api == 'blas'
  ]
  shared = [
    library.internal_api == 'openblas' and library.threading_layer != 'openmp'
    for library in found
  ]
  return _Libraries(
    [x for x, process in zip(found, shared, strict=True) if process],
    [x for x, process in zip(found, shared, strict=True) if not process],
  )


def _setter(library: Any) -> Callable[[int], None]:
  """The function that sets a library's number of threads.

  From 3.7 on, threadpoolctl's public one does nothing in a thread other than
  the first that called it. Threads are counted here, so none is surprised.
  """
  return getattr(library, '_real_set_num_threads', library.set_num_threads)


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
  """Runs a block with one BLAS thread; any number of threads may be in one.

  Where the limit is the process's (OpenBLAS with its own threads, as in the
  wheels of NumPy and SciPy) the first thread that enters sets it and the last
  one that leaves restores what was before.
  """
  global _active, _before
  with _lock:
    libraries = _libraries()
    if not _active:
      _before = [library.num_threads for library in libraries.of_process]
      for library in libraries.of_process:
        _setter(library)(1)
    _active += 1
  mine = [library.num_threads for library in libraries.of_thread]
  for library in libraries.of_thread:
    _setter(library)(1)
  try:
    yield
  finally:
    for library, count in zip(libraries.of_thread, mine, strict=True):
      _setter(library)(count)
    with _lock:
      _active -= 1
      if not _active:
        for library, count in zip(libraries.of_process, _before, strict=True):
          _setter(library)(count)
