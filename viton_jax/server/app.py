"""The routes. `create_app` puts the server together."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Coroutine
import contextlib
import json
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
import numpy as np
from starlette.exceptions import HTTPException

import viton_jax
from viton_jax.errors import InputError
from viton_jax.io import images
from viton_jax.labels import LABEL_SETS, LIP_COLOURS, LIP_NAMES
from viton_jax.server import (
  access,
  kserve,
  live,
  openapi,
  pages,
  problems,
  stores,
)
from viton_jax.server.guard import Guard, problem_of
from viton_jax.server.job import Job
from viton_jax.server.problems import Problem
from viton_jax.server.service import Load, Service, Ticket, in_time
from viton_jax.server.sessions import Store
from viton_jax.server.settings import Settings
from viton_jax.server.stores import json_response
from viton_jax.server.uploads import Form, read_form

T = TypeVar('T')
_MAX_TIMEOUT_S = 600
_PROGRESS_S = 0.2
_STEP_HEIGHT = 512
_PERSON = ('person', 'pose', 'parse')
_GARMENT = ('garment', 'garment_mask')
_TEXTS = ('labels', 'person_index', 'method', 'session')
_DESCRIPTION = """\
Virtual try-on: a photo of a person and a photo of a garment go in, the person
wearing the garment comes out. Every refusal is one sentence that says what is
wrong and what to do (RFC 9457).
"""


def create_app(
  settings: Settings,
  *,
  load: Load | None = None,
  sessions: Store | None = None,
  failed: Callable[[Exception], None] = lambda error: None,
  ready: Callable[[], None] = lambda: None,
) -> FastAPI:
  """The server as an ASGI app.

  Args:
    settings: what it is told.
    load: reads the models; None: `models.load`.
    sessions: where they are kept; None: in this process.
    failed: is told where the models cannot be used.
    ready: is told when everything is warm.
  """
  service = Service(settings, load, sessions=sessions)

  @contextlib.asynccontextmanager
  async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    starting = asyncio.create_task(service.start(failed, ready))
    yield
    starting.cancel()
    await service.stop()

  app = FastAPI(
    title='viton_jax',
    version=viton_jax.__version__,
    description=_DESCRIPTION,
    docs_url=None,  # Those of FastAPI load their scripts from elsewhere.
    redoc_url=None,
    root_path=settings.root_path,
    redirect_slashes=False,
    lifespan=lifespan,
    default_response_class=Response,
  )
  app.state.service = service
  app.add_middleware(Guard, settings=settings, metrics=service.metrics)

  @app.exception_handler(HTTPException)
  async def plain(request: Request, error: HTTPException) -> Response:
    detail = {
      404: 'there is nothing under this address; see /docs',
      405: 'this address has no such method; see /docs',
    }.get(error.status_code, str(error.detail))
    problem = Problem(error.status_code, detail, headers=error.headers)
    return problems.response(problem, request.state.request_id)

  pages.add_routes(app)
  _add_health(app, service)
  _add_work(app, service, access.Rates(settings.rate_per_minute))
  stores.add_routes(app, service)
  kserve.add_routes(app, service)
  live.add_routes(app, service)
  return app


# ------------------------------------------------------------------- health
def _add_health(app: FastAPI, service: Service) -> None:
  @app.get('/healthz/live', tags=['health'])
  async def live() -> Response:
    """200 while the server's loop turns."""
    return json_response({'status': 'live'})

  @app.get('/healthz/ready', tags=['health'])
  async def ready() -> Response:
    """200 once warm, and while the last call of the device went well."""
    if not service.ready:
      state = service.state if service.state != 'ready' else 'failing'
      raise Problem(503, f'the server is {state}', headers={'Retry-After': '2'})
    return json_response({'status': 'ready'})

  @app.get('/metrics', tags=['health'])
  async def metrics() -> Response:
    """For Prometheus."""
    service.metrics.sessions.set(await service.sessions.count())
    return Response(
      service.metrics.text(), media_type='text/plain; version=0.0.4'
    )

  @app.get('/info', tags=['health'])
  async def info() -> Response:
    """What this server can do, and what its labels mean."""
    models = service.models
    return json_response(
      {
        'version': viton_jax.__version__,
        'state': service.state,
        'ready': service.ready,
        'methods': list(models.methods) if models else [],
        'pose': bool(models and models.pose),
        'live': bool(models and models.live),
        'gallery': service.settings.garments is not None,
        'records': service.settings.record is not None,
        'max_bytes': service.settings.max_body,
        'max_pixels': service.settings.max_pixels,
        'labels': [
          {'name': name, 'colour': list(colour)}
          for name, colour in zip(LIP_NAMES, LIP_COLOURS, strict=True)
        ],
      }
    )


