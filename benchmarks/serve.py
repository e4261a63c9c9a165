"""How the server bears load; each part is one command.

  python -m benchmarks.serve layer
  python -m benchmarks.serve batching --checkpoint viton_jax/checkpoints/weights
  python -m benchmarks.serve overload --checkpoint viton_jax/checkpoints/weights
  python -m benchmarks.serve slow_clients
  python -m benchmarks.serve kill --times 20
  python -m benchmarks.serve drain
  python -m benchmarks.serve hostile --requests 10000
  python -m benchmarks.serve isolation --seconds 60
  python -m benchmarks.serve soak --seconds 3600

Each starts a server of its own on 127.0.0.1. People and garments are drawn, and
come with joints and labels. Clients and server share the machine's cores.
"""

import argparse
import asyncio
import contextlib
import os
import pathlib
import signal
import sys
import tempfile
import time

import numpy as np

# Modules of tests import one another as pytest lets them.
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'tests'))

from benchmarks import serve_hostile  # noqa: E402
from benchmarks.serve_client import (  # noqa: E402
  a_request,
  batches,
  closed_loop,
  open_loop,
  quantile,
  rss_mib,
  send,
  with_status,
)
from benchmarks.serve_soak import soak  # noqa: E402
from input_pipeline.synthetic import render_pair  # noqa: E402
from tests.server_process import form, serving  # noqa: E402
from viton_jax import errors  # noqa: E402
from viton_jax.io import images  # noqa: E402


# -------------------------------------------------------------------- parts
def layer(options, folder) -> None:
  """Guard and batcher alone: the device waits 100 ms a batch of 8."""
  fields = {'person': os.urandom(60_000)}
  with serving(folder, module='benchmarks.serve_dummy') as server:
    for clients in (4, 16, 64):
      before = batches(server)
      begin = time.perf_counter()
      answers = asyncio.run(
        closed_loop(server, fields, clients, options.seconds, path='/dummy')
      )
      rate = len(with_status(answers, 200)) / (time.perf_counter() - begin)
      pairs, count = (
        b - a for a, b in zip(before, batches(server), strict=True)
      )
      ideal = min(clients, 8) / 0.1
      print(
        f'{clients:3} clients: {rate:5.1f}/s, {rate / ideal:.0%} of '
        f'{ideal:.0f}/s, mean batch {pairs / count:.1f}, p50 '
        f'{quantile(answers, 0.5):.3f} s, p99 {quantile(answers, 0.99):.3f} s'
      )


def batching(options, folder) -> None:
  """One client after the other, and 16 at once."""
  with serving(folder, *_model(options)) as server:
    fields = a_request()
    asyncio.run(closed_loop(server, fields, 1, 3))
    rates = {}
    for clients in (1, 16):
      before = batches(server)
      begin = time.perf_counter()
      answers = asyncio.run(
        closed_loop(server, fields, clients, options.seconds)
      )
      rates[clients] = len(with_status(answers, 200)) / (
        time.perf_counter() - begin
      )
      pairs, count = (
        b - a for a, b in zip(before, batches(server), strict=True)
      )
      print(
        f'{clients:2} clients: {rates[clients]:.2f}/s, mean batch '
        f'{pairs / max(count, 1):.2f}, p50 {quantile(answers, 0.5):.2f} s, p99 '
        f'{quantile(answers, 0.99):.2f} s'
      )
    print(f'16 clients / serial: {rates[16] / rates[1]:.2f}')


