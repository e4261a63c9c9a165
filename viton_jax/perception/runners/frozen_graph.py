"""Evaluates TensorFlow's frozen networks natively in JAX.

A frozen graph becomes a pure function of its weights and one image; `vmap`
makes batches of it. Batch normalisations that were frozen in training mode
therefore take the statistics of their own image alone, whatever else is in the
batch: what the graph itself computes when it is fed one image at a time.
"""

from collections.abc import Callable
import functools
import math
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from viton_jax.perception.runners.graphdef import (
  GraphError,
  Node,
  operations_fit,
)

_MAX_ELEMENTS = 1 << 27  # Of one array between operations: 512 MB.
# TensorFloat-32 would be 1000 times less exact and, in a network this small,
# not faster.
_PRECISION = lax.Precision.HIGHEST


def build(
  nodes: dict[str, Node], input_name: str, output_name: str
) -> tuple[dict[str, np.ndarray], Callable[..., jax.Array]]:
  """Makes a function of a graph.

  Args:
    nodes: the graph (`graphdef.read_graph`).
    input_name: name of its placeholder, which takes one batch of images.
    output_name: name of the node to compute.

  Returns:
    weights: the float constants by name, to be passed to the function.
    function: (weights, image (h, w, c) float32) -> (h', w', c') float32;
      pure, to be jitted, vmapped and differentiated at will.

  Raises:
    GraphError: a node is missing or of a kind that is not supported.
  """
  for name, role in ((input_name, 'input'), (output_name, 'output')):
    if name not in nodes:
      raise GraphError(f"it has no {role} '{name}'")
  if nodes[input_name].op != 'Placeholder':
    raise GraphError(f"its '{input_name}' is no input")
  order = _order(nodes, output_name)
  if input_name not in order:
    raise GraphError(f"'{output_name}' does not depend on '{input_name}'")
  weights, constants, steps = {}, {}, []
  for name in order:
    node = nodes[name]
    if node.op == 'Const':
      value = node.attributes.get('value')
      if value is None:
        raise GraphError(f"its constant '{name}' holds no numbers")
      if value.dtype == np.float32:
        weights[name] = value
      else:
        constants[name] = value
    elif node.op == 'Placeholder':
      if name != input_name:
        raise GraphError(f"it needs a second input, '{name}'")
    elif node.op not in _OPERATIONS:
      raise GraphError(f"it holds the operation '{node.op}' ('{name}')")
    else:
      steps.append(node)

  def evaluate(weights: dict[str, jax.Array], image: jax.Array) -> jax.Array:
    values: dict[str, Any] = {input_name: image[None], **constants, **weights}
    # TensorFlow's arithmetic takes operands of different ranks.
    with jax.numpy_rank_promotion('allow'):
      for node in steps:
        inputs = [values[_source(x)] for x in node.inputs if x[0] != '^']
        values[node.name] = _OPERATIONS[node.op](node.attributes, *inputs)
    return values[output_name][0]

  return weights, evaluate


def output_shapes(
  function: Callable[..., Any], weights: dict[str, np.ndarray], image: Any
) -> list[tuple[int, ...]]:
  """Shapes of what a graph's function gives, without arithmetic.

  Raises:
    GraphError: the operations do not fit one another, or one of them makes an
      array that is larger than any network needs.
  """
  with operations_fit():
    made = jax.make_jaxpr(function)(weights, image)
  _check_sizes(made.jaxpr)
  return [tuple(x.shape) for x in made.out_avals]


def _check_sizes(jaxpr: Any) -> None:
  for step in jaxpr.eqns:
    for made in step.outvars:
      if math.prod(getattr(made.aval, 'shape', ())) > _MAX_ELEMENTS:
        raise GraphError(f'an operation makes an array of {made.aval.shape}')
    for inner in step.params.values():
      # What is jitted within.
      if hasattr(inner, 'jaxpr'):
        _check_sizes(inner.jaxpr)


def _source(reference: str) -> str:
  """Name of the node behind the name of a tensor."""
  name, _, index = reference.lstrip('^').partition(':')
  if index not in ('', '0'):
    raise GraphError(f"it uses the further output '{reference}'")
  return name


def _order(nodes: dict[str, Node], output_name: str) -> list[str]:
  """What the output needs, each node after its inputs."""
  order, state, stack = [], {}, [output_name]
  while stack:
    name = stack[-1]
    if state.get(name) == 'done':
      stack.pop()
      continue
    if name not in nodes:
      raise GraphError(f"it lacks the operation '{name}'")
    inputs = [_source(x) for x in nodes[name].inputs]
    waiting = [x for x in inputs if state.get(x) != 'done']
    if waiting and state.get(name) == 'open':
      raise GraphError(f"its operation '{name}' depends on itself")
    state[name] = 'open' if waiting else 'done'
    if not waiting:
      order.append(stack.pop())
    stack += waiting
  return order


def _check_layout(attributes) -> None:
  if attributes.get('data_format', b'NHWC') != b'NHWC':
    raise GraphError('its images are not in the order NHWC')


def _window(attributes, name: str) -> tuple[int, int]:
  """The two middle ones of four NHWC sizes."""
  _, height, width, _ = attributes.get(name) or (1, 1, 1, 1)
  return height, width


def _padding(attributes) -> str:
  padding = attributes['padding'].decode()
  if padding not in ('SAME', 'VALID'):
    raise GraphError(f"it pads in the way '{padding}'")
  return padding


def conv(attributes, x, kernel):
  _check_layout(attributes)
  return lax.conv_general_dilated(
    x,
    kernel,
    window_strides=_window(attributes, 'strides'),
    padding=_padding(attributes),
    rhs_dilation=_window(attributes, 'dilations'),
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    feature_group_count=x.shape[-1] // kernel.shape[2],
    precision=_PRECISION,
  )


