"""VITON's networks and losses in TensorFlow, to be timed beside ours.

`tf.nn` operations under `tf.function`, float32, from our variables and
computing the same numbers (tests/test_benchmarks.py): convolutions as the
released code has them, fused batch normalisation, TensorFlow 1's Adam. Dropout
draws other numbers. The 25 input channels come ready made, as for
torch_twin.py. The only file of benchmarks/ that imports TensorFlow for itself.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks import published
from viton_jax.geometry import tps
from viton_jax.models import vgg19

Tensors = dict[str, Any]


def variables_of(tree: Mapping[str, Any], trainable: bool) -> Tensors:
  """Our tree with every array as a tf.Variable (trainable) or constant."""
  if isinstance(tree, Mapping):
    return {name: variables_of(part, trainable) for name, part in tree.items()}
  make = tf.Variable if trainable else tf.constant
  return make(np.array(tree, np.float32))


def encoder_decoder(
  params: Tensors,
  statistics: Tensors,
  inputs: tf.Tensor,
  *,
  train: bool,
  dropout_rate: float = 0.5,
) -> tuple[tf.Tensor, tf.Tensor]:
  """(b, h, w, 25) -> mask (b, h, w, 1), picture (b, h, w, 3), both tanh."""
  x, skips = inputs, []
  for k in range(1, 7):
    if k > 1:
      x = tf.nn.leaky_relu(x, 0.2)
    x = down(x, params[f'encoder_{k}']['kernel'])
    if k > 1:
      x = _batch_norm(x, f'encoder_{k}_norm', params, statistics, train)
    skips.append(x)
  skips.pop()
  for k in range(6, 1, -1):
    x = up(tf.nn.relu(x), params[f'decoder_{k}']['kernel'])
    x = _batch_norm(x, f'decoder_{k}_norm', params, statistics, train)
    if k == 6 and train and dropout_rate:
      x = tf.nn.dropout(x, dropout_rate)
    x = tf.concat([x, skips.pop()], axis=-1)
  out = tf.tanh(up(tf.nn.relu(x), params['decoder_1']['kernel']))
  return out[..., :1], out[..., 1:]


def down(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
  """The encoder's convolution: padding 1, stride 2."""
  padding = [[0, 0], [1, 1], [1, 1], [0, 0]]
  return tf.nn.conv2d(x, kernel, 2, padding)