def overload(options, folder) -> None:
  """Twice what the server can do, whether or not it answers."""
  with serving(folder, *_model(options)) as server:
    fields = a_request()
    begin = time.perf_counter()
    answers = asyncio.run(closed_loop(server, fields, 24, 20))
    capacity = len(with_status(answers, 200)) / (time.perf_counter() - begin)
    batch_s = 8 / capacity
    bound = (32 / 8 + 2) * batch_s
    print(
      f'capacity {capacity:.2f}/s, a batch of 8 {batch_s:.2f} s, RSS '
      f'{rss_mib(server):.0f} MiB'
    )
    # The queue fills: that takes memory, too, but does not go on.
    asyncio.run(open_loop(server, fields, 2 * capacity, 20))
    before = rss_mib(server)
    begin = time.perf_counter()
    answers = asyncio.run(
      open_loop(server, fields, 2 * capacity, options.seconds)
    )
    took = time.perf_counter() - begin
    good, full = with_status(answers, 200), with_status(answers, 503)
    print(
      f'{len(answers)} sent in {options.seconds:g} s, {len(good)} done, '
      f'{len(full)} rejected, {len(answers) - len(good) - len(full)} else; '
      f'goodput {len(good) / took:.2f}/s, {len(good) / took / capacity:.0%} of '
      f'the capacity\nrejections: p50 {quantile(full, 0.5) * 1e3:.0f} ms, p99 '
      f'{quantile(full, 0.99) * 1e3:.0f} ms\naccepted: p50 '
      f'{quantile(good, 0.5):.2f} s, p99 {quantile(good, 0.99):.2f} s, longest '
      f'{quantile(good, 1):.2f} s, (queue / max_batch + 2) batches are '
      f'{bound:.2f} s\nRSS grew by {rss_mib(server) - before:.0f} MiB'
    )


def slow_clients(options, folder) -> None:
  """300 that drip headers or bodies, and what others notice of it."""
  with serving(folder) as server:
    fields = a_request()

    async def drip(i):
      with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection('127.0.0.1', server.port)
        with contextlib.closing(writer):
          head = b'POST /try_on HTTP/1.1\r\nHost: x\r\n'
          body = b'Content-Type: image/png\r\nContent-Length: 9999\r\n\r\n'
          writer.write(head + (body if i % 2 else b'X-A: '))
          while not reader.at_eof():
            writer.write(b'x')
            await writer.drain()
            await asyncio.sleep(0.5)

    async def measure():
      alone = await closed_loop(server, fields, 2, options.seconds)
      tasks = [asyncio.create_task(drip(i)) for i in range(300)]
      await asyncio.sleep(1)
      beside = await closed_loop(server, fields, 2, options.seconds)
      for task in tasks:
        task.cancel()
      return alone, beside

    for name, answers in zip(
      ('alone', 'beside 300 slow ones'), asyncio.run(measure()), strict=True
    ):
      print(
        f'{name}: {len(with_status(answers, 200))} of {len(answers)} done, p50 '
        f'{quantile(answers, 0.5):.3f} s, p99 {quantile(answers, 0.99):.3f} s'
      )


def kill(options, folder) -> None:
  """kill -9 of the worker, again and again, while requests come."""
  with serving(folder, *_model(options)) as server:
    fields = a_request()

    async def once():
      load = [
        asyncio.create_task(send(server, fields, limit_s=60)) for _ in range(4)
      ]
      await asyncio.sleep(0.3)
      os.kill(server.worker, signal.SIGKILL)
      begin = time.perf_counter()
      await asyncio.to_thread(server.wait_until, '/healthz/live')
      live = time.perf_counter() - begin
      await asyncio.to_thread(server.wait_until, '/healthz/ready')
      ready = time.perf_counter() - begin
      lost = await asyncio.gather(*load)
      after = await send(server, fields)
      return live, ready, len(with_status(lost, 0)), after.status

    found = [asyncio.run(once()) for _ in range(options.times)]
    live, ready, lost, after = zip(*found, strict=True)
    print(
      f'killed {options.times} times with 4 in flight: answers again after '
      f'{max(live):.2f} s at most, is warm after {max(ready):.1f} s; '
      f'{sum(lost)} in-flight requests lost; then {after.count(200)} of '
      f'{options.times} done'
    )


def drain(options, folder) -> None:
  """SIGTERM with 20 in flight."""
  with serving(folder, *_model(options)) as server:
    fields = a_request()

    async def stop():
      load = [asyncio.create_task(send(server, fields)) for _ in range(20)]
      await asyncio.sleep(0.4)
      server.process.send_signal(signal.SIGTERM)
      begin = time.perf_counter()
      answers = await asyncio.gather(*load)
      code = await asyncio.to_thread(server.process.wait, 60)
      return answers, code, time.perf_counter() - begin

    answers, code, seconds = asyncio.run(stop())
    print(
      f'{len(with_status(answers, 200))} of 20 in flight done, exit code '
      f'{code} after {seconds:.1f} s'
    )


