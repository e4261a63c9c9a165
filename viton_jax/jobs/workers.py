"""The CPUs' part of a try-on job: reading pairs and matching masks.

Both are many short steps in NumPy and SciPy that hold Python's lock. Measured
on 2 cores: one thread matches 39 pairs/s, four match 32, two processes 83. So
long jobs have worker processes, which do both as it comes; short ones save
their start and use threads.
"""

from collections.abc import Iterator
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
import contextlib
import dataclasses
import multiprocessing

import numpy as np

from input_pipeline.layouts.files import PairFolder
from input_pipeline.sample import Sample, working_example
from viton_jax.checkpoints import Checkpoint
from viton_jax.choices import Fidelity
from viton_jax.errors import InputError
from viton_jax.geometry import prediction
from viton_jax.io import images
from viton_jax.labels import GARMENT_LABEL
from viton_jax.runtime import environment, worker_processes

_MATCHING_THREADS = 2  # More take turns at Python's lock and get slower.


@dataclasses.dataclass(frozen=True)
class Work:
  """The data set and how to read it; picklable.

  Attributes:
    layout: the data set, without its pairs: they come one by one.
    size: (height, width) at work.
    fidelity: 'fixed' or 'original'.
  """

  layout: PairFolder
  size: tuple[int, int]
  fidelity: Fidelity


@dataclasses.dataclass(frozen=True)
class Loaded:
  """A pair as read, or why it could not be.

  Attributes:
    name: of its files, without suffix.
    pair: (person, garment) file names.
    example: arrays of the working example; {} where there is none.
    truth: the true image (h, w, 3) uint8 and the garment's region in it
      (h, w) bool, or None where nobody knows it.
    reason: why there is no example.
  """

  name: str
  pair: tuple[str, str]
  example: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
  truth: tuple[np.ndarray, np.ndarray] | None = None
  reason: str | None = None


def work_of(layout: PairFolder, checkpoint: Checkpoint) -> Work:
  """How to read a data set for a network."""
  return Work(
    dataclasses.replace(layout, pairs=()),
    checkpoint.size,
    checkpoint.fidelity,
  )


def read(work: Work, name: str, pair: tuple[str, str]) -> Loaded:
  """Reads one pair; where that fails, the reason is in what comes back."""
  try:
    sample = dataclasses.replace(work.layout, pairs=(pair,)).load(0)
    height, width = work.size
    example = working_example(
      sample, height=height, width=width, fidelity=work.fidelity
    )
  except InputError as error:
    return Loaded(name, pair, reason=str(error))
  except Exception as error:  # A file that nobody foresaw; others are fine.
    return Loaded(name, pair, reason=f'{" ".join(pair)}: {_name(error)}')
  arrays = {
    key: value
    for key, value in example.items()
    if isinstance(value, np.ndarray)
  }
  return Loaded(name, pair, arrays, truth_of(sample, work.size))


def truth_of(sample: Sample, size: tuple[int, int]):
  """The true image and its garment region at working size, or None."""
  if sample.truth is None or sample.truth_parse is None:
    return None
  return (
    images.resize_area(sample.truth, *size),
    images.resize_labels(sample.truth_parse, *size) == GARMENT_LABEL,
  )


def match(
  garment_mask: np.ndarray, predicted_mask: np.ndarray, fidelity: Fidelity
) -> tuple[np.ndarray, str | None]:
  """`prediction.match`, in which a defect costs one pair alone."""
  try:
    return prediction.match(garment_mask, predicted_mask, fidelity=fidelity)
  except Exception as error:
    return prediction.no_points(), _name(error)


def _name(error: Exception) -> str:
  return f'unexpected {type(error).__name__}: {error}'


class Pool:
  """Reads and matches in the background; see `open_pool`."""

  def __init__(self, work: Work, reading, matching, initialised: bool):
    self._work, self._initialised = work, initialised
    self._reading, self._matching = reading, matching

  def read(self, name: str, pair: tuple[str, str]) -> futures.Future:
    """A future `Loaded`."""
    if self._initialised:
      return self._reading.submit(_read, name, pair)
    return self._reading.submit(read, self._work, name, pair)

  def match(self, garment_mask, predicted_mask) -> futures.Future:
    """A future ((100, 2) control points, why they are the regular grid)."""
    return self._matching.submit(
      match, garment_mask, predicted_mask, self._work.fidelity
    )


@contextlib.contextmanager
def open_pool(work: Work, workers: int) -> Iterator[Pool]:
  """Starts the workers; on an error, what waits is not begun.

  Args:
    work: the data set.
    workers: processes; 0: threads of this one.

  Raises:
    InputError: a worker process died.
  """
  if workers:
    # Spawned processes read these when they start.
    with worker_processes.one_thread_each():
      pool = futures.ProcessPoolExecutor(
        workers,
        # A forked JAX may deadlock.
        mp_context=multiprocessing.get_context('spawn'),
        initializer=_start_worker,
        initargs=(work,),
      )
      for number in range(workers):  # Each starts one.
        pool.submit(abs, number)
    opened = [pool]
  else:
    opened = [
      futures.ThreadPoolExecutor(environment.cores(), 'read'),
      futures.ThreadPoolExecutor(_MATCHING_THREADS, 'match'),
    ]
  try:
    yield Pool(work, opened[0], opened[-1], bool(workers))
  except BrokenProcessPool as error:
    raise InputError(
      'a worker process died, perhaps for lack of memory; give the same '
      f'command with fewer --workers than {workers} to go on.'
    ) from error
  finally:
    for executor in opened:
      executor.shutdown(cancel_futures=True)


_work: Work | None = None  # Of this worker process.


def _start_worker(work: Work) -> None:
  global _work
  _work = work
  worker_processes.initialize_worker()


def _read(name, pair) -> Loaded:
  assert _work is not None  # `_start_worker` ran first.
  return read(_work, name, pair)
