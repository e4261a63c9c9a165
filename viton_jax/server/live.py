"""WS /live: frames of a camera in, the same frames dressed out.

A client sends frames as binary messages: 8 bytes, the number of the frame
(unsigned, 4 bytes, network order) and 4 bytes of 0, then a JPEG. For each that
is worked on it gets, for each view that it wants, 8 bytes, the number, the view
(its place in VIEWS, 1 byte) and 3 bytes of 0, then a JPEG. A frame that comes
while another is worked on takes the place of one that still waits: always the
newest is next.

Texts are JSON objects. From the client, each field optional: `key`, in the
first message, where the server asks for keys; `garment`, a name of the gallery,
or null; `session`, whose garment is worn; `person`, [x, y] in 0..1, whom to
dress, or null: the largest; `views`, names. From the server: `message`, why no
garment is shown, or ''; `garment`, SHA-256 of the one that is shown; `problem`,
as RFC 9457 has it, after which the connection ends or the request is void.
"""

import asyncio
from concurrent import futures
import json
import struct
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, WebSocket
import numpy as np
from starlette.datastructures import Headers
from starlette.websockets import WebSocketDisconnect

from viton_jax.errors import InputError
from viton_jax.io import images, photos
from viton_jax.server import access, logs, problems
from viton_jax.server.guard import problem_of
from viton_jax.server.problems import Problem
from viton_jax.server.service import Service
from viton_jax.server.sessions import Garment

if TYPE_CHECKING:
  from viton_jax.live.engine import Live, Shown

# As `live.views` has them, which comes with JAX.
VIEWS = ('input', 'pose', 'segmentation', 'try-on', 'attached', 'garment')
_HEAD = struct.Struct('!IB3x')
_QUALITY = 85
_MAX_FRAME = 1 << 20  # Bytes.
_MAX_TEXT = 4096
_MAX_PIXELS = 2_100_000  # Full HD.
_FIRST_S = 10.0  # Until the first message must be there.
_IDLE_S = 60.0
_DISCARD_S = 0.5  # How long a refused client is listened to.
# Of RFC 6455, and its registry.
_GOING_AWAY, _POLICY, _TRY_LATER, _DEFECT = 1001, 1008, 1013, 1011


def add_routes(app: FastAPI, service: Service) -> None:
  @app.websocket('/live')
  async def live(socket: WebSocket) -> None:
    headers = Headers(scope=socket.scope)
    try:
      access.check_origin(headers)
    except Problem as error:
      service.metrics.count_rejection(error.reason)
      await socket.close(_POLICY)  # Before it is accepted: 403.
      return
    await socket.accept()
    task = asyncio.create_task(_serve(socket, service, headers))
    service.live.add(task)
    try:
      await task
    except asyncio.CancelledError:
      await _close(socket, _GOING_AWAY)
    finally:
      service.live.discard(task)


async def _serve(socket: WebSocket, service: Service, headers: Headers) -> None:
  client = None
  try:
    service.check()
    owner, first = await _first(socket, service, headers)
    client = _Client(socket, service, owner)
    await client.control(first)
    await client.run()
  except WebSocketDisconnect:
    pass
  except (Problem, InputError) as error:
    await _refuse(socket, service, problem_of(error))
  except Exception:  # noqa: BLE001 - a defect of ours; the log has it
    logs.exception('defect', route='/live')
    await _close(socket, _DEFECT)
  finally:
    if client:
      await client.close()


async def _refuse(
  socket: WebSocket, service: Service, problem: Problem
) -> None:
  service.metrics.count_rejection(problem.reason)
  await _say(socket, {'problem': problems.content(problem, 'live')})
  # It has no place any more while it is listened to.
  if task := asyncio.current_task():
    service.live.discard(task)
  await _discard(socket)
  late = problem.status in (429, 503)
  await _close(socket, _TRY_LATER if late else _POLICY)


