"""Lets JAX read exported programs where `flatbuffers` is not installed.

JAX stores an exported program as a FlatBuffer, and reads it with a package that
it does not require. What reading takes is little: a table is a place in the
file, with a signed 32-bit step back to a list of 16-bit offsets of its fields;
strings, lists and tables within it are 32-bit steps ahead.

References:
  FlatBuffers documentation, "Internals": the binary format.
"""

import contextlib
import importlib.util
import struct
import sys
import types

import numpy as np


class _Number:
  """One kind of number: how it is stored and what it becomes."""

  def __init__(self, code: str, python_type: type):
    self._packed = struct.Struct(f'<{code}')
    self.py_type = python_type
    self.dtype = np.dtype(f'<{code}')

  def read(self, data: bytes, place: int):
    return self.py_type(self._packed.unpack_from(data, place)[0])


_NUMBERS = {
  'BoolFlags': _Number('?', bool),
  **{
    f'{kind}{bits}Flags': _Number(code, int)
    for kind, codes in (('Int', 'bhiq'), ('Uint', 'BHIQ'))
    for bits, code in zip((8, 16, 32, 64), codes, strict=True)
  },
  **{
    f'Float{bits}Flags': _Number(code, float)
    for bits, code in ((32, 'f'), (64, 'd'))
  },
}
_AHEAD = _NUMBERS['Uint32Flags']
_BACK = _NUMBERS['Int32Flags']
_FIELD = _NUMBERS['Uint16Flags']


class _Table:
  """A table of the file, under the names that generated code calls."""

  def __init__(self, data: bytes, place: int):
    self.Bytes, self.Pos = data, place

  def Offset(self, field: int) -> int:  # noqa: N802
    """Where a field lies in the table; 0: it is not there."""
    fields = self.Pos - _BACK.read(self.Bytes, self.Pos)
    if field >= _FIELD.read(self.Bytes, fields):
      return 0
    return _FIELD.read(self.Bytes, fields + field)

  def Indirect(self, place: int) -> int:  # noqa: N802
    return place + _AHEAD.read(self.Bytes, place)

  def String(self, place: int) -> bytes:  # noqa: N802
    place = self.Indirect(place)
    count = _AHEAD.read(self.Bytes, place)
    return bytes(self.Bytes[place + 4 : place + 4 + count])

  def VectorLen(self, offset: int) -> int:  # noqa: N802
    return _AHEAD.read(self.Bytes, self.Indirect(self.Pos + offset))

  def Vector(self, offset: int) -> int:  # noqa: N802
    return self.Indirect(self.Pos + offset) + 4

  def Get(self, number: _Number, place: int):  # noqa: N802
    return number.read(self.Bytes, place)

  def GetVectorAsNumpy(self, number: _Number, offset: int):  # noqa: N802
    return np.frombuffer(
      self.Bytes, number.dtype, self.VectorLen(offset), self.Vector(offset)
    )


@contextlib.contextmanager
def provided():
  """Inside, `import flatbuffers` works, if only for reading."""
  if importlib.util.find_spec('flatbuffers') is not None:
    yield
    return
  parts = {
    'number_types': _NUMBERS | {'UOffsetTFlags': _AHEAD},
    'packer': {'uoffset': _AHEAD},
    'encode': {'Get': lambda number, data, place: number.read(data, place)},
    'table': {'Table': _Table},
    'compat': {'import_numpy': lambda: np},
  }
  whole = types.ModuleType('flatbuffers')
  whole.Builder = None  # Named in annotations; nothing is written here.
  modules = {'flatbuffers': whole}
  for name, contents in parts.items():
    part = types.ModuleType(f'flatbuffers.{name}')
    vars(part).update(contents)
    setattr(whole, name, part)
    modules[part.__name__] = part
  sys.modules.update(modules)
  try:
    yield
  finally:
    for name in modules:
      del sys.modules[name]
