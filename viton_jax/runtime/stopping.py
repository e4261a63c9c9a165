"""How training ends before its last step: by a signal, or with its peers.

With several processes all must stop after the same step. JAX's preemption
service sees to that: a SIGTERM that any of them gets reaches all, and they
agree on a step that none has passed.

A process that cannot go on ends at once, and so do its peers, which cannot go
on without it. Their exit codes say whether to start the job again: a process
that fails by itself tells the others before it ends, and all of them end with
its code; EXIT_PEER_LOST is left for a peer that vanished without a word.
"""

from concurrent import futures
import contextlib
import ctypes
import itertools
import os
import re
import signal
import socket
import sys
import threading
import time
import traceback

import jax
from jax.experimental import multihost_utils

from viton_jax.errors import EXIT_BAD_INPUT, EXIT_PEER_LOST, InputError
from viton_jax.runtime.parallel import AgreedError

_PEER_LOST = (
  'error: another process of this job is lost or cannot be reached; start '
  'all of them again with the same command, they go on from what was last '
  'saved.'
)
_FAILED_KEY = 'viton_jax/failed'  # 'process number,exit code' of the first.
_ALIVE_KEY = 'viton_jax/alive'
_ASK_EVERY_S = 1.0
# JAX's own 100 seconds end the process by abort; this comes first.
_SILENT_S = 60.0
# Within it the watcher explains an abort, and peers hear of a failure.
_GRACE_S = 3.0

# Statuses of a coordination service or of a remote device that does not answer.
# What a program does wrong by itself has others: RESOURCE_EXHAUSTED,
# INVALID_ARGUMENT, INTERNAL, ...
_LOST_STATUSES = {'UNAVAILABLE', 'ABORTED', 'CANCELLED', 'DEADLINE_EXCEEDED'}
# Collectives report a broken connection as UNKNOWN (Gloo, raised as ValueError
# by jaxlib) or INTERNAL (NCCL), so here the sentence behind the status counts.
_BROKEN_COLLECTIVE = re.compile(
  r'UNKNOWN: Gloo [\w-]+ failed: '
  r'|INTERNAL: NCCL operation \w+.* failed: .*remote process exited'
)


class StopSignal:
  """Notes SIGTERM and SIGINT, so that the loop ends after a whole step.

  A context: at its end the signals do again what they did before. Outside of
  the main thread it notes nothing, because Python delivers signals there alone.
  """

  def __init__(self):
    self._requested = False
    self._before = {}

  def __enter__(self) -> 'StopSignal':
    if threading.current_thread() is not threading.main_thread():
      return self
    if jax.process_count() > 1:
      # JAX has its own handler of SIGTERM; Python's would take it away.
      handlers = {
        signal.SIGINT: lambda *_: os.kill(os.getpid(), signal.SIGTERM)
      }
    else:
      handlers = {signal.SIGTERM: self._request, signal.SIGINT: self._request}
    self._before = {
      number: signal.signal(number, handler)
      for number, handler in handlers.items()
    }
    return self

  def __exit__(self, *error) -> None:
    for number, handler in self._before.items():
      # None: it was set by something else than Python and cannot be set back.
      signal.signal(number, signal.SIG_DFL if handler is None else handler)

  def _request(self, number, frame):
    del number, frame
    self._requested = True

  def requested_at(self, step: int) -> bool:
    """Whether to stop after this step; to be asked once for every step."""
    if jax.process_count() > 1 and not self._requested:
      self._requested = multihost_utils.reached_preemption_sync_point(step)
    return self._requested


@contextlib.contextmanager
def leaving_at_once():
  """Ends a process of several without waiting where it cannot go on.

  A normal exit would wait for the others to come to their end, and they wait
  for this one: they learn that it is gone only when it is. Whatever Python is
  doing meanwhile, a thread watches for peers that failed or vanished.
  """
  if jax.process_count() == 1:
    yield
    return
  client = _state().client
  with _watching_peers(client):
    try:
      yield
      return
    except (AgreedError, SystemExit):
      raise  # All processes know; each ends in its own time.
    except InputError as error:
      print(f'error: {error}', file=sys.stderr)
      code = EXIT_BAD_INPUT
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the end
      traceback.print_exc()
      if is_lost_peer(error):
        _leave(_code_of_lost_peer(client))
      code = 1
    _announce_failure(client, code)
    _leave(code)


def is_lost_peer(error: BaseException) -> bool:
  """Whether an exception of JAX says that another process does not answer.

  By its type and status, not by words in its text: names of operations stand
  there too, `optimization_barrier` in an out-of-memory error for one.
  """
  if isinstance(error, InputError | MemoryError):
    return False
  if error.__cause__ is not None and is_lost_peer(error.__cause__):
    return True  # Orbax wraps what its threads come across.
  if isinstance(error, jax.errors.JaxRuntimeError):
    status = str(error).partition(':')[0]
    if status in _LOST_STATUSES:
      return True
  # jaxlib raises ValueError where a result that is waited for is an error.
  elif type(error) is not ValueError:
    return False
  return _BROKEN_COLLECTIVE.match(str(error)) is not None


