"""The log lines of the training loop, its speed and its profile."""

import contextlib
import datetime
import pathlib
import time
from typing import Any

import jax

from viton_jax.errors import InputError


def format_metrics(means: dict[str, float]) -> str:
  """'loss 0.41  image 0.3  mask 0.1': the loss first."""
  names = sorted(means, key=lambda name: (name != 'loss', name))
  return '  '.join(f'{name} {means[name]:.4g}' for name in names)


def say(line: str) -> None:
  """One line of the log; process 0 speaks for all."""
  if jax.process_index() == 0:
    print(line, flush=True)


class Trace:
  """A profile of some steps, for TensorBoard's profile plugin."""

  def __init__(self, steps: str, folder: pathlib.Path):
    """Plans a trace.

    Args:
      steps: 'FIRST:LAST', or '' for none.
      folder: TensorBoard's log folder; the trace goes below it.

    Raises:
      InputError: `steps` is neither.
    """
    self._folder, self._running = folder, False
    self.first = self.last = -1
    if not steps:
      return
    try:
      self.first, self.last = (int(x) for x in steps.split(':'))
    except ValueError:
      pass
    if not 0 < self.first <= self.last:
      raise InputError(
        f'config.profile: {steps!r} is not FIRST:LAST; set e.g. '
        '--config.profile=10:15.'
      )

  def before(self, step: int) -> None:
    if step == self.first and jax.process_index() == 0:
      jax.profiler.start_trace(str(self._folder))
      self._running = True

  def after(self, step: int, result: Any, *, stop: bool = False) -> None:
    """Ends the trace after its last step, or if training stops here.

    Args:
      step: the step.
      result: its result, to wait for.
      stop: no step follows.
    """
    if self._running and (step >= self.last or stop):
      jax.block_until_ready(result)
      jax.profiler.stop_trace()
      self._running = False
      say(
        f'steps {self.first} to {step} are profiled in {self._folder}; '
        'tensorboard --logdir shows them'
      )


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
    """(images a second since the last tick, time to go as h:mm:ss).

    The time to go is '' at the first tick: it took compiling alone.
    """
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
      str(datetime.timedelta(seconds=to_go)) if per_step else '',
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
