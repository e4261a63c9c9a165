"""Batches from an order of examples: images are decoded or copied here.

An order yields (indices, valid) of each batch; see `batches`.
"""

import collections
from collections.abc import Callable, Generator, Iterator
import concurrent.futures
import contextlib
import itertools
import os
import threading
from typing import cast

import numpy as np

from input_pipeline.formats import original_records, records
from input_pipeline.formats.record_files import RecordIndex
from viton_jax.errors import InputError
from viton_jax.io import finite
from viton_jax.runtime import environment

_PREFETCH = 4  # Batches made ahead of the one in use.


def array_batches(
  arrays: dict[str, np.ndarray],
  order: Iterator,
  *,
  with_valid: bool = False,
  source: str | os.PathLike = 'the data in memory',
) -> Generator[dict, None, None]:
  """Yields batches copied from the arrays of a whole split.

  Args:
    arrays: name -> (n, ...), in memory or mapped into it; one thread reads
      ahead, so that reading from a slow disk overlaps with training.
    order: of the batches.
    with_valid: whether to add `valid`.
    source: where they come from, for errors.

  Raises:
    InputError: an example has numbers that are not finite.
  """

  def example_name(i):
    return f'{source}, example {i}'

  def take(indices, valid):
    batch = {
      # `take` lets other threads run, unlike `array[indices]`.
      name: array.take(indices, axis=0)
      for name, array in arrays.items()
    }
    for name, rows in batch.items():
      if rows.dtype.kind == 'S':
        batch[name] = rows.astype(object)
    _check_finite(batch, example_name, indices)
    return batch | {'valid': valid} if with_valid else batch

  return _ahead(order, take)


def _check_finite(batch: dict, name: Callable, indices) -> None:
  """Raises InputError for the first example with what is no finite number.

  Args:
    batch: of examples; images are uint8 and need no check.
    name: index of an example -> its name for the error.
    indices: of the batch's examples.
  """
  floats = [(x, y) for x, y in batch.items() if y.dtype.kind == 'f']
  if finite.first_not_finite(floats) is None:
    return
  for i, index in enumerate(indices):
    finite.check(
      ((key, values[i]) for key, values in floats),
      name(int(index)),
      remedy='copy or prepare the data again',
    )


def _ahead(order: Iterator, make: Callable) -> Generator[dict, None, None]:
  """Yields what a thread makes of each batch's (indices, valid)."""
  with _executor(1) as thread:
    ahead = collections.deque()
    for indices, valid in order:
      ahead.append(thread.submit(make, indices, valid))
      if len(ahead) > _PREFETCH:
        yield ahead.popleft().result()
    while ahead:
      yield ahead.popleft().result()


@contextlib.contextmanager
def _executor(threads: int) -> Iterator[concurrent.futures.Executor]:
  """An executor whose waiting tasks are dropped when the block is left."""
  pool = concurrent.futures.ThreadPoolExecutor(threads)
  try:
    yield pool
  finally:
    pool.shutdown(cancel_futures=True)


def record_batches(
  info, index: RecordIndex, order: Iterator, *, with_valid: bool = False
) -> Generator[dict, None, None]:
  """Yields batches of prepared records; TensorFlow decodes on all cores."""
  tf = original_records.tensorflow()
  # Batches reach TensorFlow whole, because each call into Python costs.
  first = next(order, None)
  if first is None:
    return
  order = itertools.chain([first], order)
  batch_size = len(first[0])
  asked = collections.deque()  # Batches read but not yet yielded.
  reading = threading.Lock()  # TensorFlow's threads outlive this generator.
  closed = False

  def serialized():
    for indices, valid in order:
      with reading:
        if closed:
          return
        asked.append(indices)
        payloads = [files.read(i) for i in indices]
      yield payloads, valid

  def unpack(record, valid):
    example = records.unpack(tf, record, info)
    return {**example, 'valid': valid} if with_valid else example

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
  with index.open() as files:
    # TensorFlow's annotation knows arrays alone.
    iterator = cast(Iterator[dict], dataset.as_numpy_iterator())
    try:
      while True:
        try:
          batch = next(iterator)
        except StopIteration:
          return
        except tf.errors.OpError as error:
          name = _damaged_record(index, asked[0], unpack) if asked else None
          raise InputError(
            f'{name or info.folder}: the record is damaged; copy or prepare '
            'the records again'
          ) from error
        _check_finite(batch, index.name, asked.popleft())
        yield batch
    finally:
      with reading:
        closed = True


def _damaged_record(index: RecordIndex, indices, unpack) -> str | None:
  """The name of the first record of a batch that cannot be unpacked."""
  tf = original_records.tensorflow()
  for i in indices:
    try:
      unpack(tf.constant(index.read(i)), True)
    except tf.errors.OpError:
      return index.name(i)
  return None


def original_batches(
  info, index: RecordIndex, order: Iterator, *, with_valid: bool = False
) -> Generator[dict, None, None]:
  """Yields batches of the original's records; threads decode them."""

  def read(i):
    return original_records.read_record(
      files.read(i), index.name(i), fidelity=info.fidelity
    )

  def stack(futures, valid):
    examples = [future.result() for future in futures]
    batch = {
      key: np.stack([example[key] for example in examples])
      if isinstance(examples[0][key], np.ndarray)
      else np.array([example[key] for example in examples], object)
      for key in examples[0]
    }
    return batch | {'valid': valid} if with_valid else batch

  with index.open() as files, _executor(environment.cores()) as threads:
    ahead = collections.deque()
    for indices, valid in order:
      ahead.append(([threads.submit(read, int(i)) for i in indices], valid))
      if len(ahead) > _PREFETCH:
        yield stack(*ahead.popleft())
    while ahead:
      yield stack(*ahead.popleft())
