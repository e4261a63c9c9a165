"""Which exceptions mean a lost peer; how processes end that lost one."""

import subprocess
import sys
import textwrap

import entry_points
import jax
import jax.numpy as jnp
import pytest
import train_jobs

from viton_jax.errors import EXIT_PEER_LOST, InputError
from viton_jax.runtime import stopping

pytestmark = pytest.mark.slow

_LOST = [
  jax.errors.JaxRuntimeError('UNAVAILABLE: Socket closed'),
  jax.errors.JaxRuntimeError(
    'DEADLINE_EXCEEDED: Barrier timed out. Id: orbax::1'
  ),
  jax.errors.JaxRuntimeError('ABORTED: The task is in an error state'),
  # As jaxlib raises it where a process waits for a result.
  ValueError(
    'UNKNOWN: Gloo all-reduce failed: [external/gloo/gloo/transport/tcp/'
    'pair.cc:538] Read error [127.0.0.1]:1447: Connection reset by peer'
  ),
  jax.errors.JaxRuntimeError(
    'INTERNAL: NCCL operation ncclAllReduce(...) failed: remote process exited '
    'or there was a network error.'
  ),
]
_OURS = [
  InputError('gloo: there is no barrier for this heartbeat; set nccl.'),
  MemoryError('UNAVAILABLE: barrier'),
  KeyError('coordination service'),
  ValueError('connection reset: a heartbeat of ours'),
  jax.errors.JaxRuntimeError(
    'RESOURCE_EXHAUSTED: Out of memory in optimization_barrier; NCCL, Gloo '
    'all-reduce failed: heartbeat'
  ),
  jax.errors.JaxRuntimeError('INTERNAL: NCCL operation: invalid usage'),
]


@pytest.mark.parametrize('error', _LOST, ids=str)
def test_a_lost_peer(error):
  assert stopping.is_lost_peer(error)
  wrapped = RuntimeError('a thread failed')
  wrapped.__cause__ = error
  assert stopping.is_lost_peer(wrapped)


@pytest.mark.parametrize('error', _OURS, ids=str)
def test_no_lost_peer(error):
  assert not stopping.is_lost_peer(error)


def test_out_of_memory_beside_a_barrier_is_no_lost_peer():
  """The real error, of this JAX."""

  def far_too_much(x):
    # 1 TiB. Of one long axis, or an iota of this shape, XLA itself dies.
    shape = (1 << 14, 1 << 14, 1 << 10)
    return 2 * jax.lax.optimization_barrier(jnp.broadcast_to(x, shape))

  with pytest.raises((jax.errors.JaxRuntimeError, ValueError)) as raised:
    jax.block_until_ready(jax.jit(far_too_much)(jnp.float32(1.0)))
  assert 'RESOURCE_EXHAUSTED' in str(raised.value), raised.value
  assert not stopping.is_lost_peer(raised.value)


# Two processes; what the second does is put in.
_PROGRAM = """
  import os, signal, sys, time
  import jax
  from viton_jax import errors
  from viton_jax.runtime import distributed, stopping

  def main():
    stopping._SILENT_S = {silent}
    distributed.initialize()
    jax.devices()
    print('up', flush=True)
    with stopping.leaving_at_once():
      if jax.process_index() == {actor}:
        time.sleep(2.0)  # The other watches by now.
        {action}
      time.sleep(120)

  errors.run(main)
"""


def two(
  actor: int, action: str, *, silent: float = 60.0
) -> list[tuple[int, str]]:
  """(exit code, stderr) of two processes, of which one acts."""
  program = textwrap.dedent(_PROGRAM).format(
    actor=actor, action=action, silent=silent
  )
  port = train_jobs.free_port()
  processes = [
    subprocess.Popen(
      [sys.executable, '-c', program],
      cwd=entry_points.ROOT,
      env=entry_points.environment()
      | {
        'VITON_JAX_COORDINATOR': f'localhost:{port}',
        'VITON_JAX_NUM_PROCESSES': '2',
        'VITON_JAX_PROCESS_ID': str(i),
      },
      stdout=subprocess.DEVNULL,
      stderr=subprocess.PIPE,
      text=True,
    )
    for i in range(2)
  ]
  try:
    said = [process.communicate(timeout=200)[1] for process in processes]
  finally:
    for process in processes:
      process.kill()
  return [
    (process.returncode, text)
    for process, text in zip(processes, said, strict=True)
  ]


@pytest.mark.parametrize('actor', [0, 1])
def test_a_failure_of_ones_own_is_the_code_of_all(actor):
  """With its traceback, and the other one ends with the same code."""
  said = two(actor, "raise RuntimeError('optimization_barrier, heartbeat')")
  code, text = said[actor]
  assert code == 1, said
  assert 'Traceback' in text and 'optimization_barrier' in text
  code, text = said[1 - actor]
  assert code == 1, said
  assert f'process {actor} of this job failed' in text


def test_a_coordinator_that_vanishes_is_a_lost_peer():
  """JAX calls abort then; the other process waits in Python meanwhile."""
  said = two(0, 'os.kill(os.getpid(), signal.SIGKILL)')
  code, text = said[1]
  assert code == EXIT_PEER_LOST, said
  assert 'error: another process of this job is lost' in text


def test_an_abort_of_ones_own_stays_one():
  said = two(1, 'os.abort()', silent=10.0)
  assert said[1][0] == -6, said


def test_a_peer_that_falls_silent_is_lost():
  """Before JAX notices: the watcher's own time, made short here."""
  said = two(1, 'os.kill(os.getpid(), signal.SIGKILL)', silent=10.0)
  code, text = said[0]
  assert code == EXIT_PEER_LOST, said
  assert 'error: another process of this job is lost' in text
