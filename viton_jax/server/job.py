"""What one request wants to be computed."""

import dataclasses

from viton_jax.server.sessions import Garment


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
  """What a request wants; photos as they were sent.

  Attributes:
    person: the photo's file.
    garment: photo and perhaps mask, where one is needed.
    pose: OpenPose JSON, or None: found.
    parse: a PNG of labels, or None: found.
    labels: what its numbers mean.
    person_index: which of several people, 0 the largest.
    method: 'viton' or 'paste'; '': the server's.
  """

  person: bytes
  garment: Garment | None = None
  pose: bytes | None = None
  parse: bytes | None = None
  labels: str = 'lip'
  person_index: int = 0
  method: str = ''
