"""Networks in TensorFlow Lite's files, and what runs them.

On a CPU LiteRT does (package ai-edge-litert), which is the faster there; JAX
does on accelerators, in batches, and where LiteRT is not installed.
"""

from collections.abc import Callable
import dataclasses
import functools
import hashlib
import importlib.util
import multiprocessing
import pathlib
import threading
from typing import Literal

import jax
import numpy as np

from viton_jax.errors import InputError
from viton_jax.io import files
from viton_jax.perception.runners import tflite_file, tflite_graph
from viton_jax.perception.runners.graphdef import GraphError
from viton_jax.perception.spec_types import Spec, fixed_size
from viton_jax.runtime import environment

Runner = Literal['litert', 'jax']
Run = Callable[[np.ndarray], list[np.ndarray]]
_MAX_BYTES = 256 << 20
# Each size of a batch is compiled once; what is between is filled up. A CPU is
# slower in batches.
_BATCHES = (1, 8, 32)
_CPU_BATCHES = (1,)


@dataclasses.dataclass(frozen=True, eq=False)
class TfliteModel:
  """A network that is ready to run.

  Attributes:
    path: its file.
    spec: how it is fed.
    runner: what runs it, in words.
    run: (b, h, w, 3) float32 -> the outputs that the spec names, (b, ...)
      float32 each.
  """

  path: pathlib.Path
  spec: Spec
  runner: str
  run: Run


def load(
  path: pathlib.Path,
  spec: Spec,
  *,
  outputs: list[tuple[int, ...]],
  runner: Runner | None = None,
) -> TfliteModel:
  """Reads a file; again only if it changes.

  Args:
    path: the '.tflite' file.
    spec: of the backend 'tflite'.
    outputs: shapes of the outputs that the spec names, for one image.
    runner: 'litert' or 'jax'; None: the faster one here.

  Raises:
    InputError: the file is missing, damaged or another network.
  """
  try:
    stat = path.stat()
  except OSError as error:
    raise InputError(
      f'{path}: cannot be read ({error.strerror}); get it again'
    ) from error
  if stat.st_size > _MAX_BYTES:
    raise InputError(
      f'{path}: has {stat.st_size} bytes, and networks up to {_MAX_BYTES} are '
      'read; give another file'
    )
  return _load(
    path.resolve(),
    spec,
    tuple(outputs),
    runner or default_runner(),
    # They make a changed file another key of the cache.
    stat.st_mtime_ns,
    stat.st_size,
  )


def default_runner() -> Runner:
  """LiteRT on a CPU, if it is installed; else JAX."""
  installed = importlib.util.find_spec('ai_edge_litert') is not None
  return 'litert' if installed and jax.default_backend() == 'cpu' else 'jax'


@functools.lru_cache(maxsize=8)
def _load(
  path: pathlib.Path, spec: Spec, outputs, runner: Runner, *version: int
) -> TfliteModel:
  del version
  shape = (*fixed_size(spec).size, 3)
  try:
    data = files.read(path, 'network', limit=_MAX_BYTES)
    known = hashlib.sha256(data).hexdigest() == spec.sha256
    if runner == 'litert' and known:
      return _model(path, spec, 'LiteRT', by_litert(data))
    # LiteRT is written in C++: no file gets there that was not checked here.
    network = tflite_file.read_network(data)
    weights, function = tflite_graph.build(network)
    given = [network.shapes[x] for x in network.inputs]
    if given != [(1, *shape)]:
      raise GraphError(f'it takes {given} instead of {(1, *shape)}')
    made = tflite_graph.output_shapes(weights, function, shape)
    tensors = spec.output.tensors
    if not all(isinstance(k, int) and k < len(made) for k in tensors) or (
      [made[int(k)] for k in tensors] != list(outputs)
    ):
      raise GraphError(f'it gives {made} instead of {list(outputs)}')
  except GraphError as error:
    raise InputError(
      f'{path}: not a usable {spec.name}, because {error}; get it again: '
      f'{spec.source}'
    ) from error
  if runner == 'litert':
    try:
      return _model(path, spec, 'LiteRT', by_litert(data))
    except (RuntimeError, ValueError) as error:
      raise InputError(
        f'{path}: LiteRT cannot run it ({" ".join(str(error).split())}); get '
        f'it again: {spec.source}'
      ) from error
  place = f'JAX on {jax.devices()[0].device_kind}'
  on_cpu = jax.default_backend() == 'cpu'
  run = by_jax(weights, function, _CPU_BATCHES if on_cpu else _BATCHES)
  return _model(path, spec, place, run)


def _model(
  path: pathlib.Path, spec: Spec, runner: str, run: Run
) -> TfliteModel:
  """A model that gives the outputs of its spec, in their order."""

  def named(images: np.ndarray) -> list[np.ndarray]:
    outputs = run(images)
    return [outputs[int(k)] for k in spec.output.tensors]

  return TfliteModel(path, spec, runner, named)


def by_litert(data: bytes) -> Run:
  """A network's function, run by LiteRT one image after the other."""
  # Optional, and it loads 20 MB.
  from ai_edge_litert import interpreter as litert

  # Worker processes have a core each.
  alone = multiprocessing.parent_process() is None
  network = litert.Interpreter(
    model_content=data, num_threads=environment.cores() if alone else 1
  )
  network.allocate_tensors()
  (source,) = network.get_input_details()
  outputs = network.get_output_details()
  lock = threading.Lock()  # An interpreter has one set of tensors.

  def run(images: np.ndarray) -> list[np.ndarray]:
    rows = []
    with lock:
      for image in images:
        network.set_tensor(source['index'], image[None])
        network.invoke()
        rows.append([network.get_tensor(x['index'])[0] for x in outputs])
    return [np.stack(x) for x in zip(*rows, strict=True)]

  return run


def by_jax(
  weights: dict[str, np.ndarray],
  function: Callable[..., list[jax.Array]],
  batches: tuple[int, ...],
) -> Run:
  """A network's function, compiled for batches of some sizes."""
  # One transfer for hundreds of small arrays.
  on_device = jax.device_put(weights)
  batched = jax.jit(jax.vmap(function, in_axes=(None, 0)))

  def run(images: np.ndarray) -> list[np.ndarray]:
    parts, start = [], 0
    while start < len(images):
      left = len(images) - start
      size = next((n for n in batches if n >= left), batches[-1])
      part = images[start : start + size]
      filled = np.resize(part, (size, *part.shape[1:]))
      outputs = jax.device_get(batched(on_device, filled))
      parts.append([x[: len(part)] for x in outputs])
      start += size
    return [np.concatenate(x) for x in zip(*parts, strict=True)]

  return run


def sigmoid(logits: np.ndarray) -> np.ndarray:
  """Of what networks leave as logits; no overflow."""
  return 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
