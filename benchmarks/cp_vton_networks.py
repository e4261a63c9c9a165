"""CP-VTON's two networks in PyTorch: their inputs, losses and files.

Written from the paper: Wang et al., "Toward Characteristic-Preserving
Image-based Virtual Try-On Network", ECCV 2018, sections 3.2, 3.3 and 4.2. Where
it says nothing, the geometric matching follows what it builds on (Rocco et al.,
"Convolutional neural network architecture for geometric matching", CVPR 2017):
batch norm, features of unit length, and only positive correlations.

Two terms of the try-on module's loss differ. The perceptual one is left out:
VGG19's weights are not ours to give away, and the networks that this one stands
beside are trained without it, too. And the composition mask is drawn to the
warped garment's, where the paper draws it to 1 everywhere: without the
perceptual term as a counterweight the mask would be 1 wherever the photo and
the warp's white background differ by less than the mask's own term.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import pathlib
from typing import NamedTuple

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from benchmarks import torch_twin
from input_pipeline import sample
from viton_jax import representation
from viton_jax.choices import Fidelity
from viton_jax.errors import InputError, shown
from viton_jax.geometry import tps
from viton_jax.io import files, storage
from viton_jax.representation import NUM_INPUT_CHANNELS

ANCHORS = 5  # A side of the spline's grid.
_GARMENT_CHANNELS = 3
_PERSON_CHANNELS = NUM_INPUT_CHANNELS - _GARMENT_CHANNELS
_PERSON_INPUTS = ('person', 'head_mask', 'body', 'keypoints', 'pose_limit')
_WIDEST = 64  # Features of the paper's first layers.
_MAX_FEATURES = 1024


@dataclasses.dataclass(frozen=True)
class Header:
  """What one must know to use a trained network.

  Attributes:
    features: of its first layers.
    height: of all images, a multiple of 64.
    width: the same.
    fidelity: of the person representation.
    steps: that it was trained for.
  """

  features: int
  height: int
  width: int
  fidelity: Fidelity
  steps: int

  @property
  def size(self) -> tuple[int, int]:
    return self.height, self.width


class Batch(NamedTuple):
  """What both networks learn from; images in [-1, 1], (b, c, h, w) float32.

  Attributes:
    person: (b, 22, h, w), the person representation.
    garment: (b, 3, h, w), the flat garment on white.
    garment_mask: (b, 1, h, w), 0 or 1, of the flat garment.
    worn: (b, 3, h, w), the garment on the person, on white.
    image: (b, 3, h, w), the photo.
  """

  person: torch.Tensor
  garment: torch.Tensor
  garment_mask: torch.Tensor
  worn: torch.Tensor
  image: torch.Tensor


class GeometricMatching(nn.Module):
  """GMM: where each anchor of a 5 x 5 grid over the person looks."""

  grid: torch.Tensor

  def __init__(self, features: int, size: tuple[int, int]):
    """Makes the network.

    Args:
      features: of the first layers; 64 in the paper.
      size: (h, w) of all images, multiples of 64.
    """
    super().__init__()
    h, w = (side // 16 for side in size)
    self.of_person = _extractor(_PERSON_CHANNELS, features)
    self.of_garment = _extractor(_GARMENT_CHANNELS, features)
    widths = [h * w, *(features * k for k in (8, 4, 2, 1))]
    self.regression = nn.Sequential(
      *_normed(widths[0], widths[1], stride=2),
      *_normed(widths[1], widths[2], stride=2),
      *_normed(widths[2], widths[3]),
      *_normed(widths[3], widths[4]),
      nn.Flatten(),
    )
    self.offsets = nn.Linear(features * (h // 4) * (w // 4), 2 * ANCHORS**2)
    # The first warp changes nothing.
    nn.init.zeros_(self.offsets.weight)
    nn.init.zeros_(self.offsets.bias)
    grid = torch.tensor(tps.regular_grid(ANCHORS), dtype=torch.float32)
    self.register_buffer('grid', grid, persistent=False)

  def forward(
    self, person: torch.Tensor, garment: torch.Tensor
  ) -> torch.Tensor:
    """(b, 22, h, w), (b, 3, h, w) -> (b, 25, 2), see `geometry.warp_tps`."""
    found = correlate(self.of_garment(garment), self.of_person(person))
    offsets = torch.tanh(self.offsets(self.regression(found)))
    return self.grid + offsets.reshape(-1, ANCHORS**2, 2)


class TryOnModule(nn.Module):
  """TOM: the rendered person, and how much of the warped garment shows."""

  def __init__(self, features: int):
    """Makes the network; `features` of the first layer, 64 in the paper."""
    super().__init__()
    widths = [features * k for k in (1, 2, 4, 8, 8, 8)]
    before = [NUM_INPUT_CHANNELS, *widths]
    # The innermost has one place alone at the smallest size: its norm would be
    # its end.
    self.down = nn.ModuleList(
      nn.Sequential(
        nn.Conv2d(before[k], width, 4, 2, 1),
        nn.Identity() if k == 5 else nn.InstanceNorm2d(width, affine=True),
        nn.LeakyReLU(0.2),
      )
      for k, width in enumerate(widths)
    )
    # 8 8 4 2 1 after 8, 8 + 8, 8 + 8, 4 + 4, 2 + 2: what came down comes along.
    ups = [(8, 8), (16, 8), (16, 4), (8, 2), (4, 1)]
    self.up = nn.ModuleList(
      nn.Sequential(
        _enlarging(features * wide, features * out),
        nn.InstanceNorm2d(features * out, affine=True),
        nn.LeakyReLU(0.2),
      )
      for wide, out in ups
    )
    self.last = _enlarging(2 * features, 4)

  def forward(
    self, person: torch.Tensor, warped: torch.Tensor
  ) -> tuple[torch.Tensor, torch.Tensor]:
    """(b, 22, h, w), (b, 3, h, w) -> rendered (b, 3, h, w), mask (b, 1, h, w).

    Rendered is in [-1, 1], the mask in 0..1.
    """
    x = torch.cat([person, warped], dim=1)
    skips = []
    for layer in self.down:
      x = layer(x)
      skips.append(x)
    x = skips.pop()
    for layer in self.up:
      x = torch.cat([layer(x), skips.pop()], dim=1)
    out = self.last(x)
    return torch.tanh(out[:, :3]), torch.sigmoid(out[:, 3:])


def network_inputs(
  batch: Mapping[str, np.ndarray], *, fidelity: Fidelity
) -> dict[str, torch.Tensor]:
  """`person`, `garment` and `garment_mask` of `Batch`, on the device.

  Args:
    batch: working examples, see `input_pipeline.sample.working_example`.
    fidelity: of the person representation.
  """
  read = {name: batch[name] for name in _PERSON_INPUTS if name in batch}
  mask = batch['garment_mask'][..., None].astype(np.float32)
  return torch_twin.to_torch(
    {
      'person': _represented(read, fidelity=fidelity),
      'garment': _on_white(batch['garment'], mask),
      'garment_mask': mask,
    }
  )


def learned_from(
  batch: Mapping[str, np.ndarray], *, fidelity: Fidelity
) -> Batch:
  """A batch of `input_pipeline.batches` as both networks learn from it."""
  worn = np.asarray(representation.garment_region(batch))
  rest = {
    'worn': _on_white(batch['person'], worn),
    'image': representation.to_norm(batch['person']),
  }
  return Batch(
    **network_inputs(batch, fidelity=fidelity), **torch_twin.to_torch(rest)
  )


@functools.partial(jax.jit, static_argnames='fidelity')
def _represented(batch, *, fidelity):
  return representation.person_representation(batch, fidelity=fidelity)


def _on_white(images, mask) -> np.ndarray:
  """uint8 images in [-1, 1], white where a mask (b, h, w, 1) is 0."""
  return 1 + mask * (np.asarray(representation.to_norm(images)) - 1)


def warp_both(
  warp: torch_twin.Warp,
  garment: torch.Tensor,
  garment_mask: torch.Tensor,
  anchors: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
  """Garment (b, 3, h, w) and mask (b, 1, h, w) in the person's frame."""
  warped = warp(torch.cat([garment, garment_mask], dim=1), anchors)
  return warped[:, :3], warped[:, 3:]


