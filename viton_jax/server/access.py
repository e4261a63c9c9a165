"""Who may ask: keys, the origin of a page, and each client's own rate."""

from collections.abc import Iterable
import hashlib
import hmac
import pathlib
import time
import urllib.parse

from starlette.datastructures import Headers

from viton_jax.errors import InputError
from viton_jax.io import files
from viton_jax.server.problems import Problem

_MIN_KEY = 16
_CLIENTS = 10_000  # Whose rates are remembered.


def read_keys(path: pathlib.Path) -> tuple[bytes, ...]:
  """SHA-256 of each key in a file, one a line; '#' begins a comment.

  Raises:
    InputError: the file cannot be read, is empty or has a short key.
  """
  text = files.read_text(
    path, 'keys', remedy='give a text file with one key a line'
  )
  lines = text.splitlines()
  keys = [x.strip() for x in lines if x.strip() and not x.startswith('#')]
  if not keys:
    raise InputError(f'{path}: there is no key in it; write one a line')
  for number, key in enumerate(keys, start=1):
    if len(key) < _MIN_KEY:
      raise InputError(
        f'{path}: key {number} has {len(key)} characters; give at least '
        f'{_MIN_KEY}, for example of `openssl rand -hex 16`'
      )
  return tuple(hashlib.sha256(key.encode()).digest() for key in keys)


def owner_of(headers: Headers, keys: Iterable[bytes]) -> bytes:
  """SHA-256 of the key that a request brings, or b'' where none is needed.

  Every known key is compared, in constant time.

  Raises:
    Problem: 401, no key or an unknown one.
  """
  keys = tuple(keys)
  if not keys:
    return b''
  scheme, _, token = headers.get('authorization', '').partition(' ')
  given = token if scheme.lower() == 'bearer' else headers.get('x-api-key', '')
  digest = hashlib.sha256(given.strip().encode()).digest()
  if sum(hmac.compare_digest(digest, key) for key in keys):
    return digest
  raise Problem(
    401,
    'this server needs a key; send it as `Authorization: Bearer KEY`',
    about='key',
    reason='key',
    headers={'WWW-Authenticate': 'Bearer'},
  )


def check_origin(headers: Headers) -> None:
  """Refuses requests that a page of another origin makes a browser send.

  Raises:
    Problem: 403.
  """
  origin = headers.get('origin')
  if origin is None:
    return
  if urllib.parse.urlsplit(origin).netloc != headers.get('host'):
    raise Problem(
      403,
      'this request comes from a page of another origin; open the page that '
      'this server shows',
      reason='origin',
    )


def client_of(
  address: str, headers: Headers, trusted_proxies: tuple[str, ...]
) -> str:
  """The client's address: a trusted proxy says it, nobody else."""
  if address not in trusted_proxies:
    return address
  forwarded = headers.get('x-forwarded-for', '').split(',')
  for hop in reversed([x.strip() for x in forwarded if x.strip()]):
    if hop not in trusted_proxies:
      return hop
  return address


class Rates:
  """Each client may compute so often a minute, and so often at once.

  Args:
    per_minute: requests; 0: any number.
  """

  def __init__(self, per_minute: float):
    self._per_second = per_minute / 60
    self._burst = max(per_minute / 6, 1.0)
    # Client -> (requests that are left, when that was).
    self._left: dict[str, tuple[float, float]] = {}

  def take(self, client: str) -> None:
    """Raises Problem (429) where the client has none left."""
    if not self._per_second:
      return
    now = time.monotonic()
    if len(self._left) >= _CLIENTS:
      full = self._burst / self._per_second
      self._left = {
        key: (left, then)
        for key, (left, then) in self._left.items()
        if now - then < full
      }
    left, then = self._left.get(client, (self._burst, now))
    left = min(left + (now - then) * self._per_second, self._burst)
    if left < 1:
      wait = max(1, round((1 - left) / self._per_second))
      raise Problem(
        429,
        f'{self._per_second * 60:g} requests a minute are the limit for one '
        f'client; try again in {wait} s',
        reason='rate',
        headers={'Retry-After': str(wait)},
      )
    self._left[client] = left - 1, now
