"""Reads TensorFlow's GraphDef files without TensorFlow.

A small reader of the protocol buffer wire format (protobuf.dev, "Encoding")
for the five messages that a frozen graph is made of: GraphDef, NodeDef,
AttrValue, TensorProto and TensorShapeProto. Everything else is skipped.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import math
import struct
from typing import Any

import numpy as np

# Of all constants together beyond what their bytes say: a constant of one
# value may be written once, so a small file could ask for any memory.
_MAX_FILLED = 2**22

# DataType numbers of constants that a network for inference holds, with the
# field of TensorProto that lists its values when they are not raw bytes.
_DTYPES = {
  1: (np.dtype('<f4'), 5),
  2: (np.dtype('<f8'), 6),
  3: (np.dtype('<i4'), 7),
  9: (np.dtype('<i8'), 10),
  10: (np.dtype('?'), 11),
}


class GraphError(ValueError):
  """The bytes are no frozen graph; the message completes a sentence."""


@contextlib.contextmanager
def operations_fit() -> Iterator[None]:
  """Whatever a wrong attribute or shape makes JAX or NumPy raise: a GraphError.

  Raises:
    GraphError: the operations do not fit one another, or one raised inside.
  """
  try:
    yield
  except GraphError:
    raise
  except (
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
    NotImplementedError,
    struct.error,
  ) as error:
    raise GraphError('its operations do not fit one another') from error


@dataclasses.dataclass(frozen=True)
class Node:
  """One operation.

  Attributes:
    name: unique in the graph.
    op: kind of operation, 'Conv2D'.
    inputs: names of nodes, 'name:1' for a further output, '^name' for order.
    attributes: bytes, int, float, bool, a numpy array (tensors), a list, or
      None for kinds that no network needs.
  """

  name: str
  op: str
  inputs: tuple[str, ...]
  attributes: dict[str, Any]


def read_graph(data: bytes) -> dict[str, Node]:
  """Parses a serialised GraphDef.

  Args:
    data: the content of a '.pb' file.

  Returns:
    the nodes by name, in the file's order.

  Raises:
    GraphError: the bytes are damaged or are something else.
  """
  nodes, left = [], _MAX_FILLED + len(data)
  try:
    for _, value in _fields(data, {1: 2}):
      nodes.append(_node(value, left))
      left -= sum(
        x.size
        for x in nodes[-1].attributes.values()
        if isinstance(x, np.ndarray)
      )
  # TypeError: a number where a message should be.
  except (IndexError, TypeError, struct.error, UnicodeDecodeError) as error:
    raise GraphError('its data are damaged or cut short') from error
  if not nodes:
    raise GraphError('it holds no operations')
  by_name = {node.name: node for node in nodes}
  if len(by_name) < len(nodes):
    raise GraphError('two of its operations have the same name')
  return by_name


def _varint(data: bytes, position: int) -> tuple[int, int]:
  value = 0
  for shift in range(0, 70, 7):
    byte = data[position]
    position += 1
    value |= (byte & 0x7F) << shift
    if byte < 0x80:
      return value, position
  raise GraphError('its data are damaged')


def _signed(value: int) -> int:
  """A varint as the int64 that protocol buffers mean by it."""
  value &= 2**64 - 1
  return value - 2**64 if value >= 2**63 else value


def _fields(
  data: bytes, wanted: dict[int, int] | None = None
) -> Iterator[tuple[int, Any]]:
  """Yields (field number, value) of a message.

  Args:
    data: the message.
    wanted: field number -> wire type that it must have; others are skipped.
      None: all fields.

  Yields:
    number, int (wire type 0) or bytes (1, 2 and 5).
  """
  position = 0
  while position < len(data):
    key, position = _varint(data, position)
    number, wire = key >> 3, key & 7
    if wire == 0:
      value, position = _varint(data, position)
    else:
      if wire == 2:
        size, position = _varint(data, position)
      elif wire in (1, 5):
        size = 8 if wire == 1 else 4
      else:
        raise GraphError('its data are damaged or of another format')
      value = data[position : position + size]
      position += size
      if position > len(data):
        raise GraphError('its data are damaged or cut short')
    if number == 0:
      raise GraphError('its data are damaged or of another format')
    if wanted is None:
      yield number, value
    elif number in wanted:
      if wanted[number] != wire:
        raise GraphError('its data are damaged or of another format')
      yield number, value


def _node(data: bytes, left: int) -> Node:
  name, op, inputs, attributes = '', '', [], {}
  for number, value in _fields(data, {1: 2, 2: 2, 3: 2, 5: 2}):
    if number == 1:
      name = value.decode()
    elif number == 2:
      op = value.decode()
    elif number == 3:
      inputs.append(value.decode())
    else:
      entry = dict(_fields(value, {1: 2, 2: 2}))
      value = _attribute(entry.get(2, b''), left)
      attributes[entry.get(1, b'').decode()] = value
  return Node(name, op, tuple(inputs), attributes)


def _attribute(data: bytes, left: int):
  """AttrValue: the one of its kinds that is set."""
  kinds = {1: 2, 2: 2, 3: 0, 4: 5, 5: 0, 6: 0, 8: 2}
  for number, value in _fields(data, kinds):
    if number == 1:
      return _list(value)
    if number == 3:
      return _signed(value)
    if number == 4:
      return struct.unpack('<f', value)[0]
    if number == 5:
      return bool(value)
    if number == 8:
      return _tensor(value, left)
    return value  # bytes (2) or the number of a data type (6)
  return None


def _list(data: bytes) -> list:
  """AttrValue.ListValue of ints, which may be packed, or of bytes."""
  values = []
  for number, value in _fields(data):
    if number == 2:
      values.append(value)
    elif number == 3 and isinstance(value, int):
      values.append(_signed(value))
    elif number == 3:
      values += _packed_varints(value)
  return values


def _packed_varints(data: bytes) -> list[int]:
  values, position = [], 0
  while position < len(data):
    value, position = _varint(data, position)
    values.append(_signed(value))
  return values


def _tensor(data: bytes, left: int) -> np.ndarray | None:
  """TensorProto as an array; None for types that are no numbers.

  Args:
    data: the message.
    left: elements that it may have.
  """
  fields = list(_fields(data))
  kind = next((value for number, value in fields if number == 1), 0)
  if kind not in _DTYPES:
    return None
  dtype, list_field = _DTYPES[kind]
  shape = []
  for number, value in fields:
    if number == 2:
      for _, dimension in _fields(value, {2: 2}):
        size = dict(_fields(dimension, {1: 0})).get(1, 0)
        shape.append(_signed(size))
  count = math.prod(shape)
  if min(shape, default=0) < 0 or count > left:
    raise GraphError(f'a constant in it has the impossible shape {shape}')
  content = b''.join(value for number, value in fields if number == 4)
  if content:
    if len(content) != count * dtype.itemsize:
      raise GraphError('a constant in it does not fill its shape')
    return np.frombuffer(content, dtype).reshape(shape)
  listed = []
  for number, value in fields:
    if number != list_field:
      continue
    if isinstance(value, int):
      listed.append(_signed(value))
    elif dtype.kind == 'f':  # Packed or single: the same bytes.
      if len(value) % dtype.itemsize:
        raise GraphError('a constant in it does not fill its shape')
      listed += np.frombuffer(value, dtype).tolist()
    else:
      listed += _packed_varints(value)
  if len(listed) > count or (count and not listed):
    listed = listed or [0]  # All zero: nothing is listed at all.
    if len(listed) > count:
      raise GraphError('a constant in it does not fill its shape')
  # A list that is too short goes on with its last value.
  values = np.array(listed, dtype)
  if len(values) < count:
    values = np.pad(values, (0, count - len(values)), mode='edge')
  return values.reshape(shape)
