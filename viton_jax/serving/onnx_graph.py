"""Builds ONNX graphs: values with static shapes, nodes, constants, loops.

Values that JAX broadcasts stay small until something needs them whole, since
ONNX broadcasts by itself; constants are shared.
"""

from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

OPSET = 18
IR_VERSION = 8
# onnxruntime computes few operators in other integers.
_KINDS = {'b': np.bool_, 'i': np.int32, 'u': np.int32, 'f': np.float32}


class NotConvertibleError(Exception):
  """What of a program has no form in ONNX here."""


@dataclasses.dataclass(frozen=True)
class Value:
  """A value of a graph.

  Attributes:
    name: its name; None: `array` is not part of the graph yet.
    dtype: as computed, see `held_as`.
    held: its shape in the graph, with ones where it is broadcast.
    shape: its shape in JAX.
    array: what it is, if it is constant.
  """

  name: str | None
  dtype: np.dtype
  held: tuple[int, ...]
  shape: tuple[int, ...]
  array: np.ndarray | None = None


@dataclasses.dataclass
class Graph:
  """A graph as it grows; the bodies of its loops share its constants.

  Attributes:
    nodes: so far.
    constants: name -> array; of the outermost graph.
    names: (dtype, shape, bytes) of a constant -> its name.
    count: values that were named so far, in a list to be shared.
  """

  nodes: list[onnx.NodeProto] = dataclasses.field(default_factory=list)
  constants: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
  names: dict[Any, str] = dataclasses.field(default_factory=dict)
  count: list[int] = dataclasses.field(default_factory=lambda: [0])

  def body(self) -> 'Graph':
    """An empty graph that sees the values of this one."""
    return Graph([], self.constants, self.names, self.count)

  def fresh(self) -> str:
    """A name that no value has."""
    self.count[0] += 1
    return f'v{self.count[0]}'

  def name(self, value: Value) -> str:
    """The name of a value in the graph, as it is held."""
    if value.name is not None:
      return value.name
    assert value.array is not None
    return self.constant(value.array)

  def constant(self, array: Any) -> str:
    """The name of a constant of the graph."""
    array = np.asarray(array)
    key = array.dtype.str, array.shape, array.tobytes()
    if key not in self.names:
      self.names[key] = name = f'c{len(self.names)}'
      self.constants[name] = array
    return self.names[key]

  def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
    """Adds a node with one output, and gives its name."""
    return self.add_many(kind, inputs, 1, **attributes)[0]

  def add_many(
    self, kind: str, inputs: Sequence[str], count: int, **attributes: Any
  ) -> list[str]:
    """Adds a node with several outputs, and gives their names."""
    outputs = [self.fresh() for _ in range(count)]
    self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
    return outputs

  def whole(self, value: Value) -> str:
    """The name of a value in its own shape."""
    name = self.name(value)
    if value.held == value.shape:
      return name
    return self.add('Expand', name, self.sizes(value.shape))

  def sizes(self, numbers: Sequence[int]) -> str:
    """The name of a constant list of whole numbers."""
    return self.constant(np.array(numbers, np.int64))

  def reshaped(
    self, name: str, held: Sequence[int], wanted: Sequence[int]
  ) -> str:
    """A value of shape `held` as one of shape `wanted`."""
    if tuple(held) == tuple(wanted):
      return name
    return self.add('Reshape', name, self.sizes(wanted))

  def transposed(self, name: str, order: Sequence[int]) -> str:
    """A value with its dimensions in another order."""
    if list(order) == sorted(order):
      return name
    return self.add('Transpose', name, perm=list(order))


def held_as(dtype: Any) -> np.dtype:
  """The dtype that stands for one of JAX in a graph.

  Raises:
    NotConvertibleError: it is none of bool, whole numbers and floats.
  """
  kind = np.dtype(dtype).kind
  if kind not in _KINDS:
    raise NotConvertibleError(f'ONNX has no {dtype} here')
  return np.dtype(_KINDS[kind])


def constant(array: Any) -> Value:
  """A constant that becomes part of a graph where a node reads it."""
  array = np.asarray(array)
  array = array.astype(held_as(array.dtype))
  return Value(None, array.dtype, array.shape, array.shape, array)


def element_type(dtype: Any) -> int:
  """ONNX's number of a dtype."""
  return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def tensor_info(
  name: str, dtype: Any, shape: Sequence[int | str]
) -> onnx.ValueInfoProto:
  """What a graph says of an input or output."""
  return helper.make_tensor_value_info(name, element_type(dtype), shape)


def evaluate(graph: Graph, names: Sequence[str]) -> list[np.ndarray]:
  """Values of a small graph without inputs."""
  # Of ONNX itself: in Python, with nothing to be compiled.
  outputs = [onnx.ValueInfoProto(name=name) for name in names]
  constants = [
    numpy_helper.from_array(x, name) for name, x in graph.constants.items()
  ]
  made = helper.make_graph(graph.nodes, 'constant', [], outputs, constants)
  model = helper.make_model(
    made, opset_imports=[helper.make_opsetid('', OPSET)]
  )
  with np.errstate(all='ignore'):
    values: Any = ReferenceEvaluator(model).run(None, {})
  return values


def make_model(
  graph: Graph,
  inputs: Sequence[onnx.ValueInfoProto],
  outputs: Sequence[onnx.ValueInfoProto],
) -> onnx.ModelProto:
  """A checked model of a graph.

  Args:
    graph: the outermost.
    inputs, outputs: see `tensor_info`.
  """
  model = helper.make_model(
    helper.make_graph(
      graph.nodes,
      'try_on',
      inputs,
      outputs,
      [numpy_helper.from_array(x, name) for name, x in graph.constants.items()],
    ),
    opset_imports=[helper.make_opsetid('', OPSET)],
    producer_name='viton_jax',
  )
  model.ir_version = IR_VERSION
  onnx.checker.check_model(model)
  return model
