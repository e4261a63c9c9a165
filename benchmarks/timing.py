"""What all benchmarks share: how to time a compiled function."""

from collections.abc import Callable
import statistics
import time

import jax


def milliseconds(function: Callable, *arguments, repeats: int = 7) -> float:
  """Median time of a call, compiled before and waited for."""
  jax.block_until_ready(function(*arguments))
  times = []
  for _ in range(repeats):
    begin = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    times.append(time.perf_counter() - begin)
  return 1e3 * statistics.median(times)


def device() -> str:
  """The device, in words."""
  first = jax.devices()[0]
  return f'{jax.device_count()} x {first.platform} ({first.device_kind})'
