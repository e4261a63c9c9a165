"""The live try-on of one person: frames in one thread, key frames in another.

`Live.step` is called with the newest frame and answers within its own few
stages. It never waits for the other thread, which searches people and computes
key frames, one piece of work at a time and always for the newest frame.
"""

from collections.abc import Callable
import contextlib
import dataclasses
import threading
import time as clock

import numpy as np

from input_pipeline.synthetic import render_pair
from viton_jax.errors import InputError
from viton_jax.io import images
from viton_jax.live import keys, step, tracking
from viton_jax.live.garments import Garment
from viton_jax.live.step import State
from viton_jax.perception.pose.estimator import Person

# Rows that frames have at most; larger ones are reduced.
HEIGHT = 640
# Frames between two key frames, at least.
_KEY_EVERY = 4
# How long the other thread rests after a key frame, in times of what that took:
# on two cores the frames need the rest.
_REST = 0.35
# A key frame whose labels are carried follows each one that is parsed.
_PARSE_EVERY = 2

NOBODY = 'nobody is in view'
SEARCHING = 'looking for somebody'
SHOULDERS = 'both shoulders must be in view; step back, or face the camera'
NO_GARMENT = 'choose a garment'


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
  """What a frame has become.

  Attributes:
    frame: (H, W, 3) uint8 RGB, as it was worked on.
    picture: (H, W, 3) uint8 RGB, with the garment on.
    opacity: (H, W) float32 in 0..1, where the garment lies.
    message: why there is none, a sentence; '' where there is one.
    garment: the name of the one that is shown, '' for none.
    state: after this frame.
    seconds: that each stage took, by name.
  """

  frame: np.ndarray
  picture: np.ndarray
  opacity: np.ndarray
  message: str
  garment: str
  state: State
  seconds: dict[str, float]


class _Superseded(Exception):
  """Another garment or person is wanted by now."""


class Live:
  """A live try-on.

  Args:
    models: what it computes with; may be shared.
    garment: to be worn, or None.
    background: False: key frames are computed within `step`, and shown
      `lag` frames later; for measurements that must not depend on the machine.
    lag: see above.
  """

  def __init__(
    self,
    models: keys.Models,
    garment: Garment | None = None,
    *,
    background: bool = True,
    lag: int = 2,
  ):
    self._models = models
    self._garment = garment
    self._point: np.ndarray | None = None
    self._state = State()
    self._reason = ''
    self._lag = lag
    self._work = _Thread() if background else _Inline()
    self._begun, self._rest_until = 0.0, 0.0
    self._keys = 0
    self._searched = False
    self._due = 0

  def close(self) -> None:
    """Ends the other thread, once its work is done."""
    self._work.close()

  def wear(self, garment: Garment | None) -> None:
    """Changes the garment; None takes it off."""
    self._garment = garment
    self._reason = ''
    if garment is None:
      self._state = step.give_up_key(self._state)

  def choose(self, point: tuple[float, float] | None) -> None:
    """Dresses the person nearest to x, y in 0..1; None: the largest."""
    self._point = None if point is None else np.array(point, np.float64)
    number = self._state.number
    self._state = State(number=number, since=number + 1)
    self._searched = False

  def step(self, image: np.ndarray, time: float | None = None) -> Shown:
    """The next frame, dressed.

    Args:
      image: (h, w, 3) uint8 RGB.
      time: of the frame, in seconds; None: now.
    """
    begin = clock.perf_counter()
    time = begin if time is None else time
    frame = reduce(image)
    was = self._state.person
    state = step.observe(self._state, frame, time=time, pose=self._models.pose)
    if was is not None and state.person is None:
      self._searched = True
    observed = clock.perf_counter()
    state = self._finished(state, time)
    state = self._begin(state, frame, time)
    state = step.approach(state)
    self._state = state
    picture, opacity = step.picture(state, frame)
    end = clock.perf_counter()
    return Shown(
      frame=frame,
      picture=picture,
      opacity=opacity,
      message=self._message(state),
      garment=state.key.garment.name if state.key else '',
      state=state,
      seconds={'observe': observed - begin, 'compose': end - observed},
    )

  # ------------------------------------------------------- the other thread
  def _finished(self, state: State, time: float) -> State:
    """Takes what the other thread has done."""
    if state.number < self._due:
      return state
    result = self._work.take()
    if result is None:
      return state
    now = clock.perf_counter()
    self._rest_until = now + _REST * (now - self._begun)
    if isinstance(result, _People):
      if result.number < state.since:  # Of another scene.
        return state
      return self._found(state, result, time)
    if isinstance(result, _Superseded):
      return dataclasses.replace(state, pending=0)
    if isinstance(result, InputError):
      self._reason = str(result)
      return step.give_up_key(state)
    if isinstance(result, Exception):
      raise result
    assert isinstance(result, keys.Key)
    if self._garment is None or result.garment.name != self._garment.name:
      return dataclasses.replace(state, pending=0)
    self._reason = ''
    return step.accept(state, result)

  def _found(self, state: State, found: '_People', time: float) -> State:
    self._searched = True
    point = self._point
    if point is not None:
      point = point * found.frame.shape[1::-1]
    person = tracking.nearest(found.people, point)
    if person is None or state.person is not None:
      return state
    return step.seen(state, person, time=time)

  def _begin(self, state: State, frame: np.ndarray, time: float) -> State:
    """Gives the other thread the newest frame, if it is free."""
    if self._work.busy:
      return state
    now = clock.perf_counter()
    if state.person is None:
      pose, number = self._models.pose, state.number
      self._start(lambda: _People(pose.find(frame), number, frame), state)
      return state
    garment = self._garment
    if garment is None or state.misses or not tracking.dressable(state.person):
      return state
    key = state.key
    changed = key is None or key.garment.name != garment.name
    rested = now >= self._rest_until or not self._work.real
    if not changed and (
      not rested or key is None or state.number - key.number < _KEY_EVERY
    ):
      return state
    if changed and self._reason and not rested:
      return state
    fresh = key is None or (not changed and self._keys % _PARSE_EVERY == 0)
    self._keys += 1
    state, job = step.begin_key(state, frame, parse=fresh)
    models = self._models

    def go_on() -> None:
      if self._garment is not garment:
        raise _Superseded

    self._start(lambda: keys.make_key(job, garment, models, go_on=go_on), state)
    return state

  def _start(self, work: Callable[[], object], state: State) -> None:
    self._begun = clock.perf_counter()
    self._due = state.number + 1
    if not self._work.real:
      self._due = state.number + self._lag
    self._work.start(work)

  def _message(self, state: State) -> str:
    if state.person is None:
      return NOBODY if self._searched else SEARCHING
    if not tracking.dressable(state.person):
      return SHOULDERS
    if self._garment is None:
      return NO_GARMENT
    return self._reason


