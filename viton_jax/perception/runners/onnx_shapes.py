"""Refuses ONNX files that would make huge arrays, before anything runs them.

A file of some bytes can ask for any size: `ConstantOfShape`, `Expand`, `Tile`.
onnxruntime computes constants while it opens a file, so that only ONNX's own
shape inference, which computes no values, can tell before.
"""

import math
import pathlib

import onnx
from onnx import shape_inference

from viton_jax import errors
from viton_jax.errors import InputError

# The largest of the known networks make 2 ** 24.
MAX_ELEMENTS = 1 << 26
# Operators whose output is larger than their inputs.
_MAKERS = ('ConstantOfShape', 'Expand', 'Pad', 'Range', 'Resize', 'Tile')


def check(path: pathlib.Path) -> None:
  """Raises InputError where an ONNX file would make a huge array.

  Args:
    path: a file of bounded size.

  Raises:
    InputError: some value has more than `MAX_ELEMENTS` elements, whatever the
      input, or the file cannot be read.
  """
  try:
    model = onnx.load(str(path), load_external_data=False)
    model = shape_inference.infer_shapes(model, data_prop=True)
  # protobuf, the checker and the inference have kinds of their own.
  except Exception as error:
    raise InputError(
      f'{path}: not a usable ONNX file ({errors.shown(error)}); copy or export '
      'it again'
    ) from error
  _check_graph(path, model.graph)


def _check_graph(path: pathlib.Path, graph: onnx.GraphProto) -> None:
  known = set()
  for value in (*graph.input, *graph.value_info, *graph.output):
    dims = value.type.tensor_type.shape.dim
    # Free sizes are 0 here, and count as 1.
    _check_size(path, value.name, math.prod(max(x.dim_value, 1) for x in dims))
    if value.type.tensor_type.HasField('shape') and all(
      x.HasField('dim_value') for x in dims
    ):
      known.add(value.name)
  for tensor in graph.initializer:
    _check_size(path, tensor.name, math.prod(tensor.dims))
  # What depends on the image; all else onnxruntime computes at once.
  free = {x.name for x in graph.input} - {x.name for x in graph.initializer}
  for node in graph.node:
    inner = [x for a in node.attribute for x in (a.g, *a.graphs) if x.node]
    if inner or not free.isdisjoint(node.input):
      free.update(node.output)
    elif node.op_type in _MAKERS and not known.issuperset(node.output):
      raise InputError(
        f'{path}: its {node.op_type} makes a constant whose size cannot be '
        'told; give a network for images'
      )
    for attribute in node.attribute:
      _check_size(path, node.name, math.prod(attribute.t.dims))
    for graph_of_node in inner:
      _check_graph(path, graph_of_node)


def _check_size(path: pathlib.Path, name: str, size: int) -> None:
  if size > MAX_ELEMENTS:
    raise InputError(
      f'{path}: its value {name[:80]!r} has {size} elements, more than '
      f'{MAX_ELEMENTS}; give a network for images'
    )
