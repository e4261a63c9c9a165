"""What reference libraries give for the metrics, and the seeded networks."""

import functools
import pathlib
import zlib

import numpy as np
import torch_writer

from viton_jax.metrics import inception, lpips

_FILE = pathlib.Path(__file__).parent / 'goldens' / 'metrics' / 'goldens.npz'


@functools.cache
def arrays() -> dict[str, np.ndarray]:
  with np.load(_FILE) as file:
    return dict(file)


def pairs(tag: str) -> tuple[np.ndarray, np.ndarray]:
  """(predictions, truth) of 'full' (2, 256, 192) or 'small' (4, 64, 48)."""
  prefix = {'full': '', 'small': 'small_'}[tag]
  return tuple(
    arrays()[f'images/{prefix}{side}'] for side in ('prediction', 'truth')
  )


def _random(name: str) -> np.random.RandomState:
  return np.random.RandomState(zlib.crc32(name.encode()))


def lpips_params(net: lpips.Net) -> dict:
  """A network of seeded convolutions with the published heads."""
  convolutions = []
  for i, (h, w, channels, out) in enumerate(lpips.shapes(net)):
    kernel = _random(f'{net}.conv{i}.weight').standard_normal(
      (out, channels, h, w)
    ) * np.sqrt(2 / (channels * h * w))
    bias = _random(f'{net}.conv{i}.bias').standard_normal(out) * 0.1
    convolutions.append(
      {
        'kernel': kernel.astype(np.float32).transpose(2, 3, 1, 0),
        'bias': bias.astype(np.float32),
      }
    )
  heads = [
    arrays()[f'lpips/heads_v0.1/{net}/lin{i}']
    for i in range(len(lpips.head_sizes(net)))
  ]
  return {'convolutions': convolutions, 'heads': heads}


def inception_tensors(classes: int) -> dict[str, np.ndarray]:
  """A state dict as the published .pth has it, seeded by names."""
  found = {}
  for name, shape in inception.shapes(classes).items():

    def r(part):
      return _random(f'inception.{part}')

    if name == 'fc':
      weight = r('fc.weight').standard_normal(shape[::-1])
      found['fc.weight'] = weight * np.sqrt(4 / shape[0])
      found['fc.bias'] = r('fc.bias').standard_normal(shape[1]) * 0.1
      continue
    h, w, channels, out = shape
    kernel = r(f'{name}.conv.weight').standard_normal((out, channels, h, w))
    found[f'{name}.conv.weight'] = kernel * np.sqrt(2 / (channels * h * w))
    for part in ('weight', 'running_var'):
      place = f'{name}.bn.{part}'
      found[place] = r(place).uniform(0.5, 1.5, out)
    for part in ('bias', 'running_mean'):
      place = f'{name}.bn.{part}'
      found[place] = r(place).standard_normal(out) * 0.1
  return {name: x.astype(np.float32) for name, x in found.items()}


def write_torchvision(path, net, *, half=False):
  """torchvision's state dict of a seeded network."""
  places = {
    'alex': ['0', '3', '6', '8', '10'],
    'vgg': '0 2 5 7 10 12 14 17 19 21 24 26 28'.split(),
    'squeeze': ['0']
    + [
      f'{fire}.{part}'
      for fire in (3, 4, 6, 7, 9, 10, 11, 12)
      for part in ('squeeze', 'expand1x1', 'expand3x3')
    ],
  }[net]
  tensors = {}
  layers = lpips_params(net)['convolutions']
  for place, layer in zip(places, layers, strict=True):
    kind = np.float16 if half else np.float32
    kernel = layer['kernel'].transpose(3, 2, 0, 1).astype(kind)
    tensors[f'features.{place}.weight'] = kernel
    tensors[f'features.{place}.bias'] = layer['bias'].astype(kind)
  tensors['classifier.1.weight'] = np.zeros((4, 4), np.float32)
  path.write_bytes(torch_writer.archive(torch_writer.ordered(tensors)))
  return path


def write_heads(path, net):
  """The published heads of LPIPS, in PyTorch's older format."""
  heads = {
    f'lin{i}.model.1.weight': x[None, :, None, None]
    for i, x in enumerate(lpips_params(net)['heads'])
  }
  path.write_bytes(torch_writer.legacy(torch_writer.ordered(heads)))
  return path
