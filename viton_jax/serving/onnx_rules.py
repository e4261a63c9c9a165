"""The operators of JAX as nodes of ONNX graphs, one rule each.

A rule gets the graph, the equation and the values of its inputs, and gives the
name of its output in its own shape, or a `Value`, or a list of these.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from viton_jax.serving import onnx_indexing
from viton_jax.serving.onnx_graph import (
  Graph,
  NotConvertibleError,
  Value,
  element_type,
  held_as,
)

_SAME = {
  'abs': 'Abs',
  'add': 'Add',
  'and': 'And',
  'ceil': 'Ceil',
  'cos': 'Cos',
  'div': 'Div',
  'eq': 'Equal',
  'exp': 'Exp',
  'floor': 'Floor',
  'ge': 'GreaterOrEqual',
  'gt': 'Greater',
  'le': 'LessOrEqual',
  'le_to': 'LessOrEqual',
  'log': 'Log',
  'logistic': 'Sigmoid',
  'lt': 'Less',
  'lt_to': 'Less',
  'max': 'Max',
  'min': 'Min',
  'mul': 'Mul',
  'neg': 'Neg',
  'not': 'Not',
  'or': 'Or',
  'pow': 'Pow',
  'sign': 'Sign',
  'sin': 'Sin',
  'sqrt': 'Sqrt',
  'sub': 'Sub',
  'tanh': 'Tanh',
  'xor': 'Xor',
}
_REDUCTIONS = {
  'reduce_and': 'ReduceMin',
  'reduce_max': 'ReduceMax',
  'reduce_min': 'ReduceMin',
  'reduce_or': 'ReduceMax',
  'reduce_sum': 'ReduceSum',
}


def value_of(name: str, out: Any, held: Sequence[int] | None = None) -> Value:
  """The value of an equation's output, held as the output or smaller."""
  shape = tuple(out.aval.shape)
  held = shape if held is None else tuple(held)
  return Value(name, held_as(out.aval.dtype), held, shape)


def _elementwise(kind: str, *, boolean: bool = False) -> Callable:
  """A rule of an operator that broadcasts in ONNX as well."""

  def rule(graph: Graph, eqn: Any, inputs: list[Value]) -> Value:
    if inputs[0].dtype == bool and not boolean:
      raise NotConvertibleError(f'{eqn.primitive.name} of bool')
    name = graph.add(kind, *(graph.name(x) for x in inputs))
    return _broadcast(name, eqn, inputs)

  return rule


def _broadcast(name: str, eqn: Any, inputs: Sequence[Value]) -> Value:
  held = np.broadcast_shapes(*(x.held for x in inputs))
  return value_of(name, eqn.outvars[0], held)


def _not_equal(graph, eqn, inputs):
  name = graph.add('Equal', *(graph.name(x) for x in inputs))
  return _broadcast(graph.add('Not', name), eqn, inputs)


def _select(graph, eqn, inputs):
  which, *cases = inputs
  if which.dtype != bool or len(cases) != 2:
    raise NotConvertibleError('a choice of more than two')
  names = (graph.name(x) for x in (which, cases[1], cases[0]))
  return _broadcast(graph.add('Where', *names), eqn, inputs)


def _power(graph, eqn, inputs):
  exponent = np.asarray(eqn.params['y'], inputs[0].dtype)
  name = graph.add('Pow', graph.name(inputs[0]), graph.constant(exponent))
  return _broadcast(name, eqn, inputs)


def _square(graph, eqn, inputs):
  name = graph.name(inputs[0])
  return _broadcast(graph.add('Mul', name, name), eqn, inputs)


def _rsqrt(graph, eqn, inputs):
  name = graph.add('Sqrt', graph.name(inputs[0]))
  return _broadcast(graph.add('Reciprocal', name), eqn, inputs)


def _clamp(graph, eqn, inputs):
  low, x, high = (graph.name(value) for value in inputs)
  name = graph.add('Min', graph.add('Max', x, low), high)
  return _broadcast(name, eqn, inputs)


def _remainder(graph, eqn, inputs):
  name = graph.add('Mod', *(graph.name(x) for x in inputs), fmod=1)
  return _broadcast(name, eqn, inputs)


