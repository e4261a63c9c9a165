"""Batches form, are bounded, and no item spoils another's result."""

import asyncio
import contextlib
import gc
import threading
import time

import pytest

from viton_jax.errors import InputError
from viton_jax.server import app, guard
from viton_jax.server.batcher import Batcher, QueueFull
from viton_jax.server.metrics import Metrics
from viton_jax.server.problems import Problem
from viton_jax.server.settings import Settings


def run(scenario, work, **options):
  """Runs `scenario(batcher)` with a batcher of `work`."""

  async def main():
    settings = {'max_batch': 4, 'max_queue': 8, 'delay_s': 0.02} | options
    batcher = Batcher(work, **settings)
    batcher.start()
    try:
      return await asyncio.wait_for(scenario(batcher), 20)
    finally:
      await batcher.close()

  return asyncio.run(main())


class Recorder:
  """Doubles numbers, slowly, and remembers its batches."""

  def __init__(self, seconds=0.0):
    self.batches, self.seconds = [], seconds

  def __call__(self, items):
    self.batches.append(list(items))
    time.sleep(self.seconds)
    return [2 * x for x in items]


def test_items_that_wait_together_are_one_batch():
  work = Recorder(0.05)

  async def scenario(batcher):
    return await asyncio.gather(*map(batcher.submit, range(8)))

  assert run(scenario, work) == [0, 2, 4, 6, 8, 10, 12, 14]
  assert work.batches == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_an_idle_device_waits_for_more_but_not_long():
  work = Recorder()

  async def scenario(batcher):
    begin = time.monotonic()
    first = asyncio.create_task(batcher.submit(1))
    await asyncio.sleep(0.01)
    assert await asyncio.gather(first, batcher.submit(2)) == [2, 4]
    return time.monotonic() - begin

  seconds = run(scenario, work, delay_s=0.3)
  assert work.batches == [[1, 2]] and 0.3 <= seconds < 2


def test_while_the_device_is_busy_nothing_waits_longer_than_for_it():
  work = Recorder(0.2)

  async def scenario(batcher):
    first = asyncio.create_task(batcher.submit(0))
    await asyncio.sleep(0.1)
    others = [asyncio.create_task(batcher.submit(x)) for x in (1, 2, 3, 4)]
    await asyncio.gather(first, *others)

  run(scenario, work, delay_s=0.0)
  assert work.batches == [[0], [1, 2, 3, 4]]


def test_a_full_queue_refuses_at_once_and_says_when():
  work = Recorder(0.4)

  async def scenario(batcher):
    await batcher.submit(0)  # So that the seconds of a batch are known.
    tasks = [asyncio.create_task(batcher.submit(x)) for x in range(4)]
    await asyncio.sleep(0.1)  # They run; the next ones wait.
    tasks += [asyncio.create_task(batcher.submit(x)) for x in range(4, 12)]
    await asyncio.sleep(0.05)
    begin = time.monotonic()
    with pytest.raises(QueueFull) as full:
      await batcher.submit(99)
    assert time.monotonic() - begin < 0.05
    assert full.value.retry_after_s == 1  # 8 waiting / 4 a batch * 0.4 s.
    assert await asyncio.gather(*tasks) == [2 * x for x in range(12)]

  run(scenario, work)
  assert 99 not in sum(work.batches, [])


def test_who_leaves_the_queue_is_never_run():
  work = Recorder(0.2)

  async def scenario(batcher):
    running = [asyncio.create_task(batcher.submit(x)) for x in range(4)]
    await asyncio.sleep(0.05)
    waiting = [asyncio.create_task(batcher.submit(x)) for x in (4, 5, 6)]
    await asyncio.sleep(0.05)
    waiting[1].cancel()
    await asyncio.sleep(0)
    assert batcher.depth == 2
    assert await asyncio.gather(*running, waiting[0], waiting[2]) == [
      *(0, 2, 4, 6, 8, 12)
    ]

  run(scenario, work)
  assert work.batches == [[0, 1, 2, 3], [4, 6]]


