"""Keeps the devices busy: several batches at once, each at another step.

While the devices compute the coarse images of batch k + 1, batch k is matched
on the CPUs, the images of batch k - 1 are fetched and encoded, and the batches
from k + 2 on are read. One thread, the caller's, starts all computations in
order; what it waits for is the bottleneck and is measured.
"""

import collections
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
import contextlib
import dataclasses
import itertools
import threading
import time

import jax
import numpy as np

from viton_jax import engine, metrics
from viton_jax.geometry import prediction
from viton_jax.geometry.device import REASONS
from viton_jax.jobs.device_steps import DeviceSteps
from viton_jax.jobs.workers import Loaded, Pool
from viton_jax.runtime import parallel

_READ_AHEAD = 3  # Batches that are read before they are needed.
_COARSE_AHEAD = 2  # Batches on the devices while one is matched.
_WRITING = 3  # Batches that are fetched, encoded and written.
# 'figures': results on their way from the devices, and compared with the truth.
WAITS = ('reading', 'device', 'matching', 'figures', 'writing')


class Clock:
  """Measures how a run's time is spent.

  A device is busy from when a computation is handed to it until its result is
  ready, as seen from here: the union of these spans, which includes sending the
  inputs. Everything else is idle: results ready, and nothing handed over yet.
  With several devices, one that works is enough.

  Attributes:
    waited: seconds that the starting thread waited, by what for.
    compiled_s: seconds before `restart`.
  """

  def __init__(self):
    self._lock = threading.Lock()
    self._running = 0
    self._busy = 0.0
    self.compiled_s = 0.0
    self.waited: dict[str, float] = dict.fromkeys(WAITS, 0.0)
    self._begin = self._since = time.monotonic()

  def restart(self) -> None:
    """Starts again from 0, so that compilation is not counted."""
    with self._lock:
      self.compiled_s = self.seconds
      self._busy = 0.0
      self.waited = dict.fromkeys(WAITS, 0.0)
      self._begin = self._since = time.monotonic()

  def handed_over(self) -> None:
    """A computation is about to be given to the devices."""
    with self._lock:
      if not self._running:
        self._since = time.monotonic()
      self._running += 1

  def ready(self) -> None:
    """One of them is done."""
    with self._lock:
      self._running -= 1
      if not self._running:
        self._busy += time.monotonic() - self._since

  @contextlib.contextmanager
  def waiting(self, what: str):
    """The time inside is a wait for `what`, one of WAITS."""
    begin = time.monotonic()
    try:
      yield
    finally:
      self.waited[what] += time.monotonic() - begin

  def waits(self) -> str:
    """What was waited for, in words; most of it is the bottleneck."""
    shares = ', '.join(
      f'{what} {seconds:.1f} s' for what, seconds in self.waited.items()
    )
    return f'waited for {shares}'

  @property
  def seconds(self) -> float:
    """Since the start."""
    return time.monotonic() - self._begin

  @property
  def idle(self) -> float:
    """The share of the time in which no device worked, 0..1."""
    with self._lock:
      busy = self._busy
      if self._running:
        busy += time.monotonic() - self._since
    return min(max(1 - busy / max(self.seconds, 1e-9), 0.0), 1.0)


@dataclasses.dataclass(frozen=True)
class PairResult:
  """One try-on, as it is written.

  Attributes:
    name: of its files, without suffix.
    pair: (person, garment) file names.
    images: column -> (h, w, 1 or 3) uint8; 'result' is the try-on.
    control_points: (100, 2) float32.
    correction: (h / 4, w / 4, 2) float32, see `engine.TryOnBatch`.
    metrics: against the truth, see `metrics.compare_methods`, or None.
    reason: why there is no try-on, or None.
  """

  name: str
  pair: tuple[str, str]
  images: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
  control_points: np.ndarray | None = None
  correction: np.ndarray | None = None
  metrics: dict | None = None
  reason: str | None = None


@dataclasses.dataclass
class _Started:
  """A batch whose coarse images are being computed."""

  group: list[Loaded]
  batch: dict[str, np.ndarray]  # Split over the devices.
  predicted: dict[str, jax.Array]
  matches: futures.Future  # Of a list of `Pool.match`'s futures.


