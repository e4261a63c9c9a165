"""The window: six titled views, and the keys of the real-time demo."""

import dataclasses
import os
import pathlib
import time

import numpy as np

from viton_jax.errors import InputError
from viton_jax.live import recording
from viton_jax.live.sources import Source
from viton_jax.live.views import VIEWS
from viton_jax.live.wearers import Wearer

GARMENT_KEYS = 'asdf'
_TITLE = 'viton_jax: live try-on'
_HELP = (
  'c capture   a s d f garment   p pause   space continuous   r record   q quit'
)
_TILE = 320, 400  # Width and height of a view.
_BAR = 26
_COLUMNS = 3
# These change slowly or cost much: one of them a frame, in turn.
_IN_TURN = ('pose', 'segmentation', 'attached', 'garment')
_GROUND, _PLATE = (24, 22, 20), (44, 40, 36)
_TEXT, _SOFT, _RED = (240, 236, 230), (170, 162, 152), (235, 70, 60)


@dataclasses.dataclass(frozen=True)
class Controls:
  """What the keys have set.

  Attributes:
    garment: index of the one that is chosen.
    continuous: whether each frame is tried on; else only on capture.
    paused: whether frames stand still.
    recording: whether a video is written.
    capture: whether the next frame is tried on and kept.
    quit: whether it is to end.
  """

  garment: int = 0
  continuous: bool = True
  paused: bool = False
  recording: bool = False
  capture: bool = False
  quit: bool = False


def press(controls: Controls, key: str, garments: int) -> Controls:
  """The controls after a key.

  Args:
    controls: before.
    key: its name: 'q', 'escape', 'c', 'a', 's', 'd', 'f', 'p', 'space', 'r'.
    garments: how many there are; a key of one that is missing does nothing.
  """
  change = dataclasses.replace
  if key in ('q', 'escape'):
    return change(controls, quit=True)
  if key == 'c':
    return change(controls, capture=True)
  if key == 'p':
    return change(controls, paused=not controls.paused)
  if key == 'space':
    return change(controls, continuous=not controls.continuous)
  if key == 'r':
    return change(controls, recording=not controls.recording)
  if key in GARMENT_KEYS and GARMENT_KEYS.index(key) < garments:
    return change(controls, garment=GARMENT_KEYS.index(key))
  return controls


