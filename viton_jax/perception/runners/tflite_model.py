"""Networks in TensorFlow Lite's files, and what runs them.

LiteRT (package ai-edge-litert) is the faster on a CPU.
"""

from collections.abc import Callable
import dataclasses
import functools
import importlib.util
import os
import pathlib
import threading

import numpy as np

from viton_jax.errors import InputError
from viton_jax.perception import model_files
from viton_jax.perception.spec_types import FixedSize, Spec
from viton_jax.runtime import environment

_MAX_BYTES = 256 << 20


@dataclasses.dataclass(frozen=True)
class TfliteModel:
  """A network that is ready to run.

  Attributes:
    path: its file.
    spec: how it is fed.
    runner: what runs it, in words.
    run: (b, h, w, 3) float32 -> its outputs, (b, ...) float32 each.
  """

  path: pathlib.Path
  spec: Spec
  runner: str
  run: Callable[[np.ndarray], list[np.ndarray]]


def load(path: pathlib.Path, spec: Spec) -> TfliteModel:
  """Reads a file; again only if it changes.

  Args:
    path: the '.tflite' file.
    spec: of the backend 'tflite'.

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
  return _load(path.resolve(), spec, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=8)
def _load(path: pathlib.Path, spec: Spec, mtime: int, size: int) -> TfliteModel:
  del mtime, size  # They make a changed file another key of the cache.
  try:
    data = path.read_bytes()
  except OSError as error:
    raise InputError(
      f'{path}: cannot be read ({error.strerror}); check its permissions'
    ) from error
  if not importlib.util.find_spec('ai_edge_litert'):
    raise InputError(
      f'{path}: ai-edge-litert is missing; {model_files.INSTALL_PHOTOS}'
    )
  return TfliteModel(path, spec, 'LiteRT', _by_litert(data, path, spec))


def input_shape(spec: Spec) -> tuple[int, int, int, int]:
  """Of one image."""
  assert isinstance(spec.input.fit, FixedSize)  # The spec was checked.
  return (1, *spec.input.fit.size, 3)


def _by_litert(
  data: bytes, path: pathlib.Path, spec: Spec
) -> Callable[[np.ndarray], list[np.ndarray]]:
  # Optional, and it loads 20 MB.
  from ai_edge_litert import interpreter as litert

  try:
    network = litert.Interpreter(
      model_content=data, num_threads=environment.cores()
    )
    network.allocate_tensors()
  except (RuntimeError, ValueError) as error:
    raise InputError(
      f'{path}: not a network that LiteRT can run '
      f'({" ".join(str(error).split())}); get it again: {spec.source}'
    ) from error
  (source, *others), outputs = (
    network.get_input_details(),
    network.get_output_details(),
  )
  check_input(path, spec, [tuple(x['shape']) for x in (source, *others)])
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


def check_input(path, spec: Spec, shapes: list[tuple[int, ...]]) -> None:
  """Raises InputError unless a network takes what its spec says."""
  wanted = input_shape(spec)
  if [tuple(int(n) for n in x) for x in shapes] != [wanted]:
    raise InputError(
      f'{path}: takes {shapes} instead of {wanted}, so it is no {spec.name}; '
      f'get {os.path.basename(spec.file)} again: {spec.source}'
    )