def correlate(garment: torch.Tensor, person: torch.Tensor) -> torch.Tensor:
  """How alike each place of a garment and each of a person are.

  Args:
    garment: (b, c, h, w) features.
    person: (b, c, h, w) features.

  Returns:
    (b, h * w, h, w) in 0..1: channels are places of the garment, rows first;
    cosines of the features, negative ones 0, and of unit length over channels.
  """
  garment, person = (functional.normalize(x, dim=1) for x in (garment, person))
  found = torch.bmm(garment.flatten(2).transpose(1, 2), person.flatten(2))
  found = functional.normalize(functional.relu(found), dim=1)
  return found.unflatten(2, person.shape[2:])


def matching_loss(
  network: GeometricMatching, warp: torch_twin.Warp, batch: Batch
) -> torch.Tensor:
  """L1 between the warped garment and the one on the person."""
  anchors = network(batch.person, batch.garment)
  return (warp(batch.garment, anchors) - batch.worn).abs().mean()


def try_on_loss(
  network: TryOnModule,
  batch: Batch,
  *,
  warped: torch.Tensor,
  warped_mask: torch.Tensor,
) -> torch.Tensor:
  """L1 of the try-on, and L1 of the composition mask.

  Args:
    network: the try-on module.
    batch: of people in their own garments.
    warped: (b, 3, h, w) in [-1, 1], their garments as the matching warps them.
    warped_mask: (b, 1, h, w) in 0..1, the flat garments' masks, warped alike.
  """
  rendered, mask = network(batch.person, warped)
  image = rendered + mask * (warped - rendered)
  return (image - batch.image).abs().mean() + (mask - warped_mask).abs().mean()