class Window:
  """Six views under their titles.

  Raises:
    InputError: there is no display.
  """

  def __init__(self):
    os.environ.setdefault('PYGAME_HIDE_SUPPORT_PROMPT', '1')
    import pygame  # Of the extra [live].

    self._pygame = pygame
    try:
      pygame.display.init()  # Alone: no sound, no joystick.
      pygame.font.init()
      rows = -(-len(VIEWS) // _COLUMNS)
      size = _COLUMNS * _TILE[0], rows * (_TILE[1] + _BAR) + _BAR
      self._screen = pygame.display.set_mode(size)
    except pygame.error as error:
      raise InputError(
        f'no window can be opened ({error}); set DISPLAY, or give --headless '
        '--record DIR'
      ) from error
    pygame.display.set_caption(_TITLE)
    self._font = pygame.font.Font(None, 22)
    self._boxes: dict[str, tuple[int, int, int, int]] = {}
    self._screen.fill(_GROUND)
    for name in VIEWS:
      x, y = self._corner(name)
      self._plate(name.capitalize(), x, y, _TILE[0])

  def close(self) -> None:
    self._pygame.quit()

  def events(self) -> tuple[list[str], tuple[float, float] | None]:
    """The keys that were pressed, and a click on a picture as x, y in 0..1."""
    pressed, point = [], None
    for event in self._pygame.event.get():
      if event.type == self._pygame.QUIT:
        pressed.append('q')
      elif event.type == self._pygame.KEYDOWN:
        pressed.append(self._pygame.key.name(event.key))
      elif event.type == self._pygame.MOUSEBUTTONDOWN:
        point = self._place(event.pos) or point
    return pressed, point

  def show(self, pictures: dict[str, np.ndarray]) -> None:
    """Draws views, (h, w, 3) uint8 RGB by name; the others stay."""
    for name, picture in pictures.items():
      x, y = self._corner(name)
      height, width = picture.shape[:2]
      zoom = min(_TILE[0] / width, _TILE[1] / height)
      size = max(int(width * zoom), 1), max(int(height * zoom), 1)
      surface = self._pygame.image.frombuffer(
        np.ascontiguousarray(picture).tobytes(), (width, height), 'RGB'
      )
      surface = self._pygame.transform.smoothscale(surface, size)
      left = x + (_TILE[0] - size[0]) // 2
      top = y + _BAR + (_TILE[1] - size[1]) // 2
      self._screen.fill(_GROUND, (x, y + _BAR, *_TILE))
      self._screen.blit(surface, (left, top))
      self._boxes[name] = left, top, *size

  def tell(self, text: str, controls: Controls) -> None:
    """Draws the last line, and puts everything on the screen."""
    width, height = self._screen.get_size()
    y = height - _BAR
    self._plate('', 0, y, width)
    states = [
      name
      for name, on in (
        ('RECORDING', controls.recording),
        ('PAUSED', controls.paused),
        ('ON CAPTURE', not controls.continuous),
      )
      if on
    ]
    at = 10
    for words, colour in (
      *((x, _RED) for x in states), (text or _HELP, _TEXT if text else _SOFT),
    ):  # fmt: skip
      drawn = self._font.render(words, True, colour)
      self._screen.blit(drawn, (at, y + 5))
      at += drawn.get_width() + 16
    self._pygame.display.flip()

  def _corner(self, name: str) -> tuple[int, int]:
    row, column = divmod(VIEWS.index(name), _COLUMNS)
    return column * _TILE[0], row * (_TILE[1] + _BAR)

  def _plate(self, title: str, x: int, y: int, width: int) -> None:
    self._screen.fill(_PLATE, (x, y, width, _BAR))
    self._screen.blit(self._font.render(title, True, _TEXT), (x + 10, y + 5))

  def _place(self, at: tuple[int, int]) -> tuple[float, float] | None:
    for name in VIEWS[:-1]:  # The garment is no frame.
      if name in self._boxes:
        left, top, width, height = self._boxes[name]
        x, y = (at[0] - left) / width, (at[1] - top) / height
        if 0 <= x <= 1 and 0 <= y <= 1:
          return x, y
    return None


def play(
  source: Source,
  wearer: Wearer,
  *,
  garments: list[tuple[str, bytes]],
  record: pathlib.Path,
) -> str:
  """Shows a source until the user quits, or a file ends.

  Args:
    source: of frames.
    wearer: dresses them.
    garments: names and photos; keys choose the first four.
    record: folder for captures and videos; it is made when one is taken.

  Returns:
    a summary, one sentence.
  """
  window = Window()
  controls, worn = Controls(), -1
  folder: pathlib.Path | None = None
  video: recording.Video | None = None
  times: list[float] = []
  frames, note = 0, ''
  try:
    while True:
      pressed, point = window.events()
      for key in pressed:
        controls = press(controls, key, len(garments))
      if controls.quit:
        break
      source.pause(controls.paused)
      if point:
        wearer.choose(point)
      if controls.garment != worn:
        worn = controls.garment
        try:
          wearer.wear(garments[worn][1])
          note = ''
        except InputError as error:
          note = str(error)
      if video and not controls.recording:
        video.close()
        note, video = f'written: {video.path}', None
      if controls.paused and not controls.capture:
        window.tell(note or wearer.message, controls)
        time.sleep(0.03)
        continue
      frame = None if controls.paused else source.newest()
      if frame is None and not controls.paused:
        break
      if frame is None:
        controls = dataclasses.replace(controls, capture=False)
        continue
      frames += 1
      wanted = ('input', 'try-on', _IN_TURN[frames % len(_IN_TURN)])
      if controls.capture:
        wanted = VIEWS
      pictures = wearer.step(frame, wanted)
      now = time.perf_counter()
      times = [x for x in times if now - x < 2] + [now]
      if controls.capture or controls.recording:
        folder = folder or recording.new_folder(record)
      if controls.capture and folder:
        recording.write_stills(folder, pictures)
        note = f'kept: {folder}'
      if controls.recording and folder:
        if video is None:
          number = len(list(folder.glob('*.mp4')))
          video = recording.Video(
            folder / f'try-on_{number:04d}.mp4',
            min(source.rate, 30),
            size=pictures['try-on'].shape[:2],
          )
        video.add(pictures['try-on'], now)
      if not controls.continuous and not controls.capture:
        pictures = {'input': pictures['input']}
      window.show(pictures)
      controls = dataclasses.replace(controls, capture=False)
      rate = f'{len(times) / 2:.0f} pictures a second   {_HELP}'
      window.tell(wearer.message or note or rate, controls)
  finally:
    if video:
      video.close()
    window.close()
  kept = f'; written: {folder}' if folder else ''
  return f'{frames} frames shown{kept}'
