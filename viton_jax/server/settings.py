"""What a server is told when it starts."""

import dataclasses
import pathlib

from viton_jax.choices import Matching


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """The options of `python -m viton_jax.serve` that the app reads.

  Attributes:
    checkpoint: folder of the networks, or None: those that come with the
      project.
    paste_only: no networks; garments are pasted.
    refine_checkpoint: of the refinement network where it lies elsewhere.
    matching: where garments are matched, see `engine.matching_of`.
    pose_model: see `perception.choose_pose`; None: the default, if it is there.
    parser: see `perception.choose_parser`; None: the default.
    models_dir: where models' files are.
    garments: folder of the gallery, or None: there is none.
    samples: folder of people to try the page with: NAME.jpg or .png, NAME.json
      (joints) and NAME.labels.png; or None: there are none.
    record: folder for results, or None: nothing is written.
    keys: SHA-256 of each key that is accepted; empty: no key is asked for.
    max_batch: most pairs that the networks get at once, a power of two.
    batch_delay_s: how long an idle device waits for more pairs.
    timeout_s: of a request that does not say X-Timeout-Ms.
    body_timeout_s: within which a request's body must be there.
    max_body: of a request, in bytes.
    max_pixels: of a photo.
    rate_per_minute: requests of one client that compute; 0: any number.
    session_ttl_s: how long a session outlives its last use.
    max_sessions: at the same time.
    max_live: live try-ons at the same time; 0: there are none.
    root_path: prefix under which a proxy shows the server, '/try-on'.
    trusted_proxies: addresses whose X-Forwarded-For is believed.
    refuse_after_body: read what a refused client sends before it is answered.
      Later, but needed where the HTTP server underneath closes a connection
      with the answer: unread data would take the answer with it.
  """

  checkpoint: str | None = None
  paste_only: bool = False
  refine_checkpoint: str | None = None
  matching: Matching = 'auto'
  pose_model: str | None = None
  parser: str | None = None
  models_dir: str | None = None
  garments: pathlib.Path | None = None
  samples: pathlib.Path | None = None
  record: pathlib.Path | None = None
  keys: tuple[bytes, ...] = ()
  max_batch: int = 8
  batch_delay_s: float = 0.005
  timeout_s: float = 30.0
  body_timeout_s: float = 10.0
  max_body: int = 16 << 20
  max_pixels: int = 24_000_000
  rate_per_minute: float = 0.0
  session_ttl_s: float = 1800.0
  max_sessions: int = 64
  max_live: int = 4
  root_path: str = ''
  trusted_proxies: tuple[str, ...] = ()
  refuse_after_body: bool = False

  @property
  def max_queue(self) -> int:
    """Requests that are let in at once, in work or waiting for it."""
    return 4 * self.max_batch
