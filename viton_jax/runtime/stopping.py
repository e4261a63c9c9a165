"""How training ends before its last step: by a signal, or with its peers.

With several processes all must stop after the same step. JAX's preemption
service sees to that: a SIGTERM that any of them gets reaches all, and they
agree on a step that none has passed.
"""

import contextlib
import ctypes
import os
import signal
import sys
import traceback

import jax
from jax.experimental import multihost_utils

from viton_jax.errors import EXIT_BAD_INPUT, EXIT_PEER_LOST, InputError
from viton_jax.runtime.parallel import AgreedError

_PEER_LOST = (
  'error: another process of this job is gone or cannot be reached; start '
  'all of them again with the same command, they go on from what was last '
  'saved.'
)


class StopSignal:
  """Notes SIGTERM and SIGINT, so that the loop ends after a whole step."""

  def __init__(self):
    self._requested = False
    if jax.process_count() > 1:
      # JAX has its own handler of SIGTERM; Python's would take it away.
      signal.signal(
        signal.SIGINT, lambda *_: os.kill(os.getpid(), signal.SIGTERM)
      )
      return
    for number in (signal.SIGTERM, signal.SIGINT):
      signal.signal(number, self._request)

  def _request(self, number, frame):
    del number, frame
    self._requested = True

  def requested_at(self, step: int) -> bool:
    """Whether to stop after this step; to be asked once for every step."""
    if jax.process_count() > 1 and not self._requested:
      self._requested = multihost_utils.reached_preemption_sync_point(step)
    return self._requested


def explain_lost_peers() -> None:
  """Says in a sentence why JAX ends this process when another one is gone.

  JAX learns it from missing heartbeats or a closed connection and calls
  `abort` from a thread of its own, whatever Python is doing.
  """
  if jax.process_count() == 1:
    return

  def on_abort(number):
    del number
    os.write(2, f'{_PEER_LOST}\n'.encode())
    os._exit(EXIT_PEER_LOST)

  global _on_abort  # As long as the process lives.
  _on_abort = ctypes.CFUNCTYPE(None, ctypes.c_int)(on_abort)
  libc = ctypes.CDLL(None)
  libc.signal.argtypes = (ctypes.c_int, type(_on_abort))
  libc.signal.restype = ctypes.c_void_p
  libc.signal(signal.SIGABRT, _on_abort)


@contextlib.contextmanager
def leaving_at_once():
  """Ends a process that fails alone without waiting for the others.

  A normal exit would wait for them to come to their end, and they wait for this
  one: they learn that it is gone only when it is.
  """
  if jax.process_count() == 1:
    yield
    return
  try:
    yield
  except AgreedError:
    raise
  except InputError as error:
    print(f'error: {error}', file=sys.stderr)
    _leave(EXIT_BAD_INPUT)
  except Exception as error:  # noqa: BLE001 - whatever it is, it is the end
    if _speaks_of_a_peer(error):
      print(_PEER_LOST, file=sys.stderr)
      _leave(EXIT_PEER_LOST)
    traceback.print_exc()
    _leave(1)


def _speaks_of_a_peer(error):
  # Which exception it is depends on the call that notices first.
  text = str(error).lower()
  return any(
    word in text
    for word in (
      'gloo',
      'nccl',
      'coordination service',
      'connection reset',
      'connection closed',
      'socket closed',
      'heartbeat',
      'barrier',
    )
  )


def _leave(code):
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)
