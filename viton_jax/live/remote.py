"""A live try-on on another machine: the client of `WS /live`.

VITON_SERVER names it, as in the real-time demo of 2018. Frames go as JPEG, one
at a time; the server sends each view that is wanted.
"""

import contextlib
import json
import struct
from typing import Any
import urllib.error
import urllib.parse
import urllib.request

import numpy as np

from viton_jax.errors import InputError, NoAnswer
from viton_jax.io import images, photos
from viton_jax.live.views import VIEWS

_HEAD = struct.Struct('!IB3x')
_TIMEOUT_S = 30.0
_QUALITY = 85
_MAX_ANSWER = 8 << 20


def address_of(text: str) -> str:
  """The address of `WS /live` of a server, from 'http://10.0.0.5:8000'.

  Raises:
    InputError: it is no address.
  """
  address = text.strip().rstrip('/')
  if '://' not in address:
    address = f'http://{address}'
  parts = urllib.parse.urlsplit(address)
  schemes = {'http': 'ws', 'https': 'wss'}
  if parts.scheme not in schemes or not parts.hostname:
    raise InputError(
      f"VITON_SERVER is '{text}'; give an address like http://10.0.0.5:8000"
    )
  return f'{schemes[parts.scheme]}{address[len(parts.scheme) :]}/live'


class Remote:
  """A connection to a server.

  Args:
    address: see `address_of`.
    key: where the server asks for one.

  Raises:
    NoAnswer: the server cannot be reached.
  """

  def __init__(self, address: str, key: str = ''):
    # Of the extra [live].
    from websockets import exceptions
    from websockets.sync.client import connect

    self._lost = exceptions.ConnectionClosed
    self._address, self._key, self._session = address, key, ''
    self._number = 0
    self._open = contextlib.ExitStack()
    self.message, self.garment, self.problem = '', '', ''
    try:
      self._socket = self._open.enter_context(
        connect(address, open_timeout=_TIMEOUT_S, max_size=_MAX_ANSWER)
      )
    except (OSError, exceptions.WebSocketException) as error:
      raise NoAnswer(
        f'VITON_SERVER: {address} does not answer ({error}); start the server '
        'there, or unset VITON_SERVER'
      ) from error
    self.say({'key': key} if key else {})

  def say(self, wishes: dict[str, Any]) -> None:
    """Sends wishes, see `server.live`; raises as `step`."""
    self.problem = ''
    try:
      self._socket.send(json.dumps(wishes))
    except self._lost as error:
      raise self._gone() from error

  def step(
    self, frame: np.ndarray, views: tuple[str, ...]
  ) -> dict[str, np.ndarray]:
    """A frame's views, (h, w, 3) uint8 RGB by name.

    Args:
      frame: (h, w, 3) uint8 RGB.
      views: the ones that were asked for last.

    Raises:
      NoAnswer: the connection was lost, or it sends what is no picture.
    """
    self._number += 1
    made: dict[str, np.ndarray] = {}
    try:
      self._socket.send(
        _HEAD.pack(self._number, 0)
        + images.encode_jpeg(frame, quality=_QUALITY)
      )
      while len(made) < len(views):
        answer = self._socket.recv(timeout=_TIMEOUT_S)
        if isinstance(answer, str):
          self._told(answer)
          continue
        number, view = _HEAD.unpack_from(answer)
        if number == self._number and view < len(VIEWS):
          made[VIEWS[view]], _ = photos.decode_photo(
            answer[_HEAD.size :], f'the answer of {self._address}'
          )
    except self._lost as error:
      raise self._gone() from error
    except (TimeoutError, struct.error) as error:
      raise NoAnswer(
        f'VITON_SERVER: {self._address} does not answer a frame; check what '
        'runs there'
      ) from error
    return made

  def wear(self, photo: bytes) -> None:
    """Sends a garment's photo, in a session of its own, and wears it.

    Raises:
      InputError: the server refuses it.
      NoAnswer: the server cannot be reached.
    """
    if not self._session:
      made = self._request('POST', 'sessions', b'', 'application/json')
      self._session = str(made['session'])
    path = f'sessions/{self._session}/garment'
    self._request('PUT', path, photo, 'application/octet-stream')
    self.say({'session': self._session})

  def _request(self, method: str, path: str, body: bytes, kind: str):
    scheme, _, rest = self._address.removesuffix('live').partition('://')
    url = f'{scheme.replace("ws", "http")}://{rest}{path}'
    headers = {'Content-Type': kind}
    if self._key:
      headers['Authorization'] = f'Bearer {self._key}'
    request = urllib.request.Request(url, body, headers, method=method)
    try:
      with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
        return json.loads(answer.read(_MAX_ANSWER))
    except urllib.error.HTTPError as error:
      try:
        detail = str(json.loads(error.read(_MAX_ANSWER))['detail'])
      except (ValueError, TypeError, KeyError):
        detail = f'{url} answers {error.code}; check what runs there'
      raise InputError(f'VITON_SERVER: {detail}') from error
    except (OSError, ValueError) as error:
      raise NoAnswer(
        f'VITON_SERVER: {url} does not answer ({error}); start the server '
        'there, or unset VITON_SERVER'
      ) from error

  def close(self) -> None:
    self._open.close()

  def _told(self, text: str) -> None:
    try:
      said = json.loads(text)
      if 'problem' in said:
        self.problem = str(said['problem']['detail'])
      self.message = str(said.get('message', self.message))
      self.garment = str(said.get('garment', self.garment))
    except (ValueError, TypeError, KeyError):
      pass  # Of another version; the pictures tell.

  def _gone(self) -> NoAnswer:
    # What it said last says why.
    try:
      while isinstance(answer := self._socket.recv(timeout=1), str):
        self._told(answer)
    except (self._lost, TimeoutError):
      pass
    why = self.problem or 'the connection was lost'
    return NoAnswer(f'VITON_SERVER: {self._address}: {why}')
