"""Pickles that somebody else wrote, read without running what they contain.

A pickle from strangers can run code, and NumPy's own ways of restoring arrays
trust what they are given. So an unpickler reads it that admits a few operations
alone and calls nothing of NumPy: arrays of numbers are made here, from their
bytes, when everything about them has been checked.
"""

import abc
from collections.abc import Callable
import io
import math
import pickle
import re
from typing import Any, BinaryIO

import numpy as np

from viton_jax.errors import InputError, shown

# The end of a sentence about what was refused.
REFUSED = (
  'only lists, tuples, dicts and arrays of numbers are admitted, because a '
  'pickle can run code'
)
_MAX_NAME = 200
_MAX_PARTS = 1024  # Numbers that a dict may have as keys.
_MAX_VALUES = 10_000_000
_MAX_DEPTH = 6
_DTYPE = re.compile(r'[|<>=]?(b1|[iu][1248]|f[248])')


class Object(abc.ABC):
  """What an admitted name makes of a pickle's state."""

  @abc.abstractmethod
  def restore(self, state: Any) -> None:
    """Takes the state that the pickle gives it."""


class _Type(Object):
  """A NumPy type of a pickle: a boolean, an integer or a float."""

  def __init__(self, name: Any, *_: Any):
    if isinstance(name, bytes):
      name = name.decode('latin1')
    if not (isinstance(name, str) and _DTYPE.fullmatch(name)):
      raise InputError(f'it has an array of the type {shown(name)!r}')
    self.dtype = np.dtype(name)

  def restore(self, state: Any) -> None:
    """(version, byte order, and nothing that makes parts of it)."""
    order = _text(state[1]).decode('latin1')
    if order not in ('<', '>', '=', '|') or any(
      x is not None for x in state[2:5]
    ):
      raise InputError('it has an array of another type than numbers')
    self.dtype = self.dtype.newbyteorder(order)

  def array(self, data: Any, shape: Any, *, fortran: bool) -> np.ndarray:
    data = _text(data)
    shape = tuple(shape)
    if (
      not all(type(x) is int and x >= 0 for x in shape)
      or len(shape) > _MAX_DEPTH
      or math.prod(shape) * self.dtype.itemsize != len(data)
    ):
      raise InputError(f'it has an array of the wrong shape {shown(shape)}')
    values = np.frombuffer(data, self.dtype)
    return values.reshape(shape, order='F' if fortran else 'C').copy()


class _Array(Object):
  """An array of a pickle, before and after it got its content."""

  def __init__(self, *_: Any):
    self.value: Any = None

  def restore(self, state: Any) -> None:
    """(version, shape, type, whether columns come first, bytes)."""
    *_, shape, kind, fortran, data = state
    if not isinstance(kind, _Type):
      raise InputError('it has an array without a type')
    self.value = kind.array(data, shape, fortran=bool(fortran))


def _text(data: Any) -> bytes:
  if isinstance(data, str):  # How Python 2 wrote bytes.
    data = data.encode('latin1')
  if not isinstance(data, bytes | bytearray):
    raise InputError('it has an array whose content is not bytes')
  return bytes(data)


def _decode_bytes(text: str, encoding: str) -> bytes:
  """How Python 3 writes bytes in protocol 2; only this encoding occurs."""
  if encoding != 'latin1':
    raise pickle.UnpicklingError(f'bytes in the encoding {encoding!r}')
  return text.encode('latin1')


def _empty_bytes() -> bytes:
  """How Python 3 writes bytes of no length in protocol 2."""
  return b''


def _scalar(kind: _Type, data: Any) -> Any:
  return kind.array(data, (), fortran=False)[()]


def _from_buffer(data: Any, kind: _Type, shape: Any, order: str) -> np.ndarray:
  return kind.array(data, shape, fortran=order == 'F')


# What NumPy itself names in a pickle, under the module names of versions 1 and
# 2; Python 2 said __builtin__. Nothing of NumPy's is called.
_NUMPY: dict[tuple[str, str], Any] = {
  ('numpy', 'ndarray'): _Array,
  ('numpy', 'dtype'): _Type,
  ('_codecs', 'encode'): _decode_bytes,
  ('__builtin__', 'bytes'): _empty_bytes,
  ('builtins', 'bytes'): _empty_bytes,
}
for _core in ('numpy.core', 'numpy._core'):
  _NUMPY[f'{_core}.multiarray', '_reconstruct'] = _Array
  _NUMPY[f'{_core}.multiarray', 'scalar'] = _scalar
  _NUMPY[f'{_core}.numeric', '_frombuffer'] = _from_buffer

_OPERATIONS = """
  PROTO FRAME STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE INT BININT BININT1
  BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING
  UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES
  BINBYTES8 BYTEARRAY8 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM
  SETITEMS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 GLOBAL STACK_GLOBAL REDUCE
  NEWOBJ BUILD PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET BINPERSID
""".split()


