"""What a training step reads, and how it comes to the devices.

`config.data.cache` says where the training images lie:

    'none'    on disk: batches are read and sent while the devices work
    'host'    in this machine's memory: read once, sent for every step
    'device'  in the memory of every device: a step gets indices of rows alone

The order of the examples and every number of the training are the same.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from input_pipeline import batches
from viton_jax.errors import InputError
from viton_jax.runtime import parallel

_ROWS = 'rows'
_LARGEST_SHARE = 0.7  # Of a device's memory that images may take.


def open_feed(
  config: Any, info: batches.RecordsInfo, *, start_step: int
) -> tuple[dict[str, jax.Array], Iterator[dict[str, jax.Array]]]:
  """Opens the training data from batch `start_step` on.

  Args:
    config: of the training.
    info: of its data.
    start_step: steps taken before.

  Returns:
    Arrays that lie on every device ({} unless the cache is there), and an
    endless iterator of batches split over the devices; `examples_of` joins
    the two within a step.

  Raises:
    InputError: the data are damaged or do not fit into a device's memory.
  """
  # Micro-batches are read one by one, so that each is made of the same
  # examples on any number of devices; see `parallel.shard_parts`.
  parts = config.grad_accum_steps
  place_in_row = {
    'batch_size': config.batch_size // parts // jax.process_count(),
    'seed': config.seed,
    'start_step': start_step * parts,
    'process_index': jax.process_index(),
    'process_count': jax.process_count(),
  }
  source = {'fmt': config.data.format, 'fidelity': config.fidelity}
  if config.data.cache != 'device':
    if config.data.cache != 'none':
      source['cache'] = config.data.cache
    read = batches.train_batches(config.data.dir, **place_in_row, **source)
    return {}, parallel.ahead(read, parts)

  unread = () if config.stage == 3 else batches.READ_BY_STAGE_3
  arrays = {
    name: value
    for name, value in batches.read_all(
      config.data.dir, split='train', **source
    ).items()
    # Names of files stay here, and what training does not read.
    if value.dtype.kind in 'biuf' and name not in unread
  }
  _check_fits(arrays)
  rows = batches.train_indices(info.num_examples['train'], **place_in_row)
  return (
    parallel.place(arrays),
    parallel.ahead(({_ROWS: one} for one in rows), parts),
  )


def examples_of(
  arrays: Mapping[str, jax.Array], batch: Mapping[str, jax.Array]
) -> Mapping[str, jax.Array]:
  """A device's examples of one batch, within a step.

  Args:
    arrays: what `open_feed` put on every device; {}: `batch` has the examples.
    batch: this device's part of what `open_feed` yields.
  """
  if not arrays:
    return batch
  rows = batch[_ROWS].astype(jnp.int32)
  examples = {
    name: jnp.take(array, rows, axis=0, mode='clip')
    for name, array in arrays.items()
  }
  # Taking rows is not fused into the step's arithmetic: it stays the same, to
  # the bit, as with batches that come from outside.
  return jax.lax.optimization_barrier(examples)


def few_examples(config: Any, info: batches.RecordsInfo, count: int) -> dict:
  """The first held-out examples, or training examples if none are held out.

  Returns:
    a batch of at most `count`, see `sample.working_example`.
  """
  if held_out := info.num_examples.get('validation'):
    return next(validation_batches(config, min(count, held_out)))
  return next(
    batches.train_batches(
      config.data.dir,
      batch_size=min(count, info.num_examples['train']),
      seed=config.seed,
      fmt=config.data.format,
      fidelity=config.fidelity,
    )
  )


def validation_batches(
  config: Any, batch_size: int, *, share: bool = False
) -> Iterator[dict]:
  """Yields each held-out example once, see `batches.eval_batches`.

  Args:
    config: of the training.
    batch_size: of this process's batches.
    share: whether the processes divide the examples among themselves.
  """
  return batches.eval_batches(
    config.data.dir,
    split='validation',
    batch_size=batch_size,
    process_index=jax.process_index() if share else 0,
    process_count=jax.process_count() if share else 1,
    fmt='packed' if config.data.format == 'packed' else 'records',
  )


def _check_fits(arrays):
  """Raises InputError if a device's memory is too small for the arrays."""
  needed = sum(x.nbytes for x in arrays.values())
  room = (jax.local_devices()[0].memory_stats() or {}).get('bytes_limit')
  if room and needed > _LARGEST_SHARE * room:
    raise InputError(
      f'config.data.cache: the training images are {needed / 1e9:.1f} GB, '
      f'a device has {room / 1e9:.1f} GB; set --config.data.cache=host.'
    )
