"""Reads TensorFlow Lite's files: of FlatBuffers, what a network needs.

The numbers of fields, types and operations are those of TensorFlow Lite's
schema [1]. Nothing in a file is trusted: sizes and places are checked before
anything is read or allocated.

References:
  [1] https://github.com/google-ai-edge/LiteRT, schema.fbs.
"""

import dataclasses
import struct
from typing import Any

from flatbuffers import number_types, table
import numpy as np

from viton_jax.perception.runners.graphdef import GraphError

_MAX_ITEMS = 10_000  # Tensors, operations or buffers.
MAX_NUMBERS = 1 << 26  # In one tensor.
_TYPES = {0: np.float32, 1: np.float16, 2: np.int32, 3: np.uint8, 4: np.int64}
_INDICES = {1: np.int32, 2: np.uint16, 3: np.uint8}
_DENSE, _SPARSE = 0, 1

ADD, CONCATENATION, CONV_2D, DEPTHWISE_CONV_2D = 0, 2, 3, 4
DEPTH_TO_SPACE, DEQUANTIZE, LOGISTIC, MAX_POOL_2D = 5, 6, 14, 17
RELU, RESHAPE, RESIZE_BILINEAR, PAD, PRELU, DENSIFY = 19, 22, 23, 34, 54, 124


class Table:
  """One table of the file; fields are numbered as in the schema."""

  def __init__(self, data: bytes, position: int):
    self._data = data
    self._table = table.Table(data, position)

  def _offset(self, field: int) -> int:
    return self._table.Offset(4 + 2 * field)

  def number(self, field: int, kind: Any, default: int = 0) -> int:
    offset = self._offset(field)
    if not offset:
      return default
    return self._table.Get(kind, self._table.Pos + offset)

  def int8(self, field: int) -> int:
    return self.number(field, number_types.Int8Flags)

  def int32(self, field: int, default: int = 0) -> int:
    return self.number(field, number_types.Int32Flags, default)

  def array(self, field: int, dtype: Any) -> np.ndarray:
    """A vector of numbers, which shares the file's memory."""
    offset = self._offset(field)
    if not offset:
      return np.zeros(0, dtype)
    start, count = self._table.Vector(offset), self._table.VectorLen(offset)
    size = np.dtype(dtype).itemsize
    if start < 0 or start + count * size > len(self._data):
      raise GraphError('it ends before its numbers do')
    return np.frombuffer(self._data, dtype, count, start)

  def tables(self, field: int) -> list['Table']:
    offset = self._offset(field)
    if not offset:
      return []
    start, count = self._table.Vector(offset), self._table.VectorLen(offset)
    if count > _MAX_ITEMS:
      raise GraphError(f'it lists {count} things where {_MAX_ITEMS} are read')
    return [
      Table(self._data, self._table.Indirect(start + 4 * k))
      for k in range(count)
    ]

  def table(self, field: int) -> 'Table | None':
    offset = self._offset(field)
    if not offset:
      return None
    position = self._table.Indirect(self._table.Pos + offset)
    return Table(self._data, position)


@dataclasses.dataclass(frozen=True, eq=False)
class Operation:
  """A step of a network.

  Attributes:
    code: which.
    inputs: numbers of its tensors; -1: one that is left out.
    outputs: numbers of its tensors.
    options: its settings, if it has any.
  """

  code: int
  inputs: tuple[int, ...]
  outputs: tuple[int, ...]
  options: Table | None


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
  """A file's network.

  Attributes:
    shapes: of each tensor, for one image.
    constants: by number of the tensor.
    operations: in their order.
    inputs: numbers of the tensors to be given.
    outputs: numbers of the tensors that it computes.
  """

  shapes: list[tuple[int, ...]]
  constants: dict[int, np.ndarray]
  operations: list[Operation]
  inputs: tuple[int, ...]
  outputs: tuple[int, ...]


def read_network(data: bytes) -> Network:
  """Reads a file.

  Raises:
    GraphError: it is torn, no such file, or has something that is not read.
  """
  if len(data) < 8 or data[4:8] != b'TFL3':
    raise GraphError('it is no file of TensorFlow Lite')
  try:
    return _read(data)
  except GraphError:
    raise
  # What a torn file makes FlatBuffers and NumPy raise.
  except (
    struct.error,
    ValueError,
    TypeError,
    IndexError,
    OverflowError,
  ) as error:
    raise GraphError('it is damaged') from error


