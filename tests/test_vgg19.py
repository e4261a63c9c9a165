"""VGG19 from each kind of file; the files are made here."""

import sys

import h5py
import jax
import jax.numpy as jnp
import network_goldens as goldens
import numpy as np
import pytest
from safetensors.numpy import save_file
import scipy.io
import scipy.ndimage
import torch_writer

from viton_jax.errors import InputError
from viton_jax.models import vgg19

_WIDTHS = {1: 3, 2: 4, 3: 5, 4: 6, 5: 7}
_BLOCKS = {1: 2, 2: 2, 3: 4, 4: 4, 5: 4}  # The files go on to conv5_4.


def layers(seed=0):
  """name -> (kernel (3, 3, in, out), bias (out,))."""
  rng = np.random.default_rng(seed)
  made, channels = {}, 3
  for block, count in _BLOCKS.items():
    for layer in range(1, count + 1):
      out = _WIDTHS[block]
      kernel = rng.normal(0, 0.3, (3, 3, channels, out))
      bias = rng.normal(0, 0.1, out)
      name = f'conv{block}_{layer}'
      made[name] = kernel.astype(np.float32), bias.astype(np.float32)
      channels = out
  return made


def write_mat(path, made, *, old=False):
  cells = np.empty((1, len(made)), object)
  for i, (name, (kernel, bias)) in enumerate(made.items()):
    if old:
      cell = {'filters': kernel, 'biases': bias[None]}
    else:
      weights = np.empty((1, 2), object)
      weights[0, 0], weights[0, 1] = kernel, bias[:, None]
      cell = {'weights': weights}
    cells[0, i] = {'name': name, 'type': 'conv'} | cell
  scipy.io.savemat(path, {'layers': cells})


def write_keras(path, made, *, layout):
  with h5py.File(path, 'w') as file:
    for name, (kernel, bias) in made.items():
      keras = f'block{name[4]}_conv{name[6]}'
      if layout == 'old':
        place, names = keras, (f'{keras}_W_1:0', f'{keras}_b_1:0')
      else:
        place, names = f'model_weights/{keras}/{keras}', ('kernel:0', 'bias:0')
      group = file.create_group(place)
      group[names[0]], group[names[1]] = kernel[:, :, :, :], bias
    file.create_group('fc1')


def torchvision_tensors(made):
  places = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
  tensors = {'classifier.0.weight': np.zeros((2, 2), np.float32)}
  for place, (kernel, bias) in zip(places, made.values(), strict=True):
    tensors[f'features.{place}.weight'] = np.ascontiguousarray(
      kernel.transpose(3, 2, 0, 1)
    )
    tensors[f'features.{place}.bias'] = bias
  return tensors