def up(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
  """The decoder's transposed convolution."""
  b, h, w, _ = x.shape
  shape = (b, 2 * h, 2 * w, kernel.shape[2])
  return tf.nn.conv2d_transpose(x, kernel, shape, 2, 'SAME')


def refinement(params: Tensors, warped, coarse) -> tf.Tensor:
  """(b, h, w, 3) twice -> alpha (b, h, w, 1)."""
  x = tf.concat([warped, coarse], axis=-1)
  for k in (1, 2, 3):
    x = tf.nn.conv2d(x, params[f'conv_{k}']['kernel'], 1, 'SAME')
    mean, variance = tf.nn.moments(x, (1, 2, 3), keepdims=True)
    norm = params[f'conv_{k}_norm']
    x = tf.nn.batch_normalization(
      x, mean, variance, norm['bias'], norm['scale'], 1e-12
    )
    x = tf.nn.leaky_relu(x, 0.2)
  final = params['final']
  x = tf.nn.conv2d(x, final['kernel'], 1, 'SAME')
  return tf.sigmoid(tf.nn.bias_add(x, final['bias']))


def warp(images: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
  """`geometry.warp_tps`: four gathers and a sum, as in the released code."""
  b, h, w, _ = images.shape
  matrix = tf.constant(np.array(tps.position_matrix(10, (h, w))))
  positions = tf.clip_by_value(tf.einsum('qn,bnd->bqd', matrix, points), -1, 1)
  x = (positions[..., 0] + 1) * (0.5 * (w - 1))
  y = (positions[..., 1] + 1) * (0.5 * (h - 1))
  left, top = tf.floor(x), tf.floor(y)
  flat = tf.reshape(images, (b, h * w, -1))
  total = 0.0
  for down_by in (0, 1):
    for right_by in (0, 1):
      column = tf.minimum(tf.cast(left, tf.int32) + right_by, w - 1)
      row = tf.minimum(tf.cast(top, tf.int32) + down_by, h - 1)
      share = (x - left if right_by else left + 1 - x) * (
        y - top if down_by else top + 1 - y
      )
      corner = tf.gather(flat, row * w + column, batch_dims=1)
      total += share[..., None] * corner
  return tf.reshape(total, images.shape)


def vgg_features(params: Tensors, images: tf.Tensor) -> Tensors:
  """(b, h, w, 3) in [-1, 1] -> name of a layer -> its features."""
  x = (images + 1.0) * 127.5 - params['mean']
  found = {}
  for name in vgg19.LAYERS:
    if name.endswith('_1') and name != 'conv1_1':
      x = tf.nn.avg_pool2d(x, 2, 2, 'SAME')
    layer = params[name]
    x = tf.nn.conv2d(x, layer['kernel'], 1, 'SAME')
    x = tf.nn.relu(tf.nn.bias_add(x, layer['bias']))
    if name in vgg19.FEATURES:
      found[name] = x
  return found


def stage1_loss(
  params: Tensors,
  statistics: Tensors,
  vgg: Tensors,
  *,
  batch: Tensors,
  dropout_rate: float = 0.5,
) -> tf.Tensor:
  """Batch: `inputs` (b, h, w, 25), `region` (b, h, w, 1), `image`."""
  mask, coarse = encoder_decoder(
    params,
    statistics,
    batch['inputs'],
    train=True,
    dropout_rate=dropout_rate,
  )
  return (
    _distance(mask, batch['region'])
    + _distance(coarse, batch['image'])
    + published.STAGE1_PERCEPTUAL
    * _perceptual(vgg, coarse, batch['image'], published.STAGE1_LAYERS)
  )


def refine(params, batch, mask, coarse):
  """Warps, refines, composes: (output, alpha), after the mask product."""
  warped = warp(batch['garment'], batch['control_points'])
  alpha = refinement(params, warped, coarse) * tf.clip_by_value(mask, 0, 1)
  return alpha * warped + (1 - alpha) * coarse, alpha


def stage2_loss(
  params: Tensors, coarse_variables: Tensors, vgg: Tensors, *, batch: Tensors
) -> tf.Tensor:
  """Batch: also `garment` (b, h, w, 3) and `control_points` (b, 100, 2)."""
  mask, coarse = encoder_decoder(
    coarse_variables['params'],
    coarse_variables['batch_stats'],
    batch['inputs'],
    train=False,
  )
  output, alpha = refine(params, batch, mask, coarse)
  return (
    published.STAGE2_IMAGE * _distance(output, batch['image'])
    + published.STAGE2_PERCEPTUAL
    * _perceptual(vgg, output, batch['image'], published.STAGE2_LAYERS)
    - published.STAGE2_ALPHA * tf.reduce_mean(alpha)
    + published.STAGE2_VARIATION
    * tf.reduce_mean(tf.image.total_variation(alpha))
  )


def make_train_step(loss: Callable, params: Tensors) -> Callable[[], None]:
  """One step of TensorFlow 1's Adam along the gradient of `loss()`."""
  variables = tf.nest.flatten(params)
  moments = [
    [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
    for _ in range(2)
  ]
  powers = [tf.Variable(b, trainable=False) for b in (0.5, 0.999)]

  @tf.function(autograph=False)
  def step():
    with tf.GradientTape() as tape:
      value = loss()
    gradients = tape.gradient(value, variables)
    for variable, m, v, gradient in zip(
      variables, *moments, gradients, strict=True
    ):
      tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=m.handle,
        v=v.handle,
        beta1_power=powers[0],
        beta2_power=powers[1],
        lr=2e-4,
        beta1=0.5,
        beta2=0.999,
        epsilon=1e-8,
        grad=gradient,
      )
    powers[0].assign(powers[0] * 0.5)
    powers[1].assign(powers[1] * 0.999)
    return value

  return lambda: step().numpy()


def _batch_norm(x, name, params, statistics, train):
  scale, bias = params[name]['scale'], params[name]['bias']
  mean, variance = statistics[name]['mean'], statistics[name]['var']
  if not train:
    x, *_ = tf.compat.v1.nn.fused_batch_norm(
      x, scale, bias, mean, variance, 1e-5, is_training=False
    )
    return x
  x, new_mean, new_variance = tf.compat.v1.nn.fused_batch_norm(
    x, scale, bias, epsilon=1e-5, is_training=True
  )
  if isinstance(mean, tf.Variable):
    mean.assign(0.999 * mean + 0.001 * new_mean)
    variance.assign(0.999 * variance + 0.001 * new_variance)
  return x


def _perceptual(vgg, fakes, reals, layers):
  of_reals, of_fakes = vgg_features(vgg, reals), vgg_features(vgg, fakes)
  distances = [
    published.PERCEPTUAL_SCALES[name]
    * _distance(of_fakes[name], of_reals[name])
    for name in layers
  ]
  return sum(distances) / (len(layers) * published.PERCEPTUAL_UNIT)


def _distance(a, b):
  return tf.reduce_mean(tf.abs(a - b))
