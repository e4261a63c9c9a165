"""Data parallelism over all devices; the only file that says pmap.

The state is one tree, the same on every device: it goes in and comes out
without a leading device axis (`in_axes=None`, `out_axes=None`). Only the batch
is split. What a step returns must therefore be equal on all devices, so steps
reduce their gradients and metrics over `AXIS` themselves.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import numpy as np

AXIS = 'devices'


def replicate(tree: Any) -> Any:
  """Copies a tree to every local device.

  The copy never shares memory with `tree`, so that a step may donate it.
  """
  mesh = Mesh(np.asarray(jax.local_devices()), (AXIS,))
  replicated = NamedSharding(mesh, PartitionSpec())
  return jax.jit(lambda t: t, out_shardings=replicated)(
      jax.tree.map(np.array, tree)
  )


def shard(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Splits this process's batch over its devices: (b, ...) -> (d, b/d, ...).

  Names of files stay behind: devices hold numbers only.
  """
  devices = jax.local_device_count()
  return {
      name: value.reshape(devices, -1, *value.shape[1:])
      for name, value in batch.items()
      if value.dtype.kind in 'biuf'
  }


def unshard(tree: Any) -> Any:
  """Undoes `shard` on a device result, as NumPy arrays."""
  return jax.tree.map(
      lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), tree
  )


def train(step: Callable) -> Callable:
  """(state, frozen, batch) -> (state, metrics), compiled for all devices.

  `frozen` holds the trained networks that the step only reads. The state is
  donated: its memory is used again, the old one is gone.
  """
  return jax.pmap(
      step,
      axis_name=AXIS,
      in_axes=(None, None, 0),
      out_axes=(None, None),
      donate_argnums=0,
  )


def evaluate(step: Callable) -> Callable:
  """(state, frozen, batch) -> metrics, compiled for all devices."""
  return jax.pmap(
      step, axis_name=AXIS, in_axes=(None, None, 0), out_axes=None
  )


def predict(step: Callable) -> Callable:
  """(variables, batch) -> tree of arrays, compiled for all devices.

  The returned function takes and gives unsplit batches, whatever their size:
  it pads them to a multiple of the number of devices with copies of the last
  example.
  """
  mapped = jax.pmap(step, in_axes=(None, 0))

  def run(variables, batch):
    size = len(next(iter(batch.values())))
    missing = -size % jax.local_device_count()
    if missing:
      batch = {
          k: np.concatenate([v, np.repeat(v[-1:], missing, axis=0)])
          for k, v in batch.items()
      }
    return jax.tree.map(
        lambda x: x[:size], unshard(mapped(variables, shard(batch)))
    )

  return run
