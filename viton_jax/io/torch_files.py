"""Tensors of PyTorch's files, read without PyTorch and without running them.

Three containers: the legacy one of pickles with the storages behind them, the
zip archive since 1.6, and TorchScript's archive, of which the attributes are
read and the code is not. The pickles pass `io.pickles`: of a file's classes and
functions only those that hold or rebuild tensors are known, and what stands for
them here makes views of bytes that are checked first.

A model's wrappers ('state_dict' and the like) become part of the names, as do
TorchScript's modules: 'layers.conv.conv.weight'.
"""

from collections.abc import Callable, Iterator
import contextlib
import math
import os
import struct
from typing import Any, BinaryIO
import zipfile

import numpy as np

from viton_jax.errors import InputError, shown
from viton_jax.io import files, pickles

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MAX_VALUES = 1_000_000
_MAX_DEPTH = 32
_MAX_DIMENSIONS = 8
_MAX_PICKLE_BYTES = 1 << 26
_DTYPES = {
  'Bool': np.bool_,
  'Byte': np.uint8,
  'Char': np.int8,
  'Double': np.float64,
  'Float': np.float32,
  'Half': np.float16,
  'Int': np.int32,
  'Long': np.int64,
  'Short': np.int16,
}


class _Storage:
  """A run of numbers of one type that lies elsewhere in the file."""

  def __init__(self, kind: np.dtype, name: str, count: int):
    self.kind, self.name, self.count = kind, name, count
    self.bytes = count * kind.itemsize


class _Tensor:
  """A view of a storage, by counts of numbers."""

  def __init__(self, storage: Any, offset: Any, shape: Any, strides: Any):
    shape, strides = tuple(shape), tuple(strides)
    numbers = (offset, *shape, *strides)
    if (
      not isinstance(storage, _Storage)
      or len(shape) != len(strides)
      or len(shape) > _MAX_DIMENSIONS
      or not all(type(x) is int and x >= 0 for x in numbers)
    ):
      raise InputError('it has a tensor that is none')
    self.storage, self.offset = storage, offset
    self.shape, self.strides = shape, strides
    size = math.prod(shape)
    steps = zip(shape, strides, strict=True)
    last = offset + sum((n - 1) * step for n, step in steps)
    if size and (last >= storage.count or size > storage.count):
      raise InputError(
        f'it has a tensor of the shape {shown(shape)} in a storage of '
        f'{storage.count} numbers'
      )

  def values(self, data: bytes) -> np.ndarray:
    """The tensor, out of the bytes of its storage."""
    kind = self.storage.kind
    flat = np.frombuffer(data, kind, count=self.storage.count)
    if not math.prod(self.shape):
      return np.zeros(self.shape, kind)
    view = np.lib.stride_tricks.as_strided(
      flat[self.offset :],
      self.shape,
      [x * kind.itemsize for x in self.strides],
      writeable=False,
    )
    return np.array(view, order='C')


class _Table(pickles.Object, dict):
  """An OrderedDict; its state, versions of modules, does not matter."""

  def __init__(self, pairs: Any = ()):
    super().__init__((pickles.key(name), value) for name, value in pairs)

  def restore(self, state: Any) -> None:
    del state


class _Module(pickles.Object):
  """A module of TorchScript: attributes by name."""

  def __init__(self):
    self.attributes: Any = {}

  def restore(self, state: Any) -> None:
    self.attributes = state


class _Parameter(pickles.Object):
  """A parameter of files of 2017; its state, whether it is trained, is not."""

  def __init__(self, data: Any = None, *_: Any):
    self.data = data

  def restore(self, state: Any) -> None:
    del state


class _OldTensor(pickles.Object):
  """A tensor of files of 2017, whose state is the arguments of `_Tensor`."""

  def __init__(self):
    self.data: Any = None

  def restore(self, state: Any) -> None:
    self.data = _Tensor(*state)