# --------------------------------------------------------------------- work
def _add_work(app: FastAPI, service: Service, rates: access.Rates) -> None:
  async def form_of(
    request: Request, files: tuple[str, ...], texts: tuple[str, ...] = _TEXTS
  ) -> Form:
    rates.take(request.state.client)
    service.check()
    return await read_form(request, files=files, texts=texts)

  async def job_of(
    request: Request, files: tuple[str, ...], *, garment: bool = False
  ) -> Job:
    form = await form_of(request, files)
    return Job(
      person=form.needed('person', 'person'),
      garment=(
        await stores.garment_of(form, service, request) if garment else None
      ),
      pose=form.content('pose'),
      parse=form.file('parse'),
      labels=form.choice('labels', tuple(LABEL_SETS), 'lip'),
      person_index=form.number('person_index', low=0, high=99, default=0),
      method=form.choice('method', ('viton', 'paste', ''), ''),
    )

  @app.post('/try_on', tags=['try-on'], **openapi.try_on())
  async def try_on(request: Request) -> Response:
    """The person in the garment, as large as the photo.

    `Accept` chooses: image/png (default), image/jpeg, application/json with all
    steps in base64, or application/x-ndjson: the same with a line for each
    change of the stage and of the place in the queue.
    """
    kind = _accepted(
      request,
      ('image/png', 'image/jpeg', 'application/json', 'application/x-ndjson'),
    )
    seconds = _timeout_of(request, service)
    job = await job_of(request, (*_PERSON, *_GARMENT), garment=True)
    service.method_of(job)
    ticket = Ticket()
    work = in_time(service.try_on(job, ticket), seconds)
    if kind == 'application/x-ndjson':
      lines = _progress(work, ticket, service, request.state.request_id)
      return StreamingResponse(lines, media_type=kind)
    result = await _while_connected(request, work)
    if kind == 'application/json':
      return json_response(await asyncio.to_thread(_result_json, result))
    return await _picture(result.picture, kind)

  @app.post('/pose', tags=['perception'], **openapi.pose())
  async def pose(request: Request) -> Response:
    """The joints of the people in a photo, largest first (OpenPose JSON)."""
    seconds = _timeout_of(request, service)
    job = await job_of(request, ('person',))
    work = in_time(service.people(job, Ticket()), seconds)
    return json_response(_openpose(await _while_connected(request, work)))

  @app.post('/seg', tags=['perception'], **openapi.seg())
  async def seg(request: Request) -> Response:
    """LIP's label of each pixel of a photo: a grey PNG of label numbers."""
    seconds = _timeout_of(request, service)
    job = await job_of(request, ('person', 'pose'))
    work = in_time(service.labels(job, Ticket()), seconds)
    return await _picture(await _while_connected(request, work), 'image/png')

  @app.post('/attach', tags=['try-on'], **openapi.attach())
  async def attach(request: Request) -> Response:
    """The garment's photo laid flat over the clothes, as a first look."""
    kind = _accepted(request, ('image/png', 'image/jpeg'))
    seconds = _timeout_of(request, service)
    job = await job_of(request, (*_PERSON, *_GARMENT), garment=True)
    work = in_time(service.attach(job, Ticket()), seconds)
    return await _picture(await _while_connected(request, work), kind)

  @app.post('/garment_mask', tags=['perception'], **openapi.garment_mask())
  async def garment_mask(request: Request) -> Response:
    """Which pixels of a garment's photo are the garment: a PNG, white there."""
    seconds = _timeout_of(request, service)
    form = await form_of(request, ('garment',), ('session',))
    garment = await stores.garment_of(form, service, request)
    job = Job(person=garment.photo)
    work = in_time(service.garment_mask(job, Ticket()), seconds)
    return await _picture(await _while_connected(request, work), 'image/png')


