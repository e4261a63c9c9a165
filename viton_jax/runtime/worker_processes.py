"""Worker processes: their environment and their initialisation."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading

import cv2

_VARIABLES = {
  'OMP_NUM_THREADS': '1',
  'OPENBLAS_NUM_THREADS': '1',
  'MKL_NUM_THREADS': '1',
  'TF_NUM_INTRAOP_THREADS': '1',
  'TF_NUM_INTEROP_THREADS': '1',
  'JAX_PLATFORMS': 'cpu',  # The accelerator is the parent's.
}


@contextlib.contextmanager
def one_thread_each():
  """Sets the environment of processes started inside: one thread each."""
  before = {name: os.environ.get(name) for name in _VARIABLES}
  os.environ.update(_VARIABLES)
  try:
    yield
  finally:
    for name, value in before.items():
      if value is None:
        del os.environ[name]
      else:
        os.environ[name] = value


def initialize_worker() -> None:
  """Limits a worker to one core; it ends when its parent does."""
  cv2.setNumThreads(1)
  # On Ctrl-C the parent ends the work; workers finish their items.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  # A killed parent cannot tell its workers, which would wait forever.
  parent = multiprocessing.parent_process()
  assert parent is not None  # A worker was started by one.

  def end_with_parent():
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)

  threading.Thread(target=end_with_parent, daemon=True).start()