def depthwise_conv(attributes, x, kernel):
  """(kh, kw, c, m) kernels: output channel c * m + i comes from channel c."""
  _check_layout(attributes)
  return _shifted_products(
    x,
    kernel,
    strides=_window(attributes, 'strides'),
    dilations=_window(attributes, 'dilations'),
    padding=_padding(attributes),
  )


@functools.partial(jax.jit, static_argnames=('strides', 'dilations', 'padding'))
def _shifted_products(x, kernel, *, strides, dilations, padding):
  """A depthwise convolution, as a sum of shifted products.

  XLA fuses it into one loop: on a CPU the whole network is about ten times
  faster than with its grouped convolution. A function of its own, so that JAX
  traces the many layers of equal sizes once.
  """
  *sizes, channels, multiplier = kernel.shape
  spans = [(n - 1) * d for n, d in zip(sizes, dilations, strict=True)]
  pads = lax.padtype_to_pads(
    x.shape[1:3], [n + 1 for n in spans], strides, padding
  )
  x = jnp.repeat(x, multiplier, axis=-1)
  x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
  ends = [n - span for n, span in zip(x.shape[1:3], spans, strict=True)]
  total = jnp.zeros((), x.dtype)
  for i, j in np.ndindex(*sizes):
    top, left = i * dilations[0], j * dilations[1]
    rows = slice(top, top + ends[0], strides[0])
    columns = slice(left, left + ends[1], strides[1])
    weight = kernel[i, j].reshape(channels * multiplier)
    total = total + x[:, rows, columns] * weight
  return total


def _batch_norm(attributes, x, scale, offset, mean, variance):
  """FusedBatchNorm; in training mode with the statistics of this image."""
  _check_layout(attributes)
  if attributes.get('is_training', True):
    mean = jnp.mean(x, axis=(0, 1, 2))
    variance = jnp.mean(jnp.square(x - mean), axis=(0, 1, 2))
  epsilon = np.float32(attributes.get('epsilon', 1e-4))
  factor = scale * lax.rsqrt(variance + epsilon)
  return (x - mean) * factor + offset


def max_pool(attributes, x):
  _check_layout(attributes)
  return lax.reduce_window(
    x,
    -jnp.inf,
    lax.max,
    window_dimensions=(1, *_window(attributes, 'ksize'), 1),
    window_strides=(1, *_window(attributes, 'strides'), 1),
    padding=_padding(attributes),
  )


def _resize_matrix(source: int, target: int, attributes) -> np.ndarray:
  """(target, source) weights of TensorFlow's ResizeBilinear, one axis."""
  index = np.arange(target, dtype=np.float32)
  if attributes.get('align_corners') and target > 1:
    position = index * np.float32((source - 1) / (target - 1))
  else:
    scale = np.float32(source / target)
    half = np.float32(bool(attributes.get('half_pixel_centers')) / 2)
    position = np.maximum((index + half) * scale - half, 0)
  low = np.minimum(np.floor(position).astype(int), source - 1)
  high = np.minimum(low + 1, source - 1)
  fraction = position - low
  matrix = np.zeros((target, source), np.float32)
  np.add.at(matrix, (np.arange(target), low), 1 - fraction)
  np.add.at(matrix, (np.arange(target), high), fraction)
  return matrix


def resize_bilinear(attributes, x, size):
  height, width = (int(n) for n in np.asarray(size))
  rows = _resize_matrix(x.shape[1], height, attributes)
  columns = _resize_matrix(x.shape[2], width, attributes)
  return jnp.einsum('yh,xw,bhwc->byxc', rows, columns, x, precision=_PRECISION)


def _strided_slice(attributes, x, begin, end, strides):
  """Of a shape, so of one axis; folded away while JAX traces."""
  if attributes.get('ellipsis_mask') or attributes.get('new_axis_mask'):
    raise GraphError('it slices in a way that is not supported')
  (begin,), (end,), (stride,) = begin, end, strides
  if attributes.get('shrink_axis_mask'):
    return np.asarray(x[begin])
  begin = None if attributes.get('begin_mask') else begin
  end = None if attributes.get('end_mask') else end
  return x[begin:end:stride]


def _concat(attributes, *inputs):
  *parts, axis = inputs
  join = np if isinstance(parts[0], np.ndarray) else jnp
  return join.concatenate(parts, axis=int(axis))


_OPERATIONS: dict[str, Callable] = {
  'Add': lambda _, x, y: x + y,
  'AddV2': lambda _, x, y: x + y,
  'BiasAdd': lambda _, x, y: x + y,
  'ConcatV2': _concat,
  'Conv2D': conv,
  'DepthwiseConv2dNative': depthwise_conv,
  'FusedBatchNorm': _batch_norm,
  'FusedBatchNormV2': _batch_norm,
  'FusedBatchNormV3': _batch_norm,
  'Identity': lambda _, x: x,
  'MaxPool': max_pool,
  'Mul': lambda _, x, y: x * y,
  'RealDiv': lambda _, x, y: x / y,
  'Relu': lambda _, x: jnp.maximum(x, 0),
  'Relu6': lambda _, x: jnp.clip(x, 0, 6),
  'ResizeBilinear': resize_bilinear,
  'Shape': lambda _, x: np.array(x.shape, np.int32),
  'StridedSlice': _strided_slice,
  'Sub': lambda _, x, y: x - y,
}


def batched(function: Callable) -> Callable:
  """(weights, (b, h, w, c) of any number type) -> (b, h', w', c'), compiled.

  Images may be uint8: they become float32 on the device.
  """

  def one(weights, image):
    return function(weights, image.astype(jnp.float32))

  return jax.jit(functools.partial(jax.vmap(one, in_axes=(None, 0))))
