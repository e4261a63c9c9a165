"""Files as they are published for FID's Inception, of seeded numbers.

The rule of the numbers is that of the golden figures' README; a file of them
has the format of pt_inception-2015-12-05-6726825d.pth, written without torch.
"""

from collections.abc import Mapping
import io
import math
import pathlib
import pickle
import struct
import zipfile
import zlib

import numpy as np

from viton_jax.metrics import inception

_CLASSES = 1008


def seeded_tensors() -> dict[str, np.ndarray]:
  """FID's Inception: published name of a tensor -> float32."""
  found = {}
  for name, shape in tensor_shapes().items():
    rng = np.random.RandomState(zlib.crc32(f'inception.{name}'.encode()))
    if len(shape) == 4:
      values = rng.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))
    elif len(shape) == 2:
      values = rng.standard_normal(shape) * math.sqrt(4 / shape[1])
    elif name.endswith(('bn.weight', 'running_var')):
      values = rng.uniform(0.5, 1.5, shape)
    else:
      values = rng.standard_normal(shape) * 0.1
    found[name] = values.astype(np.float32)
  return found


def tensor_shapes() -> dict[str, tuple[int, ...]]:
  """The published names and shapes, in torch's order of axes."""
  found = {}
  for name, shape in inception.shapes(_CLASSES).items():
    if name == 'fc':
      continue
    height, width, inputs, out = shape
    found[f'{name}.conv.weight'] = (out, inputs, height, width)
    for part in ('weight', 'bias', 'running_mean', 'running_var'):
      found[f'{name}.bn.{part}'] = (out,)
  found['fc.weight'], found['fc.bias'] = (_CLASSES, 2048), (_CLASSES,)
  return found


def write_pth(
  path: pathlib.Path, tensors: Mapping[str, np.ndarray]
) -> pathlib.Path:
  """Writes float32 tensors as torch.save does: a zip of a pickle and bytes."""
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('archive/data.pkl', _pickled(tensors))
    for i, value in enumerate(tensors.values()):
      archive.writestr(
        f'archive/data/{i}', np.ascontiguousarray(value, '<f4').tobytes()
      )
    archive.writestr('archive/version', '3\n')
  return path


def _pickled(tensors) -> bytes:
  """Opcode by opcode: pickle would import what it names."""
  out = io.BytesIO()
  empty = b'ccollections\nOrderedDict\n)R'
  out.write(b'\x80\x02' + empty)
  for i, (name, value) in enumerate(tensors.items()):
    strides = [x // value.itemsize for x in value.strides]
    out.write(_text(name) + b'ctorch._utils\n_rebuild_tensor_v2\n(')
    out.write(b'(' + _text('storage') + b'ctorch\nFloatStorage\n')
    out.write(_text(str(i)) + _text('cpu') + _number(value.size) + b'tQ')
    out.write(_number(0) + _tuple(value.shape) + _tuple(strides))
    out.write(b'\x89' + empty + b'tRs')
  out.write(b'.')
  return out.getvalue()


def _text(text: str) -> bytes:
  data = text.encode()
  return b'X' + struct.pack('<I', len(data)) + data


def _number(value: int) -> bytes:
  # Without the protocol's header and the final stop.
  return pickle.dumps(value, 2)[2:-1]


def _tuple(values) -> bytes:
  return b'(' + b''.join(map(_number, values)) + b't'
