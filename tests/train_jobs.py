"""Trainings as processes, for tests: started, killed, compared."""

import atexit
import os
import pathlib
import random
import signal
import socket
import subprocess
import time

import entry_points
import jax
import numpy as np

from viton_jax import checkpoints
from viton_jax.errors import InputError


def pack(raw_dir: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
  """The raw pairs as packed data of 64 x 64, ten to train on, two held out."""
  entry_points.run(
    'input_pipeline.prepare',
    *('--layout', 'viton', '--data_dir', raw_dir, '--out_dir', folder),
    *('--height', 64, '--width', 64, '--validation_fraction', 0.2),
    *('--format', 'packed'),
  )
  return folder


def arguments(packed: pathlib.Path, workdir: pathlib.Path, **options) -> list:
  """Of a tiny stage 1; `options` are fields, with __ for a dot."""
  fields = {
    'data.dir': packed,
    'data.format': 'packed',
    'features': 4,
    'eval_every': 1000,
    'sample_every': 1000,
    **{name.replace('__', '.'): value for name, value in options.items()},
  }
  return [
    *('--config', 'configs/stage1.py:smoke', '--workdir', workdir),
    *(f'--config.{name}={value}' for name, value in fields.items()),
  ]


def start(
  arguments: list, *, env: dict | None = None, devices: int = 1
) -> subprocess.Popen:
  process = subprocess.Popen(
    entry_points.command('viton_jax.train', *arguments),
    cwd=entry_points.ROOT,
    env=entry_points.environment(devices) | (env or {}),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  atexit.register(process.kill)  # A test that fails leaves none behind.
  return process


def free_port() -> int:
  with socket.socket() as probe:
    probe.bind(('localhost', 0))
    return probe.getsockname()[1]


def start_many(arguments: list, count: int) -> list[subprocess.Popen]:
  """As many processes of one job, each with one device."""
  address = f'localhost:{free_port()}'
  return [
    start(
      arguments,
      env={
        'VITON_JAX_COORDINATOR': address,
        'VITON_JAX_NUM_PROCESSES': str(count),
        'VITON_JAX_PROCESS_ID': str(i),
      },
    )
    for i in range(count)
  ]


def wait_for(process: subprocess.Popen, beginning: str) -> str:
  """Reads the process's lines up to the one with this beginning."""
  lines = []
  for line in process.stdout:
    lines.append(line)
    if line.startswith(beginning):
      return ''.join(lines)
  raise AssertionError(''.join(lines) + process.stderr.read())


def wait_for_checkpoint(process: subprocess.Popen, workdir: pathlib.Path):
  """Until there is a finished one: they are written in the background."""
  while True:
    try:
      return checkpoints.find(workdir)
    except InputError:
      assert process.poll() is None, process.communicate()
      time.sleep(0.01)


def kill_somewhere(process: subprocess.Popen, rng: random.Random) -> str:
  """kill -9 at a random moment: in the start, or some steps into the loop."""
  if rng.random() < 0.25:
    time.sleep(rng.uniform(0.0, 4.0))
    where = 'while it starts'
  else:
    steps = rng.randint(2, 9)
    where = 'before its first step'
    for line in process.stdout:
      if line.startswith('step '):
        where = line.split()[1]
        steps -= 1
        if not steps:
          break
    time.sleep(rng.uniform(0.0, 0.15))
  process.send_signal(signal.SIGKILL)
  process.communicate()
  return where


def whole_state(workdir: pathlib.Path) -> dict:
  """Everything of the newest checkpoint, optimiser included."""
  return checkpoints.read_tree(checkpoints.find(workdir) / 'state')


def assert_bit_equal(a: pathlib.Path, b: pathlib.Path) -> None:
  first, second = whole_state(a), whole_state(b)
  assert first['step'] == second['step']
  jax.tree.map(np.testing.assert_array_equal, first, second)


def assert_same_gradients(a, b, *, share: float = 1e-4) -> None:
  """Trees of gradients that differ by rounding alone.

  A gradient of a kernel is a sum of some ten thousand float32 products, in an
  order that compilers and devices choose: its rounding errors add up to about
  eps * sqrt(30,000) = 2e-5 of the largest one. Parameters say less: Adam
  divides a gradient by its own size, so one that is nothing but rounding moves
  its parameter as far as any other.
  """

  def compare(x, y):
    x, y = np.asarray(x), np.asarray(y)
    np.testing.assert_allclose(x, y, rtol=0, atol=share * np.abs(x).max())

  jax.tree.map(compare, a, b)


def assert_same_training(a: dict, b: dict, *, atol: float = 2e-5) -> None:
  """States of the same few steps, on other devices.

  Batch statistics are within `atol`, and so are the parameters whose gradient
  is more than rounding: at least a hundredth of its kernel's largest. The 1e-4
  of `assert_same_gradients` is then 1e-2 of the gradient, and of each of Adam's
  two moments: 2e-2 of the path, which is 4 steps of 2e-4. Gradients that
  change their sign within these steps are less sure than their moments say, so
  this holds for the root of the mean square; one parameter may be anywhere
  within that path.
  """
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=atol),
    a['batch_stats'],
    b['batch_stats'],
  )
  compared = []

  def compare(x, y, square):
    size = np.sqrt(square)
    counts = size >= 0.01 * size.max()
    compared.append(counts.mean())
    apart = np.abs(x - y)[counts]
    assert np.sqrt(np.square(apart).mean()) <= atol, apart
    assert apart.max() < 40 * atol, apart

  jax.tree.map(compare, a['params'], b['params'], adam_of(a)['nu'])
  assert np.mean(compared) > 0.5, compared


def adam_of(state: dict) -> dict:
  """Adam's moments in a checkpoint's state: 'mu' and 'nu'."""
  return state['opt_state'][0]


def kills_wanted() -> int:
  """VITON_JAX_KILLS, for a longer test than is run every time."""
  return int(os.environ.get('VITON_JAX_KILLS', '1'))