def _round(graph, eqn, inputs):
  if int(eqn.params['rounding_method']) != 1:
    raise NotConvertibleError('rounding other than to even')
  name = graph.add('Round', graph.name(inputs[0]))
  return _broadcast(name, eqn, inputs)


def _is_finite(graph, eqn, inputs):
  name = graph.name(inputs[0])
  name = graph.add('Or', graph.add('IsNaN', name), graph.add('IsInf', name))
  return _broadcast(graph.add('Not', name), eqn, inputs)


def _atan2(graph, eqn, inputs):
  y, x = (graph.name(value) for value in inputs)
  zero, pi = (graph.constant(np.float32(value)) for value in (0, np.pi))
  angle = graph.add('Atan', graph.add('Div', y, x))
  turn = graph.add(
    'Where', graph.add('Less', y, zero), graph.add('Neg', pi), pi
  )
  behind = graph.add('Less', x, zero)
  angle = graph.add('Where', behind, graph.add('Add', angle, turn), angle)
  # 0 / 0 has no angle in ONNX.
  nowhere = graph.add(
    'And', graph.add('Equal', y, zero), graph.add('Equal', x, zero)
  )
  name = graph.add('Where', nowhere, zero, angle)
  return _broadcast(name, eqn, inputs)


def _cast(graph, eqn, inputs):
  (x,) = inputs
  dtype = held_as(eqn.params['new_dtype'])
  if dtype == x.dtype:
    return _broadcast(graph.name(x), eqn, inputs)
  name = graph.add('Cast', graph.name(x), to=element_type(dtype))
  return _broadcast(name, eqn, inputs)


def _broadcast_in_dim(graph, eqn, inputs):
  (x,) = inputs
  held = [1] * len(eqn.params['shape'])
  for axis, place in enumerate(eqn.params['broadcast_dimensions']):
    held[place] = x.held[axis]
  name = graph.reshaped(graph.name(x), x.held, held)
  return value_of(name, eqn.outvars[0], held)


def _reshape(graph, eqn, inputs):
  (x,), shape = inputs, eqn.outvars[0].aval.shape
  if x.held == x.shape:
    return graph.reshaped(graph.name(x), x.shape, shape)
  # Ones that come or go leave a value as small as it is held.
  if [n for n in x.shape if n != 1] == [n for n in shape if n != 1]:
    lengths = iter(h for h, n in zip(x.held, x.shape, strict=True) if n != 1)
    held = [1 if n == 1 else next(lengths) for n in shape]
    name = graph.reshaped(graph.name(x), x.held, held)
    return value_of(name, eqn.outvars[0], held)
  return graph.reshaped(graph.whole(x), x.shape, shape)


def _transpose(graph, eqn, inputs):
  (x,), order = inputs, eqn.params['permutation']
  name = graph.transposed(graph.name(x), order)
  return value_of(name, eqn.outvars[0], [x.held[axis] for axis in order])


def _concatenate(graph, eqn, inputs):
  # onnxruntime takes empty ones for something else.
  names = [graph.whole(x) for x in inputs if 0 not in x.shape]
  return graph.add('Concat', *names, axis=int(eqn.params['dimension']))


def _stack(graph, eqn, inputs):
  shape = list(eqn.outvars[0].aval.shape)
  axis = int(eqn.params['axis'])
  shape[axis] = 1
  names = (graph.reshaped(graph.whole(x), x.shape, shape) for x in inputs)
  return graph.add('Concat', *names, axis=axis)


def _split(graph, eqn, inputs):
  (x,), axis = inputs, eqn.params['axis']
  names, begin = [], 0
  for size in eqn.params['sizes']:
    begins, ends = [0] * len(x.shape), list(x.shape)
    begins[axis], ends[axis] = begin, begin + size
    names.append(onnx_indexing.slice_of(graph, x, begins, ends))
    begin += size
  return names


def _slice(graph, eqn, inputs):
  begins, ends, steps = (
    eqn.params[x] for x in ('start_indices', 'limit_indices', 'strides')
  )
  return onnx_indexing.slice_of(graph, inputs[0], begins, ends, steps)