@dataclasses.dataclass(frozen=True)
class _People:
  people: list[Person]
  number: int
  frame: np.ndarray


class _Inline:
  """Does the work at once, in the thread that asks."""

  real = False

  def __init__(self):
    self._result = None

  @property
  def busy(self) -> bool:
    return self._result is not None

  def start(self, work: Callable[[], object]) -> None:
    self._result = _result_of(work)

  def take(self):
    result, self._result = self._result, None
    return result

  def close(self) -> None:
    pass


class _Thread:
  """Does one piece of work after the other, in a thread of its own."""

  real = True

  def __init__(self):
    self._changed = threading.Condition()
    self._work: Callable[[], object] | None = None
    self._result: object = None
    self._running = False
    self._closed = False
    self._thread = threading.Thread(
      target=self._run, name='key frames', daemon=True
    )
    self._thread.start()

  @property
  def busy(self) -> bool:
    with self._changed:
      return self._running or self._result is not None

  def start(self, work: Callable[[], object]) -> None:
    with self._changed:
      self._work, self._running = work, True
      self._changed.notify()

  def take(self):
    with self._changed:
      result, self._result = self._result, None
      return result

  def close(self) -> None:
    with self._changed:
      self._closed = True
      self._changed.notify()
    self._thread.join(10)

  def _run(self) -> None:
    while True:
      with self._changed:
        while self._work is None and not self._closed:
          self._changed.wait()
        if self._closed:
          return
        work, self._work = self._work, None
      assert work is not None
      result = _result_of(work)
      with self._changed:
        self._result, self._running = result, False


def _result_of(work: Callable[[], object]):
  """What work returns, or the exception that it raises."""
  try:
    return work()
  except Exception as error:  # noqa: BLE001 - `Live._finished` raises it
    return error


def reduce(image: np.ndarray) -> np.ndarray:
  """(h, w, 3) uint8 as frames are worked on: contiguous, h <= `HEIGHT`."""
  if image.shape[0] <= HEIGHT:
    return np.ascontiguousarray(image)
  width = max(round(image.shape[1] * HEIGHT / image.shape[0]), 16)
  return images.resize_area(np.ascontiguousarray(image), HEIGHT, width)


def warm_up(models: keys.Models) -> None:
  """Computes everything once, so that no frame has to wait for a compiler."""
  pair = render_pair(0, 1, 512)
  garment = Garment(
    'warm-up', pair.garment, pair.garment_mask, pair.garment.copy()
  )
  models.pose.find(pair.person)
  for labels in (None, pair.parse):
    person = Person(pair.keypoints)
    job = keys.Job(1, pair.person, person, labels)
    # Networks that have learned too little find no place for the garment.
    with contextlib.suppress(InputError):
      keys.make_key(job, garment, models)
