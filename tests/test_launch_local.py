"""launch/local.sh: several processes of one job on this machine."""

import pathlib
import shlex
import signal
import subprocess
import sys
import time

import entry_points
from entry_points import shell
import pytest


def local(*arguments, **variables):
  return shell('launch/local.sh', *arguments, **variables)


def test_local_numbers_lines_and_tells_processes_apart():
  program = (
    'echo $VITON_JAX_PROCESS_ID $VITON_JAX_NUM_PROCESSES; '
    'echo $VITON_JAX_COORDINATOR >&2; printf end'
  )
  done = local('--processes', 3, '--port', 4567, '--', 'bash', '-c', program)
  assert done.returncode == 0, done.stderr
  assert sorted(done.stdout.splitlines()) == sorted(
    f'[{i}] {line}'
    for i in range(3)
    for line in (f'{i} 3', 'localhost:4567', 'end')
  )


def test_local_free_ports_differ():
  ports = set()
  for _ in range(2):
    done = local('--dry_run', '--processes', 1, '--', 'true')
    ports |= {x for x in done.stdout.split() if 'COORDINATOR=' in x}
  assert len(ports) == 2


@pytest.mark.parametrize(
  'gpus, processes, dealt',
  [
    ('0,1,2,3', 2, ['0,1', '2,3']),
    ('5,7', 2, ['5', '7']),
    ('GPU-a,GPU-b,GPU-c', 1, ['GPU-a,GPU-b,GPU-c']),
  ],
)
def test_local_deals_out_gpus(gpus, processes, dealt):
  done = local(
    '--processes',
    processes,
    '--dry_run',
    '--',
    'true',
    CUDA_VISIBLE_DEVICES=gpus,
    JAX_PLATFORMS='',
  )
  found = [
    word.partition('=')[2]
    for word in shlex.split(done.stdout)
    if word.startswith('CUDA_VISIBLE_DEVICES=')
  ]
  assert found == dealt
  on_cpu = local(
    '--dry_run', '--', 'true', CUDA_VISIBLE_DEVICES=gpus, JAX_PLATFORMS='cpu'
  )
  assert 'CUDA_VISIBLE_DEVICES' not in on_cpu.stdout


def test_local_refuses_uneven_gpus():
  done = local('--', 'true', CUDA_VISIBLE_DEVICES='0,1,2', JAX_PLATFORMS='')
  assert done.returncode == 2 and '3 GPUs' in done.stderr


ONE_FAILS = """
trap 'echo last words; exit 0' TERM
sleep 600 & echo $! > "$PIDS/$VITON_JAX_PROCESS_ID"
if [ $VITON_JAX_PROCESS_ID = 1 ]; then
  until [ -s "$PIDS/0" ]; do sleep 0.1; done
  exit 7
fi
wait
"""
DEAF = ONE_FAILS.replace('echo last words; exit 0', '')


def gone(pids: pathlib.Path) -> bool:
  """Whether the processes named there have ended (or are zombies)."""
  for file in pids.iterdir():
    try:
      stat = pathlib.Path(f'/proc/{file.read_text().strip()}/stat').read_text()
    except FileNotFoundError:
      continue
    if stat.rpartition(')')[2].split()[0] != 'Z':
      return False
  return True


@pytest.mark.parametrize('program', [ONE_FAILS, DEAF])
def test_local_ends_all_when_one_fails(program, tmp_path):
  done = local(
    '--processes',
    2,
    '--grace',
    1,
    '--',
    'bash',
    '-c',
    program,
    PIDS=str(tmp_path),
  )
  assert done.returncode == 7
  assert 'process 1 ended with code 7' in done.stderr
  assert ('[0] last words' in done.stdout) == (program is ONE_FAILS)
  assert len(list(tmp_path.iterdir())) == 2 and gone(tmp_path)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_local_passes_signals_on(number):
  program = "trap 'echo saved; exit 0' TERM INT; echo up; sleep 600 & wait"
  with subprocess.Popen(
    [
      *entry_points.DEFAULT_SIGNALS,
      *('bash', 'launch/local.sh', '--', 'bash', '-c', program),
    ],
    cwd=entry_points.ROOT,
    stdout=subprocess.PIPE,
    text=True,
  ) as process:
    up = [process.stdout.readline() for _ in range(2)]
    time.sleep(0.3)
    process.send_signal(number)
    rest = process.communicate(timeout=300)[0]
  assert sorted(up) == ['[0] up\n', '[1] up\n']
  assert sorted(rest.split('\n')[:2]) == ['[0] saved', '[1] saved']
  assert process.returncode == 0


def test_local_joins_real_processes():
  variables = entry_points.environment(devices=2)
  done = local('--', sys.executable, 'launch/env_report.py', **variables)
  assert done.returncode == 0, done.stdout + done.stderr
  for i in range(2):
    assert f'[{i}] process {i} of 2 (' in done.stdout
    assert f'[{i}] devices   4 x cpu, 2 of them in this process' in done.stdout