def _reverse(graph, eqn, inputs):
  (x,), rank = inputs, len(inputs[0].shape)
  begins, ends, steps = [0] * rank, list(x.shape), [1] * rank
  for axis in eqn.params['dimensions']:
    begins[axis], ends[axis], steps[axis] = -1, -(1 << 31), -1
  return onnx_indexing.slice_of(graph, x, begins, ends, steps)


def _pad(graph, eqn, inputs):
  low, high, between = zip(*eqn.params['padding_config'], strict=True)
  if any(between):
    raise NotConvertibleError('padding between values')
  x, value = (graph.whole(one) for one in inputs)
  return graph.add('Pad', x, graph.sizes([*low, *high]), value)


def _iota(graph, eqn, inputs):
  shape, axis = eqn.params['shape'], eqn.params['dimension']
  held = [1] * len(shape)
  held[axis] = shape[axis]
  array = np.arange(shape[axis], dtype=held_as(eqn.params['dtype']))
  name = graph.constant(array.reshape(held))
  return value_of(name, eqn.outvars[0], held)


def _reduction(kind: str) -> Callable:
  def rule(graph: Graph, eqn: Any, inputs: list[Value]) -> str:
    (x,), axes = inputs, eqn.params['axes']
    name = graph.whole(x)
    if x.dtype == bool:
      name = graph.add('Cast', name, to=element_type(np.int32))
    name = graph.add(kind, name, graph.sizes(axes), keepdims=0)
    if x.dtype == bool:
      name = graph.add('Cast', name, to=element_type(bool))
    return name

  return rule


def _place_of(kind: str) -> Callable:
  def rule(graph: Graph, eqn: Any, inputs: list[Value]) -> str:
    (x,), (axis,) = inputs, eqn.params['axes']
    name = graph.whole(x)
    if x.dtype == bool:
      name = graph.add('Cast', name, to=element_type(np.int32))
    name = graph.add(kind, name, axis=int(axis), keepdims=0)
    return graph.add('Cast', name, to=element_type(np.int32))

  return rule


def _cumulative_sum(graph, eqn, inputs):
  axis = graph.constant(np.int64(eqn.params['axis']))
  name = graph.whole(inputs[0])
  return graph.add('CumSum', name, axis, reverse=int(eqn.params['reverse']))


def _cumulative_max(graph, eqn, inputs):
  (x,), axis = inputs, eqn.params['axis']
  window, pads = [1] * len(x.shape), [(0, 0)] * len(x.shape)
  window[axis] = x.shape[axis]
  before = x.shape[axis] - 1
  pads[axis] = (0, before) if eqn.params['reverse'] else (before, 0)
  name = onnx_indexing.window_max(graph, x, window=window, pads=pads)
  return graph.add('Cast', name, to=element_type(x.dtype))


def _window(graph, eqn, inputs):
  params, (x, low) = eqn.params, inputs
  (step,) = params['jaxpr'].eqns
  ones = ('window_strides', 'base_dilation', 'window_dilation')
  if step.primitive.name != 'max' or any(set(params[x]) != {1} for x in ones):
    raise NotConvertibleError('a window that is no plain maximum')
  name = onnx_indexing.window_max(
    graph, x, window=params['window_dimensions'], pads=params['padding']
  )
  name = graph.add('Cast', name, to=element_type(x.dtype))
  return graph.add('Max', name, graph.whole(low))


def _product(graph, eqn, inputs):
  (contracted, batched) = eqn.params['dimension_numbers']
  names, frees, sizes = [], [], []
  for side, x in enumerate(inputs):
    axes, batch = contracted[side], batched[side]
    free = [a for a in range(len(x.shape)) if a not in axes and a not in batch]
    order = [*batch, *((*free, *axes) if side == 0 else (*axes, *free))]
    held = [x.shape[axis] for axis in order]
    n = int(np.prod([x.shape[a] for a in axes]))
    m = int(np.prod([x.shape[a] for a in free]))
    flat = [*(x.shape[a] for a in batch), *((m, n) if side == 0 else (n, m))]
    name = graph.transposed(graph.whole(x), order)
    names.append(graph.reshaped(name, held, flat))
    frees.append(m)
    sizes = flat[: len(batch)]
  name = graph.add('MatMul', *names)
  return graph.reshaped(name, [*sizes, *frees], eqn.outvars[0].aval.shape)


