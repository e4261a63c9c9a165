"""Batches for training and evaluation, as dicts of NumPy arrays.

Batch k of a run is a function of (seed, k) alone. Every epoch is a permutation
of all records, drawn from (seed, epoch); the permutations follow each other
without a gap, and batch k of all processes together is a slice of that row.
So a run that resumes asks for `start_step` and nothing before it is read, and
neither the number of processes, nor the format, nor where the examples are
kept changes what is seen when.
"""

from collections.abc import Generator, Iterator
import contextlib
import dataclasses
import functools
import pathlib
from typing import cast

import numpy as np

from input_pipeline import sample
from input_pipeline.formats import original_records, packed, streams
from input_pipeline.formats.record_files import RecordIndex, index_records
from viton_jax import choices
from viton_jax.choices import Fidelity
from viton_jax.errors import InputError, shown
from viton_jax.io import structured
from viton_jax.runtime.progress import progress

# What the first two stages of a training leave unread.
READ_BY_STAGE_3 = ('garment_mask', *sample.EXCHANGE_FIELDS)
_READ_AT_ONCE = 32  # Examples, when a whole split is read.


@dataclasses.dataclass(frozen=True)
class RecordsInfo:
  """What prepared data are.

  Attributes:
    height: working height in pixels.
    width: working width in pixels.
    fidelity: 'fixed' or 'original'.
    num_examples: split -> number of examples; splits are 'train' and, if any
      were held out, 'validation'.
    folder: where the files lie.
    shards: split -> number of files.
    exchanged: whether examples have `sample.EXCHANGE_FIELDS`.
  """

  height: int
  width: int
  fidelity: choices.Fidelity
  num_examples: dict[str, int]
  folder: pathlib.Path
  shards: dict[str, int]
  exchanged: bool = False


def read_info(
  data_dir,
  *,
  fmt: choices.DataFormat = 'records',
  fidelity: choices.Fidelity = 'original',
) -> RecordsInfo:
  """Reads what there is to train on.

  Args:
    data_dir: the folder given to prepare as --out_dir, or the one with the
      original's records.
    fmt: 'records' or 'packed' (made by prepare), or 'original_records'.
    fidelity: how 'original_records' will be read; prepared data have their
      own.

  Returns:
    sizes, fidelity and counts; the original's records are all for training.

  Raises:
    InputError: no finished data there, or an unknown format.
  """
  choices.check('format', fmt, choices.DataFormat)
  if fmt == 'packed':
    return _read_packed_info(pathlib.Path(data_dir))
  if fmt == 'original_records':
    files = original_records.index_original_records(data_dir)
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
    raise _nothing_there(data_dir, fmt)
  folder = found[-1].parent
  remedy = 'prepare the records again'
  info = structured.read_object(found[-1], remedy=remedy)
  metadata = structured.read_object(folder / 'metadata.json', remedy=remedy)
  try:
    shards = {
      s['name']: list(map(int, s['shardLengths'])) for s in info['splits']
    }
    sample.check_settings(
      metadata['height'], metadata['width'], fidelity=metadata['fidelity']
    )
    if not all(isinstance(x, str) and min(y) >= 0 for x, y in shards.items()):
      raise ValueError('its splits are no numbers of records')
    return RecordsInfo(
      height=metadata['height'],
      width=metadata['width'],
      fidelity=cast(Fidelity, metadata['fidelity']),
      num_examples={k: sum(v) for k, v in shards.items()},
      folder=folder,
      shards={k: len(v) for k, v in shards.items()},
      # Records of earlier versions do not say it.
      exchanged=bool(metadata.get('exchanged', False)),
    )
  # InputError is a ValueError.
  except (KeyError, TypeError, ValueError, AttributeError) as error:
    raise InputError(
      f'{folder}: dataset_info.json or metadata.json is damaged '
      f'({shown(error)}); {remedy}'
    ) from error