def reference_features(made, x):
  """The same network in SciPy; x (h, w, 3) is already preprocessed."""
  found = {}
  for name, (kernel, bias) in made.items():
    if name.endswith('_1') and name != 'conv1_1':
      h, w, c = x.shape
      x = x.reshape(h // 2, 2, w // 2, 2, c).mean(axis=(1, 3))
    x = np.stack(
      [
        bias[o]
        + sum(
          scipy.ndimage.correlate(
            x[..., i], kernel[:, :, i, o], mode='constant'
          )
          for i in range(kernel.shape[2])
        )
        for o in range(kernel.shape[3])
      ],
      axis=-1,
    )
    x = np.maximum(x, 0)
    found[name] = x
  return found


@pytest.fixture(scope='module')
def picture():
  return np.random.default_rng(1).uniform(-1, 1, (32, 16, 3))


run = jax.jit(vgg19.features)


def assert_features(params, made, preprocessed, picture):
  ours = run(params, jnp.asarray(picture[None], jnp.float32))
  theirs = reference_features(made, preprocessed)
  assert set(ours) == set(vgg19.FEATURES)
  for name in vgg19.FEATURES:
    scale = np.abs(theirs[name]).max()
    assert scale > 0
    np.testing.assert_allclose(
      ours[name][0] / scale, theirs[name] / scale, atol=2e-5
    )


@pytest.mark.parametrize('old', [False, True])
def test_matconvnet(tmp_path, picture, old):
  made = layers()
  path = tmp_path / 'imagenet-vgg-verydeep-19.mat'
  write_mat(path, made, old=old)
  rgb = (picture + 1) / 2 * 255 - [123.68, 116.779, 103.939]
  # As VITON used them: as they are stored.
  assert_features(vgg19.load(path, fidelity='original'), made, rgb, picture)
  turned = {k: (a.swapaxes(0, 1), b) for k, (a, b) in made.items()}
  assert_features(vgg19.load(path), turned, rgb, picture)


@pytest.mark.parametrize('layout', ['old', 'new'])
def test_keras(tmp_path, picture, layout):
  made = layers()
  path = tmp_path / 'vgg19_weights.h5'
  write_keras(path, made, layout=layout)
  bgr = ((picture + 1) / 2 * 255)[..., ::-1] - [103.939, 116.779, 123.68]
  assert_features(vgg19.load(path), made, bgr, picture)


def test_torchvision_safetensors_without_torch(tmp_path, picture):
  made = layers()
  path = tmp_path / 'vgg19.safetensors'
  save_file(torchvision_tensors(made), path)
  mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
  params = vgg19.load(path)
  assert_features(params, made, ((picture + 1) / 2 - mean) / std, picture)


@pytest.mark.parametrize('container', ['archive', 'legacy'])
def test_torchvision_pth_without_torch(tmp_path, container):
  tensors = torchvision_tensors(layers())
  path = tmp_path / 'vgg19.pth'
  content = torch_writer.ordered(tensors)
  path.write_bytes(getattr(torch_writer, container)(content))
  params = vgg19.load(path)
  assert 'torch' not in sys.modules
  save_file(tensors, tmp_path / 'same.safetensors')
  same = vgg19.load(tmp_path / 'same.safetensors')
  jax.tree.map(np.testing.assert_array_equal, params, same)


def test_a_pth_that_runs_code_is_refused(tmp_path):
  path = tmp_path / 'vgg19.pth'
  attack = torch_writer.Call(torch_writer.Named('os', 'system'), ('true',))
  path.write_bytes(torch_writer.archive({'features.0.weight': attack}))
  with pytest.raises(InputError, match='refers to os.system; get imagenet-vgg'):
    vgg19.load(path)


def test_pools_at_odd_borders_average_what_is_there():
  x = np.random.default_rng(0).normal(size=(1, 5, 4, 2)).astype(np.float32)
  ours = vgg19._average_pool(jnp.asarray(x))
  padded = np.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0)), constant_values=np.nan)
  expected = np.nanmean(padded.reshape(1, 3, 2, 2, 2, 2), axis=(2, 4))
  np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_the_golden_file_has_its_few_channels():
  params = goldens.vgg()
  assert params['conv1_1']['kernel'].shape == (3, 3, 3, 4)
  assert params['conv5_2']['bias'].shape == (12,)


@pytest.mark.parametrize('suffix', ['mat', 'h5', 'safetensors', 'pth'])
def test_a_missing_or_broken_file_says_where_to_get_one(tmp_path, suffix):
  path = tmp_path / f'vgg19.{suffix}'
  with pytest.raises(InputError, match='No such.*vlfeat'):
    vgg19.load(path)
  path.write_bytes(b'not weights at all')
  with pytest.raises(InputError, match=f'{path}: .*cannot be read.*vlfeat'):
    vgg19.load(path)


def test_another_network_is_refused_by_name(tmp_path):
  path = tmp_path / 'vgg19.safetensors'
  tensors = torchvision_tensors(layers())
  del tensors['features.16.bias']  # VGG16 has a pool there.
  save_file(tensors, path)
  with pytest.raises(InputError, match='conv3_4 is missing'):
    vgg19.load(path)
  tensors = torchvision_tensors(layers())
  tensors['features.5.weight'] = np.zeros((4, 3, 1, 1), np.float32)
  save_file(tensors, path)
  with pytest.raises(InputError, match=r'conv2_1 is \(1, 1, 3, 4\)'):
    vgg19.load(path)
  tensors = torchvision_tensors(layers())
  tensors['features.0.bias'][0] = np.nan
  save_file(tensors, path)
  with pytest.raises(InputError, match='conv1_1 holds .* not finite'):
    vgg19.load(path)
  with pytest.raises(InputError, match='end in .mat'):
    vgg19.load(tmp_path / 'vgg19.npz')
