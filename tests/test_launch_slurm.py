"""The SLURM scripts, with SLURM's commands replaced by ones that say so."""

import os
import signal
import subprocess
import time

import entry_points
from entry_points import shell
import pytest

FOLDER = entry_points.ROOT / 'launch'
FAKE = {
  'srun': 'echo "srun $*"; [ "$STEP" = wait ] || exit "$STEP"; '
  'sleep 600 > /dev/null & trap "kill $!; echo saving; exit 0" TERM; '
  'echo $$ > "$BIN/pid"; wait',
  # Returns when the step has ended, which is the hardest for the caller.
  'scancel': 'echo "scancel $*"; pid=$(cat "$BIN/pid"); kill -TERM "$pid"; '
  'while kill -0 "$pid" 2> /dev/null; do sleep 0.01; done',
  'scontrol': 'echo "scontrol $*"',
}


@pytest.fixture
def slurm(tmp_path):
  """A folder of commands that only say how they were called."""
  for name, text in FAKE.items():
    (tmp_path / name).write_text(f'#!/usr/bin/env bash\n{text}\n')
    (tmp_path / name).chmod(0o755)
  return {
    'PATH': f'{tmp_path}:{os.environ["PATH"]}',
    'BIN': str(tmp_path),
    'SLURM_JOB_ID': '77',
    'SLURM_SUBMIT_DIR': str(entry_points.ROOT),
    'SLURM_CPUS_PER_TASK': '4',
  }


def venv_of(tmp_path) -> str:
  folder = tmp_path / 'venv' / 'bin'
  folder.mkdir(parents=True)
  (folder / 'python').symlink_to('/bin/true')
  return str(folder.parent)


@pytest.mark.parametrize(
  'code, restarts, requeued',
  [
    (0, 0, False),
    (2, 0, False),
    (4, 0, False),
    (5, 0, True),
    (5, 100, False),
  ],
)
def test_slurm_queues_again_only_what_lost_a_peer(
  code, restarts, requeued, slurm, tmp_path
):
  slurm |= {'VENV': venv_of(tmp_path), 'SLURM_RESTART_COUNT': str(restarts)}
  done = shell(
    'launch/slurm_train.sbatch', '--config', 'c', STEP=str(code), **slurm
  )
  assert done.returncode == code, done.stderr
  assert '-m viton_jax.train --config c' in done.stdout
  assert ('scontrol requeue 77' in done.stdout) == requeued


def sbatch_options(name: str) -> dict[str, str]:
  """What a script asks sbatch for."""
  lines = (FOLDER / name).read_text().splitlines()
  words = [x.split()[1] for x in lines if x.startswith('#SBATCH --')]
  return {x.partition('=')[0]: x.partition('=')[2] for x in words}


@pytest.mark.parametrize('name', ['slurm_train.sbatch', 'slurm_infer.sbatch'])
def test_slurm_saves_and_queues_again_before_time_is_over(
  name, slurm, tmp_path
):
  options = sbatch_options(name)
  # SLURM requeues only what allows it, and the log would start anew.
  assert '--requeue' in options and options['--open-mode'] == 'append'
  number, _, seconds = options['--signal'].removeprefix('B:').partition('@')
  assert options['--signal'].startswith('B:')  # To the shell alone.
  assert int(seconds) >= 60
  # As SLURM does it: a copy of the script, elsewhere.
  copy = tmp_path / 'slurm_script'
  copy.write_text((FOLDER / name).read_text())
  slurm |= {'VENV': venv_of(tmp_path), 'STEP': 'wait'}
  slurm |= {'SLURM_ARRAY_TASK_ID': '0', 'SLURM_ARRAY_TASK_COUNT': '2'}
  with subprocess.Popen(
    [*entry_points.DEFAULT_SIGNALS, 'bash', copy, '--out_dir', 'o'],
    env=os.environ | slurm,
    stdout=subprocess.PIPE,
    text=True,
  ) as process:
    while not (tmp_path / 'pid').exists():
      assert process.poll() is None
      time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(getattr(signal, f'SIG{number}'))
    said = process.communicate(timeout=300)[0]
  order = ['scancel --signal=TERM 77', 'saving', 'scontrol requeue 77']
  places = [said.find(x) for x in order]
  assert -1 not in places and sorted(places) == places, said
  assert process.returncode == 0


@pytest.mark.parametrize(
  'arguments, shard',
  [
    ([], '3/8'),
    (['--shards', '32'], '3/32'),
  ],
)
def test_slurm_array_task_does_its_shard(arguments, shard, slurm, tmp_path):
  slurm |= {
    'VENV': venv_of(tmp_path),
    'SLURM_ARRAY_TASK_ID': '3',
    'SLURM_ARRAY_TASK_COUNT': '8',
    'STEP': '0',
  }
  done = shell(
    'launch/slurm_infer.sbatch', *arguments, '--out_dir', 'o', **slurm
  )
  assert done.returncode == 0, done.stderr
  assert f'-m viton_jax.infer --shard {shard} --out_dir o' in done.stdout


def test_slurm_array_with_gaps_needs_the_number_of_shards(slurm):
  slurm |= {'SLURM_ARRAY_TASK_ID': '7', 'SLURM_ARRAY_TASK_COUNT': '2'}
  done = shell('launch/slurm_infer.sbatch', '--out_dir', 'o', **slurm)
  assert done.returncode == 2 and '--shards' in done.stderr
