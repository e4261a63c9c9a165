"""Data parallelism over all devices; the only file that says pmap.

The state is one tree, the same on every device: it goes in and comes out
without a leading device axis (`in_axes=None`, `out_axes=None`). Only the batch
is split. What a step returns must therefore be equal on all devices, so steps
reduce their gradients and metrics over `AXIS` themselves.

With several processes the mapped axis spans the devices of all of them; what a
process puts in and gets out are its own copies and its own part of the batch.
"""

import collections
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import numpy as np

from viton_jax.errors import EXIT_BAD_INPUT, InputError

AXIS = 'devices'
_SENTENCE_BYTES = 2000


class AgreedError(InputError):
  """One that all processes know of, so that all of them end."""


def replicate(tree: Any) -> Any:
  """Copies a tree to every local device.

  The copy never shares memory with `tree`, so that a step may donate it.
  """
  return jax.jit(lambda t: t, out_shardings=_on_local_devices())(
    jax.tree.map(np.array, tree)
  )


def place(tree: Any) -> Any:
  """Puts large arrays on every local device, without another copy here.

  They must not be donated, and nobody may change `tree` any more.
  """
  return jax.device_put(tree, _on_local_devices())


def _on_local_devices(*axes):
  mesh = Mesh(np.asarray(jax.local_devices()), (AXIS,))
  return NamedSharding(mesh, PartitionSpec(*axes))


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


def pad(batch: dict[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
  """Fills a batch up to `size` examples with copies of the last one."""
  missing = size - len(next(iter(batch.values())))
  if not missing:
    return batch
  return {
    name: np.concatenate([x, np.repeat(x[-1:], missing, axis=0)])
    for name, x in batch.items()
  }


def shard_parts(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
  """Splits consecutive parts of a batch, each over all devices.

  A device gets its share of the first part, then of the second, and so on:
  n of (b, ...) -> (d, n * b/d, ...). See
  `training.steps` about `grad_accum_steps`.
  """
  split = [shard(part) for part in parts]
  if len(split) == 1:
    return split[0]
  return {
    name: np.concatenate([part[name] for part in split], axis=1)
    for name in split[0]
  }


def ahead(
  batches: Iterator[dict[str, np.ndarray]], parts: int = 1, *, count: int = 2
) -> Iterator[dict[str, jax.Array]]:
  """Puts batches on the devices before they are needed.

  While the devices work on one batch, the next `count` are on their way.

  Args:
    batches: parts of this process's batches, see `shard_parts`.
    parts: how many of them make a batch.
    count: batches ahead of the one in use.
  """
  on_devices = _on_local_devices(AXIS)

  def put():
    batch = shard_parts([next(batches) for _ in range(parts)])
    return jax.device_put(batch, on_devices)

  waiting = collections.deque(put() for _ in range(count))
  while True:
    waiting.append(put())
    yield waiting.popleft()


def together(check: Callable[[], Any]) -> Any:
  """Runs a check in every process; if it fails in one, it fails in all.

  Otherwise the others would wait for the one that is gone.

  Returns:
    what `check` returns.

  Raises:
    InputError: the check's; with several processes AgreedError in process 0.
    SystemExit: the same in the other processes, so that it is said once.
  """
  if jax.process_count() == 1:
    return check()
  result, sentence = None, ''
  try:
    result = check()
  except InputError as error:
    sentence = f'{error} (in process {jax.process_index()})'
  ours = np.zeros(_SENTENCE_BYTES, np.uint8)
  text = np.frombuffer(sentence.encode()[:_SENTENCE_BYTES], np.uint8)
  ours[: len(text)] = text
  for row in multihost_utils.process_allgather(ours):
    said = row.tobytes().rstrip(b'\0').decode(errors='replace')
    if said and jax.process_index() == 0:
      raise AgreedError(said)
    if said:
      raise SystemExit(EXIT_BAD_INPUT)
  return result


def wait_for_all(name: str) -> None:
  """Returns when every process has come here."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)


def unshard(tree: Any) -> Any:
  """Undoes `shard` on a device result, as NumPy arrays."""
  return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), tree)


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
  return jax.pmap(step, axis_name=AXIS, in_axes=(None, None, 0), out_axes=None)


def predict_split(step: Callable) -> Callable:
  """(variables, split batch) -> tree of arrays that stay on the devices.

  `shard` splits a batch and `unshard` fetches what comes out, which may also go
  into another such step as it is. Returns before anything is computed.
  """
  return jax.pmap(step, in_axes=(None, 0), devices=jax.local_devices())


def predict(step: Callable) -> Callable:
  """(variables, batch) -> tree of arrays, compiled for all devices.

  The returned function takes and gives unsplit batches, whatever their size:
  it pads them to a multiple of the number of devices with copies of the last
  example. It runs on this process's devices; the others need not call it.
  """
  mapped = predict_split(step)

  def run(variables, batch):
    size = len(next(iter(batch.values())))
    batch = pad(batch, size + -size % jax.local_device_count())
    return jax.tree.map(
      lambda x: x[:size], unshard(mapped(variables, shard(batch)))
    )

  return run
