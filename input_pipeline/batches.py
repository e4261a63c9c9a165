"""Batches for training and evaluation, as dicts of NumPy arrays.

Batch k of a run is a function of (seed, k) alone. Every epoch is a permutation
of all records, drawn from (seed, epoch); the permutations follow each other
without a gap, and batch k of all processes together is a slice of that row.
So a run that resumes asks for `start_step` and nothing before it is read, and
the number of processes does not change what is seen when.
"""

import collections
from collections.abc import Iterator
import concurrent.futures
import dataclasses
import functools
import itertools
import json
import os
import pathlib

import numpy as np

from input_pipeline import original_records, records
from input_pipeline.record_files import RecordFiles, open_records
from viton_jax.errors import InputError

FORMATS = ('records', 'original_records')
_PREFETCH = 4  # Batches made ahead of the one in use.


@dataclasses.dataclass(frozen=True)
class RecordsInfo:
  """What prepared records are.

  Attributes:
    height: working height in pixels.
    width: working width in pixels.
    fidelity: 'fixed' or 'original'.
    num_examples: split -> number of records; splits are 'train' and, if any
      were held out, 'validation'.
    folder: where the record files lie.
    shards: split -> number of files.
  """

  height: int
  width: int
  fidelity: str
  num_examples: dict[str, int]
  folder: pathlib.Path
  shards: dict[str, int]


def read_info(
    data_dir, *, fmt: str = 'records', fidelity: str = 'original'
) -> RecordsInfo:
  """Reads what there is to train on.

  Args:
    data_dir: the folder given to prepare as --out_dir, or the one with the
      original's records.
    fmt: 'records' (made by prepare) or 'original_records'.
    fidelity: how 'original_records' will be read; prepared records have their
      own.

  Returns:
    sizes, fidelity and counts; the original's records are all for training.

  Raises:
    InputError: no finished records there, or an unknown format.
  """
  _check_format(fmt)
  if fmt == 'original_records':
    files = original_records.open_original_records(data_dir)
    return RecordsInfo(
        height=original_records.HEIGHT,
        width=original_records.WIDTH,
        fidelity=fidelity,
        num_examples={'train': len(files)},
        folder=pathlib.Path(data_dir),
        shards={'train': len(files.paths)},
    )
  data_dir = pathlib.Path(data_dir)
  # While TFDS writes, its folder has a longer name: that does not count.
  found = sorted(data_dir.glob('try_on/*/?.?.?/dataset_info.json'))
  if not found:
    remedy = 'make them with python -m input_pipeline.prepare'
    if (data_dir / 'prepare.json').exists():
      remedy = 'prepare has not finished; run the same command to go on'
    raise InputError(f'{data_dir}: there are no finished records; {remedy}')
  folder = found[-1].parent
  try:
    info = json.loads(found[-1].read_text())
    metadata = json.loads((folder / 'metadata.json').read_text())
    shards = {s['name']: s['shardLengths'] for s in info['splits']}
    return RecordsInfo(
        height=int(metadata['height']),
        width=int(metadata['width']),
        fidelity=str(metadata['fidelity']),
        num_examples={k: sum(map(int, v)) for k, v in shards.items()},
        folder=folder,
        shards={k: len(v) for k, v in shards.items()},
    )
  except (OSError, KeyError, TypeError, ValueError) as error:
    raise InputError(
        f'{folder}: dataset_info.json or metadata.json is damaged ({error}); '
        'prepare the records again'
    ) from error


def train_batches(
    data_dir,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    fmt: str = 'records',
    fidelity: str = 'original',
) -> Iterator[dict]:
  """Yields shuffled batches without end.

  Args:
    data_dir: prepared records, or the original's.
    batch_size: examples a batch and process.
    seed: of the shuffling.
    start_step: the first batch to yield; nothing before it is read.
    process_index: of this process.
    process_count: how many processes share each global batch.
    fmt: 'records' (made by prepare) or 'original_records'.
    fidelity: how to read 'original_records'; prepared records have their own.

  Returns:
    an iterator of dicts, see `sample.working_example`; each array has a
    leading axis of batch_size, ids are bytes.

  Raises:
    InputError: no records, an unknown format, or a record that is damaged.
  """
  _check_format(fmt)
  if fmt == 'original_records':
    files = original_records.open_original_records(data_dir)
  else:
    info = read_info(data_dir)
    files = _split_files(info, 'train')
  order = _train_order(
      len(files),
      batch_size,
      seed=seed,
      start_step=start_step,
      process_index=process_index,
      process_count=process_count,
  )
  if fmt == 'original_records':
    return _original_batches(files, order, fidelity)
  return _batches(info, files, order)