def _timeout_of(request: Request, service: Service) -> float:
  text = request.headers.get('x-timeout-ms', '')
  if not text:
    return service.settings.timeout_s
  if text.isascii() and text.isdecimal() and len(text) < 9:
    seconds = int(text) / 1000
    if 0 < seconds <= _MAX_TIMEOUT_S:
      return seconds
  raise Problem(
    400,
    f'X-Timeout-Ms is {text[:20]!r}; give milliseconds from 1 to '
    f'{_MAX_TIMEOUT_S * 1000}',
  )


def _accepted(request: Request, kinds: tuple[str, ...]) -> str:
  """The first of `kinds` that the request names; the first of all for any."""
  accept = request.headers.get('accept', '*/*').lower()
  named = [part.partition(';')[0].strip() for part in accept.split(',')]
  for kind in named:
    if kind in kinds:
      return kind
    if kind in ('*/*', 'image/*', ''):
      return kinds[0]
  raise Problem(406, f'Accept must name one of {", ".join(kinds)}')


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
  """The result, unless the client leaves first: then the work is cancelled."""
  task = asyncio.create_task(work)
  gone = asyncio.create_task(_gone(request))
  try:
    await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
      return task.result()
    raise Problem(499, 'the client has left', reason='client left')
  finally:
    gone.cancel()
    task.cancel()
    await asyncio.gather(task, gone, return_exceptions=True)
    # Its exception, which passes through here, would hold itself.
    del task


async def _gone(request: Request) -> None:
  while (await request.receive())['type'] != 'http.disconnect':
    pass


async def _progress(
  work: Coroutine[Any, Any, Any],
  ticket: Ticket,
  service: Service,
  request_id: str,
) -> AsyncIterator[str]:
  """Lines of JSON: stages, and at last the result or the problem."""
  task = asyncio.create_task(work)
  said = None
  try:
    while not task.done():
      now = {'stage': ticket.stage, 'place': service.place(ticket)}
      # Said again when nothing changes, so that a lost client is noticed.
      yield json.dumps(now) + '\n'
      said = now
      for _ in range(5):
        await asyncio.wait({task}, timeout=_PROGRESS_S)
        now = {'stage': ticket.stage, 'place': service.place(ticket)}
        if task.done() or now != said:
          break
    try:
      result = await asyncio.to_thread(_result_json, task.result())
      yield json.dumps({'result': result}) + '\n'
    except (Problem, InputError) as error:
      yield _problem_line(problem_of(error), service, request_id)
  finally:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    del task  # As in `_while_connected`.


def _problem_line(problem: Problem, service: Service, request_id: str) -> str:
  service.metrics.count_rejection(problem.reason)
  return json.dumps({'problem': problems.content(problem, request_id)}) + '\n'


# ------------------------------------------------------------------ answers
def _openpose(people: list[np.ndarray]) -> dict[str, Any]:
  # Here, because it comes with JAX; see `service.Service`.
  from viton_jax.perception.pose import keypoints

  return keypoints.openpose_json(people)


async def _picture(pixels: np.ndarray, kind: str) -> Response:
  encode = images.encode_jpeg if kind == 'image/jpeg' else images.encode_png
  return Response(await asyncio.to_thread(encode, pixels), media_type=kind)


def _result_json(result: Any) -> dict[str, Any]:
  """A `TryOnResult`; pictures in base64, the steps of moderate size."""

  def text(data: bytes) -> str:
    return base64.b64encode(data).decode()

  steps = {}
  for name, image in result.steps.items():
    height = min(image.shape[0], _STEP_HEIGHT)
    width = max(round(image.shape[1] * height / image.shape[0]), 1)
    small = images.resize_area(np.ascontiguousarray(image), height, width)
    steps[name] = text(images.encode_jpeg(small, quality=88))
  box = result.box
  return {
    'picture': text(images.encode_png(result.picture)),
    'picture_type': 'image/png',
    'steps': steps,
    'steps_type': 'image/jpeg',
    'box': [box.left, box.top, box.width, box.height],
    'keypoints': result.keypoints.round(2).tolist(),
    'notes': list(result.notes),
  }
