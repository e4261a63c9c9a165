"""Frames of a camera, a video file or an address, the newest one at a time."""

import pathlib
import threading
import time

import cv2
import numpy as np

from viton_jax.errors import InputError

_ADDRESSES = ('http://', 'https://', 'rtsp://')
_OPEN_MS = 10_000


class Source:
  """An open source of frames.

  A thread reads it, so that callers get the newest frame: of a camera,
  or of a video file as its clock says; with `every`, each frame of a file.

  Args:
    name: a camera's number, a video file, or an http, https or rtsp address.
    every: whether no frame of a file is left out.

  Raises:
    InputError: it cannot be opened.
  """

  def __init__(self, name: str, *, every: bool = False):
    self.name = name
    self.is_file = not name.isdecimal() and not name.startswith(_ADDRESSES)
    if self.is_file and not pathlib.Path(name).is_file():
      raise InputError(
        f"--source {name}: there is no such file; give a camera's number (0), "
        'a video file or an http, https or rtsp address'
      )
    options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_MS]
    if name.isdecimal():
      self._capture = cv2.VideoCapture(int(name))
    elif self.is_file:
      self._capture = cv2.VideoCapture(name)
    else:
      self._capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG, options)
    there, first = self._capture.read()
    if not there:
      self._capture.release()
      remedy = 'give a video that OpenCV can read'
      if name.isdecimal():
        remedy = 'plug one in, close other programs that use it, or give a file'
      raise InputError(f'--source {name}: no picture comes; {remedy}')
    rate = self._capture.get(cv2.CAP_PROP_FPS)
    self.rate = rate if 1 <= rate <= 120 else 25.0
    count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT) if self.is_file else 0
    self.count = max(int(count), 0)  # Of frames; 0: not known.
    self._one_by_one = every and self.is_file
    self._changed = threading.Condition()
    self._frame: np.ndarray | None = first
    self._ended = self._closed = False
    self._paused = False
    self._thread = threading.Thread(
      target=self._run, name='source', daemon=True
    )
    self._thread.start()

  def newest(self, timeout_s: float = 5.0) -> np.ndarray | None:
    """(h, w, 3) uint8 RGB that was not given before; None: it has ended.

    Raises:
      InputError: no frame comes.
    """
    with self._changed:
      self._changed.wait_for(
        lambda: self._frame is not None or self._ended, timeout_s
      )
      frame, self._frame = self._frame, None
      self._changed.notify_all()
      if frame is None and not self._ended:
        raise InputError(
          f'--source {self.name}: no picture came for {timeout_s:g} s; check '
          'the camera or the network'
        )
    return None if frame is None else np.ascontiguousarray(frame[..., ::-1])

  def pause(self, on: bool) -> None:
    """Holds a file's clock; a camera's pictures are thrown away meanwhile."""
    self._paused = on

  def close(self) -> None:
    with self._changed:
      self._closed = True
      self._changed.notify_all()
    self._thread.join(5)
    self._capture.release()

  def _run(self) -> None:
    due = time.perf_counter()
    while not self._closed:
      if self.is_file and not self._one_by_one:
        due = max(due, time.perf_counter() - 1) + 1 / self.rate
        time.sleep(max(due - time.perf_counter(), 0))
      if self._paused:
        time.sleep(0.02)
        if self.is_file:
          continue
      with self._changed:
        if self._one_by_one:
          self._changed.wait_for(lambda: self._frame is None or self._closed)
        if self._closed:
          return
      there, frame = self._capture.read()
      with self._changed:
        self._ended = not there
        if there and not self._paused:
          self._frame = frame
        self._changed.notify_all()
      if not there:
        return
