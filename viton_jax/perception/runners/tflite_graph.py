"""Evaluates TensorFlow Lite's networks natively in JAX, in batches.

Weights stored in half precision or sparsely are expanded once, when a network
is read; the arithmetic is in float32.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from viton_jax.io import finite
from viton_jax.perception.runners import frozen_graph, tflite_file
from viton_jax.perception.runners.graphdef import GraphError
from viton_jax.perception.runners.tflite_file import (
  MAX_NUMBERS,
  Network,
  Operation,
  Table,
)

_PADDINGS = {0: b'SAME', 1: b'VALID'}
_ACTIVATIONS = {
  0: lambda x: x,
  1: lambda x: jnp.maximum(x, 0),
  3: lambda x: jnp.clip(x, 0, 6),
}


def build(
  network: Network,
) -> tuple[dict[str, np.ndarray], Callable[..., list[jax.Array]]]:
  """Makes a function of a network.

  Args:
    network: of one input, an image.

  Returns:
    weights: float32 arrays by name, to be passed to the function.
    function: (weights, image (h, w, c) float32) -> its outputs, each without
      the axis of the batch; pure, to be jitted and vmapped at will.

  Raises:
    GraphError: it has something that is not supported.
  """
  if len(network.inputs) != 1:
    raise GraphError(f'it has {len(network.inputs)} inputs instead of one')
  (source,) = network.inputs
  constants = dict(network.constants)
  steps = []
  for step in network.operations:
    if step.code in (tflite_file.DEQUANTIZE, tflite_file.DENSIFY):
      # Of weights; what is sparse was made dense by the reader.
      (origin, *_), (target, *_) = step.inputs, step.outputs
      if origin not in constants:
        raise GraphError('it converts numbers while it runs')
      constants[target] = constants[origin]
    elif step.code in _OPERATIONS:
      steps.append(step)
    else:
      raise GraphError(f'it holds the operation {step.code}')
  weights, fixed = {}, {}
  used = {x for step in steps for x in step.inputs}
  for number in used & constants.keys():
    value = constants[number]
    if value.dtype.kind == 'f':
      value = value.astype(np.float32)
      if finite.first_not_finite([(str(number), value)]) is not None:
        raise GraphError(f'its weights {number} are not finite')
      weights[str(number)] = value
    else:
      fixed[number] = value

  def evaluate(
    weights: dict[str, jax.Array], image: jax.Array
  ) -> list[jax.Array]:
    values: dict[int, Any] = {source: image[None], **fixed}
    values |= {int(name): value for name, value in weights.items()}
    with jax.numpy_rank_promotion('allow'):
      for step in steps:
        inputs = [values[x] if x >= 0 else None for x in step.inputs]
        (target,) = step.outputs
        result = _OPERATIONS[step.code](step, *inputs)
        if result.shape != network.shapes[target]:
          raise GraphError(
            f'an operation gives {result.shape} instead of '
            f'{network.shapes[target]}'
          )
        values[target] = result
    return [values[x][0] for x in network.outputs]

  return weights, evaluate


def output_shapes(
  weights: dict[str, np.ndarray],
  function: Callable[..., list[jax.Array]],
  shape: tuple[int, ...],
) -> list[tuple[int, ...]]:
  """Shapes of the outputs for an image, without arithmetic.

  Raises:
    GraphError: the operations do not fit one another.
  """
  image = jax.ShapeDtypeStruct(shape, np.float32)
  return frozen_graph.output_shapes(function, weights, image)


# ------------------------------------------------------------ the operations


def _options(step: Operation) -> Table:
  if step.options is None:
    raise GraphError(f'its operation {step.code} lacks its settings')
  return step.options


def _activated(value, kind: int):
  if kind not in _ACTIVATIONS:
    raise GraphError(f'it has the activation {kind}')
  return _ACTIVATIONS[kind](value)


def _window(options: Table, first: int, default: int = 0):
  """A width and a height, in the order of TensorFlow's four sizes."""
  width, height = (
    options.int32(first, default),
    options.int32(first + 1, default),
  )
  if not (1 <= width <= 64 and 1 <= height <= 64):
    raise GraphError(f'it has a window of {width} x {height}')
  return 1, height, width, 1


