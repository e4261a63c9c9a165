"""What every request passes: limits, keys, headers, errors, metrics, logs."""

import asyncio
import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from viton_jax.errors import InputError, NoAnswer
from viton_jax.server import access, logs, problems
from viton_jax.server.metrics import Metrics
from viton_jax.server.problems import Problem
from viton_jax.server.settings import Settings

# What is read and thrown away of a body that nobody wants.
_DISCARD_S = 2.0
_DISCARD_BYTES = 64 << 20
# A client that sends more is told to stop; what is smaller has mostly arrived.
_SENT_ANYWAY = 1 << 20
_REQUEST_ID = re.compile(r'[A-Za-z0-9_-]{1,64}')
# Blobs are pictures that the page itself has made, and nothing else is let in.
_CSP = (
  "default-src 'self'; img-src 'self' blob:; object-src 'none'; "
  "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
  'Content-Security-Policy': _CSP,
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Permissions-Policy': 'camera=(self), microphone=(), geolocation=()',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
}
# Open without a key: no work, nothing of anybody.
_OPEN = re.compile(
  r'/|/page/[^/]*|/docs|/openapi\.json|/info|/healthz/[a-z]+'
  r'|/v2/health/[a-z]+'
)


class _Body:
  """A request's body, with limits on its size and its time."""

  def __init__(self, receive: Receive, settings: Settings, headers: Headers):
    self._receive = receive
    self._length = _length(headers)
    self._settings = settings
    self._end = asyncio.get_running_loop().time() + settings.body_timeout_s
    self._taken = 0
    self._whole = False

  @property
  def short(self) -> bool:
    """Whether little of it can be on its way."""
    return self._whole or 0 <= self._length <= _SENT_ANYWAY

  async def receive(self) -> Message:
    """ASGI's `receive`; raises Problem (408, 413)."""
    if self._whole:  # Waits for the client to leave.
      return await self._receive()
    try:
      async with asyncio.timeout_at(self._end):
        message = await self._receive()
    except TimeoutError:
      raise Problem(
        408,
        f'the request was not complete after {self._settings.body_timeout_s:g} '
        's; send it again over a faster connection, or a smaller photo',
        reason='slow body',
        headers={'Connection': 'close'},
      ) from None
    self._taken += len(message.get('body', b''))
    self._whole = not message.get('more_body', False)
    if self._taken > self._settings.max_body:
      raise too_large(self._settings.max_body)
    return message

  async def discard(self) -> None:
    """Reads on for a moment: clients look for the answer when all is sent, and
    a connection that is closed before that may take it with it.
    """
    taken = 0
    try:
      async with asyncio.timeout(_DISCARD_S):
        while not self._whole and taken < _DISCARD_BYTES:
          message = await self._receive()
          taken += len(message.get('body', b''))
          self._whole = not message.get('more_body', False)
    except TimeoutError:
      pass


def _length(headers: Headers) -> int:
  """Bytes of a body; -1: it does not say."""
  if 'transfer-encoding' in headers:
    return -1
  length = headers.get('content-length', '0')
  return int(length) if length.isdecimal() else -1


def too_large(limit: int) -> Problem:
  return Problem(
    413,
    f'the request is above {limit / 2**20:g} MiB, which is the limit; scale '
    'the photos down',
    reason='large body',
    headers={'Connection': 'close'},
  )


class Guard:
  """ASGI middleware around the whole app."""

  def __init__(self, app: ASGIApp, *, settings: Settings, metrics: Metrics):
    self._app = app
    self._settings = settings
    self._metrics = metrics

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    if scope['type'] != 'http':
      await self._app(scope, receive, send)
      return
    begin = time.perf_counter()
    headers = Headers(scope=scope)
    given = headers.get('x-request-id', '')
    request_id = (
      given if _REQUEST_ID.fullmatch(given) else secrets.token_urlsafe(12)
    )
    state = scope.setdefault('state', {})
    state['request_id'] = request_id
    status, end = 0, 0.0
    body = _Body(receive, self._settings, headers)

    async def answer(message: Message) -> None:
      nonlocal status, end
      if message['type'] == 'http.response.start':
        status = message['status']
        out = MutableHeaders(scope=message)
        out['X-Request-Id'] = request_id
        for name, value in _HEADERS.items():
          out[name] = value
        if 'cache-control' not in out:
          out['Cache-Control'] = 'no-store'
      await send(message)
      end = time.perf_counter()

    try:
      self._check(scope, headers, state)
      await self._app(scope, body.receive, answer)
    except (Problem, InputError) as error:
      # Not kept here: an exception holds the frames that it passes through.
      reply = self._refusal(problem_of(error), scope, body)
      if not status:
        if self._settings.refuse_after_body:
          await body.discard()
          await reply(scope, receive, answer)
        else:
          # First the answer: those who are turned away need not wait until this
          # has read what they sent.
          await reply(scope, receive, answer)
          if status != 408:
            await body.discard()
    except Exception:  # noqa: BLE001 - a defect of ours; the log has it
      logs.exception('defect', request_id=request_id, route=_route(scope))
      if not status:
        defect = Problem(
          500,
          'the server has a defect; its log tells more under this request id',
        )
        await problems.response(defect, request_id)(scope, receive, answer)
    finally:
      seconds = (end or time.perf_counter()) - begin
      route = _route(scope)
      self._metrics.requests.labels(route, str(status)).inc()
      self._metrics.request_seconds.labels(route).observe(seconds)
      logs.info(
        'request',
        request_id=request_id,
        method=scope['method'],
        route=route,
        status=status,
        milliseconds=round(seconds * 1e3, 1),
      )

  def _refusal(self, problem: Problem, scope: Scope, body: _Body) -> Response:
    problem.for_kserve = '/v2/' in scope['path']
    self._metrics.count_rejection(problem.reason)
    if not body.short:
      problem.headers.setdefault('Connection', 'close')
    return problems.response(problem, scope['state']['request_id'])

  def _check(self, scope: Scope, headers: Headers, state: dict) -> None:
    settings = self._settings
    peer = scope['client'][0] if scope.get('client') else ''
    state['client'] = access.client_of(peer, headers, settings.trusted_proxies)
    path = scope['path'].removeprefix(settings.root_path) or '/'
    state['owner'] = b''
    if not _OPEN.fullmatch(path):
      state['owner'] = access.owner_of(headers, settings.keys)
    if scope['method'] not in ('GET', 'HEAD', 'OPTIONS'):
      access.check_origin(headers)
    if _length(headers) > settings.max_body:
      raise too_large(settings.max_body)


def problem_of(error: Problem | InputError) -> Problem:
  """What a client may put right, as an answer with status 422."""
  if isinstance(error, Problem):
    return error
  if isinstance(error, NoAnswer):
    return Problem(502, str(error), reason='other server')
  return Problem(422, str(error), about=error.about)


def _route(scope: Scope) -> str:
  """The route's pattern: names that clients choose stay out of the log."""
  route = scope.get('route')
  return getattr(route, 'path', None) or 'none'