def _convolution(graph, eqn, inputs):
  params, (x, kernel) = eqn.params, inputs
  numbers, rank = params['dimension_numbers'], len(inputs[0].shape)
  plain = params['feature_group_count'] == params['batch_group_count'] == 1
  if not plain or rank != 4 or set(params['rhs_dilation']) != {1}:
    raise NotConvertibleError('a convolution in groups or with holes')
  name = graph.transposed(graph.whole(x), numbers.lhs_spec)
  weights = graph.transposed(graph.whole(kernel), numbers.rhs_spec)
  low, high = zip(*params['padding'], strict=True)
  strides = list(params['lhs_dilation'])
  if set(strides) == {1}:
    name = graph.add(
      'Conv',
      *(name, weights),
      strides=list(params['window_strides']),
      pads=[*low, *high],
    )
  elif set(params['window_strides']) == {1}:
    # The same with the kernel read backwards, in by out features.
    sides = [kernel.shape[axis] for axis in numbers.rhs_spec[2:]]
    sizes = tuple(kernel.shape[axis] for axis in numbers.rhs_spec)
    turned = Value(weights, x.dtype, sizes, sizes)
    weights = onnx_indexing.slice_of(
      graph,
      turned,
      *([0, 0, -1, -1], [*turned.shape[:2], -(1 << 31), -(1 << 31)]),
      [1, 1, -1, -1],
    )
    weights = graph.transposed(weights, (1, 0, 2, 3))
    name = graph.add(
      'ConvTranspose',
      *(name, weights),
      strides=strides,
      pads=[
        side - 1 - pad for side, pad in zip(2 * sides, low + high, strict=True)
      ],
    )
  else:
    raise NotConvertibleError('a convolution with both strides')
  back = np.argsort(numbers.out_spec)
  return graph.transposed(name, [int(axis) for axis in back])


def _sort(graph, eqn, inputs):
  axis, count = eqn.params['dimension'], eqn.params['num_keys']
  if count != 1 or axis != len(inputs[0].shape) - 1:
    raise NotConvertibleError('sorting by several keys, or along other axes')
  length = graph.sizes([inputs[0].shape[axis]])
  # Of equals the first comes first, so that it is stable.
  values, places = graph.add_many(
    'TopK', [graph.whole(inputs[0]), length], 2, axis=axis, largest=0
  )
  return [
    values,
    *(
      graph.add('GatherElements', graph.whole(x), places, axis=axis)
      for x in inputs[1:]
    ),
  ]


RULES: dict[str, Callable] = {
  **{
    name: _elementwise(kind, boolean=name in ('and', 'or', 'not', 'xor', 'eq'))
    for name, kind in _SAME.items()
  },
  **{name: _reduction(kind) for name, kind in _REDUCTIONS.items()},
  'argmax': _place_of('ArgMax'),
  'argmin': _place_of('ArgMin'),
  'atan2': _atan2,
  'broadcast_in_dim': _broadcast_in_dim,
  'clamp': _clamp,
  'concatenate': _concatenate,
  'conv_general_dilated': _convolution,
  'convert_element_type': _cast,
  'cummax': _cumulative_max,
  'cumsum': _cumulative_sum,
  'dot_general': _product,
  'dynamic_slice': lambda graph, eqn, x: onnx_indexing.row(graph, x[0], x[1:]),
  'expand_dims': _reshape,
  'gather': lambda graph, eqn, x: onnx_indexing.gather(graph, eqn, *x),
  'integer_pow': _power,
  'iota': _iota,
  'is_finite': _is_finite,
  'ne': _not_equal,
  'pad': _pad,
  'reduce_window': _window,
  'rem': _remainder,
  'reshape': _reshape,
  'rev': _reverse,
  'round': _round,
  'rsqrt': _rsqrt,
  'scatter': lambda graph, eqn, x: onnx_indexing.scatter(graph, eqn, *x),
  'scatter-add': lambda graph, eqn, x: onnx_indexing.scatter(graph, eqn, *x),
  'select_n': _select,
  'slice': _slice,
  'sort': _sort,
  'split': _split,
  'square': _square,
  'squeeze': _reshape,
  'stack': _stack,
  'transpose': _transpose,
}
