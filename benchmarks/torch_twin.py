"""VITON's networks and losses in PyTorch, to be timed beside ours.

The same layers, losses and optimiser, from our variables, so that both compute
the same numbers (tests/test_benchmarks.py). Two things differ in the last
digits and cost nothing: PyTorch's moving variance is the unbiased one, and its
Adam adds epsilon behind the bias correction. Dropout draws other numbers.

The twins get the 25 input channels ready made; our steps make them themselves.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks import published
from viton_jax.geometry import tps
from viton_jax.models import vgg19

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
# Sizes never change: it may choose the fastest of its kernels, as XLA does.
torch.backends.cudnn.benchmark = True


class EncoderDecoder(nn.Module):
  """The first network; `variables` are ours."""

  def __init__(self, variables: Mapping[str, Any], dropout_rate: float = 0.5):
    super().__init__()
    params, statistics = variables['params'], variables['batch_stats']
    self.dropout_rate = dropout_rate
    self.down, self.up = nn.ModuleList(), nn.ModuleList()
    self.down_norms, self.up_norms = nn.ModuleList(), nn.ModuleList()
    for k in range(1, 7):
      self.down.append(_down(params[f'encoder_{k}']['kernel']))
      if k > 1:
        name = f'encoder_{k}_norm'
        self.down_norms.append(_norm(params[name], statistics[name]))
    for k in range(6, 0, -1):
      self.up.append(_up(params[f'decoder_{k}']['kernel']))
      if k > 1:
        name = f'decoder_{k}_norm'
        self.up_norms.append(_norm(params[name], statistics[name]))

  def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(b, 25, h, w) -> mask (b, 1, h, w), picture (b, 3, h, w), both tanh."""
    x = self.down[0](x)
    skips = [x]
    for down, norm in zip(self.down[1:], self.down_norms, strict=True):
      x = norm(down(functional.leaky_relu(x, 0.2)))
      skips.append(x)
    skips.pop()
    for k, norm in enumerate(self.up_norms):
      x = norm(self.up[k](functional.relu(x)))
      if k == 0:
        x = functional.dropout(x, self.dropout_rate, self.training)
      x = torch.cat([x, skips.pop()], dim=1)
    out = torch.tanh(self.up[-1](functional.relu(x)).float())
    return out[:, :1], out[:, 1:]


class Refinement(nn.Module):
  """The second network; `params` are ours."""

  def __init__(self, params: Mapping[str, Any]):
    super().__init__()
    self.convolutions = nn.ModuleList(
      _same(params[f'conv_{k}']) for k in (1, 2, 3)
    )
    self.norms = nn.ModuleList()
    for k in (1, 2, 3):
      weights = params[f'conv_{k}_norm']
      norm = nn.GroupNorm(1, len(weights['bias']), eps=1e-12)
      _fill(norm.weight, weights['scale'])
      _fill(norm.bias, weights['bias'])
      self.norms.append(norm)
    self.final = _same(params['final'])

  def forward(self, warped: torch.Tensor, coarse: torch.Tensor):
    """(b, 3, h, w) twice -> alpha (b, 1, h, w)."""
    x = torch.cat([warped, coarse], dim=1)
    for convolution, norm in zip(self.convolutions, self.norms, strict=True):
      x = functional.leaky_relu(norm(convolution(x)), 0.2)
    return torch.sigmoid(self.final(x).float())


class Vgg19(nn.Module):
  """Features as `vgg19.features` gives them, to conv5_2."""

  def __init__(self, params: Mapping[str, Any]):
    super().__init__()
    mean = np.asarray(params['mean'], np.float32).reshape(1, 3, 1, 1)
    self.register_buffer('mean', torch.tensor(mean))
    self.layers = nn.ModuleDict(
      {name: _same(params[name]) for name in vgg19.LAYERS}
    )
    self.requires_grad_(False)

  def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """(b, 3, h, w) in [-1, 1] -> name of a layer -> its features."""
    x = (images + 1.0) * 127.5 - self.mean
    found = {}
    for name, layer in self.layers.items():
      if name.endswith('_1') and name != 'conv1_1':
        x = functional.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
      x = functional.relu(layer(x))
      if name in vgg19.FEATURES:
        found[name] = x
    return found


class Warp(nn.Module):
  """`geometry.warp_tps` on n x n control points."""

  def __init__(self, size: tuple[int, int], n: int = 10):
    super().__init__()
    self.size = size
    matrix = torch.tensor(np.array(tps.position_matrix(n, size)))
    self.register_buffer('matrix', matrix)

  def forward(self, images: torch.Tensor, points: torch.Tensor):
    """(b, c, h, w), (b, n * n, 2) -> (b, c, h, w)."""
    positions = torch.einsum('qn,bnd->bqd', self.matrix, points)
    return functional.grid_sample(
      images,
      positions.reshape(-1, *self.size, 2),
      padding_mode='border',
      align_corners=True,
    )


def perceptual(
  vgg: Vgg19, fakes: torch.Tensor, reals: torch.Tensor, *, layers
) -> torch.Tensor:
  """The perceptual loss, mean over the batch."""
  with torch.no_grad():
    of_reals = vgg(reals)
  of_fakes = vgg(fakes)
  distances = [
    published.PERCEPTUAL_SCALES[name]
    * (of_fakes[name].float() - of_reals[name].float()).abs().mean()
    for name in layers
  ]
  return sum(distances) / (len(distances) * published.PERCEPTUAL_UNIT)


