"""Who dresses the frames: this machine, or a server."""

import os
import pathlib
from typing import Protocol

import numpy as np

from viton_jax import networks
from viton_jax.errors import InputError
from viton_jax.io import photos
from viton_jax.live import engine, keys, views
from viton_jax.live.garments import Garment, Garments
from viton_jax.live.remote import Remote
from viton_jax.perception import remote as servers
from viton_jax.perception.parsing import parsers
from viton_jax.perception.pose import estimation


class Wearer(Protocol):
  """Dresses one frame after the other."""

  @property
  def message(self) -> str:
    """Why the last frame shows no garment, or ''."""
    ...

  @property
  def garment(self) -> str:
    """The name of what it shows, or ''."""
    ...

  def step(
    self, frame: np.ndarray, wanted: tuple[str, ...]
  ) -> dict[str, np.ndarray]:
    """Views of a frame, (H, W, 3) uint8 RGB by name, see `views.VIEWS`."""
    ...

  def wear(self, photo: bytes) -> None: ...

  def choose(self, point: tuple[float, float]) -> None: ...

  def close(self) -> None: ...


class Here:
  """This machine; see `engine.Live` for the arguments."""

  def __init__(self, models: keys.Models, *, background: bool = True):
    self._live = engine.Live(models, background=background, lag=1)
    self._known, self._garment = Garments(), None
    self.message = self.garment = ''

  def step(
    self, frame: np.ndarray, wanted: tuple[str, ...]
  ) -> dict[str, np.ndarray]:
    shown = self._live.step(frame)
    self.message, self.garment = shown.message, shown.garment
    return {name: views.draw(name, shown, self._garment) for name in wanted}

  def wear(self, photo: bytes) -> None:
    self._garment: Garment | None = self._known.get(photo)
    self._live.wear(self._garment)

  def choose(self, point: tuple[float, float]) -> None:
    self._live.choose(point)

  def close(self) -> None:
    self._live.close()


class There:
  """A server.

  Args:
    remote: the connection.
  """

  def __init__(self, remote: Remote):
    self._remote = remote
    self._views: tuple[str, ...] = ()

  @property
  def message(self) -> str:
    return self._remote.problem or self._remote.message

  @property
  def garment(self) -> str:
    return self._remote.garment

  def step(
    self, frame: np.ndarray, wanted: tuple[str, ...]
  ) -> dict[str, np.ndarray]:
    if wanted != self._views:
      self._remote.say({'views': list(wanted)})
      self._views = wanted
    # No larger than what is worked on there.
    reduced = engine.reduce(frame)
    return self._remote.step(reduced, wanted)

  def wear(self, photo: bytes) -> None:
    self._remote.wear(photo)

  def choose(self, point: tuple[float, float]) -> None:
    self._remote.say({'person': list(point)})

  def close(self) -> None:
    self._remote.close()


def load_models(
  checkpoint: str | None = None,
  refine_checkpoint: str | None = None,
  *,
  paste_only: bool = False,
  pose_model: str | None = None,
  parser: str | None = None,
  models_dir: str | os.PathLike | None = None,
) -> keys.Models:
  """Opens what a live try-on computes with here.

  POSE_SERVER and SEG_SERVER name servers to ask where no model is named.

  Args:
    checkpoint: see `networks.load_halves`.
    refine_checkpoint: of the refinement network where it lies elsewhere.
    paste_only: no networks; garments are pasted.
    pose_model: see `perception.choose_pose`.
    parser: see `perception.choose_parser`.
    models_dir: where models' files are.

  Raises:
    InputError: something is missing, damaged or of another kind.
  """
  tried = None
  if not paste_only:
    tried = networks.load_halves(
      checkpoint, refine_checkpoint, composing='whole'
    )
  pose = None if pose_model else servers.pose_server()
  labels = None if parser else servers.seg_server()
  return keys.Models(
    pose or estimation.choose_pose(pose_model, models_dir),
    labels or parsers.choose_parser(parser, models_dir),
    tried,
  )


def read_garments(paths: list[pathlib.Path]) -> list[tuple[str, bytes]]:
  """Names and bytes of photos: files, or folders of them, sorted by name.

  Raises:
    InputError: there is none, or one cannot be read.
  """
  found: list[pathlib.Path] = []
  for path in paths:
    if path.is_dir():
      inside = sorted(
        x for x in path.iterdir() if x.suffix.lower() in photos.SUFFIXES
      )
      if not inside:
        raise InputError(
          f'--garment {path}: there is no photo in it '
          f'({", ".join(photos.SUFFIXES)}); give another folder'
        )
      found += inside
    else:
      found.append(path)
  read = []
  for path in found:
    photos.read_photo(path, 'garment')  # Refuses what is none, by its name.
    read.append((path.stem, path.read_bytes()))
  return read
