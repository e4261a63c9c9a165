"""Batches from an order of examples: where pictures are decoded or copied.

An order yields (indices, valid) of each batch; see `batches`.
"""

import collections
from collections.abc import Callable, Iterator
import concurrent.futures
import itertools

import numpy as np

from input_pipeline.formats import original_records, records
from viton_jax.errors import InputError
from viton_jax.runtime import environment

_PREFETCH = 4  # Batches made ahead of the one in use.


def array_batches(
  arrays: dict[str, np.ndarray], order: Iterator, *, with_valid: bool = False
) -> Iterator[dict]:
  """Yields batches copied from the arrays of a whole split.

  Args:
    arrays: name -> (n, ...), in memory or mapped into it; one thread reads
      ahead, so that a slow disk is waited for while others work.
    order: of the batches.
    with_valid: whether to add `valid`.
  """

  def take(indices, valid):
    batch = {
      # `take` lets other threads run, unlike `array[indices]`.
      name: array.take(indices, axis=0)
      for name, array in arrays.items()
    }
    for name, rows in batch.items():
      if rows.dtype.kind == 'S':
        batch[name] = rows.astype(object)
    return batch | {'valid': valid} if with_valid else batch

  return _ahead(order, take)


def _ahead(order: Iterator, make: Callable) -> Iterator[dict]:
  """Yields what a thread makes of each batch's (indices, valid)."""
  with concurrent.futures.ThreadPoolExecutor(1) as thread:
    ahead = collections.deque()
    for indices, valid in order:
      ahead.append(thread.submit(make, indices, valid))
      if len(ahead) > _PREFETCH:
        yield ahead.popleft().result()
    while ahead:
      yield ahead.popleft().result()


def record_batches(info, files, order, *, with_valid=False):
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


def original_batches(info, files, order, *, with_valid=False):
  """Yields batches of the original's records; threads decode them."""

  def read(index):
    name = files.name(index)
    return original_records.read_record(
      files.read(index), name, fidelity=info.fidelity
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

  with concurrent.futures.ThreadPoolExecutor(environment.cores()) as threads:
    ahead = collections.deque()
    for indices, valid in order:
      ahead.append(([threads.submit(read, int(i)) for i in indices], valid))
      if len(ahead) > _PREFETCH:
        yield stack(*ahead.popleft())
    while ahead:
      yield stack(*ahead.popleft())