def _read(data: bytes) -> Network:
  model = Table(data, struct.unpack_from('<I', data)[0])
  codes = [
    max(x.int8(0), x.number(3, number_types.Int32Flags))
    for x in model.tables(1)
  ]
  graphs = model.tables(2)
  if len(graphs) != 1:
    raise GraphError(f'it holds {len(graphs)} graphs instead of one')
  (graph,) = graphs
  buffers = model.tables(4)
  shapes, constants = [], {}
  for number, tensor in enumerate(graph.tables(0)):
    shape = tuple(tensor.array(0, np.int32).tolist())
    if any(n < 1 for n in shape) or _count(shape) > MAX_NUMBERS:
      raise GraphError(f'a tensor has the shape {shape}')
    shapes.append(shape)
    buffer = tensor.number(2, number_types.Uint32Flags)
    raw = buffers[buffer].array(0, np.uint8)
    if len(raw):
      constants[number] = _constant(tensor, raw, shape)

  def numbers(of: Table, field: int, least: int) -> tuple[int, ...]:
    found = tuple(of.array(field, np.int32).tolist())
    if not all(least <= x < len(shapes) for x in found):
      raise GraphError('it names a tensor that it does not have')
    return found

  operations = [
    Operation(
      codes[x.number(0, number_types.Uint32Flags)],
      numbers(x, 1, -1),
      numbers(x, 2, 0),
      x.table(4),
    )
    for x in graph.tables(3)
  ]
  return Network(
    shapes, constants, operations, numbers(graph, 1, 0), numbers(graph, 2, 0)
  )


def _count(shape: tuple[int, ...]) -> int:
  count = 1
  for n in shape:
    count *= n
  return count


def _constant(tensor: Table, raw, shape: tuple[int, ...]) -> np.ndarray:
  kind = tensor.int8(1)
  if kind not in _TYPES:
    raise GraphError(f'it holds numbers of the type {kind}')
  quantization = tensor.table(4)
  if quantization and len(quantization.array(2, np.float32)):
    raise GraphError('its weights are quantised to whole numbers')
  values = np.frombuffer(raw, _TYPES[kind])
  sparsity = tensor.table(6)
  if sparsity:
    return dense(sparsity, values, shape)
  if len(values) != _count(shape):
    raise GraphError(f'a constant of shape {shape} has {len(values)} numbers')
  return values.reshape(shape)


def dense(
  sparsity: Table, values: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
  """A constant of which only some numbers are stored.

  Dimensions are stored one within the other, in an order of their own, some of
  them in blocks. A dense one has all of its places; a sparse one says which,
  for each place of the dimensions around it.
  """
  order = sparsity.array(0, np.int32).tolist()
  blocks = sparsity.array(1, np.int32).tolist()
  levels = sparsity.tables(2)
  rank = len(shape)
  if sorted(order) != list(range(len(levels))) or (
    len(order) != rank + len(blocks)
  ):
    raise GraphError('its sparse weights are of an unknown form')
  places = np.zeros((1, 0), np.int64)  # A row a number, a column a level.
  at = np.zeros(1, np.int64)  # Where each row stands in the level.
  sizes = {}
  for dimension, level in zip(order, levels, strict=True):
    if level.int8(0) == _DENSE:
      size = level.int32(1)
      if size < 1 or len(at) * size > MAX_NUMBERS:
        raise GraphError(f'its sparse weights have a dimension of {size}')
      sizes[dimension] = size
      rows = np.repeat(np.arange(len(at)), size)
      coordinate = np.tile(np.arange(size), len(at))
      at = at[rows] * size + coordinate
    else:
      starts = _indices(level, 2)
      indices = _indices(level, 4)
      begin, end = starts[at], starts[at + 1]
      counts = end - begin
      if counts.min(initial=0) < 0 or end.max(initial=0) > len(indices):
        raise GraphError('its sparse weights lie outside of their lists')
      if counts.sum() > MAX_NUMBERS:
        raise GraphError('its sparse weights are too many')
      rows = np.repeat(np.arange(len(at)), counts)
      within = np.arange(len(rows)) - np.repeat(
        np.cumsum(counts) - counts, counts
      )
      at = begin[rows] + within
      coordinate = indices[at]
    places = np.concatenate([places[rows], coordinate[:, None]], axis=1)
  if at.max(initial=0) >= len(values):
    raise GraphError('its sparse weights have fewer numbers than places')
  column = {dimension: k for k, dimension in enumerate(order)}
  index = [places[:, column[k]] for k in range(rank)]
  for k, dimension in enumerate(blocks):
    block = rank + k
    index[dimension] = (
      index[dimension] * sizes[block] + places[:, column[block]]
    )
  if any(
    len(x) and not 0 <= x.min() <= x.max() < n
    for x, n in zip(index, shape, strict=True)
  ):
    raise GraphError('its sparse weights lie outside of their shape')
  result = np.zeros(shape, values.dtype)
  result[tuple(index)] = values[at]
  return result


def _indices(level: Table, field: int) -> np.ndarray:
  kind, values = level.int8(field), level.table(field + 1)
  if kind not in _INDICES or values is None:
    raise GraphError('its sparse weights have no indices')
  return values.array(0, _INDICES[kind]).astype(np.int64)