def run(
  items: Iterable[tuple[str, tuple[str, str]]],
  pool: Pool,
  steps: DeviceSteps,
  write: Callable[[list[PairResult]], int],
  *,
  batch_size: int,
  with_steps: bool,
  clock: Clock,
  stop: Callable[[], bool] = lambda: False,
) -> Iterator[int]:
  """Tries on all items; yields how many more are written, as it goes.

  Args:
    items: (name, (person, garment)) of each pair.
    pool: reads and matches.
    steps: the networks.
    write: takes the try-ons of a batch, or a pair that could not be read, in
      one thread, and returns how many are written.
    batch_size: a multiple of the number of devices.
    with_steps: fetch the images of every step, not the try-on alone.
    clock: is restarted when everything is compiled.
    stop: asked before every batch; what is begun is finished.

  Raises:
    whatever `write` raises.
  """
  started = collections.deque()
  writing = collections.deque()
  with contextlib.ExitStack() as stack:
    fetcher, writer, masks = (
      stack.enter_context(futures.ThreadPoolExecutor(1, name))
      for name in ('fetch', 'write', 'masks')
    )
    # On an error nothing more is fetched or written.
    stack.callback(
      lambda: [future.cancel() for one in writing for future in one]
    )

    def fetch(refined, group, matches):
      ready = fetcher.submit(_await, refined, clock)
      fetched = fetcher.submit(
        _fetch, refined, group, matches, with_steps=with_steps
      )
      done = writer.submit(lambda: write(fetched.result()))
      writing.append((ready, fetched, done))

    def start(group):
      batch = parallel.shard(stack_examples(group, batch_size))
      clock.handed_over()
      if steps.whole:
        fetch(steps.whole(batch), group, None)
        return
      predicted = steps.coarse(batch)
      matches = masks.submit(_match, predicted['mask'], group, pool, clock)
      started.append(_Started(group, batch, predicted, matches))

    def finish():
      one = started.popleft()
      with clock.waiting('device'):
        matches = one.matches.result()
      with clock.waiting('matching'):
        matches = [future.result() for future in matches]
      points = np.stack([points for points, _ in matches])
      points = parallel.pad({'control_points': points}, batch_size)
      clock.handed_over()
      refined = steps.refine(one.batch, points['control_points'], one.predicted)
      fetch(refined, one.group, matches)

    def written(at_most):
      while len(writing) > at_most:
        ready, fetched, done = writing.popleft()
        # What is still to be computed is not the disk's time.
        with clock.waiting('device'):
          ready.result()
        with clock.waiting('figures'):
          fetched.result()
        with clock.waiting('writing'):
          count = done.result()
        yield count

    batches = good_batches(
      read_ahead(items, pool, batch_size, clock, stop), batch_size
    )
    compiled = False
    for group, failed in batches:
      if failed:
        lost = [
          PairResult(one.name, one.pair, reason=one.reason) for one in failed
        ]
        done = writer.submit(write, lost)
        writing.append((done, done, done))
      if group:
        if not compiled:
          compile_steps(steps, group, batch_size)
          compiled = True
          clock.restart()
        start(group)
      if len(started) > _COARSE_AHEAD:
        finish()
      yield from written(_WRITING)
    while started:
      finish()
      yield from written(_WRITING)
    yield from written(0)


def compile_steps(
  steps: DeviceSteps, group: list[Loaded], batch_size: int
) -> None:
  """Runs everything once and drops the result."""
  batch = parallel.shard(stack_examples(group, batch_size))
  if steps.whole:
    refined = steps.whole(batch)
  else:
    points = np.stack([prediction.no_points()] * batch_size)
    refined = steps.refine(batch, points, steps.coarse(batch))
  jax.block_until_ready(refined)
  if any(one.truth is not None for one in group):
    _compare(parallel.unshard(refined['values']), group)