async def _first(
  socket: WebSocket, service: Service, headers: Headers
) -> tuple[bytes, dict[str, Any]]:
  """The owner of a connection and its first text.

  Browsers cannot send a header with it, so the key may be in the text.
  """
  try:
    async with asyncio.timeout(_FIRST_S):
      message = await socket.receive()
  except TimeoutError:
    raise Problem(
      408, 'the first message did not come; send a JSON text', reason='idle'
    ) from None
  if message['type'] == 'websocket.disconnect':
    raise WebSocketDisconnect(message.get('code', 1005))
  first = _object(message.get('text') or '')
  key = first.pop('key', None)
  if isinstance(key, str) and key:
    headers = Headers({'authorization': f'Bearer {key}'})
  return access.owner_of(headers, service.settings.keys), first


def _object(text: str) -> dict[str, Any]:
  try:
    if len(text) > _MAX_TEXT:
      raise ValueError
    value = json.loads(text)
    if not isinstance(value, dict):
      raise ValueError
  except (ValueError, RecursionError):
    raise Problem(
      400, 'a text must be a JSON object; the first message must be a text'
    ) from None
  return value


class _Client:
  """One connection: the newest frame, and what is shown."""

  def __init__(self, socket: WebSocket, service: Service, owner: bytes):
    # Here, because they come with JAX; see `service.Service`.
    from viton_jax.live import engine, garments, views

    models = service.loaded().live
    if models is None:
      raise Problem(
        400,
        'this server has no live try-on; start it with a pose model (python -m '
        'viton_jax.perception list) and --max_live above 0',
      )
    # This connection is among them.
    if len(service.live) > service.settings.max_live:
      raise Problem(
        503,
        f'{service.settings.max_live} live try-ons are open, which is the '
        'limit; try again later',
        reason='live',
      )
    self._socket, self._service, self._owner = socket, service, owner
    self._draw = views.draw
    self._garments = _known_garments(service, garments.Garments)
    self._live: Live = engine.Live(models)
    self._garment = None
    self._views: tuple[str, ...] = ('try-on',)
    self._newest: tuple[int, bytes] | None = None
    self._came = asyncio.Event()
    self._thread = futures.ThreadPoolExecutor(1, 'live')
    self._said: dict[str, str] = {}

  async def close(self) -> None:
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(self._thread, self._live.close)
    self._thread.shutdown(wait=False)

  async def run(self) -> None:
    tasks = [asyncio.create_task(x) for x in (self._work(), self._read())]
    try:
      await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
      # Each session ends with an exception of one of them.
      await next(x for x in tasks if x.done())
    finally:
      for task in tasks:
        task.cancel()
      await asyncio.gather(*tasks, return_exceptions=True)
      # That passes through here, and would hold itself and all frames.
      del task, tasks

  async def _read(self) -> None:
    while True:
      try:
        async with asyncio.timeout(_IDLE_S):
          message = await self._socket.receive()
      except TimeoutError:
        raise Problem(
          408, f'nothing came for {_IDLE_S:g} s', reason='idle'
        ) from None
      if message['type'] == 'websocket.disconnect':
        raise WebSocketDisconnect(message.get('code', 1005))
      if (data := message.get('bytes')) is None:
        await self._try_control(message.get('text') or '')
        continue
      if not _HEAD.size < len(data) <= _MAX_FRAME:
        raise Problem(
          413,
          f'a frame has {len(data)} bytes; send a JPEG of at most '
          f'{_MAX_FRAME >> 20} MiB after 8 bytes',
        )
      frames = self._service.metrics.frames
      frames.labels('in').inc()
      if self._newest is not None:
        frames.labels('dropped').inc()
      number, _ = _HEAD.unpack_from(data)
      self._newest = number, data[_HEAD.size :]
      self._came.set()

  async def _try_control(self, text: str) -> None:
    """A wish that cannot be met leaves everything as it is."""
    wishes = _object(text)
    try:
      await self.control(wishes)
    except (Problem, InputError) as error:
      content = problems.content(problem_of(error), 'live')
      await _say(self._socket, {'problem': content})

  async def control(self, wishes: dict[str, Any]) -> None:
    """What a text asks for; raises Problem or InputError."""
    known = ('garment', 'session', 'person', 'views')
    for name in wishes:
      if name not in known:
        raise Problem(
          400, f'{name[:40]!r} is not known here; known are {", ".join(known)}'
        )
    if 'views' in wishes:
      views = wishes['views']
      if (
        not isinstance(views, list)
        or not views
        or not all(x in VIEWS for x in views)
      ):
        raise Problem(
          400, f'views must be a list of one or more of {", ".join(VIEWS)}'
        )
      self._views = tuple(dict.fromkeys(views))
    if 'person' in wishes:
      await self._in_thread(self._live.choose, _point(wishes['person']))
    if 'garment' in wishes or 'session' in wishes:
      await self._wear(wishes)

  async def _wear(self, wishes: dict[str, Any]) -> None:
    name, session = wishes.get('garment'), wishes.get('session')
    if isinstance(session, str):
      chosen = await self._service.sessions.garment(session, self._owner)
    elif isinstance(name, str):
      photo = await asyncio.to_thread(self._service.gallery.photo, name)
      chosen = Garment(photo)
    else:
      chosen = None
    garment = None
    if chosen:
      garment = await asyncio.to_thread(
        self._garments.get,
        chosen.photo,
        chosen.mask,
        max_pixels=self._service.settings.max_pixels,
      )
    self._garment = garment
    await self._in_thread(self._live.wear, garment)

  async def _work(self) -> None:
    while True:
      await self._came.wait()
      self._came.clear()
      newest, self._newest = self._newest, None
      if newest is None:
        continue
      number, data = newest
      shown, pictures = await self._in_thread(self._step, data)
      for view, picture in pictures:
        head = _HEAD.pack(number, VIEWS.index(view))
        await self._socket.send_bytes(head + picture)
      self._service.metrics.frames.labels('shown').inc()
      said = {'message': shown.message, 'garment': shown.garment}
      if said != self._said:
        self._said = said
        await _say(self._socket, said)

  def _step(self, data: bytes) -> tuple['Shown', list[tuple[str, bytes]]]:
    if data[:2] != b'\xff\xd8':
      raise Problem(415, 'a frame is no JPEG; send one after the 8 bytes')
    frame, _ = photos.decode_photo(data, 'the frame', max_pixels=_MAX_PIXELS)
    shown = self._live.step(np.ascontiguousarray(frame))
    pictures = [
      (
        view,
        images.encode_jpeg(
          self._draw(view, shown, self._garment), quality=_QUALITY
        ),
      )
      for view in self._views
    ]
    return shown, pictures

  async def _in_thread(self, work, *arguments):
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(self._thread, work, *arguments)