def _rebuild_tensor(
  storage: Any, offset: Any, shape: Any, strides: Any, *_: Any
) -> _Tensor:
  return _Tensor(storage, offset, shape, strides)


def _rebuild_parameter(data: Any, *_: Any) -> Any:
  return data


def _values(values: Any) -> Any:
  return values


_KNOWN: dict[tuple[str, str], Any] = {
  ('collections', 'OrderedDict'): _Table,
  ('torch', 'Size'): _values,
  ('torch._utils', '_rebuild_tensor'): _rebuild_tensor,
  ('torch._utils', '_rebuild_tensor_v2'): _rebuild_tensor,
  ('torch._utils', '_rebuild_parameter'): _rebuild_parameter,
  ('torch.nn.parameter', 'Parameter'): _Parameter,
} | {('torch', f'{name}Storage'): np.dtype(x) for name, x in _DTYPES.items()}
_KNOWN |= {('torch', f'{name}Tensor'): _OldTensor for name in _DTYPES}


def _admitted(module: str, name: str) -> Any:
  if module == '__torch__' or module.startswith('__torch__.'):
    return _Module
  if module == 'torch.jit._pickle' and name.startswith('build_'):
    return _values  # Lists of numbers.
  return _KNOWN.get((module, name))


def _stored(pid: Any) -> _Storage:
  """('storage', type, key, device, count[, view of another])."""
  kind, name, count = pid[1], pid[2], pid[4]
  if (
    pid[0] != 'storage'
    or not isinstance(kind, np.dtype)
    or not isinstance(name, str)
    or not (type(count) is int and count >= 0)
    or any(x is not None for x in pid[5:])
  ):
    raise InputError('it has a storage that is none')
  return _Storage(kind, name, count)


def read(
  path: str | os.PathLike,
  *,
  what: str = 'weights file',
  remedy: str = 'get it again',
  wanted: Callable[[str], bool] = lambda name: True,
) -> dict[str, np.ndarray]:
  """The tensors of a file of `torch.save` or `torch.jit.save`, by name.

  Args:
    path: the file.
    what: it is, for the error.
    remedy: what to do about it, the end of the error's sentence.
    wanted: which names to read; storages of others are not touched.

  Returns:
    Arrays of the types that the file has; float16 stays, and bfloat16, which
    NumPy has not, is refused. Tensors
    alone: numbers, text and lists of a file are left out.

  Raises:
    InputError: no such file, a damaged one, or one that holds anything else
      than tensors and what holds them.
  """
  try:
    with files.open_regular(
      path, what, limit=files.MAX_MODEL_BYTES, remedy=remedy
    ) as file:
      is_zip = file.read(4) == b'PK\x03\x04'
      file.seek(0)
      opened = _archive(file) if is_zip else _legacy(file)
      with opened as (content, data_of):
        return _arrays(
          content, data_of, os.fstat(file.fileno()).st_size, wanted
        )
  except InputError as error:
    if str(error).startswith(shown(path)):
      raise
    raise InputError(
      f'{shown(path)}: cannot be read as tensors of PyTorch, because {error}; '
      f'{remedy}'
    ) from None
  # Damaged pickles and archives raise almost anything.
  except Exception as error:
    raise InputError(
      f'{shown(path)}: cannot be read as a file of PyTorch '
      f'({type(error).__name__}: {shown(error)}); {remedy}'
    ) from error


_Data = Callable[[_Storage], bytes]


@contextlib.contextmanager
def _archive(file: BinaryIO) -> Iterator[tuple[Any, _Data]]:
  with zipfile.ZipFile(file) as archive:
    names = [x for x in archive.namelist() if x.endswith('/data.pkl')]
    if len(names) != 1 or names[0].count('/') != 1:
      raise InputError('it is a zip archive without PyTorch in it')
    root = names[0].removesuffix('data.pkl')
    if root + 'byteorder' in archive.namelist():
      if _member(archive, root + 'byteorder', limit=16) != b'little':
        raise InputError('its numbers are big-endian')
    data = archive.open(_checked(archive, names[0], limit=_MAX_PICKLE_BYTES))
    with data as stream:
      content: Any = pickles.read_object(
        stream,  # pyright: ignore[reportArgumentType] - reads as a file does.
        admitted=_admitted,
        stored=_stored,
      )

    def data_of(storage: _Storage) -> bytes:
      place = f'{root}data/{storage.name}'
      return _member(archive, place, limit=storage.bytes)

    yield content, data_of


