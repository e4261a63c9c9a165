"""Batch inference by two actors of Ray: `infer`'s files, also after a loss."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import entry_points
import infer_jobs
import pytest

pytest.importorskip('ray', reason='ray is of the extra [scale]')
pytestmark = pytest.mark.slow
PAIRS = 72
COMMAND = 'launch.ray_infer'


@pytest.fixture(scope='module')
def flags(raw_dir, tmp_path_factory):
  """The job, without a folder for its results."""
  folder = tmp_path_factory.mktemp('ray_infer')
  data = folder / 'raw'
  shutil.copytree(raw_dir, data)
  infer_jobs.write_pairs(data, PAIRS)
  networks = infer_jobs.write_networks(folder / 'networks')
  return (
    *('--data_dir', data, '--pairs', 'many_pairs.txt', '--batch_size', 4),
    *('--checkpoint', networks),
  )


@pytest.fixture(scope='module')
def expected(flags, tmp_path_factory):
  """What `infer` writes."""
  out_dir = tmp_path_factory.mktemp('expected') / 'out'
  entry_points.run('viton_jax.infer', *flags, '--out_dir', out_dir)
  return files_of(out_dir)


def files_of(out_dir: pathlib.Path) -> dict[str, bytes]:
  """All pictures, and the lines of the manifest without their times."""
  pictures = {
    str(path.relative_to(out_dir)): path.read_bytes()
    for name in ('results', 'steps')
    for path in sorted((out_dir / name).rglob('*.*'))
  }
  manifest = (out_dir / 'manifest.jsonl').read_bytes()
  return pictures | {'manifest.jsonl': manifest}


def test_two_actors_write_what_infer_writes(flags, expected, tmp_path):
  out_dir = tmp_path / 'out'
  done = entry_points.run(COMMAND, *flags, '--out_dir', out_dir, '--parts', 6)
  assert f'{PAIRS} pairs' in done.stdout
  made = files_of(out_dir)
  assert len(made) > PAIRS and made == expected
  assert (out_dir / 'index.html').is_file()
  # Nothing is left to do, also for `infer` itself.
  again = entry_points.run('viton_jax.infer', *flags, '--out_dir', out_dir)
  assert f'{PAIRS} pairs are done already, 0 to go' in again.stdout


def actors(pid: int) -> list[int]:
  """Process ids of the actors of a command."""
  found = []
  for path in pathlib.Path('/proc').glob('[0-9]*'):
    with contextlib.suppress(OSError, ProcessLookupError):
      if (path / 'cmdline').read_bytes().startswith(b'ray::Actor'):
        found.append(int(path.name))
  return found


def test_a_lost_actor_is_replaced_and_its_part_goes_on(
  flags, expected, tmp_path
):
  out_dir = tmp_path / 'out'
  process = subprocess.Popen(
    entry_points.command(COMMAND, *flags, '--out_dir', out_dir, '--parts', 2),
    cwd=entry_points.ROOT,
    env=entry_points.environment() | {'PYTHONPATH': str(entry_points.ROOT)},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )
  while not list(out_dir.glob('results/*')):
    assert process.poll() is None
    time.sleep(0.02)
  os.kill(actors(process.pid)[0], signal.SIGKILL)
  output, _ = process.communicate(timeout=300)
  assert process.returncode == 0, output
  made = files_of(out_dir)
  lines = [json.loads(x) for x in made['manifest.jsonl'].splitlines()]
  assert len(lines) == PAIRS and {x['status'] for x in lines} == {'ok'}
  assert {k: v for k, v in made.items() if k != 'manifest.jsonl'} == {
    k: v for k, v in expected.items() if k != 'manifest.jsonl'
  }


@pytest.mark.parametrize(
  ('more', 'said'),
  [
    (('--actors', 0), '--actors 0 is not in'),
    (('--shard', '0/2'), '--shard is for `python -m viton_jax.infer`'),
    (('--layout', 'photos'), '--layout photos is for one process'),
    (('--pairs', 'none.txt'), 'none.txt'),
    (('--address', '127.0.0.1:1'), 'no Ray cluster answers'),
  ],
)
def test_the_command_refuses_in_one_sentence(flags, more, said, tmp_path):
  out_dir = tmp_path / 'out'
  sentence = entry_points.fails(COMMAND, *flags, '--out_dir', out_dir, *more)
  assert said in sentence and not out_dir.exists()
