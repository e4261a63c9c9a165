"""LPIPS: distances of AlexNet's, VGG16's or SqueezeNet's features, version 0.1.

References:
  Zhang, Isola, Efros, Shechtman and Wang, The Unreasonable Effectiveness of
  Deep Features as a Perceptual Metric, CVPR 2018, equation 1.
"""

from collections.abc import Iterator, Mapping
import functools
from typing import Any, Literal

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8
import numpy as np

from viton_jax.metrics import resize
from viton_jax.metrics.errors import mean_inside
from viton_jax.metrics.layers import convolve, max_pool

_Array = Array | np.ndarray
Net = Literal['alex', 'vgg', 'squeeze']
# What the networks were trained on, in units of [-1, 1].
_MEAN = (-0.030, -0.088, -0.188)
_STD = (0.458, 0.448, 0.450)
_EPSILON = 1e-10
_VGG_BLOCKS = (2, 2, 3, 3, 3)
# A fire module: channels between, channels of each of its two outputs.
_FIRES = (
  ((16, 64), (16, 64)),
  ((32, 128), (32, 128)),
  ((48, 192),),
  ((48, 192),),
  ((64, 256),),
  ((64, 256),),
)


def shapes(net: Net) -> tuple[tuple[int, int, int, int], ...]:
  """(height, width, in, out) of a network's convolutions, in its own order."""
  if net == 'alex':
    return (
      (11, 11, 3, 64),
      (5, 5, 64, 192),
      (3, 3, 192, 384),
      (3, 3, 384, 256),
      (3, 3, 256, 256),
    )
  found = []
  channels = 3
  if net == 'vgg':
    for block, count in enumerate(_VGG_BLOCKS):
      for _ in range(count):
        out = min(64 << block, 512)
        found.append((3, 3, channels, out))
        channels = out
    return tuple(found)
  found, channels = [(3, 3, 3, 64)], 64
  for squeezed, out in (fire for group in _FIRES for fire in group):
    found += [
      (1, 1, channels, squeezed),
      (1, 1, squeezed, out),
      (3, 3, squeezed, out),
    ]
    channels = 2 * out
  return tuple(found)


def head_sizes(net: Net) -> tuple[int, ...]:
  """Channels of the features that are compared."""
  return {
    'alex': (64, 192, 384, 256, 256),
    'vgg': (64, 128, 256, 512, 512),
    'squeeze': (64, 128, 256, 384, 384, 512, 512),
  }[net]


def lpips(
  params: Mapping[str, Any],
  predictions: UInt8[_Array, 'b h w 3'],
  targets: UInt8[_Array, 'b h w 3'],
  *,
  net: Net,
  region: Bool[_Array, 'b h w'] | None = None,
) -> Float[Array, ' b']:
  """Perceptual distance of each pair; 0 for equal images.

  Args:
    params: of `weights.read_lpips`.
    predictions: (b, h, w, 3) RGB.
    targets: the same shape.
    net: whose weights these are.
    region: (b, h, w): the mean there of the layers' maps, which are brought to
      the images' size and added; None: the published figure.

  Returns:
    (b,) float32; NaN where the region is empty.
  """
  if region is None:
    return layers(params, predictions, targets, net=net).sum(axis=1)
  return _inside(params, predictions, targets, jnp.asarray(region), net=net)


@functools.partial(jax.jit, static_argnames='net')
def layers(
  params: Mapping[str, Any],
  predictions: UInt8[_Array, 'b h w 3'],
  targets: UInt8[_Array, 'b h w 3'],
  *,
  net: Net,
) -> Float[Array, 'b layers']:
  """The distance in each layer, whose sum is LPIPS; see `lpips`."""
  maps = _maps(params, _norm(predictions), _norm(targets), net=net)
  return jnp.stack([x.mean(axis=(1, 2)) for x in maps], axis=1)


