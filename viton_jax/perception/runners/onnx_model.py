"""ONNX files, run by onnxruntime: CUDA where it has that, else the CPU.

onnxruntime is an extra of this package and only imported here.
"""

from collections.abc import Callable, Sequence
import dataclasses
import functools
import pathlib

import numpy as np

from viton_jax.errors import InputError
from viton_jax.io import files
from viton_jax.perception.model_files import INSTALL_ONNX
from viton_jax.perception.spec_types import FixedSize, Spec, Task
from viton_jax.perception.specs import known_specs

_PROVIDERS = ('CUDAExecutionProvider', 'CPUExecutionProvider')
_TYPES = {'tensor(float)': np.float32, 'tensor(float16)': np.float16}
_SILENT = 3  # Of onnxruntime's levels: errors and worse.


@dataclasses.dataclass(frozen=True)
class OnnxModel:
  """A network that is ready to run.

  Attributes:
    spec: how to feed it and what it says.
    path: its file.
    device: what runs it: 'CUDA' or 'CPU'.
    run: a float32 tensor -> the spec's output tensors, float32 or integers.
  """

  spec: Spec
  path: pathlib.Path
  device: str
  run: Callable[[np.ndarray], list[np.ndarray]]


def load(path: pathlib.Path, spec: Spec | None, *, task: Task) -> OnnxModel:
  """Opens an ONNX file; again only if it changes.

  Args:
    path: the file.
    spec: how it is to be used; None: that known spec of the task is taken
      which fits the file's input and outputs.
    task: 'pose', 'parsing' or 'detector'.

  Returns:
    the model.

  Raises:
    InputError: no onnxruntime, no such network, or a network of other shapes.
  """
  session = _session(path)
  if spec is None:
    spec, tensors = _match(session, path, task)
  else:
    tensors, wrong = _fit(session, spec)
    if wrong:
      raise InputError(
        f"{path}: not the network that the spec '{spec.name}' describes, "
        f'because {wrong}; get {pathlib.PurePath(spec.file).name} from '
        f'{spec.source}, or write a spec for this file'
      )
  entry = _image_input(session, spec)
  names = [session.get_outputs()[x].name for x in tensors]
  run = functools.partial(
    _run, session, entry.name, _TYPES[entry.type], names, path
  )
  device = session.get_providers()[0].removesuffix('ExecutionProvider')
  return OnnxModel(spec, path, device, run)


def _session(path: pathlib.Path):
  files.check_regular(path, 'network', limit=files.MAX_MODEL_BYTES)
  stat = path.stat()
  return _open(path.resolve(), stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=4)
def _open(path: pathlib.Path, mtime: int, size: int):
  del mtime, size  # They make a changed file another key of the cache.
  try:
    # An extra of this package, and slow to import.
    import onnxruntime

    from viton_jax.perception.runners import onnx_shapes
  except ImportError as error:
    raise InputError(
      f'{path}: ONNX files need {error.name}, which is not installed: '
      f'{INSTALL_ONNX}'
    ) from error
  onnx_shapes.check(path)
  options = onnxruntime.SessionOptions()
  options.log_severity_level = _SILENT
  available = onnxruntime.get_available_providers()
  try:
    return onnxruntime.InferenceSession(
      str(path),
      options,
      providers=[x for x in _PROVIDERS if x in available],
    )
  # onnxruntime has a dozen exceptions for a damaged file, without a common
  # class of their own.
  except Exception as error:
    reason = ' '.join(str(error).split())[:160]
    raise InputError(
      f'{path}: not a usable ONNX file ({reason}); copy or export it again'
    ) from error


def _run(session, name, dtype, outputs, path, tensor) -> list[np.ndarray]:
  try:
    arrays = session.run(outputs, {name: tensor.astype(dtype)})
  # As above; here it is a network whose parts do not fit one another.
  except Exception as error:
    reason = ' '.join(str(error).split())[:160]
    raise InputError(
      f'{path}: the network cannot be run on an image of shape '
      f'{tensor.shape} ({reason}); export it again'
    ) from error
  for array in arrays:
    if array.dtype.kind == 'f' and not np.isfinite(array).all():
      raise InputError(
        f'{path}: the network gives values that are no finite numbers; copy '
        'or export it again'
      )
  return [x.astype(np.float32) if x.dtype.kind == 'f' else x for x in arrays]


def _match(session, path: pathlib.Path, task: Task) -> tuple[Spec, list[int]]:
  """The known spec that fits a file, and which outputs it means."""
  candidates = [
    x for x in known_specs().values() if x.task == task and x.backend == 'onnx'
  ]
  # Of two that fit, the one whose file has this name.
  candidates.sort(key=lambda x: pathlib.PurePath(x.file).name != path.name)
  reasons = []
  for any_output in (False, True):
    for spec in candidates:
      tensors, wrong = _fit(session, spec, any_output=any_output)
      if not wrong:
        return spec, tensors
      if not any_output:
        reasons.append(f'{spec.name}: {wrong}')
  raise InputError(
    f'{path}: no known {task} network has its shapes ('
    + '; '.join(reasons)
    + '); give a spec (.toml) that says how to use it, docs/perception.md '
    'has an example'
  )


