"""VGG19's features for the perceptual loss, from whichever weights one has.

A pure function and loaders for four kinds of files. All end in one form, whose
input is RGB in 0..255 minus a mean:

    {'mean': (3,), 'conv1_1': {'kernel': (3, 3, 3, 64), 'bias': (64,)}, ...}

* MatConvNet `imagenet-vgg-verydeep-19.mat`: RGB minus mean, as it is. Its
  kernels lie spatially transposed, and VITON used them so.
* Keras `vgg19_weights_tf_dim_ordering_tf_kernels[_notop].h5`: BGR minus mean;
  the first kernel's input channels are turned round.
* torchvision `vgg19-*.safetensors` or `.pth`: RGB in 0..1, minus a mean, over a
  standard deviation; the scale goes into the first kernel. What is subtracted
  stays zero at the padded border, so both are exact.

The pools average, as in VITON's loss, although VGG19 was trained with maxima.

References:
  Simonyan and Zisserman, Very Deep Convolutional Networks, ICLR 2015, table 1.
"""

from collections.abc import Mapping
import pathlib
from typing import Any

from flax import linen as nn
import h5py
import jax
from jax import lax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float
import numpy as np
from safetensors import safe_open

from viton_jax import choices
from viton_jax.choices import Fidelity
from viton_jax.errors import InputError
from viton_jax.io import files, finite, matlab, torch_files

# See the module: the mean, and a dict of kernel and bias for each layer.
Params = dict[str, Any]

_LAYERS_PER_BLOCK = (2, 2, 4, 4, 2)  # Nothing deeper than conv5_2 is needed.
LAYERS = tuple(
  f'conv{block}_{layer}'
  for block, count in enumerate(_LAYERS_PER_BLOCK, start=1)
  for layer in range(1, count + 1)
)
FEATURES = ('conv1_2', 'conv2_2', 'conv3_2', 'conv4_2', 'conv5_2')

# Place of each layer within torchvision's `features`.
_TORCHVISION = dict(
  zip(
    LAYERS,
    (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30),
    strict=True,
  )
)
_CAFFE_MEAN = (123.68, 116.779, 103.939)
_TORCHVISION_MEAN = (0.485, 0.456, 0.406)
_TORCHVISION_STD = (0.229, 0.224, 0.225)

WHERE_FROM = (
  'get imagenet-vgg-verydeep-19.mat from '
  'https://www.vlfeat.org/matconvnet/pretrained/, '
  'vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5 from Keras applications '
  "or torchvision's vgg19 weights from https://pytorch.org/vision."
)


def features(
  params: Mapping[str, Any],
  images_norm: Float[Array, 'b h w 3'],
  *,
  dtype: DTypeLike = jnp.float32,
  remat: bool = False,
) -> dict[str, Float[Array, 'b _ _ _']]:
  """Runs VGG19 up to conv5_2.

  Args:
    params: what `load` returns.
    images_norm: (b, h, w, 3) RGB in [-1, 1].
    dtype: of the convolutions and of the result.
    remat: in the backward pass compute each block again instead of keeping
      what lies between its input and its features.

  Returns:
    'conv1_2' (b, h, w, 64), 'conv2_2' (b, h/2, w/2, 128), 'conv3_2', 'conv4_2',
    'conv5_2' (b, h/16, w/16, 512), after their ReLU.
  """
  mean = jnp.asarray(params['mean'], jnp.float32)
  x = (images_norm.astype(jnp.float32) + 1.0) * 127.5 - mean[None, None, None]
  x = x.astype(dtype)
  found = {}
  for block, count in enumerate(_LAYERS_PER_BLOCK, start=1):
    names = [f'conv{block}_{layer}' for layer in range(1, count + 1)]
    run = jax.checkpoint(_run_block) if remat else _run_block
    x, features_of_block = run(
      x if block == 1 else _average_pool(x),
      {name: params[name] for name in names},
    )
    found |= features_of_block
  return found


