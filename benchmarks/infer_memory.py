"""Does batch inference keep its memory over many pairs?

  python -m benchmarks.infer_memory --pairs 20000

Draws a few people and garments, gives the garments more names until there are
as many pairs as wanted, and tries all on with untrained networks of 4 features
at 64 x 64: what counts is the number of pairs. Prints the resident memory of
the job's process and of its workers each time so many pairs are written, the
speed, and how long the device was idle.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

from benchmarks import timing
from tests import infer_jobs
from viton_jax import errors

_MARKS = (200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)


def resident_mb(pid: int) -> tuple[float, list[float]]:
  """Resident memory of a process and of each of its children, in MB."""

  def of(number):
    try:
      status = pathlib.Path(f'/proc/{number}/status').read_text()
    except OSError:  # It has ended.
      return 0.0
    for line in status.splitlines():
      if line.startswith('VmRSS'):
        return int(line.split()[1]) / 1024
    return 0.0

  children = []
  for task in pathlib.Path(f'/proc/{pid}/task').iterdir():
    children += (task / 'children').read_text().split()
  return of(pid), [of(child) for child in children]


def watch(process: subprocess.Popen, manifest: pathlib.Path, marks) -> None:
  """Prints memory whenever the manifest has so many lines."""
  count, position = 0, 0
  marks = list(marks)
  begin = time.monotonic()
  print(f'{"pairs":>8} {"seconds":>8} {"MB":>8} {"MB of workers":>16}')
  while process.poll() is None and marks:
    time.sleep(0.2)
    if manifest.exists():
      with manifest.open('rb') as file:
        file.seek(position)
        data = file.read()
      position += len(data)
      count += data.count(b'\n')
    if count >= marks[0]:
      own, workers = resident_mb(process.pid)
      while marks and count >= marks[0]:
        marks.pop(0)
      print(
        f'{count:8} {time.monotonic() - begin:8.0f} {own:8.1f} '
        f'{" ".join(f"{mb:.1f}" for mb in workers):>16}',
        flush=True,
      )


def main() -> int:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--pairs', type=int, default=20_000)
  parser.add_argument('--folder', help='to work in (default: a temporary one)')
  parser.add_argument(
    'options',
    nargs='*',
    help="of `python -m viton_jax.infer`, behind a '--': -- --workers 1",
  )
  arguments = parser.parse_args()
  print(f'{timing.device()}, {arguments.pairs} pairs of 64 x 64, 4 features')
  with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(arguments.folder or temporary)
    raw = folder / 'raw'
    if not raw.exists():
      subprocess.run(
        [
          *(sys.executable, '-m', 'input_pipeline.synthetic'),
          *('--out_dir', raw, '--num_pairs', '10', '--height', '256'),
          *('--num_test_pairs', '0', '--seed', '0'),
        ],
        check=True,
      )
    infer_jobs.write_pairs(raw, arguments.pairs)
    networks = infer_jobs.write_networks(folder / 'networks')
    out_dir = folder / 'out'
    command = [
      *(sys.executable, '-m', 'viton_jax.infer', '--data_dir', raw),
      *('--pairs', 'many_pairs.txt', '--out_dir', out_dir, '--results_only'),
      *('--checkpoint', networks, '--refine_checkpoint', networks),
      *('--batch_size', '32', *arguments.options),
    ]
    with subprocess.Popen(command) as process:
      watch(
        process,
        out_dir / 'manifest-00000-of-00001.jsonl',
        [mark for mark in _MARKS if mark <= arguments.pairs],
      )
  return process.returncode


if __name__ == '__main__':
  errors.run(main)
