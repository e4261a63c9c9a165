"""Writes files as torch.save and torch.jit.save do, without PyTorch.

The operations of the pickles are those of files that PyTorch wrote: names of
functions are written as they are, and nothing stands behind them here.
"""

from collections.abc import Mapping
import dataclasses
import io
import pickle
import struct
from typing import Any
import zipfile

import numpy as np

_NAMES = {'f4': 'Float', 'f2': 'Half', 'f8': 'Double', 'i8': 'Long'}
_REBUILD = ('torch._utils', '_rebuild_tensor_v2')


@dataclasses.dataclass(frozen=True)
class Named:
  """A name that the reader is to find something behind."""

  module: str
  name: str


@dataclasses.dataclass(frozen=True)
class Module:
  """A module of TorchScript."""

  attributes: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Call:
  """What a function returns: how a pickle runs code."""

  function: Named
  arguments: tuple


@dataclasses.dataclass(frozen=True)
class WithState:
  """What a function returns, and the state that it is given."""

  made: Call
  state: tuple


@dataclasses.dataclass(frozen=True)
class View:
  """A tensor that is a view of a storage of its own making."""

  storage: np.ndarray
  offset: Any
  shape: tuple
  strides: tuple


@dataclasses.dataclass(frozen=True)
class Old:
  """A parameter as PyTorch of 2017 wrote it."""

  view: View


class _Stored:
  def __init__(self, key: str, values: np.ndarray):
    self.key, self.values = key, values


class _Pickler(pickle._Pickler):
  """Adds names, calls, modules and tensors to what pickle writes."""

  def __init__(self, file):
    super().__init__(file, 2)
    self.storages: list[np.ndarray] = []

  def persistent_id(self, obj):
    if not isinstance(obj, _Stored):
      return None
    kind = obj.values.dtype.str[1:]
    storage = Named('torch', f'{_NAMES[kind]}Storage')
    return 'storage', storage, obj.key, 'cpu', obj.values.size

  def save(self, obj, save_persistent_id=True):
    if isinstance(obj, Named):
      self.write(f'c{obj.module}\n{obj.name}\n'.encode())
    elif isinstance(obj, Call):
      self.save(obj.function)
      self.save(obj.arguments)
      self.write(pickle.REDUCE)
    elif isinstance(obj, WithState):
      self.save(obj.made)
      self.save(obj.state)
      self.write(pickle.BUILD)
    elif isinstance(obj, Module):
      self.save(Named('__torch__.torch.nn.modules', 'Sequential'))
      self.write(pickle.EMPTY_TUPLE + pickle.NEWOBJ)
      self.save(dict(obj.attributes))
      self.write(pickle.BUILD)
    elif isinstance(obj, View):
      hooks = Call(Named('collections', 'OrderedDict'), ())
      view = self._view(obj)
      self.save(Call(Named(*_REBUILD), (*view, False, hooks)))
    elif isinstance(obj, Old):
      tensor = Call(Named('torch', 'FloatTensor'), ())
      tensor = WithState(tensor, self._view(obj.view))
      made = Call(Named('torch.nn.parameter', 'Parameter'), (tensor,))
      self.save(WithState(made, (True, False, None)))
    elif isinstance(obj, np.ndarray):
      values = np.ascontiguousarray(obj)
      steps = tuple(x // values.itemsize for x in values.strides)
      self.save(View(values.ravel(), 0, values.shape, steps))
    else:
      super().save(obj, save_persistent_id)

  def _view(self, view: View) -> tuple:
    stored = _Stored(str(len(self.storages)), view.storage)
    self.storages.append(view.storage)
    return stored, view.offset, view.shape, view.strides


def ordered(tensors: Mapping[str, Any]) -> Call:
  """A state dict: an OrderedDict, made of its pairs."""
  return Call(
    Named('collections', 'OrderedDict'), ([list(x) for x in tensors.items()],)
  )


def _pickled(content) -> tuple[bytes, list[np.ndarray]]:
  file = io.BytesIO()
  pickler = _Pickler(file)
  pickler.dump(content)
  return file.getvalue(), pickler.storages


def archive(content, *, compression: int = zipfile.ZIP_STORED) -> bytes:
  """The zip archive of torch.save since 1.6, and of torch.jit.save."""
  data, storages = _pickled(content)
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w', compression) as out:
    out.writestr('model/data.pkl', data)
    out.writestr('model/byteorder', b'little')
    for key, values in enumerate(storages):
      out.writestr(f'model/data/{key}', values.tobytes())
    out.writestr('model/version', b'3\n')
  return file.getvalue()


def legacy(content) -> bytes:
  """The container of torch.save before 1.6."""
  data, storages = _pickled(content)
  system = {'protocol_version': 1001, 'little_endian': True, 'type_sizes': {}}
  parts = [pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, system)]
  parts += [data, pickle.dumps([str(i) for i in range(len(storages))], 2)]
  for values in storages:
    parts += [struct.pack('<q', values.size), values.tobytes()]
  return b''.join(parts)