def _padding(options: Table) -> bytes:
  kind = options.int8(0)
  if kind not in _PADDINGS:
    raise GraphError(f'it pads in the way {kind}')
  return _PADDINGS[kind]


def _conv(step, x, kernel, bias=None):
  options = _options(step)
  attributes = {
    'padding': _padding(options),
    'strides': _window(options, 1),
    'dilations': _window(options, 4, 1),
  }
  result = frozen_graph.conv(attributes, x, kernel.transpose(1, 2, 3, 0))
  return _activated(result if bias is None else result + bias, options.int8(3))


def _depthwise_conv(step, x, kernel, bias=None):
  options = _options(step)
  attributes = {
    'padding': _padding(options),
    'strides': _window(options, 1),
    'dilations': _window(options, 5, 1),
  }
  _, height, width, _ = kernel.shape
  kernel = kernel.reshape(height, width, x.shape[-1], -1)
  result = frozen_graph.depthwise_conv(attributes, x, kernel)
  return _activated(result if bias is None else result + bias, options.int8(4))


def _add(step, x, y):
  kind = step.options.int8(0) if step.options else 0
  return _activated(x + y, kind)


def _max_pool(step, x):
  options = _options(step)
  attributes = {
    'padding': _padding(options),
    'strides': _window(options, 1),
    'ksize': _window(options, 3),
  }
  return _activated(frozen_graph.max_pool(attributes, x), options.int8(5))


def _resize_bilinear(step, x, size):
  options = _options(step)
  if not all(1 <= n <= 4096 for n in size):
    raise GraphError(f'it resizes to {tuple(size)}')
  attributes = {
    'align_corners': options.int8(2),
    'half_pixel_centers': options.int8(3),
  }
  return frozen_graph.resize_bilinear(attributes, x, size)


def _reshape(step, x, shape=None):
  if shape is None:
    shape = _options(step).array(0, np.int32)
  return x.reshape([int(n) for n in shape])


def _pad(step, x, widths):
  widths = np.asarray(widths).astype(int)
  if widths.shape != (x.ndim, 2) or widths.min() < 0:
    raise GraphError(f'it pads by {widths.tolist()}')
  total = 1
  for n, (before, after) in zip(x.shape, widths.tolist(), strict=True):
    total *= n + before + after
  if total > MAX_NUMBERS:
    raise GraphError(f'it pads by {widths.tolist()}')
  return jnp.pad(x, widths)


def _depth_to_space(step, x):
  size = _options(step).int32(0)
  b, h, w, c = x.shape
  if size < 1 or c % (size * size):
    raise GraphError(f'it moves {c} channels into blocks of {size}')
  x = x.reshape(b, h, w, size, size, -1).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(b, h * size, w * size, -1)


def _concatenate(step, *parts):
  options = _options(step)
  joined = jnp.concatenate(parts, axis=options.int32(0))
  return _activated(joined, options.int8(1))


_OPERATIONS: dict[int, Callable] = {
  tflite_file.ADD: _add,
  tflite_file.CONCATENATION: _concatenate,
  tflite_file.CONV_2D: _conv,
  tflite_file.DEPTHWISE_CONV_2D: _depthwise_conv,
  tflite_file.DEPTH_TO_SPACE: _depth_to_space,
  tflite_file.LOGISTIC: lambda _, x: jax.nn.sigmoid(x),
  tflite_file.MAX_POOL_2D: _max_pool,
  tflite_file.PAD: _pad,
  tflite_file.PRELU: lambda _, x, slope: jnp.where(x < 0, x * slope, x),
  tflite_file.RELU: lambda _, x: jnp.maximum(x, 0),
  tflite_file.RESHAPE: _reshape,
  tflite_file.RESIZE_BILINEAR: _resize_bilinear,
}
