"""What the training loop tells, when it stops, and how fast it is."""

import contextlib
import datetime
import signal
import time

import jax


def format_metrics(means: dict[str, float]) -> str:
  return '  '.join(f'{name} {value:.4g}' for name, value in means.items())


def say(line: str) -> None:
  """One line of the log; process 0 speaks for all."""
  if jax.process_index() == 0:
    print(line, flush=True)


class StopSignal:
  """Notes SIGTERM and SIGINT, so that the loop ends after a whole step."""

  def __init__(self):
    self.requested = False
    for number in (signal.SIGTERM, signal.SIGINT):
      signal.signal(number, self._request)

  def _request(self, number, frame):
    del number, frame
    self.requested = True


class Clock:
  """Images a second and time to go; compiling and rests do not count."""

  def __init__(self, step: int, num_steps: int, batch_size: int):
    self._num_steps, self._batch_size = num_steps, batch_size
    self._begin = self._since = time.monotonic()
    self._step = self._first = step
    self._rest = 0.0
    self._trained_s = 0.0
    self._trained_steps = 0
    self.compile_s = 0.0

  @contextlib.contextmanager
  def resting(self):
    """Time inside is not training time."""
    begin = time.monotonic()
    yield
    self._rest += time.monotonic() - begin

  def tick(self, step: int) -> tuple[float, str]:
    """(images a second since the last tick, time to go as h:mm:ss)."""
    now = time.monotonic()
    seconds = max(now - self._since - self._rest, 1e-9)
    steps = step - self._step
    if self._step == self._first:
      self.compile_s = seconds
    else:
      self._trained_s += seconds
      self._trained_steps += steps
    self._since, self._step, self._rest = now, step, 0.0
    per_step = self._trained_s / max(self._trained_steps, 1)
    to_go = round((self._num_steps - step) * per_step)
    return (
        steps * self._batch_size / seconds,
        str(datetime.timedelta(seconds=to_go)) if per_step else '?',
    )

  def summary(self) -> str:
    """What the run took, in one line."""
    images = self._trained_steps * self._batch_size
    speed = images / max(self._trained_s, 1e-9)
    whole = datetime.timedelta(seconds=round(time.monotonic() - self._begin))
    return (
        f'{whole} in all, first step with compilation {self.compile_s:.1f} s, '
        f'then {speed:.1f} images/s'
    )