def _read_packed_info(data_dir: pathlib.Path) -> RecordsInfo:
  headers = [
    packed.read_header(path)
    for path in sorted(data_dir.glob(f'*{packed.SUFFIX}'))
  ]
  if not headers:
    raise _nothing_there(data_dir, 'packed')
  first = headers[0]
  for split in first.num_examples:
    path = packed.path_of(data_dir, split)
    if split not in [header.split for header in headers]:
      raise InputError(
        f'{path}: this file is missing, which belongs to '
        f'{packed.path_of(data_dir, first.split).name}; copy it too or '
        'prepare the data again'
      )
  for header in headers[1:]:
    same = ('height', 'width', 'fidelity', 'num_examples', 'exchanged')
    if any(getattr(header, x) != getattr(first, x) for x in same):
      raise InputError(
        f'{data_dir}: {first.split}{packed.SUFFIX} and {header.split}'
        f'{packed.SUFFIX} were not prepared together; copy both again'
      )
  return RecordsInfo(
    height=first.height,
    width=first.width,
    fidelity=first.fidelity,
    num_examples=first.num_examples,
    folder=data_dir,
    shards=dict.fromkeys(first.num_examples, 1),
    exchanged=first.exchanged,
  )


def _nothing_there(data_dir: pathlib.Path, fmt: str) -> InputError:
  """What to say where there are no finished data of a format."""
  other = {
    'records': any(data_dir.glob('try_on/*/?.?.?/dataset_info.json')),
    'packed': any(data_dir.glob(f'*{packed.SUFFIX}')),
  }
  options = ' --format packed' if fmt == 'packed' else ''
  what = 'packed files' if fmt == 'packed' else 'records'
  remedy = f'make them with python -m input_pipeline.prepare{options}'
  for name, there in other.items():
    if there:
      remedy = f"what is there is of the format '{name}', so read it as that"
  if (data_dir / 'prepare.json').exists() and not any(other.values()):
    remedy = 'prepare has not finished; run the same command to go on'
  return InputError(f'{data_dir}: there are no finished {what}; {remedy}')


def train_batches(
  data_dir,
  *,
  batch_size: int,
  seed: int,
  start_step: int = 0,
  process_index: int = 0,
  process_count: int = 1,
  fmt: choices.DataFormat = 'records',
  fidelity: choices.Fidelity = 'original',
  cache: choices.HostCache = 'none',
) -> Iterator[dict]:
  """Yields shuffled batches without end.

  Args:
    data_dir: prepared data, or the original's records.
    batch_size: examples a batch and process.
    seed: of the shuffling.
    start_step: the first batch to yield; nothing before it is read.
    process_index: of this process.
    process_count: how many processes share each global batch.
    fmt: 'records' or 'packed' (made by prepare), or 'original_records'.
    fidelity: how to read 'original_records'; prepared data have their own.
    cache: 'host': the whole split is read into memory first, see `read_all`,
      and batches are copied from there; 'none': batches are read as they are
      needed.

  Returns:
    an iterator of dicts, see `sample.working_example`; each array has a
    leading axis of batch_size, ids are bytes.

  Raises:
    InputError: no data, an unknown format or cache, or a record that is
      damaged.
  """
  choices.check('cache', cache, choices.HostCache)
  info = read_info(data_dir, fmt=fmt, fidelity=fidelity)
  place = {
    'batch_size': batch_size,
    'seed': seed,
    'start_step': start_step,
    'process_index': process_index,
    'process_count': process_count,
  }
  if cache == 'host':
    arrays = read_all(data_dir, split='train', fmt=fmt, fidelity=fidelity)
    if fmt == 'packed':  # Else it is in memory already.
      arrays = {name: array.copy() for name, array in arrays.items()}
    order = _train_order(info.num_examples['train'], **place)
    return streams.array_batches(arrays, order, source=info.folder)
  return _split_batches(
    info, 'train', lambda count: _train_order(count, **place), fmt=fmt
  )


def train_indices(
  num_examples: int,
  *,
  batch_size: int,
  seed: int,
  start_step: int = 0,
  process_index: int = 0,
  process_count: int = 1,
) -> Iterator[np.ndarray]:
  """Yields which examples `train_batches` puts into each batch.

  Args:
    num_examples: of the training split.
    batch_size: examples a batch and process.
    seed: of the shuffling.
    start_step: the first batch.
    process_index: of this process.
    process_count: how many processes share each global batch.

  Returns:
    an endless iterator of (batch_size,) int32: rows of `read_all`'s arrays.
  """
  order = _train_order(
    num_examples,
    batch_size=batch_size,
    seed=seed,
    start_step=start_step,
    process_index=process_index,
    process_count=process_count,
  )
  return (indices.astype(np.int32) for indices, _ in order)