def eval_batches(
    data_dir,
    *,
    split: str = 'validation',
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[dict]:
  """Yields each record of a split once, in order.

  Args:
    data_dir: prepared records.
    split: 'validation' or 'train'.
    batch_size: examples a batch and process.
    process_index: of this process.
    process_count: how many processes share each global batch.

  Returns:
    an iterator of dicts as `train_batches`, with `valid` (batch_size,) bool:
    False marks a row that repeats the last record to fill the batch. All
    processes get the same number of batches.

  Raises:
    InputError: no records, no such split, or a record that is damaged.
  """
  info = read_info(data_dir)
  files = _split_files(info, split)
  order = _eval_order(len(files), batch_size, process_index, process_count)
  return _batches(info, files, order, with_valid=True)


def _check_format(fmt: str) -> None:
  if fmt not in FORMATS:
    raise InputError(
        f"records of the format '{fmt}' are unknown; use one of "
        f'{", ".join(FORMATS)}'
    )


def _split_files(info: RecordsInfo, split: str) -> RecordFiles:
  if not info.num_examples.get(split):
    have = ', '.join(info.num_examples)
    raise InputError(
        f"{info.folder}: there is no split '{split}', only {have}; prepare the "
        'records again with a larger --validation_fraction'
    )
  total = info.shards[split]
  files = open_records([
      info.folder / f'try_on-{split}.tfrecord-{i:05d}-of-{total:05d}'
      for i in range(total)
  ])
  if len(files) != info.num_examples[split]:
    raise InputError(
        f'{info.folder}: {split} has {len(files)} records instead of '
        f'{info.num_examples[split]}; copy or prepare them again'
    )
  return files


def _train_order(
    num_records: int,
    batch_size: int,
    *,
    seed: int,
    start_step: int,
    process_index: int,
    process_count: int,
):
  """Yields (indices, valid) of each batch of one process, without end."""

  @functools.lru_cache(maxsize=2)
  def permutation(epoch):
    return np.random.default_rng([seed, epoch]).permutation(num_records)

  step = start_step
  while True:
    start = (step * process_count + process_index) * batch_size
    # Python's integers: a position never overflows.
    places = [divmod(start + i, num_records) for i in range(batch_size)]
    indices = np.array([permutation(e)[place] for e, place in places])
    yield indices, np.ones(batch_size, bool)
    step += 1


def _eval_order(num_records, batch_size, process_index, process_count):
  """Yields (indices, valid) of each batch of one process, once through."""
  global_size = batch_size * process_count
  for first in range(0, num_records, global_size):
    start = first + process_index * batch_size
    places = np.arange(start, start + batch_size)
    yield np.minimum(places, num_records - 1), places < num_records


def _batches(info, files, order, *, with_valid=False):
  """Yields batches of prepared records; TensorFlow decodes on all cores."""
  tf = original_records.tensorflow()
  asked = collections.deque()  # Batches read but not yet yielded.

  def serialized():
    for indices, valid in order:
      asked.append(indices)
      yield [files.read(i) for i in indices], valid

  def unpack(record, valid):
    example = records.unpack(tf, record, info)
    return {**example, 'valid': valid} if with_valid else example

  # Batches reach TensorFlow whole, because each call into Python costs.
  first = next(order, None)
  if first is None:
    return
  order = itertools.chain([first], order)
  batch_size = len(first[0])
  dataset = tf.data.Dataset.from_generator(
      serialized,
      output_signature=(
          tf.TensorSpec([batch_size], tf.string),
          tf.TensorSpec([batch_size], tf.bool),
      ),
  )
  dataset = (
      dataset.unbatch()
      .map(unpack, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
      .batch(batch_size, drop_remainder=True)
      .prefetch(_PREFETCH)
  )
  iterator = dataset.as_numpy_iterator()
  while True:
    try:
      batch = next(iterator)
    except StopIteration:
      return
    except tf.errors.OpError as error:
      name = _damaged_record(files, asked[0], unpack) if asked else info.folder
      raise InputError(
          f'{name}: the record is damaged; copy or prepare the records again'
      ) from error
    asked.popleft()
    yield batch


def _damaged_record(files, indices, unpack) -> str:
  """The name of the first record of a batch that cannot be unpacked."""
  tf = original_records.tensorflow()
  for index in indices:
    try:
      unpack(tf.constant(files.read(index)), True)
    except tf.errors.OpError:
      return files.name(index)
  return str(files.paths[0].parent)


def _original_batches(files, order, fidelity):
  """Yields batches of the original's records; threads decode them."""

  def read(index):
    name = files.name(index)
    return original_records.read_record(
        files.read(index), name, fidelity=fidelity
    )

  def stack(futures):
    examples = [future.result() for future in futures]
    return {
        key: np.stack([example[key] for example in examples])
        if isinstance(examples[0][key], np.ndarray)
        else np.array([example[key] for example in examples], object)
        for key in examples[0]
    }

  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
    ahead = collections.deque()
    for indices, _ in order:
      ahead.append([threads.submit(read, int(i)) for i in indices])
      if len(ahead) > _PREFETCH:
        yield stack(ahead.popleft())
