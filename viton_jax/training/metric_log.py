"""Where a run's metrics go: metrics.jsonl always, TensorBoard where it may.

`metrics.jsonl` has a line for each time something was measured, e.g.

    {"step": 50, "train/loss": 0.41, "train/mask": 0.1, "images_per_s": 31.2}
    {"step": 1000, "validation/loss": 0.38, "validation/mask": 0.09}
"""

from collections.abc import Mapping
import json
import math
import pathlib

import jax
import numpy as np

from viton_jax.io import storage


class MetricLog:
  """Writes metrics and images of process 0; the others' go nowhere."""

  def __init__(
    self, workdir: pathlib.Path, *, start_step: int, tensorboard: bool
  ):
    """Opens the logs of a run that goes on after `start_step`.

    What an earlier run wrote of later steps is dropped from metrics.jsonl: they
    come again.

    Args:
      workdir: of the run.
      start_step: steps taken before.
      tensorboard: whether to write its event files too; that loads
        TensorFlow.
    """
    self._file = self._events = None
    if jax.process_index():
      return
    path = workdir / 'metrics.jsonl'
    storage.write_file(path, ''.join(_lines(path, start_step)).encode())
    self._file = path.open('a', encoding='utf-8')
    if tensorboard:
      self._events = _open_events(workdir / 'tensorboard')

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    if self._file:
      # What is not a number is not JSON either.
      finite = {
        k: float(v) if math.isfinite(v) else None for k, v in values.items()
      }
      self._file.write(json.dumps({'step': step} | finite) + '\n')
      self._file.flush()
    if self._events:
      self._events.write_scalars(step, values)

  def image(self, step: int, name: str, rgb: np.ndarray) -> None:
    """`rgb` is (h, w, 3) uint8."""
    if self._events:
      self._events.write_images(step, {name: rgb[None]})

  def close(self) -> None:
    if self._file:
      self._file.close()
    if self._events:
      self._events.flush()
      self._events.close()


def means(metrics: list[dict]) -> dict[str, float]:
  """Sums of (sum, count) over steps or batches -> means."""
  totals = {}
  for one in metrics:
    for name, (total, count) in one.items():
      t, c = totals.get(name, (0.0, 0.0))
      totals[name] = (t + float(total), c + float(count))
  return {name: t / c for name, (t, c) in totals.items()}


def read(workdir: str | pathlib.Path) -> list[dict[str, float]]:
  """The lines of a run's metrics.jsonl."""
  path = pathlib.Path(workdir) / 'metrics.jsonl'
  return [json.loads(line) for line in path.read_text().splitlines()]


def _lines(path, last_step):
  """The whole lines up to a step; a killed run may leave half a line."""
  if not path.exists():
    return
  for _, line in storage.read_lines(path):
    step = line.get('step')
    if isinstance(step, int) and step <= last_step:
      yield json.dumps(line) + '\n'


def _open_events(folder):
  # Here: it loads TensorFlow, which takes seconds and which training on packed
  # data does without.
  from clu import metric_writers

  return metric_writers.AsyncWriter(metric_writers.SummaryWriter(str(folder)))