def _run_block(x, layers):
  found = {}
  for name in sorted(layers):
    layer = layers[name]
    x = lax.conv_general_dilated(
      x,
      jnp.asarray(layer['kernel'], x.dtype),
      (1, 1),
      'SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )
    bias = jnp.asarray(layer['bias'], x.dtype)
    x = nn.relu(x + bias[None, None, None])
    if name in FEATURES:
      found[name] = x
  return x, found


def _average_pool(x):
  """2 x 2 means; at an odd border, of the pixels that are there."""
  _, h, w, _ = x.shape
  window = (1, 2, 2, 1)
  total = lax.reduce_window(
    x, np.zeros((), x.dtype), lax.add, window, window, 'SAME'
  )
  rows, columns = (np.minimum(2, n - np.arange(0, n, 2)) for n in (h, w))
  counts = np.outer(rows, columns)[None, :, :, None]
  return total / jnp.asarray(counts, x.dtype)


def load(path: str | pathlib.Path, *, fidelity: Fidelity = 'fixed') -> Params:
  """Reads VGG19 weights; the file's ending says which kind they are.

  Args:
    path: a .mat, .h5, .safetensors or .pth file.
    fidelity: 'original' keeps MatConvNet's kernels as stored, spatially
      transposed; 'fixed' puts them right. Without effect on other kinds.

  Returns:
    Float32 NumPy arrays, see the module's text.

  Raises:
    InputError: no such file, or not a VGG19.
  """
  choices.check('fidelity', fidelity, Fidelity)
  path = pathlib.Path(path)
  readers = {
    '.mat': _read_matconvnet,
    '.h5': _read_keras,
    '.hdf5': _read_keras,
    '.safetensors': _read_safetensors,
    '.pth': _read_torch,
    '.pt': _read_torch,
  }
  if path.suffix not in readers:
    raise InputError(
      f'{path}: VGG19 weights end in {", ".join(readers)}; {WHERE_FROM}'
    )
  files.check_regular(
    path, 'VGG19 weights file', limit=files.MAX_MODEL_BYTES, remedy=WHERE_FROM
  )
  try:
    params = readers[path.suffix](path)
  except InputError:
    raise
  except Exception as error:  # Each format's reader has errors of its own.
    raise InputError(
      f'{path}: cannot be read as VGG19 weights '
      f'({type(error).__name__}: {str(error)[:200]}); {WHERE_FROM}'
    ) from error
  _check(path, params)
  if path.suffix == '.mat' and fidelity == 'fixed':
    for name in LAYERS:
      kernel = params[name]['kernel']
      params[name]['kernel'] = np.ascontiguousarray(np.swapaxes(kernel, 0, 1))
  return params


def _read_matconvnet(path):
  # Without squeezing, every value is an array: structs (1, 1), cells (1, n).
  content = matlab.read_structures(path, ['layers'], remedy=WHERE_FROM)
  layers = content['layers']
  params: Params = {'mean': np.asarray(_CAFFE_MEAN, np.float32)}
  for cell in layers.ravel():
    layer = cell[0, 0]
    name = str(layer['name'].item())
    if name in LAYERS:
      if 'weights' in layer.dtype.names:
        kernel, bias = layer['weights'].ravel()[:2]
      else:  # Files of before MatConvNet 1.0-beta8.
        kernel, bias = layer['filters'], layer['biases']
      params[name] = _layer(kernel, bias)
  return params


def _read_keras(path):
  params: Params = {'mean': np.asarray(_CAFFE_MEAN, np.float32)}
  wanted = {f'block{name[4]}_conv{name[6]}': name for name in LAYERS}
  arrays: dict[str, dict[int, np.ndarray]] = {name: {} for name in LAYERS}

  def visit(place, item):
    # Old files say block1_conv1/block1_conv1_W_1:0, later ones
    # [model_weights/]block1_conv1/[block1_conv1/]kernel:0.
    folders = place.split('/')[:-1]
    layer = next((wanted[f] for f in folders if f in wanted), None)
    if layer and isinstance(item, h5py.Dataset):
      arrays[layer][item.ndim] = item[()]

  with h5py.File(path, 'r') as file:
    file.visititems(visit)
  for name, found in arrays.items():
    if {1, 4} <= found.keys():
      params[name] = _layer(found[4], found[1])
  if 'conv1_1' in params:
    params['conv1_1']['kernel'] = np.ascontiguousarray(
      params['conv1_1']['kernel'][:, :, ::-1]
    )
  return params


def _read_safetensors(path):
  with safe_open(path, 'np') as file:
    names = set(file.keys()) & _torchvision_names()
    return _from_torchvision({name: file.get_tensor(name) for name in names})


def _read_torch(path):
  names = _torchvision_names()
  return _from_torchvision(
    torch_files.read(
      path,
      what='VGG19 weights file',
      remedy=WHERE_FROM,
      wanted=names.__contains__,
    )
  )


def _torchvision_names():
  return {
    f'features.{place}.{part}'
    for place in _TORCHVISION.values()
    for part in ('weight', 'bias')
  }


def _from_torchvision(tensors):
  params: Params = {'mean': 255.0 * np.asarray(_TORCHVISION_MEAN, np.float32)}
  for name, place in _TORCHVISION.items():
    weight = tensors.get(f'features.{place}.weight')
    bias = tensors.get(f'features.{place}.bias')
    if weight is not None and bias is not None and weight.ndim == 4:
      params[name] = _layer(weight.transpose(2, 3, 1, 0), bias)
  if 'conv1_1' in params:
    scale = 255.0 * np.asarray(_TORCHVISION_STD, np.float32)
    params['conv1_1']['kernel'] /= scale[:, None]
  return params


def _layer(kernel, bias):
  return {
    'kernel': np.array(kernel, np.float32, order='C'),
    'bias': np.array(bias, np.float32).ravel(),
  }


def _check(path, params):
  """Every layer there, 3 x 3, each fitting onto the one before."""
  channels = 3
  for name in LAYERS:
    if name not in params:
      raise InputError(f'{path}: is no VGG19, {name} is missing; {WHERE_FROM}')
    kernel, bias = params[name]['kernel'], params[name]['bias']
    shape = (3, 3, channels, len(bias))
    if kernel.shape != shape:
      raise InputError(
        f'{path}: is no VGG19, the kernel of {name} is {kernel.shape} where '
        f'{shape} is due; {WHERE_FROM}'
      )
    finite.check([(name, kernel), (name, bias)], path, remedy=WHERE_FROM)
    channels = len(bias)
