"""Inception v3: the network of FID, KID and IS, and torchvision's.

The first is TensorFlow's of 2015, as pytorch-fid, torch-fidelity, torchmetrics
and clean-fid use it; each resizes and scales in its own way, and features move
more by that than methods differ. torchvision's was trained anew, has 1000
classes and other pools; IS of HR-VITON and of sbarratt's code is of it.

Parameters are a dict, name of a convolution -> 'kernel' (h, w, i, o) and 'bias'
(o,), batch norm folded in, and 'fc' -> 'kernel' (2048, classes) and 'bias'.

References:
  Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, Rethinking the Inception
  Architecture, CVPR 2016.
"""

from collections.abc import Mapping
import functools
from typing import Any, Literal

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8
import numpy as np

from viton_jax.metrics import resize
from viton_jax.metrics.layers import convolve, max_pool, mean_pool3

_Array = Array | np.ndarray
# 'torchmetrics' from 1.8; before it resized as torch-fidelity does.
Protocol = Literal['torch-fidelity', 'torchmetrics', 'clean-fid', 'pytorch-fid']
TorchvisionProtocol = Literal['hr-viton', 'sbarratt', 'sbarratt-unresized']
TAPS = ('64', '192', '768', '2048', 'logits_unbiased', 'logits')
_SIDE = 299
_SIZE = (_SIDE, _SIDE)

# Convolutions: name, (height, width, out), padding. Branches share their input.
_Branch = tuple[tuple[str, tuple[int, int, int], tuple[int, int]], ...]


