"""Stills and videos of a live try-on, whole files or none."""

import datetime
import os
import pathlib

import cv2
import numpy as np

from viton_jax.errors import InputError
from viton_jax.photo.output import write_image

_CODEC = 'mp4v'  # In every OpenCV, and free.


def new_folder(parent: pathlib.Path) -> pathlib.Path:
  """A new folder named by the time, in UTC.

  Raises:
    InputError: it cannot be made.
  """
  now = datetime.datetime.now(datetime.UTC)
  folder = parent / now.strftime('%Y%m%dT%H%M%S_%fZ')
  try:
    folder.mkdir(parents=True)
  except OSError as error:
    raise InputError(
      f'{folder}: cannot be made ({error.strerror}); give --record another '
      'folder'
    ) from error
  return folder


def write_stills(folder: pathlib.Path, pictures: dict[str, np.ndarray]) -> None:
  """Writes pictures as NUMBER_NAME.png, whole or not at all."""
  number = len(list(folder.glob('*_input.png')))
  for name, picture in pictures.items():
    write_image(folder / f'{number:04d}_{name}.png', picture)


class Video:
  """A video file that is there once it is whole.

  Until then its name ends in '.partial.mp4'. Its rate is constant: a frame is
  repeated where pictures come more slowly, and left out where they come faster.

  Args:
    path: to be written, '.mp4'.
    rate: frames a second.
    size: (height, width) of the frames; an odd side loses a line.
    every: whether each picture is one frame, whenever it comes.

  Raises:
    InputError: it cannot be written.
  """

  def __init__(
    self,
    path: pathlib.Path,
    rate: float,
    *,
    size: tuple[int, int],
    every: bool = False,
  ):
    self.path, self._rate, self._every = path, rate, every
    self._partial = path.with_name(f'{path.stem}.partial.mp4')
    self._size = size[0] // 2 * 2, size[1] // 2 * 2
    codec = cv2.VideoWriter.fourcc(*_CODEC)
    self._writer = cv2.VideoWriter(
      str(self._partial), codec, rate, self._size[::-1]
    )
    if not self._writer.isOpened():
      raise InputError(
        f'{path}: no video can be written there; give --record another folder'
      )
    self._begin: float | None = None
    self.frames = 0

  def add(self, picture: np.ndarray, time: float) -> None:
    """Adds (h, w, 3) uint8 RGB that was shown at a time in seconds."""
    if self._begin is None:
      self._begin = time
    wanted = self.frames + 1
    if not self._every:
      wanted = int((time - self._begin) * self._rate) + 1
    rows, columns = self._size
    if picture.shape[:2] != self._size:
      picture = cv2.resize(
        picture, (columns, rows), interpolation=cv2.INTER_AREA
      )
    bgr = np.ascontiguousarray(picture[..., ::-1])
    while self.frames < wanted:
      self._writer.write(bgr)
      self.frames += 1

  def close(self) -> None:
    """Gives the file its name; an empty one is removed."""
    self._writer.release()
    if not self.frames:
      self._partial.unlink(missing_ok=True)
      return
    with self._partial.open('rb') as file:
      os.fsync(file.fileno())
    self._partial.replace(self.path)
