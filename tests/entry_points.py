"""How tests run the project's commands: as a user does, in a process."""

import atexit
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).parents[1]
# Of `extractall`; Python before 3.11.4 has no filters.
SAFE_EXTRACTION = {'filter': 'data'} if hasattr(tarfile, 'data_filter') else {}

# Before a command that gets signals: what the tests' own caller ignores (nohup
# does, and shells for what runs in the background) would stay ignored.
DEFAULT_SIGNALS = ('env', '--default-signal=HUP,INT,TERM,USR1')

# What one command compiled, the next need not compile again.
_CACHE = tempfile.mkdtemp(prefix='viton_jax_compiled_')
atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)


def command(module: str, *arguments) -> list[str]:
  return [sys.executable, '-m', module, *map(str, arguments)]


def environment(devices: int = 1) -> dict[str, str]:
  return os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'JAX_COMPILATION_CACHE_DIR': _CACHE,
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.5',
    'TF_CPP_MIN_LOG_LEVEL': '2',
    'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}',
  }


def run(
  module: str,
  *arguments,
  devices: int = 1,
  expect: int = 0,
  cwd: pathlib.Path = ROOT,
) -> subprocess.CompletedProcess:
  """Runs `python -m module` in a folder and checks its exit code."""
  done = subprocess.run(
    command(module, *arguments),
    cwd=cwd,
    env=environment(devices) | {'PYTHONPATH': str(ROOT)},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == expect, done.stdout + done.stderr
  return done


def fails(module: str, *arguments) -> str:
  """Runs a command that must refuse its input; returns its one sentence."""
  done = run(module, *arguments, expect=2)
  assert 'Traceback' not in done.stderr, done.stderr
  (line,) = [x for x in done.stderr.splitlines() if x.startswith('error: ')]
  return line


def shell(*command, **variables) -> subprocess.CompletedProcess:
  """Runs a script under bash with more variables."""
  return subprocess.run(
    ['bash', *map(str, command)],
    cwd=ROOT,
    env=os.environ | variables,
    capture_output=True,
    text=True,
    check=False,
    timeout=300,
  )