def count(networks: Sequence[nn.Module]) -> int:
  """Parameters of some networks."""
  return sum(x.numel() for one in networks for x in one.parameters())


def features_for(parameters: int, size: tuple[int, int]) -> int:
  """The width with which both networks have nearest to so many parameters."""
  with torch.device('meta'):  # Nothing is filled.
    sizes = {
      features: count(
        [GeometricMatching(features, size), TryOnModule(features)]
      )
      for features in range(1, _WIDEST + 1)
    }
  return min(sizes, key=lambda features: abs(sizes[features] - parameters))


def finer_points(anchors: torch.Tensor, side: int) -> np.ndarray:
  """A warp's control points on a finer grid.

  The spline through them is the same at these places and differs between them
  by what a spline of 5 x 5 points bends there.

  Args:
    anchors: (b, 25, 2), see `geometry.warp_tps`.
    side: of the grid: n x n points.

  Returns:
    (b, n * n, 2) float32.
  """
  matrix = tps.position_matrix(ANCHORS, (side, side))
  return np.einsum('qn,bnd->bqd', matrix, anchors.cpu().numpy())


def write(path: pathlib.Path, network: nn.Module, header: Header) -> None:
  """Writes a network as safetensors; the file is there whole or not at all."""
  tensors = {
    name: x.cpu().contiguous() for name, x in network.state_dict().items()
  }
  metadata = {k: str(v) for k, v in dataclasses.asdict(header).items()}
  storage.write_file(path, safetensors.torch.save(tensors, metadata))


def read(
  path: pathlib.Path, make: Callable[[Header], nn.Module]
) -> tuple[nn.Module, Header]:
  """A network that `write` wrote, on the device and ready to be used.

  Raises:
    InputError: no such file, a damaged one, or another network's.
  """
  remedy = 'give the --workdir of a `train` that has ended'
  files.check_regular(
    path, 'network', limit=files.MAX_MODEL_BYTES, remedy=remedy
  )
  numbers = ('features', 'height', 'width', 'steps')
  try:
    with safe_open(path, 'pt') as file:
      said = file.metadata() or {}
      header = Header(
        fidelity=said['fidelity'], **{x: int(said[x]) for x in numbers}
      )
      sample.check_settings(*header.size, fidelity=header.fidelity)
      if not 1 <= header.features <= _MAX_FEATURES:
        raise ValueError(f'{header.features} features')
      network = make(header)
      network.load_state_dict({x: file.get_tensor(x) for x in file.keys()})
  # Of names or shapes that are not the network's: RuntimeError.
  except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
    raise InputError(
      f'{shown(path)}: is no network of this benchmark, or damaged '
      f'({shown(error)}); {remedy}'
    ) from error
  return torch_twin.to_device(network).eval(), header


def _extractor(channels: int, features: int) -> nn.Sequential:
  """Four strided layers of 1, 2, 4, 8 times `features`, and two plain ones."""
  widths = [channels, *(features * k for k in (1, 2, 4, 8))]
  layers = []
  for before, width in zip(widths, widths[1:], strict=False):
    layers += _normed(before, width, stride=2)
  layers += _normed(widths[-1], widths[-1])
  # Signed, so that features can also disagree.
  layers.append(nn.Conv2d(widths[-1], widths[-1], 3, 1, 1))
  return nn.Sequential(*layers)


def _normed(channels: int, features: int, *, stride: int = 1) -> list:
  side = 4 if stride == 2 else 3
  return [
    nn.Conv2d(channels, features, side, stride, 1, bias=False),
    nn.BatchNorm2d(features),
    nn.ReLU(),
  ]


def _enlarging(channels: int, features: int) -> nn.Sequential:
  return nn.Sequential(
    nn.Upsample(scale_factor=2, mode='nearest'),
    nn.Conv2d(channels, features, 3, 1, 1),
  )
