"""How fast the input pipeline is, with nothing behind it.

  python -m benchmarks.input --records records --original_records tfrecords
  python -m benchmarks.input --data_dir data --pairs viton_train_pairs.txt

The first form reads training batches of ours and of the original's records,
and tells how large a record is; the second times the steps of preparing
one pair in this process. "Per core" divides by the CPU time used, so that it
holds on a busy machine too; an example is a person and a garment.
"""

import argparse
import collections
import dataclasses
import itertools
import os
import time

import numpy as np

from input_pipeline import batches, layouts, records, sample
from viton_jax.errors import run


def time_batches(
    folder: str,
    *,
    batch_size: int,
    seconds: float,
    fmt: str = 'records',
    fidelity: str = 'original',
) -> None:
  """Prints examples/s of training batches, and the size of a record."""
  info = batches.read_info(folder, fmt=fmt, fidelity=fidelity)
  count = sum(info.num_examples.values())
  size = sum(x.stat().st_size for x in info.folder.glob('*-?????-of-?????'))
  print(
      f'{fmt}, {info.fidelity}: {count} records of '
      f'{size / count / 1000:.1f} kB'
  )
  stream = batches.train_batches(
      folder, batch_size=batch_size, seed=0, fmt=fmt, fidelity=fidelity
  )
  for _ in range(8):  # Past the start and the first prefetched batches.
    next(stream)
  wall, cpu, count = time.perf_counter(), time.process_time(), 0
  while time.perf_counter() < wall + seconds:
    count += len(next(stream)['person'])
  wall = time.perf_counter() - wall
  cpu = time.process_time() - cpu
  print(
      f'batches of {batch_size}: {count / wall:.0f} examples/s on '
      f'{os.cpu_count()} cores, {count / cpu:.0f} examples/s per core '
      f'({1000 * cpu / count:.2f} ms of CPU each)'
  )


def time_preparing(data_dir: str, *, pairs: str, count: int) -> None:
  """Prints CPU milliseconds a pair of each step of preparing."""
  from viton_jax import geometry

  layout = layouts.open_layout('viton', data_dir, pairs)
  spent = collections.Counter()
  sizes = []
  for index in itertools.islice(itertools.cycle(range(len(layout))), count):
    marks = [('read', time.process_time())]
    pair = layout.load(index)
    marks.append(('garment mask', time.process_time()))
    mask = geometry.garment_mask(pair.garment)
    marks.append(('matching', time.process_time()))
    fitted = geometry.fit_control_points(
        mask, pair.parse == sample.GARMENT_LABEL, image_size=(256, 192)
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


def main() -> None:
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--records', help='prepared records to read')
  parser.add_argument(
      '--original_records', help="the original's records to read"
  )
  parser.add_argument('--data_dir', help='raw data to prepare from')
  parser.add_argument('--pairs', default='viton_train_pairs.txt')
  parser.add_argument('--batch_size', type=int, default=16)
  parser.add_argument('--seconds', type=float, default=10)
  parser.add_argument('--count', type=int, default=40, help='pairs to prepare')
  arguments = parser.parse_args()
  theirs = arguments.original_records
  if not (arguments.records or theirs or arguments.data_dir):
    parser.error('give --records, --original_records or --data_dir')
  if arguments.records:
    time_batches(
        arguments.records,
        batch_size=arguments.batch_size,
        seconds=arguments.seconds,
    )
  for fidelity in ('original', 'fixed') if theirs else ():
    time_batches(
        theirs,
        batch_size=arguments.batch_size,
        seconds=arguments.seconds,
        fmt='original_records',
        fidelity=fidelity,
    )
  if arguments.data_dir:
    time_preparing(
        arguments.data_dir, pairs=arguments.pairs, count=arguments.count
    )


if __name__ == '__main__':
  run(main)
