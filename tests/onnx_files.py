"""Small ONNX files whose outputs are known functions of the picture."""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_OPSET, _IR = 13, 8


def save(path: pathlib.Path, nodes, constants, *, inputs, outputs):
  """Writes a graph.

  Args:
    path: the file.
    nodes: (operator, inputs, output, attributes).
    constants: name -> array.
    inputs: name -> shape of float32; text for a free size.
    outputs: name -> (shape, element type).
  """
  graph = helper.make_graph(
    [helper.make_node(op, i, [o], **more) for op, i, o, more in nodes],
    'test',
    [
      helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
      for name, shape in inputs.items()
    ],
    [
      helper.make_tensor_value_info(name, kind, shape)
      for name, (shape, kind) in outputs.items()
    ],
    [numpy_helper.from_array(v, k) for k, v in constants.items()],
  )
  model = helper.make_model(
    graph, opset_imports=[helper.make_opsetid('', _OPSET)]
  )
  model.ir_version = _IR
  onnx.checker.check_model(model)
  onnx.save(model, str(path))
  return path


def save_linear(
  path,
  matrix,
  *,
  size,
  stride,
  bias=None,
  name='input.1',
  decoys=0,
  layout='nchw',
  argmax=False,
  pool=False,
  shapes=True,
):
  """A network whose output is linear in every `stride`-th pixel.

  Args:
    path: the file.
    matrix: (classes, 3): output = matrix @ colours + bias.
    size: (height, width) of the input, or text for free ones.
    stride: of the output.
    bias: (classes,).
    name: of the input.
    decoys: outputs before the true one, which are its negative.
    layout: 'nchw' or 'nhwc', of input and output.
    argmax: the output is the number of the largest, int64.
    pool: each output is the mean of its stride x stride pixels.
    shapes: whether the file states its outputs' sizes.
  """
  matrix = np.asarray(matrix, np.float32)
  classes = len(matrix)
  constants = {
    'w': matrix.reshape(classes, 3, 1, 1),
    'b': np.asarray(np.zeros(classes) if bias is None else bias, np.float32),
  }
  last = layout == 'nhwc'
  nodes, at = [], name
  if last:
    nodes.append(('Transpose', [at], 'first', {'perm': [0, 3, 1, 2]}))
    at = 'first'
  if pool:
    nodes.append(
      (
        'AveragePool',
        [at],
        'pooled',
        {'kernel_shape': [stride] * 2, 'strides': [stride] * 2},
      )
    )
    at = 'pooled'
  nodes.append(
    (
      'Conv',
      [at, 'w', 'b'],
      'maps',
      {'strides': [1 if pool else stride] * 2},
    )
  )
  at = 'maps'
  if last:
    nodes.append(('Transpose', [at], 'last', {'perm': [0, 2, 3, 1]}))
    at = 'last'
  if argmax:
    nodes.append(
      ('ArgMax', [at], 'labels', {'axis': 3 if last else 1, 'keepdims': 0})
    )
    outputs = {'labels': ([1, 'y', 'x'], TensorProto.INT64)}
  else:
    outputs = {}
    for i in range(decoys):
      nodes.append(('Neg', [at], f'decoy{i}', {}))
      outputs[f'decoy{i}'] = [1, classes, 'y', 'x'], TensorProto.FLOAT
    shape = [1, 'y', 'x', classes] if last else [1, classes, 'y', 'x']
    if not shapes:
      shape = [1, 'a', 'b', 'c']
    outputs[at] = shape, TensorProto.FLOAT
  image = [1, *size, 3] if last else [1, 3, *size]
  return save(path, nodes, constants, inputs={name: image}, outputs=outputs)


def save_simcc(path, levels, *, size, width=30.0):
  """A network that scores pixels by how near their first colour is to a level.

  Args:
    path: the file.
    levels: (joints,) of the normalised first colour.
    size: (height, width) of the input.
    width: score = 1 - (difference * width) ** 2, the least of 5 x 5 pixels:
      an edge passes through many levels, but only one pixel wide.
  """
  joints = len(levels)
  h, w = size
  constants = {
    'first': np.array([1, 0, 0], np.float32).reshape(1, 3, 1, 1),
    'none': np.zeros(1, np.float32),
    'levels': np.asarray(levels, np.float32).reshape(1, joints, 1, 1),
    'width': np.float32(width),
    'one': np.float32(1),
    'twice': np.array([1, 1, 1, 2]),
    'columns': np.array([1, joints, w, 1]),
    'all_columns': np.array([1, joints, 2 * w]),
    'rows': np.array([1, joints, h, 1]),
    'all_rows': np.array([1, joints, 2 * h]),
  }
  nodes = [
    ('Conv', ['input', 'first', 'none'], 'grey', {}),
    ('Sub', ['grey', 'levels'], 'difference', {}),
    ('Mul', ['difference', 'width'], 'wide', {}),
    ('Mul', ['wide', 'wide'], 'square', {}),
    ('Sub', ['square', 'one'], 'distance', {}),
    (
      'MaxPool',
      ['distance'],
      'farthest',
      {'kernel_shape': [5, 5], 'pads': [2] * 4, 'strides': [1, 1]},
    ),
    ('Neg', ['farthest'], 'score', {}),
  ]
  for axis, one, every, out in (
    (2, 'columns', 'all_columns', 'simcc_x'),
    (3, 'rows', 'all_rows', 'simcc_y'),
  ):
    nodes += [
      ('ReduceMax', ['score'], f'{out}_max', {'axes': [axis], 'keepdims': 0}),
      ('Reshape', [f'{out}_max', one], f'{out}_one', {}),
      ('Tile', [f'{out}_one', 'twice'], f'{out}_two', {}),
      ('Reshape', [f'{out}_two', every], out, {}),
    ]
  return save(
    path,
    nodes,
    constants,
    inputs={'input': [1, 3, h, w]},
    outputs={
      'simcc_x': ([1, joints, 2 * w], TensorProto.FLOAT),
      'simcc_y': ([1, joints, 2 * h], TensorProto.FLOAT),
    },
  )
