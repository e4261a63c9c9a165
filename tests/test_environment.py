"""What the report says, and that it needs nothing installed to say it."""

import os
import re
import subprocess
import sys

import entry_points
import jax
import numpy as np
import pytest

from viton_jax.runtime import environment

SCRIPT = entry_points.ROOT / 'launch' / 'env_report.py'


def lines(text: str) -> dict[str, list[str]]:
  found = {}
  for line in text.splitlines():
    name, _, value = line.partition(' ')
    found.setdefault(name, []).append(value.strip())
  return found


def test_report_of_this_process(monkeypatch):
  monkeypatch.setenv('XLA_SOME_FLAG', 'seen')
  monkeypatch.setenv('JAX_API_TOKEN', 'hidden')
  monkeypatch.setenv('HOME_MADE', 'not ours')
  said = lines(environment.report())
  (versions,) = said['versions']
  assert f'jax {jax.__version__},' in versions
  assert f'numpy {np.__version__},' in versions
  assert f'python {sys.version.split()[0]},' in versions
  for name in ('viton_jax', 'jaxlib', 'flax', 'optax', 'orbax', 'opencv'):
    assert re.search(rf'\b{name} \d', versions), versions
  assert said['devices'] == ['8 x cpu']  # conftest.py asks for eight.
  assert said['process'] == ['0 of 1']
  assert 'XLA_SOME_FLAG=seen' in said['set']
  assert 'JAX_API_TOKEN=...' in said['set']
  assert not [x for x in said['set'] if 'HOME_MADE' in x]


def test_host_is_this_one(monkeypatch):
  monkeypatch.setattr(environment, '_cpu_limit', lambda: None)
  (host,) = lines(environment.report())['host']
  assert f'{len(os.sched_getaffinity(0))} cores' in host
  gib = float(re.search(r'([\d.]+) GiB', host).group(1))
  with open('/proc/meminfo') as file:
    whole = int(file.readline().split()[1]) * 1024 / 2**30
  assert 0 < gib <= whole + 0.1


def test_memory_limit_of_devices():
  class Device:
    def __init__(self, stats):
      self.stats = stats

    def memory_stats(self):
      if isinstance(self.stats, Exception):
        raise self.stats
      return self.stats

  limit = environment._memory_limit
  assert limit(Device({'bytes_limit': 5, 'bytes_in_use': 1})) == 5
  assert limit(Device({})) is None and limit(Device(None)) is None
  assert limit(Device(RuntimeError('no'))) is None


@pytest.mark.parametrize(
  'quota, cores',
  [
    ('250000 100000', 2),
    ('10000 100000', 1),
    ('9900000 100000', 3),
    ('max 100000', 3),
    ('', 3),
  ],
)
def test_cores_of_containers(monkeypatch, quota, cores):
  monkeypatch.setattr(environment, '_read', lambda path: quota)
  monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {0, 4, 5})
  assert environment.cores() == cores


def test_script_says_the_same():
  done = subprocess.run(
    [sys.executable, SCRIPT],
    env=entry_points.environment(devices=3),
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  said = lines(done.stdout)
  assert said['devices'] == ['3 x cpu'] and said['process'] == ['0 of 1']


def test_script_without_anything_installed():
  # -S: no site-packages, as in a bare Python; -I: nor the working folder.
  done = subprocess.run(
    [sys.executable, '-I', '-S', SCRIPT],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 2 and 'jax missing' in done.stdout
  assert 'GiB' in done.stdout
  assert done.stderr.startswith('error: jax, jaxlib, flax')
  assert 'pip install' in done.stderr and 'Traceback' not in done.stderr
