"""Clients of a server that is timed; see `benchmarks.serve`."""

import asyncio
import contextlib
import dataclasses
import json
import time

import numpy as np

from benchmarks.infer_memory import resident_mb
from input_pipeline.synthetic import render_pair
from tests.server_process import Server, form
from viton_jax.io import images
from viton_jax.perception import openpose_json


@dataclasses.dataclass(frozen=True)
class Sent:
  """A request that was answered, or was not: status 0, `body` says why."""

  status: int
  seconds: float
  body: bytes = b''


def a_request(index: int = 1, **changes) -> dict[str, str | bytes]:
  """The fields of a try-on of drawn photos of 384 x 512."""
  pair = render_pair(7, index, 512)
  return {
    'person': images.encode_jpeg(pair.person),
    'garment': images.encode_jpeg(render_pair(7, index + 1, 512).garment),
    'pose': json.dumps(openpose_json([pair.keypoints])),
    'parse': images.encode_png(pair.parse),
  } | changes


async def send(
  server: Server, fields, *, path: str = '/try_on', limit_s: float = 120
) -> Sent:
  """One request on a connection of its own."""
  body, kind = form(fields)
  head = (
    f'POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n'
    f'Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n'
  )
  begin = time.perf_counter()
  status, content = 0, b''
  try:
    async with asyncio.timeout(limit_s):
      reader, writer = await asyncio.open_connection('127.0.0.1', server.port)
      with contextlib.closing(writer):
        writer.write(head.encode() + body)
        await writer.drain()
        # To the last byte, not to the end of the connection.
        first, *lines = (await reader.readuntil(b'\r\n\r\n')).splitlines()
        headers = dict(x.lower().split(b': ', 1) for x in lines if x)
        content = await reader.readexactly(
          int(headers.get(b'content-length', 0))
        )
      status = int(first.split()[1])
  except (OSError, EOFError, TimeoutError, ValueError) as error:
    content = f'{type(error).__name__} {error}'.encode()
  return Sent(status, time.perf_counter() - begin, content)


async def closed_loop(
  server: Server, fields, clients: int, seconds: float, **options
) -> list[Sent]:
  """Each client sends again as soon as it has its answer."""
  end = time.perf_counter() + seconds
  answers = []

  async def client():
    while time.perf_counter() < end:
      answers.append(await send(server, fields, **options))

  await asyncio.gather(*(client() for _ in range(clients)))
  return answers


async def open_loop(
  server: Server, fields, rate: float, seconds: float, **options
) -> list[Sent]:
  """So many a second, whether or not those before are answered."""
  tasks, begin = [], time.perf_counter()
  for i in range(int(rate * seconds)):
    await asyncio.sleep(max(begin + i / rate - time.perf_counter(), 0))
    tasks.append(asyncio.create_task(send(server, fields, **options)))
  return await asyncio.gather(*tasks)


def quantile(answers: list[Sent], q: float) -> float:
  seconds = [x.seconds for x in answers]
  return float(np.quantile(seconds, q)) if seconds else 0.0


def with_status(answers: list[Sent], status: int) -> list[Sent]:
  return [x for x in answers if x.status == status]


def batches(server: Server) -> tuple[float, float]:
  return (
    server.metric('viton_batch_size_sum'),
    server.metric('viton_batch_size_count'),
  )


def rss_mib(server: Server) -> float:
  return resident_mb(server.worker)[0]
