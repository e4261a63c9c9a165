"""ONNX files that ask for huge arrays are refused before anything runs."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
import onnx_files
import pytest

from viton_jax.errors import InputError
from viton_jax.perception.runners import onnx_model, onnx_shapes


def constant(name, values):
  tensor = numpy_helper.from_array(np.array(values, np.int64))
  return helper.make_node('Constant', [], [name], value=tensor)


def save(path, nodes, output='big'):
  """A graph of an image that also makes something huge."""
  nodes = [*nodes, helper.make_node('ReduceMax', [output], ['m'], keepdims=0)]
  nodes.append(helper.make_node('Add', ['x', 'm'], ['y']))
  image = [1, 3, 8, 8]
  graph = helper.make_graph(
    nodes,
    'bomb',
    [helper.make_tensor_value_info('x', TensorProto.FLOAT, image)],
    [helper.make_tensor_value_info('y', TensorProto.FLOAT, image)],
  )
  model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)])
  model.ir_version = 8
  onnx.save(model, str(path))


def large(kind, name='big'):
  if kind == 'shape':
    return [
      constant('s', [1 << 14, 1 << 14]),
      helper.make_node('ConstantOfShape', ['s'], [name]),
    ]
  if kind == 'product':
    return [
      constant('a', [1 << 14, 1 << 7]),
      constant('b', [1, 1 << 7]),
      helper.make_node('Mul', ['a', 'b'], ['s']),
      helper.make_node('ConstantOfShape', ['s'], [name]),
    ]
  if kind == 'root':  # A size that shape inference does not compute.
    return [
      constant('a', [1 << 28]),
      helper.make_node('Mod', ['a', 'a'], ['z']),
      helper.make_node('Add', ['z', 'a'], ['s']),
      helper.make_node('ConstantOfShape', ['s'], [name]),
    ]
  if kind == 'image':
    return [
      constant('s', [1, 1, 1 << 11, 1 << 11]),
      helper.make_node('Tile', ['x', 's'], [name]),
    ]
  return [
    constant('s', [1 << 28]),
    constant('one', [1]),
    helper.make_node('Cast', ['one'], ['f'], to=TensorProto.FLOAT),
    helper.make_node('Expand', ['f', 's'], [name]),
  ]


@pytest.mark.parametrize(
  'kind', ['shape', 'product', 'root', 'image', 'expand']
)
def test_bombs_are_refused(tmp_path, kind):
  path = tmp_path / 'bomb.onnx'
  save(path, large(kind))
  assert path.stat().st_size < 1000
  with pytest.raises(InputError, match='elements|cannot be told') as caught:
    onnx_model.load(path, None, task='pose')
  assert str(path) in str(caught.value)


def test_a_bomb_in_a_branch(tmp_path):
  path = tmp_path / 'bomb.onnx'
  branches = [
    helper.make_graph(
      large('shape', name=f'big{i}'),
      'branch',
      [],
      [helper.make_tensor_value_info(f'big{i}', TensorProto.FLOAT, None)],
    )
    for i in range(2)
  ]
  truth = numpy_helper.from_array(np.array(True))
  save(
    path,
    [
      helper.make_node('Constant', [], ['go'], value=truth),
      helper.make_node(
        'If', ['go'], ['big'], then_branch=branches[0], else_branch=branches[1]
      ),
    ],
  )
  with pytest.raises(InputError, match='elements'):
    onnx_shapes.check(path)


def test_networks_and_damage(tmp_path):
  path = onnx_files.save_linear(
    tmp_path / 'm.onnx', np.ones((2, 3)), size=('h', 'w'), stride=2
  )
  onnx_shapes.check(path)
  path.write_bytes(path.read_bytes()[:60])
  with pytest.raises(InputError, match='not a usable ONNX file'):
    onnx_shapes.check(path)