def lpips_norm(
  params: Mapping[str, Any],
  predictions_norm: Float[_Array, 'b h w 3'],
  targets_norm: Float[_Array, 'b h w 3'],
  *,
  net: Net,
) -> Float[Array, ' b']:
  """`lpips` of images in [-1, 1], a loss; `targets_norm` takes no gradient."""
  targets_norm = lax.stop_gradient(jnp.asarray(targets_norm))
  maps = _maps(params, jnp.asarray(predictions_norm), targets_norm, net=net)
  return jnp.stack([x.mean(axis=(1, 2)) for x in maps]).sum(axis=0)


@functools.partial(jax.jit, static_argnames='net')
def _inside(params, predictions, targets, region, *, net: Net):
  size = predictions.shape[1:3]
  total = sum(
    resize.half_pixel_bilinear(x[..., None], size)[..., 0]
    for x in _maps(params, _norm(predictions), _norm(targets), net=net)
  )
  return mean_inside(jnp.asarray(total), region)


def _norm(images) -> Array:
  return jnp.asarray(images).astype(jnp.float32) / 127.5 - 1.0


def _maps(params, predictions, targets, *, net: Net) -> Iterator[Array]:
  """(b, h, w) of each layer: weighted squared differences of directions."""
  # Two passes, not one over both: a loss has a backward pass over one of them.
  ours, theirs = (
    _directions(params['convolutions'], x, net=net)
    for x in (predictions, targets)
  )
  for one, other, head in zip(ours, theirs, params['heads'], strict=True):
    weight = jnp.asarray(head)[None, None, None]
    yield (jnp.square(one - other) * weight).sum(axis=-1)


def _directions(convolutions, images_norm, *, net: Net) -> Iterator[Array]:
  """(b, h, w, c) of each layer: features over their length."""
  x = (images_norm.astype(jnp.float32) - _row(_MEAN)) / _row(_STD)
  for features in _NETS[net](convolutions, x):
    square = jnp.square(features).sum(axis=-1, keepdims=True)
    # Where all features are 0 the length's gradient is 0, and not NaN.
    some = square > 0.0
    length = jnp.where(some, jnp.sqrt(jnp.where(some, square, 1.0)), 0.0)
    yield features / (length + _EPSILON)


def _row(values: tuple[float, ...]) -> Array:
  return jnp.asarray(values, jnp.float32)[None, None, None]


def _alex(convolutions, x) -> Iterator[Array]:
  first, second, *rest = convolutions
  x = convolve(x, first, stride=4, padding=(2, 2))
  yield x
  x = convolve(max_pool(x, 3), second, padding=(2, 2))
  yield x
  x = max_pool(x, 3)
  for layer in rest:
    x = convolve(x, layer, padding=(1, 1))
    yield x


def _vgg(convolutions, x) -> Iterator[Array]:
  yield from vgg_blocks(convolutions, x, pool=lambda x: max_pool(x, 2))


def vgg_blocks(convolutions, x, *, pool) -> Iterator[Array]:
  """VGG16's features at the end of each block, with a pool between them."""
  layer = iter(convolutions)
  for block, count in enumerate(_VGG_BLOCKS):
    x = x if block == 0 else pool(x)
    for _ in range(count):
      x = convolve(x, next(layer), padding=(1, 1))
    yield x


def _squeeze(convolutions, x) -> Iterator[Array]:
  layer = iter(convolutions)
  x = convolve(x, next(layer), stride=2)
  yield x
  for group, fires in enumerate(_FIRES):
    x = max_pool(x, 3, ceil=True) if group < 3 else x
    for _ in fires:
      x = convolve(x, next(layer))
      narrow = convolve(x, next(layer))
      wide = convolve(x, next(layer), padding=(1, 1))
      x = lax.concatenate([narrow, wide], 3)
    yield x


_NETS = {'alex': _alex, 'vgg': _vgg, 'squeeze': _squeeze}
