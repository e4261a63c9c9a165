"""The memory of the process that serves; where nothing is kept it stays.

Arrays come and go in several threads, between objects that stay.

* glibc raises the size from which it takes memory from the system, and gives it
  back, to that of the largest array so far, up to 32 MiB. Smaller ones lie in
  its heaps, which what lies behind them keeps from shrinking: they grow by some
  MiB a minute.
* Python looks for cycles among all objects when a quarter of them is new. JAX
  makes 300,000 and more; those of a request are few, but may hold photos.
"""

import ctypes
import gc

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# Most arrays of a photo are larger.
_OWN_BYTES = 1 << 20
# What a heap may keep free at its end, for those that are smaller.
_SPARE_BYTES = 16 << 20


def tune() -> None:
  """Prepares the allocator, before threads are started."""
  mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
  if mallopt:  # glibc's.
    # Threads use one another's freed memory: two arenas, not 8 a core.
    mallopt(_M_ARENA_MAX, 2)
    mallopt(_M_MMAP_THRESHOLD, _OWN_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _SPARE_BYTES)


def settle() -> None:
  """Once all is warm: what is there is taken to stay.

  Looking for cycles skips it, and so takes milliseconds and happens often.
  """
  gc.collect()
  gc.freeze()
