"""Dynamic batching: requests that wait together are computed together.

One task takes what waits, at most `max_batch`, and runs it in a thread. While
that runs, the next requests gather; while nothing runs, the first one waits a
few milliseconds for others, and for those that are known to come as long as a
batch takes.
"""

import asyncio
import collections
from collections.abc import Callable
from concurrent import futures
import contextlib
import dataclasses
import math
import time
from typing import Any

_LOOK_S = 0.02  # How often it is asked whether others are still to come.
Run = Callable[[list[Any]], list[Any]]


class QueueFull(Exception):
  """No place to wait; `retry_after_s` is when there should be one."""

  def __init__(self, retry_after_s: int):
    super().__init__(f'try again in {retry_after_s} s')
    self.retry_after_s = retry_after_s


@dataclasses.dataclass(eq=False)
class _Job:
  item: Any
  answer: asyncio.Future


class Batcher:
  """A bounded queue in front of a function of batches.

  Args:
    run: a list of items -> a result for each, or an exception in its place;
      called in one thread, one batch at a time.
    max_batch: most items of a batch.
    max_queue: most items that wait.
    delay_s: how long an idle device waits for more items.
    coming: how many items will be submitted soon; they are being prepared.
    observe: is told the size and the seconds of each batch.
  """

  def __init__(
    self,
    run: Run,
    *,
    max_batch: int,
    max_queue: int,
    delay_s: float = 0.005,
    coming: Callable[[], int] = lambda: 0,
    observe: Callable[[int, float], None] = lambda size, seconds: None,
  ):
    self._run = run
    self._max_batch = max_batch
    self._max_queue = max_queue
    self._delay_s = delay_s
    self._coming = coming
    self._observe = observe
    self._waiting: collections.deque[_Job] = collections.deque()
    self._changed = asyncio.Event()
    self._thread = futures.ThreadPoolExecutor(1, 'device')
    self._task: asyncio.Task | None = None
    self.batch_seconds = 0.0  # Moving average; 0 before the first batch.

  def start(self) -> None:
    self._task = asyncio.get_running_loop().create_task(self._work())

  async def close(self) -> None:
    """Stops; what still waits is cancelled."""
    if self._task:
      self._task.cancel()
      await asyncio.gather(self._task, return_exceptions=True)
    for job in self._waiting:
      job.answer.cancel()
    self._thread.shutdown(wait=False)

  @property
  def depth(self) -> int:
    return len(self._waiting)

  def retry_after_s(self, waiting: int) -> int:
    """Whole seconds in which so many items should be done, at least 1."""
    return max(1, math.ceil(waiting * self.batch_seconds / self._max_batch))

  async def submit(self, item: Any) -> Any:
    """Waits for the result of one item.

    Who is cancelled while waiting gives the place away and is never run.

    Raises:
      QueueFull: at once, where `max_queue` items wait.
      Exception: whatever `run` gave in the item's place.
    """
    if len(self._waiting) >= self._max_queue:
      raise QueueFull(self.retry_after_s(len(self._waiting)))
    job = _Job(item, asyncio.get_running_loop().create_future())
    self._waiting.append(job)
    self._changed.set()
    try:
      return await job.answer
    finally:
      # Still there where the caller was cancelled.
      if job in self._waiting:
        self._waiting.remove(job)
      # Its exception passes through here, and would hold itself and the item.
      del job

  async def _work(self) -> None:
    while True:
      await self._gather()
      await self._next()

  async def _next(self) -> None:
    """Runs a batch of what waits; nothing of it is kept for the next."""
    count = min(self._max_batch, len(self._waiting))
    jobs = [self._waiting.popleft() for _ in range(count)]
    if not jobs:  # The first clients have left meanwhile.
      return
    begin = time.perf_counter()
    items = [job.item for job in jobs]
    loop = asyncio.get_running_loop()
    results = await loop.run_in_executor(self._thread, self._results, items)
    seconds = time.perf_counter() - begin
    self.batch_seconds += (seconds - self.batch_seconds) * (
      0.2 if self.batch_seconds else 1.0
    )
    self._observe(count, seconds)
    for job, result in zip(jobs, results, strict=True):
      if job.answer.done():  # The caller was cancelled.
        continue
      if isinstance(result, BaseException):
        job.answer.set_exception(result)
      else:
        job.answer.set_result(result)

  async def _gather(self) -> None:
    """Returns when a batch is full, or its first item has waited enough."""
    while not self._waiting:
      self._changed.clear()
      await self._changed.wait()
    clock = asyncio.get_running_loop().time
    begin = clock()
    while 0 < len(self._waiting) < self._max_batch:
      patience = self._delay_s
      if self._coming():
        patience = max(patience, self.batch_seconds)
      left = begin + patience - clock()
      if left <= 0:
        return
      self._changed.clear()
      with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(min(left, _LOOK_S)):
          await self._changed.wait()

  def _results(self, items: list[Any]) -> list[Any]:
    """As `run`; where a batch fails as a whole each item is tried alone."""
    try:
      return self._run(items)
    except Exception as error:  # noqa: BLE001 - it is the caller's to handle
      if len(items) == 1:
        return [error]
    return [self._results([item])[0] for item in items]
