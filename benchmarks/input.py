"""How fast the input pipeline is, with nothing behind it.

  python -m benchmarks.input --records records --packed packed
  python -m benchmarks.input --original_records tfrecords
  python -m benchmarks.input --data_dir data --pairs viton_train_pairs.txt

The first two forms read training batches, put them on the devices, and tell how
large an example is: from disk, and kept in memory (--config.data.cache=host).
Each worker is a process on one core of its own that takes its share of every
batch, as in a job of several processes. The third times the steps of preparing
one pair in this process. "Per core" divides by the CPU time used, so that it
holds on a busy machine too; an example is a person and a garment. Only records
need TensorFlow.
"""

import argparse
import collections
import dataclasses
import itertools
import json
import os
import subprocess
import sys
import time

import numpy as np

from input_pipeline import batches, layouts, sample
from input_pipeline.formats import records
from viton_jax import choices, labels
from viton_jax.errors import InputError, run

_WARM_UP = 8  # Batches: past the start and the first prefetched ones.


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add('--records', help='prepared records to read')
  add('--packed', help='packed files to read')
  add('--original_records', help="the original's records to read")
  add('--data_dir', help='raw data to prepare from')
  add('--pairs', default='viton_train_pairs.txt')
  add('--batch_size', type=int, default=16, help='of each worker (16)')
  add('--workers', default='1,2', help='how many, one after another (1,2)')
  add('--seconds', type=float, default=10, help='to measure for (10)')
  add('--count', type=int, default=40, help='pairs to prepare (40)')
  add('--worker', help=argparse.SUPPRESS)
  arguments = parser.parse_args()
  if arguments.worker:
    work(**json.loads(arguments.worker))
    return
  if not any(
    (
      arguments.records,
      arguments.packed,
      arguments.original_records,
      arguments.data_dir,
    )
  ):
    parser.error('give --records, --packed, --original_records or --data_dir')
  workers = [int(x) for x in arguments.workers.split(',')]
  cores = sorted(os.sched_getaffinity(0))
  if max(workers) > len(cores) or min(workers) < 1:
    raise InputError(
      f'--workers {arguments.workers}: there are {len(cores)} cores, and '
      'each worker takes one; give counts from 1 to that'
    )
  print(f'{len(cores)} cores, load {os.getloadavg()[0]:.1f}')
  for folder, fmt, fidelity, caches in (
    (arguments.records, 'records', '', choices.values_of(choices.HostCache)),
    (arguments.packed, 'packed', '', choices.values_of(choices.HostCache)),
    (arguments.original_records, 'original_records', 'original', ('none',)),
    (arguments.original_records, 'original_records', 'fixed', ('none',)),
  ):
    if folder:
      source = {'fmt': fmt, 'fidelity': fidelity}
      tell_size(folder, **source)
      for cache in caches:
        for count in workers:
          time_batches(
            {
              'folder': folder,
              'batch_size': arguments.batch_size,
              'seconds': arguments.seconds,
              'options': source | {'cache': cache},
            },
            cores=cores[:count],
          )
  if arguments.data_dir:
    time_preparing(
      arguments.data_dir, pairs=arguments.pairs, count=arguments.count
    )


def tell_size(folder: str, *, fmt: str, fidelity: str) -> None:
  """Prints how large an example is on disk."""
  info = batches.read_info(folder, fmt=fmt, fidelity=fidelity)
  count = sum(info.num_examples.values())
  pattern = '*.packed' if fmt == 'packed' else '*-?????-of-?????'
  size = sum(path.stat().st_size for path in info.folder.glob(pattern))
  print(
    f'{fmt}, {info.fidelity}: {count} examples of {size / count / 1000:.1f} '
    f'kB at {info.height} x {info.width}'
  )