def stage1_loss(
  network: EncoderDecoder, vgg: Vgg19, batch: Mapping[str, torch.Tensor]
) -> torch.Tensor:
  """Batch: `inputs` (b, 25, h, w), `region` (b, 1, h, w), `image`."""
  mask, coarse = network(batch['inputs'])
  return (
    (mask - batch['region']).abs().mean()
    + (coarse - batch['image']).abs().mean()
    + published.STAGE1_PERCEPTUAL
    * perceptual(vgg, coarse, batch['image'], layers=published.STAGE1_LAYERS)
  )


def refine(network, warp, batch, mask, coarse):
  """Warps, refines, composes: (output, alpha), after the mask product."""
  warped = warp(batch['garment'], batch['control_points'])
  alpha = network(warped, coarse) * mask.clamp(0.0, 1.0)
  return alpha * warped + (1.0 - alpha) * coarse, alpha


def stage2_loss(
  network: Refinement,
  vgg: Vgg19,
  batch: Mapping[str, torch.Tensor],
  *,
  coarse_network: EncoderDecoder,
  warp: Warp,
) -> torch.Tensor:
  """Batch: also `garment` (b, 3, h, w) and `control_points` (b, 100, 2)."""
  with torch.no_grad():
    mask, coarse = coarse_network(batch['inputs'])
  output, alpha = refine(network, warp, batch, mask, coarse)
  variation = (alpha[:, :, 1:] - alpha[:, :, :-1]).abs().sum()
  variation += (alpha[:, :, :, 1:] - alpha[:, :, :, :-1]).abs().sum()
  return (
    published.STAGE2_IMAGE * (output - batch['image']).abs().mean()
    + published.STAGE2_PERCEPTUAL
    * perceptual(vgg, output, batch['image'], layers=published.STAGE2_LAYERS)
    - published.STAGE2_ALPHA * alpha.mean()
    + published.STAGE2_VARIATION * variation / len(alpha)
  )


def to_torch(batch: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
  """Pictures (b, h, w, c) become (b, c, h, w) in memory order NHWC."""
  tensors = {}
  for name, value in batch.items():
    tensor = torch.tensor(np.array(value), device=DEVICE)
    tensors[name] = tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor
  return tensors


def to_device(module: nn.Module) -> nn.Module:
  """On the device, kernels in channels-last order."""
  return module.to(DEVICE, memory_format=torch.channels_last)


def make_train_step(
  loss: Callable,
  network: nn.Module,
  batch: Mapping[str, torch.Tensor],
  *,
  dtype: str,
  compiled: bool,
) -> Callable[[], None]:
  """One training step on a batch that stays on the device.

  Args:
    loss: batch -> loss, of `network`.
    network: whose parameters move.
    batch: what `to_torch` gives.
    dtype: 'float32' or 'bfloat16' (by autocast).
    compiled: torch.compile of the loss; its backward pass comes with it.
  """
  optimizer = torch.optim.Adam(
    network.parameters(), 2e-4, betas=(0.5, 0.999), eps=1e-8, fused=True
  )
  network.train()
  forward = torch.compile(loss) if compiled else loss

  def step():
    optimizer.zero_grad(set_to_none=True)
    with autocast(dtype):
      value = forward(batch)
    value.backward()
    optimizer.step()
    synchronise()

  return step


def autocast(dtype: str):
  return torch.autocast(
    DEVICE, dtype=torch.bfloat16, enabled=dtype == 'bfloat16'
  )


def synchronise() -> None:
  if DEVICE == 'cuda':
    torch.cuda.synchronize()


def peak_memory() -> int | None:
  """Bytes PyTorch held at most since the last call; None on a CPU."""
  if DEVICE != 'cuda':
    return None
  peak = torch.cuda.max_memory_allocated()
  torch.cuda.reset_peak_memory_stats()
  return peak


def _down(kernel):
  channels, features = np.shape(kernel)[2:]
  layer = nn.Conv2d(channels, features, 4, 2, 1, bias=False)
  _fill(layer.weight, np.transpose(kernel, (3, 2, 0, 1)))
  return layer


def _up(kernel):
  features, channels = np.shape(kernel)[2:]
  layer = nn.ConvTranspose2d(channels, features, 4, 2, 1, bias=False)
  _fill(layer.weight, np.transpose(kernel, (3, 2, 0, 1)))
  return layer


def _same(weights):
  side, _, channels, features = np.shape(weights['kernel'])
  layer = nn.Conv2d(
    channels, features, side, padding='same', bias='bias' in weights
  )
  _fill(layer.weight, np.transpose(weights['kernel'], (3, 2, 0, 1)))
  if 'bias' in weights:
    _fill(layer.bias, weights['bias'])
  return layer


def _norm(weights, statistics):
  norm = nn.BatchNorm2d(len(weights['bias']), eps=1e-5, momentum=0.001)
  _fill(norm.weight, weights['scale'])
  _fill(norm.bias, weights['bias'])
  _fill(norm.running_mean, statistics['mean'])
  _fill(norm.running_var, statistics['var'])
  return norm


def _fill(tensor, values):
  with torch.no_grad():
    tensor.copy_(torch.tensor(np.array(values)))
