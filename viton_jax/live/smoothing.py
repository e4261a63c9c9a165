"""The one-euro filter: smooth where little moves, quick where much does.

References:
  Casiez, Roussel, Vogel: "1 € filter: a simple speed-based low-pass filter for
  noisy input in interactive systems", CHI 2012.
"""

import dataclasses

from jaxtyping import Bool, Float
import numpy as np

_MIN_CUTOFF_HZ = 1.7
_BETA = 6.0  # Hz of cut-off for a speed of one unit a second.
_SPEED_CUTOFF_HZ = 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class Filter:
  """What is remembered of n points.

  Attributes:
    time: of the last values, in seconds.
    values: (n, 2), smoothed.
    speeds: (n, 2) a second, smoothed.
    known: (n,) which points have values.
  """

  time: float
  values: Float[np.ndarray, 'n 2']
  speeds: Float[np.ndarray, 'n 2']
  known: Bool[np.ndarray, ' n']


def smooth(
  state: Filter | None,
  values: Float[np.ndarray, 'n 2'],
  known: Bool[np.ndarray, ' n'],
  *,
  time: float,
  unit: float,
) -> Filter:
  """The filter after one more observation; its `values` are the result.

  Args:
    state: the filter before; None at the beginning.
    values: what is seen.
    known: which points are seen; one that comes back starts anew.
    time: in seconds, later than before.
    unit: length against which speed is measured, in the units of `values`.
  """
  values = values.astype(np.float64)
  if state is None:
    return Filter(time, values, np.zeros_like(values), known)
  step = min(max(time - state.time, 1e-3), 1.0)
  old = (state.known & known)[:, None]
  speeds = np.where(old, (values - state.values) / step, 0.0)
  speeds = np.where(
    old, _mixed(state.speeds, speeds, _SPEED_CUTOFF_HZ, step), 0.0
  )
  speed = np.linalg.norm(speeds, axis=-1, keepdims=True) / unit
  cutoff = _MIN_CUTOFF_HZ + _BETA * speed
  smoothed = np.where(old, _mixed(state.values, values, cutoff, step), values)
  return Filter(time, smoothed, speeds, known)


def _mixed(before, now, cutoff_hz, step):
  share = 1 / (1 + 1 / (2 * np.pi * cutoff_hz * step))
  return before + share * (now - before)