class _Admitted(dict[int, Any]):
  """Operation -> what it does; of others an error."""

  def __missing__(self, code: int) -> Any:
    raise InputError(f'it has the operation {bytes([code])!r}')


# The Python form of the unpickler: that in C takes no operation away.
class _Unpickler(pickle._Unpickler):
  """Admits numbers and what holds them, and nothing that runs."""

  # What the base class has; type checkers know the one in C.
  stack: list[Any]
  append: Callable[[Any], None]
  pop_mark: Callable[[], list[Any]]
  read: Callable[[int], bytes]

  dispatch: dict[int, Any] = _Admitted(
    (code, pickle._Unpickler.dispatch[code])
    for code in (getattr(pickle, name)[0] for name in _OPERATIONS)
  )

  def __init__(
    self,
    file: BinaryIO,
    admitted: Callable[[str, str], Any],
    stored: Callable[[Any], Any] | None,
  ):
    super().__init__(file, encoding='latin1')
    self._admitted = admitted
    self._stored = stored

  def find_class(self, module: str, name: str) -> Any:
    found = self._admitted(module, name)
    if found is None:
      raise InputError(f'it refers to {shown(module)}.{shown(name)}')
    return found

  def persistent_load(self, pid: Any) -> Any:
    if self._stored is None:
      raise InputError('it refers to what lies outside it')
    return self._stored(pid)

  def load_newobj(self) -> None:
    arguments, cls = self.stack.pop(), self.stack.pop()
    if not (isinstance(cls, type) and issubclass(cls, Object)):
      raise InputError('it makes an object of what is no class')
    self.append(cls(*arguments))

  def load_build(self) -> None:
    state = self.stack.pop()
    if not isinstance(self.stack[-1], Object):
      raise InputError('it gives a state to what has none')
    self.stack[-1].restore(state)

  def load_setitem(self) -> None:
    value, name = self.stack.pop(), self.stack.pop()
    self.stack[-1][key(name)] = value

  def load_setitems(self) -> None:
    items = self.pop_mark()
    into = self.stack[-1]
    for name, value in zip(items[::2], items[1::2], strict=True):
      into[key(name)] = value

  def load_dict(self) -> None:
    items = self.pop_mark()
    pairs = zip(items[::2], items[1::2], strict=True)
    self.append({key(name): value for name, value in pairs})

  def load_bytearray8(self) -> None:
    size = int.from_bytes(self.read(8), 'little')
    self.append(bytearray(self.read(size)))

  dispatch[pickle.NEWOBJ[0]] = load_newobj
  dispatch[pickle.BUILD[0]] = load_build
  dispatch[pickle.SETITEM[0]] = load_setitem
  dispatch[pickle.SETITEMS[0]] = load_setitems
  dispatch[pickle.DICT[0]] = load_dict
  dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8


def key(name: Any) -> Any:
  """A key of a dict: a short name, or a part's number.

  Python draws the hashes of names anew in every process. Those of numbers
  anybody can make collide, and those of tuples can take for ever.
  """
  if type(name) in (str, bytes) and len(name) <= _MAX_NAME:
    return name
  if isinstance(name, int | np.integer) and 0 <= int(name) < _MAX_PARTS:
    return int(name)
  raise InputError(f'it has a dict with the key {shown(name)}')


class _Plain:
  """Turns what was read into builtin containers and arrays, with limits."""

  def __init__(self):
    self.left = _MAX_VALUES

  def __call__(self, value: Any, depth: int = 0) -> Any:
    self.left -= 1
    if depth > _MAX_DEPTH or self.left < 0:
      raise InputError('it holds more, or nested deeper, than such files do')
    if isinstance(value, _Array):
      value = value.value
    if isinstance(value, dict):
      return {name: self(x, depth + 1) for name, x in value.items()}
    if isinstance(value, list | tuple):
      return type(value)(self(x, depth + 1) for x in value)
    if isinstance(value, np.ndarray | np.generic | str | bytes) or (
      value is None or isinstance(value, int | float)
    ):
      return value
    raise InputError(f'it holds {shown(type(value).__name__)} itself')


def read_object(
  file: BinaryIO,
  *,
  admitted: Callable[[str, str], Any],
  stored: Callable[[Any], Any] | None = None,
) -> Any:
  """Reads one pickle from where a file stands, to its end.

  Args:
    file: a binary file.
    admitted: (module, name) -> what stands for it, or None: refused. What has
      a state is an `Object`.
    stored: what stands for a persistent id; None: there may be none.

  Raises:
    InputError: it has an operation or a name that is not admitted. A damaged
      pickle raises almost anything.
  """
  return _Unpickler(file, admitted, stored).load()


def loads(data: bytes) -> Any:
  """A pickle of Python 2 or 3 of arrays of numbers, and what holds them.

  Returns:
    builtin containers, numbers, text and NumPy arrays.

  Raises:
    InputError: as `read_object`.
  """
  return _Plain()(
    read_object(io.BytesIO(data), admitted=lambda *name: _NUMPY.get(name))
  )
