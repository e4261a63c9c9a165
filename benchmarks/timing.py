"""What all benchmarks share: timing, the device's peak, memory."""

from collections.abc import Callable, Mapping
import resource
import statistics
import time

import jax
import jax.numpy as jnp


def milliseconds(function: Callable, *arguments, repeats: int = 7) -> float:
  """Median time of a call, compiled before and waited for."""
  jax.block_until_ready(function(*arguments))
  times = []
  for _ in range(repeats):
    begin = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    times.append(time.perf_counter() - begin)
  return 1e3 * statistics.median(times)


def alternate(
  functions: Mapping[str, Callable[[], object]], repeats: int
) -> dict[str, list[float]]:
  """Seconds of each repetition, the competitors in turns: A B A B.

  On a machine that others use too, what slows one repetition then slows its
  neighbours alike, and the ratio of the medians holds.

  Args:
    functions: each returns when its work is done, and has been called before.
    repeats: turns.
  """
  times = {name: [] for name in functions}
  for _ in range(repeats):
    for name, function in functions.items():
      begin = time.perf_counter()
      function()
      times[name].append(time.perf_counter() - begin)
  return times


def peak_flops(dtype: str, size: int | None = None) -> Callable[[], float]:
  """A large matrix product of this type; a call of it gives its FLOP/s."""
  if size is None:
    size = 2048 if jax.default_backend() == 'cpu' else 8192
  a = jnp.ones((size, size), dtype)
  # Several in one call, each on the result of the last, hide its start.
  count = 1 if jax.default_backend() == 'cpu' else 16

  def chain(a, b):
    for _ in range(count):
      b = (a @ b) * jnp.asarray(1 / size, dtype)
    return b

  chain = jax.jit(chain)
  jax.block_until_ready(chain(a, a))

  def measure() -> float:
    begin = time.perf_counter()
    jax.block_until_ready(chain(a, a))
    return count * 2.0 * size**3 / (time.perf_counter() - begin)

  return measure


def peak_memory() -> tuple[str, float]:
  """What it is, and GB: of the device, else of this process."""
  statistics_ = jax.local_devices()[0].memory_stats()
  if statistics_ and 'peak_bytes_in_use' in statistics_:
    return 'device', statistics_['peak_bytes_in_use'] / 1e9
  kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return 'process', kilobytes * 1024 / 1e9


def device() -> str:
  """The device, in words."""
  first = jax.devices()[0]
  return f'{jax.device_count()} x {first.platform} ({first.device_kind})'