def _known_garments(service: Service, make):
  """Garments are prepared once for all connections, told by their content."""
  if service.live_garments is None:
    service.live_garments = make()
  return service.live_garments


def _point(value: Any) -> tuple[float, float] | None:
  if value is None:
    return None
  if (
    isinstance(value, list)
    and len(value) == 2
    and all(isinstance(x, int | float) and 0 <= x <= 1 for x in value)
  ):
    return float(value[0]), float(value[1])
  raise Problem(
    400, 'person must be [x, y], each from 0 to 1, or null', about='person'
  )


async def _say(socket: WebSocket, value: dict[str, Any]) -> None:
  try:
    await socket.send_text(json.dumps(value))
  except (RuntimeError, WebSocketDisconnect):  # The client has left.
    pass


async def _discard(socket: WebSocket) -> None:
  """Reads what was sent before the client knew, for a moment.

  A connection that is closed with unread data is reset, and the client loses
  the reason with it.
  """
  try:
    async with asyncio.timeout(_DISCARD_S):
      while (await socket.receive())['type'] != 'websocket.disconnect':
        pass
  except (TimeoutError, RuntimeError, WebSocketDisconnect):
    pass


async def _close(socket: WebSocket, code: int) -> None:
  try:
    await socket.close(code)
  except (RuntimeError, WebSocketDisconnect):
    pass