def _conv(name: str, out: int, height: int = 1, width: int = 0):
  width = width or height
  return name, (height, width, out), (height // 2, width // 2)


def _valid(name: str, out: int, side: int):
  return name, (side, side, out), (0, 0)


_STEM = (
  _valid('Conv2d_1a_3x3', 32, 3),
  _valid('Conv2d_2a_3x3', 32, 3),
  _conv('Conv2d_2b_3x3', 64, 3),
  _conv('Conv2d_3b_1x1', 80),
  _valid('Conv2d_4a_3x3', 192, 3),
)


def _block_a(pooled: int) -> tuple[_Branch, ...]:
  return (
    (_conv('branch1x1', 64),),
    (_conv('branch5x5_1', 48), _conv('branch5x5_2', 64, 5)),
    (
      _conv('branch3x3dbl_1', 64),
      _conv('branch3x3dbl_2', 96, 3),
      _conv('branch3x3dbl_3', 96, 3),
    ),
    (_conv('branch_pool', pooled),),
  )


def _block_c(inner: int) -> tuple[_Branch, ...]:
  return (
    (_conv('branch1x1', 192),),
    (
      _conv('branch7x7_1', inner),
      _conv('branch7x7_2', inner, 1, 7),
      _conv('branch7x7_3', 192, 7, 1),
    ),
    (
      _conv('branch7x7dbl_1', inner),
      _conv('branch7x7dbl_2', inner, 7, 1),
      _conv('branch7x7dbl_3', inner, 1, 7),
      _conv('branch7x7dbl_4', inner, 7, 1),
      _conv('branch7x7dbl_5', 192, 1, 7),
    ),
    (_conv('branch_pool', 192),),
  )


# The last convolution of a branch has stride 2.
_BLOCK_B: tuple[_Branch, ...] = (
  (_valid('branch3x3', 384, 3),),
  (
    _conv('branch3x3dbl_1', 64),
    _conv('branch3x3dbl_2', 96, 3),
    _valid('branch3x3dbl_3', 96, 3),
  ),
)
_BLOCK_D: tuple[_Branch, ...] = (
  (_conv('branch3x3_1', 192), _valid('branch3x3_2', 320, 3)),
  (
    _conv('branch7x7x3_1', 192),
    _conv('branch7x7x3_2', 192, 1, 7),
    _conv('branch7x7x3_3', 192, 7, 1),
    _valid('branch7x7x3_4', 192, 3),
  ),
)
# Two branches end in two convolutions beside each other.
_BLOCK_E: tuple[_Branch, ...] = (
  (_conv('branch1x1', 320),),
  (
    _conv('branch3x3_1', 384),
    _conv('branch3x3_2a', 384, 1, 3),
    _conv('branch3x3_2b', 384, 3, 1),
  ),
  (
    _conv('branch3x3dbl_1', 448),
    _conv('branch3x3dbl_2', 384, 3),
    _conv('branch3x3dbl_3a', 384, 1, 3),
    _conv('branch3x3dbl_3b', 384, 3, 1),
  ),
  (_conv('branch_pool', 192),),
)
_BLOCKS = {
  'Mixed_5b': _block_a(32),
  'Mixed_5c': _block_a(64),
  'Mixed_5d': _block_a(64),
  'Mixed_6a': _BLOCK_B,
  'Mixed_6b': _block_c(128),
  'Mixed_6c': _block_c(160),
  'Mixed_6d': _block_c(160),
  'Mixed_6e': _block_c(192),
  'Mixed_7a': _BLOCK_D,
  'Mixed_7b': _BLOCK_E,
  'Mixed_7c': _BLOCK_E,
}


def shapes(classes: int) -> dict[str, tuple[int, ...]]:
  """Name -> shape of its kernel: (h, w, i, o), of 'fc' (2048, classes)."""
  found: dict[str, tuple[int, ...]] = {}
  channels = 3
  for name, (h, w, out), _ in _STEM:
    found[name] = h, w, channels, out
    channels = out
  for block, branches in _BLOCKS.items():
    total = 0 if block[-2:] not in ('6a', '7a') else channels
    for branch in branches:
      inner = channels
      for name, (h, w, out), _ in branch:
        found[f'{block}.{name}'] = h, w, inner, out
        inner = inner if name.endswith('a') else out
      total += 2 * inner if branch[-1][0].endswith('b') else inner
    channels = total
  return found | {'fc': (channels, classes)}


def prepare(
  images: UInt8[_Array, 'b h w 3'], protocol: Protocol
) -> Float[Array, 'b 299 299 3']:
  """Images as a library gives them to the network, about [-1, 1]."""
  if protocol == 'clean-fid':
    x = resize.pillow_float(images, _SIZE)
  elif protocol == 'torch-fidelity':
    x = resize.tf1_bilinear(images, _SIZE)
  else:
    x = resize.half_pixel_bilinear(
      images, _SIZE, antialias=protocol == 'torchmetrics'
    )
  if protocol == 'pytorch-fid':
    return x / 127.5 - 1.0
  return (x - 128.0) / 128.0


@functools.partial(jax.jit, static_argnames=('protocol', 'taps'))
def features(
  params: Mapping[str, Any],
  images: UInt8[_Array, 'b h w 3'],
  *,
  protocol: Protocol,
  taps: tuple[str, ...] = ('2048',),
) -> dict[str, Float[Array, 'b _']]:
  """Features of the network of FID, KID and IS.

  Args:
    params: of `weights.read_inception`.
    images: (b, h, w, 3) RGB of any size.
    protocol: how they are resized and scaled.
    taps: of `TAPS`: means after the pools and blocks of that many channels,
      and the 1008 logits with and without bias.

  Returns:
    tap -> (b, channels) float32.
  """
  found = _run(params, prepare(images, protocol), torchvision=False)
  return {tap: found[tap] for tap in taps}


@functools.partial(jax.jit, static_argnames='protocol')
def torchvision_logits(
  params: Mapping[str, Any],
  images: UInt8[_Array, 'b h w 3'],
  *,
  protocol: TorchvisionProtocol,
) -> Float[Array, 'b 1000']:
  """Logits of torchvision's inception_v3, not transforming its input.

  Args:
    params: of `weights.read_torchvision_inception`.
    images: (b, h, w, 3) RGB of any size, unresized at least 75 pixels.
    protocol: 'hr-viton' resizes as PIL does, 'sbarratt' as torch,
      'sbarratt-unresized' not at all.
  """
  if protocol == 'hr-viton':
    images = resize.pillow(images, _SIZE)
  x = jnp.asarray(images).astype(jnp.float32) / 127.5 - 1.0
  if protocol == 'sbarratt':
    x = resize.half_pixel_bilinear(x, _SIZE)
  return _run(params, x, torchvision=True)['logits']


def _run(params, x: Array, *, torchvision: bool) -> dict[str, Array]:
  found = {}
  for name, _, padding in _STEM:
    stride = 2 if name == 'Conv2d_1a_3x3' else 1
    x = convolve(x, params[name], stride=stride, padding=padding)
    if name in ('Conv2d_2b_3x3', 'Conv2d_4a_3x3'):
      x = max_pool(x, 3)
      found[str(x.shape[-1])] = x.mean(axis=(1, 2))
  for name, branches in _BLOCKS.items():
    pooled = (
      max_pool(x, 3, stride=1, padding=1)
      if name == 'Mixed_7c' and not torchvision
      else mean_pool3(x, count_padding=torchvision)
    )
    halves = name in ('Mixed_6a', 'Mixed_7a')
    parts = [
      _branch(params, name, branch, x, pooled, halves=halves)
      for branch in branches
    ]
    parts += [max_pool(x, 3)] if halves else []
    x = lax.concatenate(parts, 3)
    if name == 'Mixed_6e':
      found['768'] = x.mean(axis=(1, 2))
  found['2048'] = x = x.mean(axis=(1, 2))
  found['logits_unbiased'] = jnp.dot(
    x, jnp.asarray(params['fc']['kernel']), precision=lax.Precision.HIGHEST
  )
  bias = jnp.asarray(params['fc']['bias'])[None]
  return found | {'logits': found['logits_unbiased'] + bias}


def _branch(
  params, block: str, branch: _Branch, x: Array, pooled: Array, *, halves: bool
) -> Array:
  x = pooled if branch[0][0] == 'branch_pool' else x
  beside = []
  for name, _, padding in branch:
    last = name == branch[-1][0]
    y = convolve(
      x,
      params[f'{block}.{name}'],
      stride=2 if halves and last else 1,
      padding=padding,
    )
    if name.endswith(('a', 'b')):
      beside.append(y)
    else:
      x = y
  return lax.concatenate(beside, 3) if beside else x
