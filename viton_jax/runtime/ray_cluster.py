"""Ray: joining a cluster, or starting one for the time of a command.

Of the extra [scale]; this file alone knows how Ray is started.
"""

import importlib.util
import math
import os
import socket
import sys
from typing import Any

from viton_jax.errors import InputError

NAMESPACE = 'viton_jax'


def address_of(address: str | None) -> str | None:
  """The cluster that is meant: what is given, or RAY_ADDRESS; None: none."""
  return address or os.environ.get('RAY_ADDRESS') or None


def connect(address: str | None, *, cpus: float) -> None:
  """Joins a cluster, or starts one that ends with this process.

  Args:
    address: see `address_of`; 'auto', or host:port of the head.
    cpus: that a cluster which is started here must have room for. They are
      counted, not reserved: what runs shares the cores that there are.

  Raises:
    InputError: Ray is not installed, or nothing answers at the address.
  """
  if importlib.util.find_spec('ray') is None:
    raise InputError(
      f'this needs ray; type: {sys.executable} -m pip install '
      "'viton_jax[scale]'"
    )
  # Ray would tell its makers that it is used.
  os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
  # Every line of a log, not one of several that look alike.
  os.environ.setdefault('RAY_DEDUP_LOGS', '0')
  # Ray would let every other program of the machine go first (nice 15).
  os.environ.setdefault('RAY_worker_niceness', '0')
  # Here, because it takes seconds and reads the above.
  import ray  # pyright: ignore[reportMissingImports]

  here: dict[str, Any] = {}
  if not address:
    here = {
      '_node_ip_address': '127.0.0.1',
      'include_dashboard': False,
      'num_cpus': max(os.cpu_count() or 1, math.ceil(cpus)),
    }
  try:
    host, _, port = (address or '').rpartition(':')
    if host:  # Ray itself would try for a minute, and then end the process.
      socket.create_connection((host.strip('[]'), int(port)), 10).close()
    ray.init(address=address, namespace=NAMESPACE, **here)
  except (OSError, ValueError) as error:
    raise InputError(
      f'--address {address}: no Ray cluster answers ({error}); start one with '
      '`ray start --head`, give host:port of its head, or leave --address out'
    ) from error
  except Exception as error:  # Ray has no class of its own for it.
    if 'timed out during startup' not in str(error):
      raise
    raise InputError(
      'Ray waits 30 s for its own processes, and they did not start; run the '
      'same command again when the machine is less busy'
    ) from error
