"""Sessions: a garment that one client has chosen, for some time."""

import dataclasses
import secrets
import time
from typing import Protocol

from viton_jax.server.problems import Problem


@dataclasses.dataclass(frozen=True)
class Garment:
  """A garment's photo as it was sent.

  Attributes:
    photo: bytes of a JPEG, PNG or WebP file.
    mask: bytes of an image that is light on the garment, or None.
  """

  photo: bytes
  mask: bytes | None = None


@dataclasses.dataclass
class Session:
  """One client's choice.

  Attributes:
    owner: SHA-256 of the key that made it, or b''.
    used: when, in monotonic seconds.
    garment: what is chosen, or None.
  """

  owner: bytes
  used: float
  garment: Garment | None = None


class Store(Protocol):
  """Where sessions are kept; see `Sessions`, which says what methods do."""

  ttl_s: float

  async def create(self, owner: bytes) -> str: ...

  async def garment(self, name: str, owner: bytes) -> Garment | None: ...

  async def choose(self, name: str, owner: bytes, garment: Garment) -> None: ...

  async def delete(self, name: str, owner: bytes) -> None: ...

  async def count(self) -> int: ...


class Sessions:
  """All sessions of a server, in memory alone.

  Its methods are coroutines because another `Store` may be another process.

  Args:
    ttl_s: how long one outlives its last use.
    limit: at the same time.
  """

  def __init__(self, *, ttl_s: float, limit: int):
    self.ttl_s = ttl_s
    self._limit = limit
    self._sessions: dict[str, Session] = {}

  async def count(self) -> int:
    """How many are alive."""
    self._expire()
    return len(self._sessions)

  async def create(self, owner: bytes) -> str:
    """A new session's name of 128 random bits.

    Raises:
      Problem: 503, there are too many.
    """
    self._expire()
    if len(self._sessions) >= self._limit:
      oldest = min(x.used for x in self._sessions.values())
      wait = max(1, round(oldest + self.ttl_s - time.monotonic()))
      raise Problem(
        503,
        f'there are {self._limit} sessions already, which is the limit; try '
        'again later, or send the garment with each request',
        reason='sessions',
        headers={'Retry-After': str(wait)},
      )
    name = secrets.token_urlsafe(16)
    self._sessions[name] = Session(owner, time.monotonic())
    return name

  async def garment(self, name: str, owner: bytes) -> Garment | None:
    """What a session of this owner has chosen; the session is used by that.

    Raises:
      Problem: 404, there is none; the same for another's.
    """
    return self._get(name, owner).garment

  async def choose(self, name: str, owner: bytes, garment: Garment) -> None:
    """Chooses a garment; raises as `garment`."""
    self._get(name, owner).garment = garment

  async def delete(self, name: str, owner: bytes) -> None:
    """Forgets a session; raises as `garment`."""
    self._get(name, owner)
    del self._sessions[name]

  def _get(self, name: str, owner: bytes) -> Session:
    self._expire()
    session = self._sessions.get(name)
    if session is None or session.owner != owner:
      raise Problem(
        404,
        'there is no such session (any more); make one with POST /sessions',
        about='session',
      )
    session.used = time.monotonic()
    return session

  def _expire(self) -> None:
    oldest = time.monotonic() - self.ttl_s
    self._sessions = {
      name: session
      for name, session in self._sessions.items()
      if session.used > oldest
    }