def time_batches(task: dict, *, cores: list[int]) -> None:
  """Prints examples/s of one worker a core."""
  workers = []
  try:
    for index, core in enumerate(cores):
      place = {'process_index': index, 'process_count': len(cores)}
      text = json.dumps(
        task | {'core': core, 'options': task['options'] | place}
      )
      workers.append(
        subprocess.Popen(
          [sys.executable, '-m', 'benchmarks.input', '--worker', text],
          stdin=subprocess.PIPE,
          stdout=subprocess.PIPE,
          stderr=subprocess.DEVNULL,
          text=True,
        )
      )
    for worker in workers:  # All are past their start before any measures.
      if worker.stdout.readline() != 'ready\n':
        raise InputError(
          f'{task["folder"]}: a worker ended; run with --worker '
          f"'{json.dumps(task | {'core': cores[0]})}' to see why"
        )
    for worker in workers:
      worker.stdin.write('go\n')
      worker.stdin.flush()
    found = [json.loads(worker.stdout.readline()) for worker in workers]
  finally:
    for worker in workers:
      worker.kill()
      worker.communicate()
  count = sum(x['count'] for x in found)
  cpu = sum(x['cpu'] for x in found)
  rate = sum(x['count'] / x['wall'] for x in found)
  names = {'none': 'from disk', 'host': 'in memory'}
  print(
    f'  {names[task["options"]["cache"]]}, {len(cores)} workers with batches '
    f'of {task["batch_size"]}: {rate:.0f} examples/s; {count / cpu:.0f} '
    f'per core ({1000 * cpu / count:.2f} ms of CPU each)',
    flush=True,
  )


def work(
  *, folder: str, batch_size: int, seconds: float, core: int, options: dict
) -> None:
  """One worker: reads batches and puts them on the devices."""
  os.sched_setaffinity(0, {core})  # First: libraries count cores as they load.
  import jax

  from viton_jax.runtime import parallel

  stream = parallel.ahead(
    batches.train_batches(folder, batch_size=batch_size, seed=0, **options)
  )
  for _ in range(_WARM_UP):
    jax.block_until_ready(next(stream))
  print('ready', flush=True)
  sys.stdin.readline()
  wall, cpu, count = time.perf_counter(), time.process_time(), 0
  while time.perf_counter() < wall + seconds:
    jax.block_until_ready(next(stream))
    count += batch_size
  print(
    json.dumps(
      {
        'count': count,
        'wall': time.perf_counter() - wall,
        'cpu': time.process_time() - cpu,
      }
    ),
    flush=True,
  )


def time_preparing(data_dir: str, *, pairs: str, count: int) -> None:
  """Prints CPU milliseconds a pair of each step of preparing."""
  from input_pipeline import garment_masks
  from viton_jax import geometry

  layout = layouts.open_layout('viton', data_dir, pairs)
  spent = collections.Counter()
  sizes = []
  for index in itertools.islice(itertools.cycle(range(len(layout))), count):
    marks = [('read', time.process_time())]
    pair = layout.load(index)
    marks.append(('garment mask', time.process_time()))
    mask = garment_masks.garment_mask(pair.garment)
    marks.append(('matching', time.process_time()))
    fitted = geometry.fit_control_points(
      mask, pair.parse == labels.GARMENT_LABEL, image_size=(256, 192)
    )
    marks.append(('shrink', time.process_time()))
    pair = dataclasses.replace(
      pair,
      garment_mask=mask,
      control_points=np.asarray(fitted.points_norm, np.float32),
    )
    example = sample.working_example(
      pair, height=256, width=192, fidelity='fixed'
    )
    marks.append(('pack', time.process_time()))
    sizes.append(records.packed_size(records.pack(example)))
    marks.append(('', time.process_time()))
    for (name, start), (_, end) in itertools.pairwise(marks):
      spent[name] += (end - start) * 1000 / count
  total = sum(spent.values())
  parts = ', '.join(f'{name} {ms:.1f} ms' for name, ms in spent.items())
  print(
    f'preparing: {1000 / total:.1f} pairs/s per core ({parts}); '
    f'{np.mean(sizes) / 1000:.1f} kB a pair'
  )


if __name__ == '__main__':
  run(main)