def read_ahead(
  items, pool: Pool, batch_size: int, clock: Clock, stop
) -> Iterator[list[Loaded]]:
  """Reads in the background, a few batches ahead of who takes them."""
  items = iter(items)

  def begin(count):
    return [pool.read(*item) for item in itertools.islice(items, count)]

  ahead = collections.deque(begin(_READ_AHEAD * batch_size))
  while ahead and not stop():
    with clock.waiting('reading'):
      group = [
        ahead.popleft().result() for _ in range(min(batch_size, len(ahead)))
      ]
    ahead += begin(batch_size)
    yield group


def good_batches(
  groups: Iterable[list[Loaded]], batch_size: int
) -> Iterator[tuple[list[Loaded], list[Loaded]]]:
  """Fills batches with what could be read; gives what could not beside them."""
  good = []
  for group in groups:
    failed = [one for one in group if one.reason]
    good += [one for one in group if not one.reason]
    full = good[:batch_size] if len(good) >= batch_size else []
    good = good[len(full) :]
    if full or failed:
      yield full, failed
  if good:
    yield good, []


def stack_examples(
  group: list[Loaded], batch_size: int
) -> dict[str, np.ndarray]:
  """Stacks what the devices read.

  The last example fills the batch up, so that nothing is compiled for its size.
  """
  examples = [one.example for one in group]
  batch = {
    key: np.stack([example[key] for example in examples]) for key in examples[0]
  }
  return parallel.pad(batch, batch_size)


def _match(mask, group, pool: Pool, clock: Clock) -> list[futures.Future]:
  """Fetches the predicted masks and starts their matching."""
  jax.block_until_ready(mask)
  clock.ready()
  masks = parallel.unshard(mask)[..., 0]
  return [
    pool.match(one.example['garment_mask'], predicted)
    for one, predicted in zip(group, masks, strict=False)
  ]


def _await(refined, clock: Clock) -> None:
  jax.block_until_ready(refined)
  clock.ready()


def _fetch(
  refined, group: list[Loaded], matches, *, with_steps: bool
) -> list[PairResult]:
  """Brings what is wanted of a finished batch from the devices.

  Args:
    refined: what `DeviceSteps.refine` or `whole` gave.
    group: the pairs.
    matches: of each pair, see `Pool.match`; None: they are in `refined`.
    with_steps: see `run`.
  """
  if matches is None:
    points, reasons = (
      parallel.unshard(refined[name]) for name in ('control_points', 'reason')
    )
    matches = [(x, REASONS[i]) for x, i in zip(points, reasons, strict=True)]
  correction = parallel.unshard(refined['correction']) if with_steps else None
  images = dict(refined['images'])
  images['result'] = images.pop('output')
  if not with_steps:
    images = {'result': images['result']}
  images = parallel.unshard(images)
  compared = [None] * len(group)
  if any(item.truth is not None for item in group):
    compared = _compare(parallel.unshard(refined['values']), group)
  results = []
  for i, (item, (points, reason)) in enumerate(
    zip(group, matches, strict=False)
  ):
    columns = {}
    reason = reason or engine.blank_reason(images['result'][i])
    if not reason:
      columns = {name: value[i] for name, value in images.items()}
      if with_steps:
        for name in ('person', 'garment'):
          columns[name] = item.example[name]
        if item.truth is not None:
          columns['truth'] = item.truth[0]
    results.append(
      PairResult(
        item.name,
        item.pair,
        images=columns,
        control_points=points,
        correction=None if correction is None else correction[i],
        metrics=compared[i],
        reason=reason,
      )
    )
  return results


def _compare(values, group: list[Loaded]) -> list[dict | None]:
  """Metrics of those whose truth is known and shows the garment."""
  shape = values['output'].shape[:3]
  truth, region = np.zeros((*shape, 3), np.uint8), np.zeros(shape, bool)
  for i, one in enumerate(group):
    if one.truth is not None:
      truth[i], region[i] = one.truth
  rows = metrics.compare_methods(
    output=values['output'],
    coarse=values['coarse'],
    warped=values['warped'],
    mask=values['mask'],
    alpha=values['alpha'],
    truth=truth,
    region=region,
  )
  known = [one.truth is not None and one.truth[1].any() for one in group]
  return [
    row if is_known else None
    for row, is_known in zip(rows, known, strict=False)
  ]