def read_all(
  data_dir,
  *,
  split: str = 'train',
  fmt: choices.DataFormat = 'records',
  fidelity: choices.Fidelity = 'original',
) -> dict[str, np.ndarray]:
  """Reads a whole split.

  Args:
    data_dir: prepared data, or the original's records.
    split: 'train' or 'validation'.
    fmt: 'records', 'packed' or 'original_records'.
    fidelity: how to read 'original_records'; prepared data have their own.

  Returns:
    name -> (n, ...) array, see `sample.working_example`; ids are fixed-width
    bytes. Packed files are mapped into memory, read-only; the others are
    decoded into it, 0.45 MB an example at 256 x 192.

  Raises:
    InputError: no data, no such split, too little memory, or a record that is
      damaged.
  """
  info = read_info(data_dir, fmt=fmt, fidelity=fidelity)
  _check_split(info, split)
  if fmt == 'packed':
    return packed.open_arrays(packed.path_of(data_dir, split))
  stream = _split_batches(
    info,
    split,
    lambda count: _eval_order(count, min(count, _READ_AT_ONCE), 0, 1),
    fmt=fmt,
  )
  count = info.num_examples[split]
  arrays, names, done = {}, {}, 0
  bar = progress(count, f'read {split}', unit='pair')
  with contextlib.closing(stream), contextlib.closing(bar):
    for batch in stream:
      size = min(len(batch['person']), count - done)
      for name, rows in batch.items():
        if rows.dtype == object:  # Their widths are not known beforehand.
          names.setdefault(name, []).extend(rows[:size])
          continue
        if name not in arrays:
          arrays[name] = _empty((count, *rows.shape[1:]), rows.dtype)
        arrays[name][done : done + size] = rows[:size]
      done += size
      bar.update(size)
  return arrays | {name: np.array(values) for name, values in names.items()}


def _empty(shape, dtype) -> np.ndarray:
  try:
    return np.empty(shape, dtype)
  except MemoryError as error:
    raise InputError(
      f'{shape[0]} examples do not fit into the memory of this machine '
      f'({error}); read them from disk instead, with the cache none'
    ) from error


def eval_batches(
  data_dir,
  *,
  split: str = 'validation',
  batch_size: int,
  process_index: int = 0,
  process_count: int = 1,
  fmt: choices.DataFormat = 'records',
) -> Iterator[dict]:
  """Yields each example of a split once, in order.

  Args:
    data_dir: prepared data.
    split: 'validation' or 'train'.
    batch_size: examples a batch and process.
    process_index: of this process.
    process_count: how many processes share each global batch.
    fmt: 'records' or 'packed'.

  Returns:
    an iterator of dicts as `train_batches`, with `valid` (batch_size,) bool:
    False marks a row that repeats the last example to fill the batch. All
    processes get the same number of batches.

  Raises:
    InputError: no data, no such split, or a record that is damaged.
  """
  return _split_batches(
    read_info(data_dir, fmt=fmt),
    split,
    lambda count: _eval_order(count, batch_size, process_index, process_count),
    fmt=fmt,
    with_valid=True,
  )


def _split_batches(
  info, split, make_order, *, fmt, with_valid=False
) -> Generator[dict, None, None]:
  """Yields batches of a split in the order of `make_order(its size)`."""
  _check_split(info, split)
  order = make_order(info.num_examples[split])
  if fmt == 'packed':
    arrays = packed.open_arrays(packed.path_of(info.folder, split))
    return streams.array_batches(
      arrays, order, with_valid=with_valid, source=info.folder
    )
  if fmt == 'original_records':
    index = original_records.index_original_records(info.folder)
    return streams.original_batches(info, index, order, with_valid=with_valid)
  index = _split_index(info, split)
  return streams.record_batches(info, index, order, with_valid=with_valid)


def _check_split(info: RecordsInfo, split: str) -> None:
  if not info.num_examples.get(split):
    have = ', '.join(info.num_examples)
    raise InputError(
      f"{info.folder}: there is no split '{split}', only {have}; prepare the "
      'data again with a larger --validation_fraction'
    )


def _split_index(info: RecordsInfo, split: str) -> RecordIndex:
  total = info.shards[split]
  index = index_records(
    [
      info.folder / f'try_on-{split}.tfrecord-{i:05d}-of-{total:05d}'
      for i in range(total)
    ]
  )
  if len(index) != info.num_examples[split]:
    raise InputError(
      f'{info.folder}: {split} has {len(index)} records instead of '
      f'{info.num_examples[split]}; copy or prepare them again'
    )
  return index


def _train_order(
  num_records: int,
  *,
  batch_size: int,
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
