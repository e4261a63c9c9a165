"""How tests run the project's commands: as a user does, in a process."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]


def command(module: str, *arguments) -> list[str]:
  return [sys.executable, '-m', module, *map(str, arguments)]


def environment(devices: int = 1) -> dict[str, str]:
  return os.environ | {
      'JAX_PLATFORMS': 'cpu',
      'TF_CPP_MIN_LOG_LEVEL': '2',
      'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}',
  }


def run(
    module: str, *arguments, devices: int = 1, expect: int = 0
) -> subprocess.CompletedProcess:
  """Runs `python -m module` and checks its exit code."""
  done = subprocess.run(
      command(module, *arguments),
      cwd=ROOT,
      env=environment(devices),
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
