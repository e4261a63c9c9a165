"""Starts JAX over several processes, from what the environment says.

`runtime/cluster.py` reads it. Without a sign of a cluster nothing is started
and nothing is waited for.
"""

import errno
import importlib.util
import os
import socket
import sys
import threading

import jax

from viton_jax.errors import EXIT_BAD_INPUT, InputError
from viton_jax.runtime.cluster import (
  COORDINATOR,
  NUM_PROCESSES,
  PROCESS_ID,
  Plan,
  from_environment,
  number,
)

TIMEOUT = 'VITON_JAX_START_TIMEOUT'

_TIMEOUT_S = 300
_SAY_AFTER_S = 15


def initialize() -> str | None:
  """Starts jax.distributed; the first thing an entry point does.

  Returns:
    one line that says which process of how many this is and who said so; None
    where there is one process.

  Raises:
    InputError: the environment contradicts itself or leaves something out, or
      process 0 cannot open its port.
    RuntimeError: JAX has computed already; a defect of the caller.

  Where the others do not come in time (VITON_JAX_START_TIMEOUT, 300 seconds)
  the process says so in a sentence and ends with code 2: JAX would end it as
  well, by `abort`, and nothing can catch that.
  """
  plan = from_environment(os.environ, on_tpu_vm=_on_tpu_vm())
  if plan is None:
    return None
  if not jax.distributed.is_initialized():
    _start(plan, _seconds(os.environ))
  if jax.process_count() == 1:
    return None
  if plan.num_processes not in (None, jax.process_count()):
    raise InputError(
      f'{plan.source} says {plan.num_processes} processes, but JAX came to '
      f'{jax.process_count()}; see that all of them use the same platform '
      '(JAX_PLATFORMS).'
    )
  return (
    f'process {jax.process_index()} of {jax.process_count()} '
    f'({plan.source}; coordinator {_coordinator(plan)})'
  )


def _seconds(env) -> int:
  seconds = number(env, TIMEOUT)
  if seconds == 0:
    raise InputError(f'{TIMEOUT}=0: give it at least 1 second.')
  return seconds or _TIMEOUT_S


def _on_tpu_vm() -> bool:
  """Whether TPU chips and their library are here.

  Where there are no chips JAX sets the variable when it is imported.
  """
  return (
    'TPU_SKIP_MDS_QUERY' not in os.environ
    and importlib.util.find_spec('libtpu') is not None
  )


def _start(plan: Plan, timeout_s: int) -> None:
  """jax.distributed.initialize, with sentences where it fails."""
  if plan.process_id == 0 and plan.coordinator:
    _check_port(plan.coordinator)
  done = threading.Event()
  threading.Thread(
    target=_watch, args=(plan, timeout_s, done), daemon=True
  ).start()
  try:
    jax.distributed.initialize(
      plan.coordinator,
      plan.num_processes,
      plan.process_id,
      plan.local_device_ids,
      cluster_detection_method=plan.method,
      # Longer than ours: JAX's end is an abort, with its stack.
      initialization_timeout=timeout_s + 60,
    )
  except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
    if 'must be called before' in str(error):
      raise
    raise InputError(
      f'{plan.source}: JAX cannot tell the processes apart '
      f'({_sentence(error)}); set {COORDINATOR}, {NUM_PROCESSES} and '
      f'{PROCESS_ID}, or {NUM_PROCESSES}=1 for one process.'
    ) from error
  finally:
    done.set()


def _check_port(coordinator: str) -> None:
  """Raises InputError where another program listens there; JAX would crash."""
  if os.environ.get('JAX_COORDINATOR_BIND_ADDRESS'):
    return
  port = int(coordinator.rpartition(':')[2])
  for family, host in ((socket.AF_INET6, '::'), (socket.AF_INET, '')):
    try:
      with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
      return
    except OverflowError as error:
      raise InputError(
        f'coordinator {coordinator}: there is no port {port}; ports end at '
        '65535.'
      ) from error
    except OSError as error:
      if error.errno not in (errno.EADDRINUSE, errno.EACCES):
        continue  # No IPv6 here.
      raise InputError(
        f'coordinator {coordinator}: port {port} cannot be opened '
        f'({error.strerror}); give another one in {COORDINATOR}, the same in '
        'all processes.'
      ) from error


def _watch(plan: Plan, timeout_s: int, done: threading.Event) -> None:
  """Says that it waits; ends the process where it waits in vain."""
  early = min(_SAY_AFTER_S, timeout_s)
  if done.wait(early):
    return
  where = _coordinator(plan)
  which = f'process {plan.process_id} of {plan.num_processes}'
  if plan.process_id is None:
    which = 'this process'
  print(f'{which} waits for the others at {where}', file=sys.stderr, flush=True)
  if done.wait(timeout_s - early):
    return
  print(
    f'error: {which} waited {timeout_s} s at coordinator {where} in vain: '
    f'{_why(where, plan.process_id)}.',
    file=sys.stderr,
    flush=True,
  )
  os._exit(EXIT_BAD_INPUT)


def _why(where: str, process_id: int | None) -> str:
  """What is wrong with a coordinator, and the remedy."""
  host, _, port = where.rpartition(':')
  if process_id == 0:
    return (
      'not all of the others came; see that each was started with its own '
      'number and can reach that port, or set '
      f'{NUM_PROCESSES}=1 for one process'
    )
  try:
    socket.create_connection((host.strip('[]'), int(port)), timeout=5).close()
  except (socket.gaierror, ValueError):
    return f'its name has no address here; correct {COORDINATOR}'
  except OSError:
    proxies = [x for x in os.environ if x.lower().endswith('_proxy')]
    unset = f', and unset {" ".join(proxies)}' if proxies else ''
    return (
      'nothing answers there; see that process 0 runs on that machine and '
      f'that no firewall closes the port{unset}'
    )
  return (
    'process 0 answers, but not all of the others came; see that each was '
    'started, with its own number'
  )


def _coordinator(plan: Plan) -> str:
  """The coordinator's address, also where JAX has found it."""
  if plan.coordinator:
    return plan.coordinator
  try:
    from jax._src.distributed import global_state  # Nothing public tells it.

    return global_state.coordinator_address or 'unknown'
  except (ImportError, AttributeError):
    return 'unknown'


def _sentence(error: BaseException) -> str:
  return ' '.join(str(error).split())[:200].rstrip('.')
