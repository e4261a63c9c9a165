"""The work behind the routes: who may begin, and each request's stages.

A request waits for a thread of the host, is decoded and prepared there, waits
for the networks' next batch, and is put together in a thread again. All that
wait count for one limit.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent import futures
import contextlib
import dataclasses
import os
import secrets
import time
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from viton_jax.errors import InputError, concerning
from viton_jax.io import images, photos, storage
from viton_jax.server import logs, memory
from viton_jax.server.batcher import Batcher, QueueFull
from viton_jax.server.garments import Gallery
from viton_jax.server.job import Job
from viton_jax.server.metrics import Metrics
from viton_jax.server.problems import Problem
from viton_jax.server.sessions import Sessions, Store
from viton_jax.server.settings import Settings

if TYPE_CHECKING:
  from viton_jax.photo.try_on import TryOnResult
  from viton_jax.server.models import Models

T = TypeVar('T')
Load = Callable[[Settings], 'Models']
_DECODES = 2  # At once: each may need some times its pixels.


@dataclasses.dataclass(eq=False)
class Ticket:
  """A request that was accepted, and how far it has come.

  Attributes:
    stage: 'queued', 'decode', 'prepare', 'batch' or 'compose'.
    for_networks: whether it will wait for a batch.
  """

  stage: str = 'queued'
  for_networks: bool = False


class Service:
  """Everything that a server holds.

  Args:
    settings: what it was told.
    load: reads the models; None: `models.load`.
    sessions: where they are kept; None: here.
  """

  def __init__(
    self,
    settings: Settings,
    load: Load | None = None,
    *,
    sessions: Store | None = None,
  ):
    self.settings = settings
    self.metrics = Metrics()
    self.gallery = Gallery(settings.garments, max_pixels=settings.max_pixels)
    self.samples = Gallery(settings.samples, max_pixels=settings.max_pixels)
    self.sessions: Store = sessions or Sessions(
      ttl_s=settings.session_ttl_s, limit=settings.max_sessions
    )
    self.models: Models | None = None
    self.state = 'starting'
    self._load = load
    self._device_ok = True
    self._tickets: dict[Ticket, None] = {}
    self._job_seconds = 0.0  # Moving average between two that are done.
    self._last_done = 0.0
    self.live: set[asyncio.Task] = set()  # Of each open live try-on.
    self.live_garments: Any = None  # `live.garments.Garments`.
    self._host = futures.ThreadPoolExecutor(
      max(os.cpu_count() or 1, _DECODES), 'host'
    )
    self.batcher = Batcher(
      self._run_batch,
      max_batch=settings.max_batch,
      max_queue=settings.max_queue,
      delay_s=settings.batch_delay_s,
      coming=self._coming,
      observe=self._batch_done,
    )
    self.metrics.queue_depth.set_function(lambda: self.waiting)
    self.metrics.in_work.set_function(lambda: len(self._tickets))
    self.metrics.live.set_function(lambda: len(self.live))
    self.metrics.ready.set_function(lambda: float(self.ready))

  # --------------------------------------------------------------- life
  async def start(
    self, failed: Callable[[Exception], None], ready: Callable[[], None]
  ) -> None:
    """Loads and warms up in a thread, then is ready.

    Args:
      failed: is told where the models cannot be used.
      ready: is told when everything is warm.
    """
    loop = asyncio.get_running_loop()
    slots = min(max(os.cpu_count() or 1, _DECODES), self.settings.max_queue)
    self._slots = asyncio.Semaphore(slots)
    self._decodes = asyncio.Semaphore(_DECODES)
    # Pairs between their decoding and the networks: those of the batch that
    # runs, and of the next. Requests behind these wait as files.
    self._ahead = asyncio.Semaphore(2 * self.settings.max_batch)
    self.batcher.start()
    begin = time.perf_counter()
    try:
      models = await loop.run_in_executor(self._host, self._prepare)
    except Exception as error:  # noqa: BLE001 - the process ends with it
      self.state = 'failed'
      if not isinstance(error, InputError):
        logs.exception('the models cannot be loaded')
      failed(error)
      return
    self.models, self.state = models, 'ready'
    ready()
    logs.info(
      'ready',
      seconds=round(time.perf_counter() - begin, 1),
      methods=list(models.methods),
      pose=models.pose is not None,
    )

  def _prepare(self) -> 'Models':
    # Here, not above: JAX takes seconds to import, and the server listens
    # meanwhile.
    from viton_jax.server import models

    loaded = (self._load or models.load)(self.settings)
    models.warm_up(
      loaded, self.settings.max_batch, lambda text: logs.info(text)
    )
    models.count_compilations(self.metrics.compilations.inc)
    memory.settle()
    self._tools = models
    return loaded

  async def stop(self) -> None:
    self.state = 'draining'
    for task in self.live:
      task.cancel()
    await self.batcher.close()
    self._host.shutdown(wait=False, cancel_futures=True)

  @property
  def ready(self) -> bool:
    return self.state == 'ready' and self._device_ok

  # ----------------------------------------------------------- admission
  @property
  def waiting(self) -> int:
    return sum(ticket.stage in ('queued', 'batch') for ticket in self._tickets)

  def _coming(self) -> int:
    return sum(
      ticket.for_networks and ticket.stage in ('queued', 'decode', 'prepare')
      for ticket in self._tickets
    )

  def place(self, ticket: Ticket) -> int:
    """How many requests are before this one; 0: it is being worked on."""
    place = 0
    for other in self._tickets:
      place += other.stage == 'queued'
      if other is ticket:
        break
    return place if ticket.stage == 'queued' else 0

  def check(self) -> None:
    """Refuses at once, before the body is read.

    Raises:
      Problem: 503, not ready or no place to wait.
    """
    if self.models is None or self.state != 'ready':
      raise Problem(
        503,
        f'the server is {self.state}; try again when /healthz/ready says 200',
        reason='not ready',
        headers={'Retry-After': '5'},
      )
    if len(self._tickets) >= self.settings.max_queue:
      raise self._full(self._retry_after_s())

  def _retry_after_s(self) -> int:
    seconds = len(self._tickets) * self._job_seconds
    return max(1, min(round(seconds + 0.5), 120))

  def _full(self, seconds: int) -> Problem:
    return Problem(
      503,
      f'{len(self._tickets)} requests are in work, which is the limit; try '
      f'again in {seconds} s',
      reason='queue full',
      headers={'Retry-After': str(seconds)},
    )

  @contextlib.contextmanager
  def _admitted(self, ticket: Ticket) -> Iterator[None]:
    self.check()
    if not self._tickets:
      self._last_done = time.perf_counter()
    self._tickets[ticket] = None
    try:
      yield
      now = time.perf_counter()
      took, self._last_done = now - self._last_done, now
      self._job_seconds += (took - self._job_seconds) * (
        0.1 if self._job_seconds else 1.0
      )
    finally:
      del self._tickets[ticket]

  # -------------------------------------------------------------- stages
  async def _in_thread(self, stage: str, work: Callable[[], T]) -> T:
    with self.metrics.stage_seconds.labels(stage).time():
      loop = asyncio.get_running_loop()
      return await loop.run_in_executor(self._host, work)

  async def _decode(
    self, data: bytes, what: str
  ) -> tuple[np.ndarray, np.ndarray | None]:
    def decode():
      with concerning(what):
        return photos.decode_photo(
          data, f'the {what}', max_pixels=self.settings.max_pixels
        )

    async with self._decodes:
      return await self._in_thread('decode', decode)

  async def _with_photos(
    self, job: Job, ticket: Ticket, work: Callable[..., T]
  ) -> T:
    """`work` of the decoded photos, in a thread, in one of the host's slots."""
    # What is wrong at a look need not wait for those that are computed.
    limit = self.settings.max_pixels
    await asyncio.to_thread(self._tools.check_given, job, limit)
    async with self._slots:
      ticket.stage = 'decode'
      photo, _ = await self._decode(job.person, 'person')
      cloth, opacity = None, None
      if job.garment:
        cloth, opacity = await self._decode(job.garment.photo, 'garment')
      ticket.stage = 'prepare'
      return await self._in_thread(
        'prepare', lambda: work(photo, cloth, opacity)
      )

  async def try_on(self, job: Job, ticket: Ticket) -> 'TryOnResult':
    """The person in the garment.

    Raises:
      InputError: see `photo.try_on`.
      Problem: 503, no place to wait.
    """
    with self._admitted(ticket):
      models = self.loaded()
      method = self.method_of(job)
      ticket.for_networks = method == 'viton'
      assert job.garment is not None
      garment = job.garment

      def prepare(photo, cloth, opacity):
        return self._tools.prepare(
          photo,
          cloth,
          opacity=opacity,
          names=('the person', 'the garment'),
          size=models.size,
          pose=models.pose if job.pose is None else job.pose,
          parse=models.parser if job.parse is None else job.parse,
          labels=job.labels,
          garment_mask=garment.mask,
          person_index=job.person_index,
          models_dir=self.settings.models_dir,
        )

      tried = None
      if method == 'viton':
        async with self._ahead:
          pair = await self._with_photos(job, ticket, prepare)
          ticket.stage = 'batch'
          with self.metrics.stage_seconds.labels('batch').time():
            tried = await self._batched(pair)
      else:
        pair = await self._with_photos(job, ticket, prepare)
      ticket.stage = 'compose'
      with concerning('garment'):
        result = await self._in_thread(
          'compose', lambda: self._tools.finished(pair, models, tried)
        )
      if self.settings.record:
        await self._in_thread('record', lambda: self._record(result.picture))
      return result

  async def people(self, job: Job, ticket: Ticket) -> list[np.ndarray]:
    """(18, 3) joints of each person, largest first.

    Raises:
      InputError: no pose model, or nobody was found.
      Problem: 503, no place to wait.
    """
    with self._admitted(ticket):
      return await self._with_photos(
        job, ticket, lambda photo, *_: self._tools.people(self.loaded(), photo)
      )

  async def labels(self, job: Job, ticket: Ticket) -> np.ndarray:
    """(h, w) uint8 LIP-20 labels of the whole photo; raises as `people`."""
    with self._admitted(ticket):
      return await self._with_photos(
        job,
        ticket,
        lambda photo, *_: self._tools.labels(self.loaded(), photo, job),
      )

  async def attach(self, job: Job, ticket: Ticket) -> np.ndarray:
    """(h, w, 3) uint8, the garment flat over the clothes; as `people`."""
    with self._admitted(ticket):
      return await self._with_photos(
        job,
        ticket,
        lambda *decoded: self._tools.attached(self.loaded(), job, *decoded),
      )

  async def garment_mask(self, job: Job, ticket: Ticket) -> np.ndarray:
    """(h, w) uint8, 255 on the garment of the photo `person`; as `people`."""
    with self._admitted(ticket):
      async with self._slots:
        ticket.stage = 'decode'
        cloth, opacity = await self._decode(job.person, 'garment')
        ticket.stage = 'prepare'
        return await self._in_thread(
          'prepare', lambda: self._tools.garment_mask(cloth, opacity)
        )

  async def networks_of(
    self, arrays: dict[str, np.ndarray]
  ) -> dict[str, np.ndarray]:
    """The networks' arrays of b pairs at the working size, see `kserve`.

    Raises:
      InputError: an array is not usable, or a pair cannot be matched.
      Problem: 503, no place to wait.
    """
    ticket = Ticket(stage='batch')
    with self._admitted(ticket):
      samples = self._tools.samples_of(arrays)
      tried, step = [], self.settings.max_batch
      for i in range(0, len(samples), step):  # Others get their turn between.
        tried += await asyncio.gather(
          *map(self._batched, samples[i : i + step])
        )
      return await self._in_thread(
        'compose', lambda: self._tools.arrays_of(tried)
      )

  def method_of(self, job: Job) -> str:
    """Raises Problem (400) where the server lacks the networks."""
    methods = self.loaded().methods
    if job.method and job.method not in methods:
      raise Problem(
        400,
        f"method '{job.method}' needs trained networks, and this server has "
        'none; start it with --checkpoint, or use paste',
        about='method',
      )
    return job.method or methods[0]

  def loaded(self) -> 'Models':
    """The models, once `check` has seen that they are there."""
    assert self.models is not None
    return self.models

  async def _batched(self, pair: Any) -> Any:
    try:
      return await self.batcher.submit(pair)
    except QueueFull as full:
      raise self._full(full.retry_after_s) from full

  def _run_batch(self, pairs: list[Any]) -> list[Any]:
    try:
      results = self._tools.tried_on(self.loaded(), pairs)
    except InputError:
      raise  # One of the pairs; the device has not been asked.
    except Exception:
      self._device_ok = False
      raise
    self._device_ok = True
    return results

  def _batch_done(self, size: int, seconds: float) -> None:
    self.metrics.batch_size.observe(size)
    self.metrics.stage_seconds.labels('networks').observe(seconds)

  def _record(self, picture: np.ndarray) -> None:
    folder = self.settings.record
    assert folder is not None
    name = time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())
    path = folder / f'{name}_{secrets.token_hex(4)}.png'
    storage.write_file(path, images.encode_png(picture))


async def in_time(work: Awaitable[T], seconds: float) -> T:
  """Raises Problem (504) and cancels where it takes longer."""
  try:
    async with asyncio.timeout(seconds):
      return await work
  except TimeoutError:
    raise Problem(
      504,
      f'there was no result within {seconds:g} s; try again later, or allow '
      'more with the header X-Timeout-Ms',
      reason='deadline',
    ) from None