def test_who_leaves_while_running_disturbs_nobody():
  work = Recorder(0.2)

  async def scenario(batcher):
    tasks = [asyncio.create_task(batcher.submit(x)) for x in range(4)]
    await asyncio.sleep(0.1)
    tasks[2].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [done[0], done[1], done[3]] == [0, 2, 6]
    assert isinstance(done[2], asyncio.CancelledError)
    assert await batcher.submit(7) == 14

  run(scenario, work)


def test_one_bad_item_does_not_spoil_its_batch():
  calls = []

  def work(items):
    calls.append(list(items))
    if 2 in items:
      raise ValueError('two')
    return [KeyError(x) if x == 3 else x for x in items]

  async def scenario(batcher):
    return await asyncio.gather(
      *map(batcher.submit, range(4)), return_exceptions=True
    )

  zero, one, two, three = run(scenario, work)
  assert (zero, one) == (0, 1)
  assert isinstance(two, ValueError) and isinstance(three, KeyError)
  assert calls[0] == [0, 1, 2, 3] and calls[1:] == [[0], [1], [2], [3]]


def test_one_batch_at_a_time_whatever_comes():
  inside, most, lock = [], [0], threading.Lock()

  def work(items):
    with lock:
      inside.append(1)
      most[0] = max(most[0], len(inside))
    time.sleep(0.01)
    with lock:
      inside.pop()
    return items

  async def scenario(batcher):
    async def client(name):
      for n in range(10):
        assert await batcher.submit((name, n)) == (name, n)
        await asyncio.sleep(0.003 * (name % 3))

    await asyncio.gather(*map(client, range(6)))

  run(scenario, work, delay_s=0.002)
  assert most == [1]


def test_those_who_are_known_to_come_are_waited_for():
  work, coming = Recorder(0.3), [0]

  async def scenario(batcher):
    await batcher.submit(0)  # A batch is known to take 0.3 s.
    coming[0] = 2
    first = asyncio.create_task(batcher.submit(1))
    await asyncio.sleep(0.15)
    second = asyncio.create_task(batcher.submit(2))
    coming[0] = 0  # Nobody else comes: not waited for any longer.
    begin = time.monotonic()
    await asyncio.gather(first, second)
    assert time.monotonic() - begin < 0.45
    coming[0] = 9  # They never come: not longer than a batch takes.
    begin = time.monotonic()
    await batcher.submit(3)
    assert 0.55 < time.monotonic() - begin < 1.5

  run(scenario, work, delay_s=0.005, coming=lambda: coming[0])
  assert work.batches == [[0], [1, 2], [3]]


# ------------------------------------------------------------ what is left over
class Photo:
  """Something large that a request brings."""


@contextlib.contextmanager
def nothing_left():
  """Without looking for cycles: what holds itself stays for a long time."""
  gc.collect()
  gc.disable()
  try:
    yield
    assert not [x for x in gc.get_objects() if isinstance(x, Photo)]
  finally:
    gc.enable()


def test_an_item_that_fails_is_not_kept():
  async def scenario(batcher):
    with pytest.raises(InputError, match='no garment'):
      await batcher.submit(Photo())
    await asyncio.sleep(0.1)  # The batcher waits for others.
    found = [x for x in gc.get_objects() if isinstance(x, Photo)]
    assert not found

  with nothing_left():
    run(scenario, lambda items: [InputError('no garment') for _ in items])


def test_a_request_that_is_refused_is_not_kept():
  async def refuse(photo):
    await asyncio.sleep(0)
    raise Problem(400, 'no garment')

  async def receive():
    await asyncio.sleep(60)

  async def send(message):
    sent.append(message)

  async def inner(scope, receive, send):
    photo = Photo()
    request = app.Request(scope, receive)
    await app._while_connected(request, refuse(photo))

  async def scenario():
    scope = {
      'type': 'http', 'method': 'POST', 'path': '/try_on', 'headers': []
    }  # fmt: skip
    guarded = guard.Guard(inner, settings=Settings(), metrics=Metrics())
    await asyncio.wait_for(guarded(scope, receive, send), 20)

  sent: list[dict] = []
  with nothing_left():
    asyncio.run(scenario())
  assert sent[0]['status'] == 400