def _image_input(session, spec: Spec):
  entries = session.get_inputs()
  named = [x for x in entries if x.name == spec.input.name]
  return (named or entries)[0]


def _fit(
  session, spec: Spec, *, any_output: bool = True
) -> tuple[list[int], str | None]:
  """Which outputs a spec means, and why a file is not what it describes.

  Args:
    session: the opened file.
    spec: the description.
    any_output: a file with one output need not have it at the place that the
      spec says.
  """
  entries = session.get_inputs()
  entry = _image_input(session, spec)
  if len(entries) != 1 and entry.name != spec.input.name:
    return [], f'it has {len(entries)} inputs instead of one'
  if entry.type not in _TYPES:
    return [], f'its input is a {entry.type} instead of floating point'
  wrong = _wrong_input(entry.shape, spec)
  if wrong:
    return [], wrong
  outputs = session.get_outputs()
  names = [x.name for x in outputs]
  wanted = list(spec.output.tensors)
  places = {name: place for place, name in enumerate(names)}
  tensors = [x if isinstance(x, int) else places.get(x, -1) for x in wanted]
  if any_output and len(wanted) == len(outputs) == 1:
    tensors = [0]
  if not all(0 <= x < len(outputs) for x in tensors):
    return [], f'it has the outputs {names}, and not {wanted}'
  # A file without fixed sizes tells them when it is run.
  shapes = [outputs[x].shape for x in tensors]
  if not all(_known(shape, spec) for shape in shapes):
    shapes = _try_shapes(session, entry, spec, [names[x] for x in tensors])
    if shapes is None:
      return [], f'it cannot be run on an image of {_size(spec)}'
  for shape, channels in zip(shapes, _channels(spec, shapes), strict=True):
    wrong = _wrong_output(list(shape), channels, spec)
    if wrong:
      return [], wrong
  return tensors, None


def _channels(spec: Spec, shapes) -> Sequence[int | None]:
  channels = spec.output.channels
  return channels if isinstance(channels, tuple) else [channels] * len(shapes)


def _wrong_input(shape, spec: Spec) -> str | None:
  if len(shape) != 4:
    return f'its input has shape {shape} instead of four dimensions'
  last = spec.input.layout == 'nhwc'
  planes = shape[3 if last else 1]
  size = shape[1:3] if last else shape[2:]
  if isinstance(planes, int) and planes != 3:
    return (
      f'its input has shape {shape}, without 3 colours at place '
      f'{3 if last else 1} (layout {spec.input.layout})'
    )
  if isinstance(shape[0], int) and shape[0] != 1:
    return f'its input takes {shape[0]} images at once instead of 1'
  # Only an input of free size takes what the other fits give.
  fit = spec.input.fit
  wanted = list(fit.size) if isinstance(fit, FixedSize) else ['any', 'any']
  for got, want in zip(size, wanted, strict=True):
    if isinstance(got, int) and got != want:
      return f'its input is {size} pixels (height, width) instead of {wanted}'
  return None


def _known(shape, spec: Spec) -> bool:
  """Whether what must be checked of an output's shape is a number."""
  if spec.output.kind in ('labels', 'boxes'):
    return len(shape) > 0
  axis = _axis(spec)
  return len(shape) > axis and isinstance(shape[axis], int)


def _axis(spec: Spec) -> int:
  """Where an output has its channels or joints."""
  maps = spec.output.kind in ('heat_paf', 'logits')
  return 3 if maps and spec.input.layout == 'nhwc' else 1


def planes(array: np.ndarray, spec: Spec) -> np.ndarray:
  """The maps of one image, (c, h, w), of either layout."""
  return array[0].transpose(2, 0, 1) if _axis(spec) == 3 else array[0]


def _wrong_output(shape, channels, spec: Spec) -> str | None:
  kind = spec.output.kind
  rank = {'heat_paf': (4,), 'logits': (4,), 'simcc': (3,), 'boxes': (3,)}
  if len(shape) not in rank.get(kind, (2, 3, 4)):
    return f'an output has shape {shape}, which is not of the kind {kind}'
  if channels is not None and shape[_axis(spec)] != channels:
    what = 'joints' if kind == 'simcc' else 'channels'
    return f'an output has shape {shape} instead of {channels} {what}'
  return None


def _size(spec: Spec) -> tuple[int, int]:
  fit = spec.input.fit
  return fit.size if isinstance(fit, FixedSize) else (fit.height, fit.height)


def _try_shapes(session, entry, spec: Spec, names):
  """The shapes of outputs for a black image; None if it cannot be run."""
  shape = (1, 3, *_size(spec))
  if spec.input.layout == 'nhwc':
    shape = (1, *_size(spec), 3)
  try:
    black = np.zeros(shape, _TYPES[entry.type])
    arrays = session.run(names, {entry.name: black})
  # See _run.
  except Exception:
    return None
  return [x.shape for x in arrays]
