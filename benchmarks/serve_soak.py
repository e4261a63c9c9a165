"""A server under mixed load for a long time: does anything grow or stay?"""

import asyncio
import collections
import contextlib
import os
import pathlib
import threading
import time

import numpy as np

from benchmarks import serve_hostile
from benchmarks.serve_client import a_request, rss_mib, send
from input_pipeline.synthetic import render_pair
from tests import live_videos
from tests.server_process import Server, form, serving
from viton_jax.errors import NoAnswer
from viton_jax.io import images
from viton_jax.live.remote import Remote
from viton_jax.perception import model_files

_CLIENTS = 3
_LIVE = 2
_FRAME_S = 0.2
_SAMPLE_S = 5.0


def soak(options, folder: pathlib.Path) -> None:
  """Requests of every kind, good and bad, and two live sessions."""
  temporary, gallery = folder / 'tmp', folder / 'garments'
  temporary.mkdir()
  gallery.mkdir()
  for name in ('red', 'blue'):
    garment = live_videos.garment(6 if name == 'red' else 2)
    (gallery / f'{name}.png').write_bytes(garment)
  # Later options win: `serving` gives a folder without models.
  models = ('--models_dir', model_files.models_folder())
  network = ('--checkpoint', options.checkpoint) if options.checkpoint else ()
  # Before there are connections: drawing takes seconds, in which none of the
  # clients could send, and a server closes one that says nothing for 10 s.
  fields = a_request()
  shirts = [
    images.encode_png(render_pair(7, i, 512).garment) for i in range(2, 6)
  ]
  with serving(
    folder, '--garments', gallery, *models, *network, TMPDIR=str(temporary)
  ) as server:
    counts: collections.Counter = collections.Counter()
    end = time.monotonic() + options.seconds
    threads = [
      threading.Thread(target=_live, args=(server, end, counts))
      for _ in range(_LIVE)
    ]
    for thread in threads:
      thread.start()
    samples = asyncio.run(
      _load(server, fields, shirts, seed=options.seed, end=end, counts=counts)
    )
    for thread in threads:
      thread.join()
    left = sorted(x.name for x in temporary.iterdir())
    tracebacks = server.log.read_text().count('raceback')
  _print(samples, counts, options.seconds)
  print(f'{tracebacks} tracebacks; {len(left)} files left in TMPDIR {left[:3]}')


def _print(samples, counts, seconds: float) -> None:
  minutes, rss, files = map(np.asarray, zip(*samples, strict=True))
  warm = minutes > seconds / 60 / 6  # Of an hour the tenth minute.
  slope = np.polyfit(minutes[warm], rss[warm], 1)[0]
  parts = [f'{np.median(x):.0f}' for x in np.array_split(rss, 6)]
  print(
    ', '.join(f'{name}: {count}' for name, count in sorted(counts.items()))
    + f'\nRSS in sixths of the time, MiB: {" ".join(parts)}; slope after the '
    f'first {slope:+.2f} MiB a minute\ndescriptors: median '
    f'{np.median(files[~warm]):.0f}, then {np.median(files[warm]):.0f}, from '
    f'{files.min()} to {files.max()}'
  )


async def _load(
  server: Server, fields, shirts, *, seed: int, end: float, counts
) -> list:
  """(minutes, MiB, descriptors) of the worker, while requests come."""
  samples, begin = [], time.monotonic()

  async def sample():
    while time.monotonic() < end:
      files = len(os.listdir(f'/proc/{server.worker}/fd'))
      samples.append(((time.monotonic() - begin) / 60, rss_mib(server), files))
      await asyncio.sleep(_SAMPLE_S)

  clients = (
    _client(server, fields, shirts, seed=[seed, i], end=end, counts=counts)
    for i in range(_CLIENTS)
  )
  await asyncio.gather(sample(), *clients)
  return samples


async def _client(
  server: Server, fields, shirts, *, seed: list[int], end: float, counts
) -> None:
  rng = np.random.default_rng(seed)
  person = {'person': fields['person']}
  sessions: list[str] = []
  while time.monotonic() < end:
    kind = str(
      rng.choice(['try_on', 'attach', 'garment_mask', 'session', 'bad', 'seg'])
    )
    if kind == 'bad':
      _, bad = serve_hostile.mutated(fields, rng)
      answer = await send(server, bad)
    elif kind == 'session':
      answer = await _in_session(server, fields, shirts, sessions, rng)
    elif kind == 'garment_mask':
      shirt = shirts[int(rng.integers(len(shirts)))]
      answer = await send(server, {'garment': shirt}, path='/garment_mask')
    elif kind == 'seg':
      answer = await send(
        server, person | {'pose': fields['pose']}, path='/seg'
      )
    else:
      answer = await send(server, fields, path=f'/{kind}')
    why = '' if answer.status else f' {answer.body.decode()[:60]}'
    counts[f'{kind} {answer.status}{why}'] += 1
    await asyncio.sleep(float(rng.uniform(0, 0.1)))


async def _in_session(server: Server, fields, shirts, sessions, rng):
  """A try-on in the garment of a session, which is new or known."""
  if not sessions or rng.random() < 0.1:
    made = await asyncio.to_thread(server.post, '/sessions', b'')
    if made.status == 201 or made.status == 200:
      sessions.append(made.json()['session'])
  if len(sessions) > 3:
    gone = sessions.pop(0)
    await asyncio.to_thread(server.request, 'DELETE', f'/sessions/{gone}')
  session = sessions[-1]
  body, kind = form({'garment': shirts[int(rng.integers(len(shirts)))]})
  await asyncio.to_thread(
    server.request, *('PUT', f'/sessions/{session}/garment', body),
    headers={'Content-Type': kind},
  )  # fmt: skip
  person = {x: y for x, y in fields.items() if x != 'garment'}
  return await send(server, person | {'session': session})


def _live(server: Server, end: float, counts) -> None:
  """A live session that ends and comes again each half minute."""
  frames = live_videos.frames()
  number = 0
  while time.monotonic() < end:
    remote = Remote(f'ws://127.0.0.1:{server.port}/live')
    until = min(end, time.monotonic() + 30)
    with contextlib.closing(remote):
      while time.monotonic() < until:
        try:
          if number % 40 == 0:
            remote.say({'garment': 'red' if number % 80 else 'blue'})
          remote.step(frames[number % len(frames)], ('try-on',))
          counts['live frames'] += 1
        except NoAnswer as error:
          counts[f'live: {str(error)[:60]}'] += 1
          break
        number += 1
        time.sleep(_FRAME_S)
