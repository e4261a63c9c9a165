"""The costly part of preparing: pairs to examples, in parallel.

Pairs are prepared in chunks. Each finished chunk is one file, its part, which
is renamed when it is whole: a part that exists need not be made again.
"""

from collections.abc import Set
import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import multiprocessing
import os
import pathlib

import numpy as np

from input_pipeline import garment_masks, layouts, sample
from input_pipeline.formats import records
from viton_jax import choices, geometry, labels
from viton_jax.errors import InputError
from viton_jax.geometry import contour
from viton_jax.geometry.matching import MATCHING_SIZE
from viton_jax.io import images, npz, storage, structured
from viton_jax.runtime import worker_processes
from viton_jax.runtime.progress import progress

CHUNK = 16  # Pairs in a part: what a kill may cost each worker.


@dataclasses.dataclass(frozen=True)
class Work:
  """What a worker needs to prepare any chunk of pairs.

  Attributes:
    layout: the opened data set.
    height: working height in pixels.
    width: working width in pixels.
    fidelity: 'fixed' or 'original'.
    seed: of the point sampling in matching.
    parts_dir: where finished parts go.
    fmt: what is made of them: 'records', whose photos are JPEG, or 'packed',
      the arrays themselves.
    exchanged: whether examples get what an exchange tells, see
      `sample.training_example`.
  """

  layout: layouts.Layout
  height: int
  width: int
  fidelity: choices.Fidelity
  seed: int
  parts_dir: pathlib.Path
  fmt: choices.PreparedFormat = 'records'
  exchanged: bool = False

  @property
  def num_chunks(self) -> int:
    return -(-len(self.layout) // CHUNK)

  def missing(self) -> list[int]:
    """Numbers of the chunks whose parts are not there, or are damaged."""
    return [
      number
      for number in range(self.num_chunks)
      if not is_whole(part_path(self.parts_dir, number))
    ]

  def num_pairs(self, numbers) -> int:
    """How many pairs are in these chunks."""
    total = len(self.layout)
    return sum(min(CHUNK, total - number * CHUNK) for number in numbers)


def prepare_sample(
  pair: sample.Sample,
  *,
  height: int,
  width: int,
  fidelity: choices.Fidelity,
  seed: int,
  true_flow: np.ndarray | None = None,
  exchanged: bool = False,
) -> dict:
  """Makes the working example of one pair, with control points.

  Args:
    pair: the sample; its control points are kept if it has them.
    height: working height in pixels.
    width: working width in pixels.
    fidelity: 'fixed' or 'original'.
    seed: of the point sampling in matching.
    true_flow, exchanged: see `sample.training_example`.

  Returns:
    see `sample.training_example`.

  Raises:
    InputError: the person has neither neck nor shoulders, or the garment
      cannot be matched.
  """
  if not pair.has_shoulders:
    raise InputError(
      f'{pair.name}: neither the neck nor a shoulder of the person was '
      'found, so no garment can be placed; estimate the pose again or take '
      'the pair off the list'
    )
  if pair.garment_mask is None and fidelity == 'fixed':
    mask = garment_masks.garment_mask(pair.garment)
    pair = dataclasses.replace(pair, garment_mask=mask)
  if pair.control_points is None:
    worn = pair.truth_parse if pair.exchanged else pair.parse
    assert worn is not None
    region = worn == labels.GARMENT_LABEL
    if pair.garment_mask is None:
      # The original fills the mask's holes at the size it matches at.
      mask = garment_masks.garment_mask(
        pair.garment, fidelity=fidelity, size=MATCHING_SIZE
      )
      region = contour.resize_nearest(region, MATCHING_SIZE)
    else:
      # Matching is in the frame of the person; both frames become [-1, 1].
      mask = images.resize_labels(
        pair.garment_mask.astype(np.uint8), *pair.parse.shape
      )
    fitted = geometry.fit_control_points(
      mask > 0,
      region,
      fidelity=fidelity,
      seed=seed,
      image_size=(height, width),
    )
    points = np.asarray(fitted.points_norm, np.float32)
    pair = dataclasses.replace(pair, control_points=points)
  return sample.training_example(
    pair,
    height=height,
    width=width,
    fidelity=fidelity,
    true_flow=true_flow,
    exchanged=exchanged,
  )


def prepare_chunk(work: Work, number: int) -> list[str]:
  """Prepares one chunk of pairs and writes its part.

  Args:
    work: the job.
    number: of the chunk.

  Returns:
    the status of each pair, 'ok' or 'failed'.
  """
  arrays, lines = {}, []
  start = number * CHUNK
  for index in range(start, min(start + CHUNK, len(work.layout))):
    person_id, garment_id = work.layout.pairs[index]
    line = {'person_id': person_id, 'garment_id': garment_id, 'status': 'ok'}
    try:
      example = prepare_sample(
        work.layout.load(index),
        height=work.height,
        width=work.width,
        fidelity=work.fidelity,
        seed=work.seed,
        true_flow=work.layout.true_flow(index) if work.exchanged else None,
        exchanged=work.exchanged,
      )
    except InputError as error:
      reason = str(error)
      if person_id not in reason and garment_id not in reason:
        reason = f'{person_id} {garment_id}: {reason}'
      line |= {'status': 'failed', 'reason': reason}
    else:
      if work.fmt == 'records':
        example = records.pack(example)
      for name, value in example.items():
        if isinstance(value, bytes):
          value = np.frombuffer(value, np.uint8)
        arrays[f'{index - start}/{name}'] = np.asarray(value)
    lines.append(line)
  # Renamed when whole, so that a part is there or it is not.
  path = part_path(work.parts_dir, number)
  with storage.partial_file(path) as partial, partial.open('wb') as file:
    np.savez(file, manifest=json.dumps(lines), **arrays)
    file.flush()
    os.fsync(file.fileno())
  return [line['status'] for line in lines]


def is_whole(path: pathlib.Path) -> bool:
  """Whether a part is there and every array in it as it was written."""
  if not path.exists():
    return False
  try:
    part = npz.read(path)
    lines = structured.parse_json(str(part['manifest']))
  except (InputError, KeyError, structured.BadStructure):
    return False
  return isinstance(lines, list) and all(
    isinstance(x, dict) and {'person_id', 'garment_id', 'status'} <= x.keys()
    for x in lines
  )


def part_path(parts_dir: pathlib.Path, number: int) -> pathlib.Path:
  return parts_dir / f'{number:06d}.npz'


def read_manifest(parts_dir: pathlib.Path, number: int) -> list[dict]:
  with np.load(part_path(parts_dir, number)) as part:
    return structured.parse_json(str(part['manifest']))


def read_examples(parts_dir, number: int, wanted: Set[int]):
  """Yields the examples of a part whose places in it are wanted."""
  with np.load(part_path(parts_dir, number)) as part:
    examples = {place: {} for place in sorted(wanted)}
    for key in part.files:
      place, _, name = key.partition('/')
      if name and int(place) in examples:
        value = part[key]
        if value.ndim == 0:
          value = value.item()
        elif value.dtype == np.uint8 and value.ndim == 1:  # A JPEG or PNG.
          value = value.tobytes()
        examples[int(place)][name] = value
  yield from examples.values()


_work: Work | None = None  # Of this worker process.


def _start_worker(work: Work):
  global _work
  _work = work
  worker_processes.initialize_worker()


def _work_on(number: int) -> list[str]:
  assert _work is not None  # `_start_worker` ran first.
  return prepare_chunk(_work, number)


def prepare_parts(work: Work, *, workers: int, run=None) -> int:
  """Prepares all parts that are not there yet, telling the progress.

  Args:
    work: the job.
    workers: processes; 0: none beside this one.
    run: another way of running `prepare_chunk`: (work, numbers) -> iterator of
      the statuses of chunks.

  Returns:
    how many pairs were prepared now.

  Raises:
    InputError: a worker died.
  """
  missing = work.missing()
  done = len(work.layout) - work.num_pairs(missing)
  if done:
    print(f'{done} of {len(work.layout)} pairs were done before; going on')
  bar = progress(len(work.layout), 'prepare', unit='pair')
  failed = 0
  chunks = (run or functools.partial(_run_chunks, workers=workers))(
    work, missing
  )
  # Closing stops the worker processes, also where the bar raises.
  with contextlib.closing(bar), contextlib.closing(chunks):
    bar.update(done)
    for statuses in chunks:
      failed += statuses.count('failed')
      bar.update(len(statuses), f'{failed} failed' if failed else '')
  return len(work.layout) - done


def _run_chunks(work: Work, numbers, *, workers: int):
  if not (workers and numbers):
    yield from map(functools.partial(prepare_chunk, work), numbers)
    return
  try:
    with (
      worker_processes.one_thread_each(),
      concurrent.futures.ProcessPoolExecutor(
        min(workers, len(numbers)),
        # A forked JAX or TensorFlow may deadlock.
        mp_context=multiprocessing.get_context('spawn'),
        initializer=_start_worker,
        initargs=(work,),
      ) as pool,
    ):
      futures = [pool.submit(_work_on, number) for number in numbers]
      try:
        for future in concurrent.futures.as_completed(futures):
          yield future.result()
      except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
  except concurrent.futures.process.BrokenProcessPool as error:
    raise InputError(
      'a worker process died, perhaps for lack of memory; run the same '
      f'command with fewer --workers than {workers} to go on'
    ) from error