def _checked(
  archive: zipfile.ZipFile, name: str, *, limit: int
) -> zipfile.ZipInfo:
  member = archive.getinfo(name)
  if member.compress_type != zipfile.ZIP_STORED or member.file_size > limit:
    raise InputError(
      f'its member {shown(name)} is compressed, or larger than it says'
    )
  return member


def _member(archive: zipfile.ZipFile, name: str, *, limit: int) -> bytes:
  return archive.read(_checked(archive, name, limit=limit))


@contextlib.contextmanager
def _legacy(file: BinaryIO) -> Iterator[tuple[Any, _Data]]:
  def load() -> Any:
    return pickles.read_object(file, admitted=_admitted, stored=_stored)

  if file.read(2) != b'\x80\x02':
    raise InputError('it is none of its kinds of files')
  file.seek(0)
  if load() != _LEGACY_MAGIC or load() != _LEGACY_PROTOCOL:
    raise InputError('it is none of its kinds of files')
  if load()['little_endian'] is not True:
    raise InputError('its numbers are big-endian')
  content, names = load(), load()
  storages = {x.storage.name: x.storage for _, x in _tensors(content)}
  places: dict[str, int] = {}
  for name in names:
    (count,) = struct.unpack('<q', file.read(8))
    if name not in storages or storages[name].count != count:
      raise InputError('it is cut off, or its storages are not those it names')
    places[name] = file.tell()
    file.seek(storages[name].bytes, os.SEEK_CUR)

  def data_of(storage: _Storage) -> bytes:
    file.seek(places[storage.name])
    return file.read(storage.bytes)

  yield content, data_of


def _tensors(content: Any) -> Iterator[tuple[str, _Tensor]]:
  """The tensors of what was read, by name; what is shared counts each time."""
  left = _MAX_VALUES

  def walk(value: Any, name: str, depth: int) -> Iterator[tuple[str, _Tensor]]:
    nonlocal left
    left -= 1
    if depth > _MAX_DEPTH or left < 0:
      raise InputError('it holds more, or nested deeper, than models do')
    if isinstance(value, _Parameter):
      value = value.data
    if isinstance(value, _OldTensor):
      value = value.data
    if isinstance(value, _Module):
      value = value.attributes
    if isinstance(value, _Tensor):
      yield name, value
    elif isinstance(value, dict):
      for part, inner in value.items():
        whole = f'{name}.{part}' if name else str(part)
        yield from walk(inner, whole, depth + 1)

  return walk(content, '', 0)


def _arrays(
  content: Any,
  data_of: _Data,
  size: int,
  wanted: Callable[[str], bool],
) -> dict[str, np.ndarray]:
  found: dict[str, np.ndarray] = {}
  # Tensors may share a storage, but not without end.
  to_read = to_make = 2 * size
  storage, data = None, b''
  for name, tensor in _tensors(content):
    if not wanted(name):
      continue
    if storage is None or storage.name != tensor.storage.name:
      storage = tensor.storage
      to_read -= storage.bytes
      data = data_of(storage) if to_read >= 0 else b''
    to_make -= math.prod(tensor.shape) * tensor.storage.kind.itemsize
    if to_read < 0 or to_make < 0:
      raise InputError('it promises more than it has room for')
    if len(data) < tensor.storage.bytes:
      raise InputError(f'{shown(name)} is cut off')
    found[name] = tensor.values(data)
  return found