@contextlib.contextmanager
def _watching_peers(client):
  """Watches the other processes from a thread while the context lasts."""
  libc = ctypes.CDLL(None)
  libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
  libc.signal.restype = ctypes.c_void_p
  # Where the coordinator is gone JAX calls abort() at once, from a thread of
  # its own that no Python can stop. The C library's sleep() as the handler
  # gives the watcher that many seconds (the signal's number, 6) to end the
  # process with a sentence and a code; an abort for another reason comes after
  # them. sleep() is async-signal-safe; Python as a handler would not be.
  before = libc.signal(signal.SIGABRT, ctypes.cast(libc.sleep, ctypes.c_void_p))
  done = threading.Event()
  thread = threading.Thread(target=_watch, args=(client, done), daemon=True)
  thread.start()
  try:
    yield
  finally:
    done.set()
    # Asked later, the service may be gone because everything is finished.
    thread.join()
    libc.signal(signal.SIGABRT, before)


def _watch(client, done: threading.Event) -> None:
  """Ends this process when a peer says that it failed, or when one vanishes."""
  heard = {}  # Process number -> (its last count, when it was new here).
  with futures.ThreadPoolExecutor(1) as calls:
    for count in itertools.count():
      if done.is_set():
        break
      asking = calls.submit(_ask_peers, client, str(count))
      while not futures.wait([asking], timeout=2 * _ASK_EVERY_S).done:
        # The client's own lock is held while JAX aborts: a call that comes too
        # late never returns. Whether the coordinator is there shows without it.
        address = _state().coordinator_address
        assert address is not None  # `client` has connected to it.
        if not _is_reachable(address):
          _explain_and_leave(done, EXIT_PEER_LOST)
      try:
        failed, counts = asking.result()
      except jax.errors.JaxRuntimeError:
        _explain_and_leave(done, EXIT_PEER_LOST)
        break
      if failed is not None:
        number, code = failed
        if number != jax.process_index():
          _explain_and_leave(done, code, number=number)
        break
      # Those that are there: a process may begin late, and one that has done
      # its work takes its count away.
      now, before = time.monotonic(), heard
      heard = {
        name: before[name]
        if name in before and before[name][0] == value
        else (value, now)
        for name, value in counts
      }
      if any(now - since > _SILENT_S for _, since in heard.values()):
        _explain_and_leave(done, EXIT_PEER_LOST)
        break
  with contextlib.suppress(jax.errors.JaxRuntimeError):
    client.key_value_delete(f'{_ALIVE_KEY}/{jax.process_index()}')


def _ask_peers(client, count: str):
  """Waits a second for a failure, then says and asks who is alive.

  Returns:
    ((process number, exit code) or None, pairs of a key and its count).

  Raises:
    JaxRuntimeError: the coordinator does not answer.
  """
  try:
    failed = client.blocking_key_value_get(
      _FAILED_KEY, round(1000 * _ASK_EVERY_S)
    )
    number, code = map(int, failed.split(','))
    return (number, code), []
  except jax.errors.JaxRuntimeError as error:
    # The usual case: nobody has set it within the second.
    if not str(error).startswith(('DEADLINE_EXCEEDED', 'NOT_FOUND')):
      raise
  client.key_value_set(
    f'{_ALIVE_KEY}/{jax.process_index()}', count, allow_overwrite=True
  )
  return None, client.key_value_dir_get(_ALIVE_KEY)


def _is_reachable(address: str) -> bool:
  """Whether something listens at 'host:port', or may and is only slow."""
  host, _, port = address.rpartition(':')
  try:
    socket.create_connection((host.strip('[]'), int(port)), timeout=1).close()
  except ConnectionRefusedError:
    return False
  except OSError:
    pass
  return True


def _explain_and_leave(done, code, *, number=None):
  # The main thread may be about to say more, with its traceback.
  if done.wait(_GRACE_S / 3):
    return
  _say_peer(number)
  _leave(code)


def _say_peer(number):
  if number is None:
    print(_PEER_LOST, file=sys.stderr)
  else:
    print(
      f'error: process {number} of this job failed, see its messages; this '
      'one ends with it.',
      file=sys.stderr,
    )


def _announce_failure(client, code):
  """Tells the peers that this process ends by itself, and with which code."""
  try:
    client.key_value_set(_FAILED_KEY, f'{jax.process_index()},{code}')
  except jax.errors.JaxRuntimeError:
    return  # Another one failed first, or nobody is there to be told.
  # Process 0 takes the service with it: until then the others can ask.
  time.sleep(_GRACE_S)


def _code_of_lost_peer(client) -> int:
  """The code of the process that failed first; else EXIT_PEER_LOST."""
  try:
    failed = client.key_value_try_get(_FAILED_KEY)
    number, code = map(int, failed.split(','))
  except jax.errors.JaxRuntimeError:
    number, code = None, EXIT_PEER_LOST
  _say_peer(number)
  return code


def _state():
  # Here, because nothing public gives it and its place may change;
  # multihost_utils takes it from there as well.
  from jax._src.distributed import global_state

  return global_state


def _leave(code):
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)
