"""The processes: Granian, and one worker that owns the device.

Granian's parent holds the socket, starts the worker again where it is lost, and
at SIGTERM lets it finish what it has begun.
"""

from collections.abc import Callable
import functools
import multiprocessing
import os
import pathlib
import signal
import socket
import sys
from typing import Any

from fastapi import FastAPI
from granian.http import HTTP1Settings
from granian.server.mp import MPServer

from viton_jax.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, InputError
from viton_jax.server import logs, memory

_HEADERS_MS = 10_000
DRAIN_S = 20
_BACKLOG = 2048
_SWITCH_S = 0.5e-3

Make = Callable[..., FastAPI]  # create_app(failed=..., ready=...)


class _Server(MPServer):
  """Granian with a second SIGTERM that ends at once.

  It also takes a worker that was ready and is lost again within seconds for an
  accident, and not for one that can never start.
  """

  def __init__(self, *args, was_ready: Any, **kwargs):
    super().__init__(*args, **kwargs)
    self._was_ready = was_ready

  def _respawn_workers(self, workers, *args, **kwargs) -> None:
    super()._respawn_workers(workers, *args, **kwargs)
    if self._was_ready.value:
      self.respawned_wrks.clear()
      self._was_ready.value = 0

  def signal_handler_interrupt(self, *args, **kwargs) -> None:
    if self.interrupt_signal:
      for worker in self.wrks:
        worker.kill()
      os._exit(EXIT_INTERRUPTED)
    super().signal_handler_interrupt(*args, **kwargs)


def serve(
  make: Make,
  *,
  host: str,
  port: int,
  tls: tuple[pathlib.Path, pathlib.Path] | None = None,
) -> int:
  """Serves until a signal comes.

  Args:
    make: `create_app` but for `failed` and `ready`; called in the worker.
    host: address to bind.
    port: to bind.
    tls: certificate and key, or None: plain HTTP.

  Returns:
    the exit code.

  Raises:
    InputError: the address cannot be bound.
  """
  check_free(host, port)
  # Shared with the workers, which come from this process by fork or spawn.
  exit_code = multiprocessing.Value('i', 0)
  was_ready = multiprocessing.Value('i', 0)
  options: dict[str, Any] = {}
  if tls:
    options = {'ssl_cert': tls[0], 'ssl_key': tls[1]}
  server = _Server(
    f'{__name__}:serve',  # A name for messages; the loader below makes it.
    address=host,
    port=port,
    interface='asgi',
    workers=1,
    respawn_failed_workers=True,
    workers_kill_timeout=DRAIN_S,
    backlog=_BACKLOG,
    http='1',
    http1_settings=HTTP1Settings(header_read_timeout=_HEADERS_MS),
    log_dictconfig=logs.CONFIG,
    was_ready=was_ready,
    **options,
  )
  print(
    f'serving at {"https" if tls else "http"}://{_shown(host)}:{port}; loading '
    'and warming up; /healthz/ready tells when',
    flush=True,
  )
  load = functools.partial(_load, make, exit_code, was_ready)
  server.serve(target_loader=load, wrap_loader=False)
  return exit_code.value


def _load(make: Make, exit_code, was_ready) -> FastAPI:
  """Runs in the worker."""
  tune()

  def failed(error: Exception) -> None:
    print(f'error: {error}', file=sys.stderr, flush=True)
    bad_input = isinstance(error, InputError)
    exit_code.value = EXIT_BAD_INPUT if bad_input else 1
    os.kill(os.getppid(), signal.SIGTERM)

  def ready() -> None:
    was_ready.value = 1
    print('ready', flush=True)

  return make(failed=failed, ready=ready)


def tune() -> None:
  """Prepares the process that runs the app."""
  # The event loop shares the interpreter with threads that compute; at the 5 ms
  # of Python's own every step of it would wait for each of them.
  sys.setswitchinterval(_SWITCH_S)
  memory.tune()


def _shown(host: str) -> str:
  return f'[{host}]' if ':' in host else host


def check_free(host: str, port: int) -> None:
  """Raises InputError where the address cannot be bound."""
  family = socket.AF_INET6 if ':' in host else socket.AF_INET
  with socket.socket(family) as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      probe.bind((host, port))
    except OSError as error:
      raise InputError(
        f'{host}:{port} cannot be bound ({error.strerror}); give another '
        '--host or --port'
      ) from error