def hostile(options, folder) -> None:
  """Uploads that were made to hurt; every answer must be 4xx, or a picture."""
  with serving(folder) as server:
    rng = np.random.default_rng(options.seed)
    asyncio.run(closed_loop(server, a_request(), 2, 3))
    base = most = rss_mib(server)
    found: dict[int, int] = {}
    slowest, fields = 0.0, a_request()

    async def some(count):
      made = [serve_hostile.mutated(fields, rng) for _ in range(count)]
      return made, await asyncio.gather(
        *(send(server, x, limit_s=30) for _, x in made)
      )

    for _ in range(options.requests // 4):
      made, answers = asyncio.run(some(4))
      most = max(most, rss_mib(server))
      for (what, _), answer in zip(made, answers, strict=True):
        found[answer.status] = found.get(answer.status, 0) + 1
        if answer.status != 200:
          slowest = max(slowest, answer.seconds)
        if answer.status not in range(200, 500) or (
          answer.status != 200 and answer.seconds > 2
        ):
          print(
            what, answer.status, f'{answer.seconds:.2f} s', answer.body[:200]
          )
    log = server.log.read_text()
    print(
      f'{sum(found.values())} requests, by status '
      f'{dict(sorted(found.items()))}; slowest refusal {slowest:.2f} s; '
      f'{log.count("raceback")} tracebacks; RSS {base:.0f} MiB, at most '
      f'{most - base:.0f} MiB more'
    )


def isolation(options, folder) -> None:
  """20 sessions change their garments; none may get another's picture."""
  with serving(folder) as server:
    person = {k: v for k, v in a_request().items() if k != 'garment'}
    shirts = [
      images.encode_png(render_pair(7, i, 512).garment) for i in range(2, 12)
    ]

    async def put(session, shirt):
      body, kind = form({'garment': shirt})
      return await asyncio.to_thread(
        server.request,
        *('PUT', f'/sessions/{session}/garment', body),
        headers={'Content-Type': kind},
      )

    async def client(seed, end, right):
      rng = np.random.default_rng(seed)
      session = (await asyncio.to_thread(server.post, '/sessions', b'')).json()[
        'session'
      ]
      counts = [0, 0, 0]
      while time.perf_counter() < end:
        number = int(rng.integers(len(shirts)))
        assert (await put(session, shirts[number])).status == 200
        for _ in range(int(rng.integers(1, 3))):
          answer = await send(server, person | {'session': session})
          if answer.status == 200:
            counts[0 if answer.body == right[number] else 1] += 1
          else:
            counts[2] += 1
      return counts

    async def run():
      right = [
        (await send(server, person | {'garment': shirt})).body
        for shirt in shirts
      ]
      assert len(set(right)) == len(shirts)
      end = time.perf_counter() + options.seconds
      return await asyncio.gather(*(client(i, end, right) for i in range(20)))

    right, wrong, rejected = np.sum(asyncio.run(run()), axis=0)
    print(
      f'20 sessions for {options.seconds:g} s: {right} pictures with the right '
      f"garment, {wrong} with another's, {rejected} rejected"
    )


PARTS = {
  x.__name__: x
  for x in (
    *(layer, batching, overload, slow_clients, kill, drain, hostile),
    *(isolation, soak),
  )
}


def _model(options) -> tuple[str, ...]:
  return ('--checkpoint', options.checkpoint) if options.checkpoint else ()


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add('part', choices=tuple(PARTS))
  add('--checkpoint', help='networks; default: garments are pasted')
  add('--seconds', type=float, default=20.0, help='of load')
  add('--times', type=int, default=20, help='of `kill`')
  add('--requests', type=int, default=1000, help='of `hostile`')
  add('--seed', type=int, default=0, help='of `hostile` and `soak`')
  options = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    PARTS[options.part](options, pathlib.Path(folder))


if __name__ == '__main__':
  errors.run(main)
