"""LPIPS, DISTS and Inception against the reference libraries.

The seeded networks need nothing; true weights are fetched once per machine.
Tolerances are of float32 sums in another order.
"""

import subprocess
import sys

import entry_points
import fetched_models
import jax
import metric_goldens as goldens
import numpy as np
import pytest
import torch_writer

from viton_jax.errors import InputError
from viton_jax.metrics import dists, inception, lpips, resize, weights

_SLOW = pytest.mark.slow
_FILES = {'alex': 'lpips/alexnet.ckpt', 'vgg': 'lpips/vgg16.ckpt'}


@pytest.mark.parametrize(
  'net, tag',
  [
    ('alex', 'small'),
    ('alex', 'full'),
    ('vgg', 'small'),
    pytest.param('vgg', 'full', marks=_SLOW),
    ('squeeze', 'small'),
    ('squeeze', 'full'),
  ],
)
def test_lpips_of_seeded_networks(net, tag):
  predictions, true = goldens.pairs(tag)
  params = goldens.lpips_params(net)
  place = f'lpips/{tag}/{net}_seeded'
  found = lpips.layers(params, predictions, true, net=net)
  expected = goldens.arrays()[f'{place}/layers']
  np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)
  whole = lpips.lpips(params, predictions, true, net=net)
  expected = goldens.arrays()[f'{place}/lpips_0_1_4']
  np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-7)


@_SLOW
@pytest.mark.parametrize('net', ['alex', 'vgg'])
def test_lpips_of_the_true_networks(net):
  params = weights.read_lpips(
    net, fetched_models.folder('lpips') / _FILES[net]
  ).params
  for tag in ('small', 'full'):
    predictions, true = goldens.pairs(tag)
    place = f'lpips/{tag}/{net}_real'
    found = lpips.layers(params, predictions, true, net=net)
    expected = goldens.arrays()[f'{place}/layers']
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)
    expected = goldens.arrays()[f'{place}/lpips_0_1_4']
    np.testing.assert_allclose(found.sum(axis=1), expected, rtol=0, atol=1e-6)
  if net == 'alex':
    small = (resize.pillow(x, (128, 128)) for x in goldens.pairs('full'))
    found = lpips.lpips(params, *small, net=net)
    expected = goldens.arrays()['lpips/full/alex_real/hr_viton_128']
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_lpips_inside_a_region():
  predictions, true = goldens.pairs('small')
  params = goldens.lpips_params('alex')
  mixed = true.copy()
  mixed[:, :, :20] = predictions[:, :, :20]
  region = np.zeros(true.shape[:3], bool)
  region[:, :, :16] = True
  inside, outside = (
    np.asarray(lpips.lpips(params, mixed, true, net='alex', region=x))
    for x in (region, ~region)
  )
  # What differs lies inside, but features see far. Pair 3 is equal.
  assert (inside[:3] > 1.2 * outside[:3]).all() and inside[3] == 0
  whole = lpips.lpips(
    params, mixed, true, net='alex', region=np.ones_like(region)
  )
  np.testing.assert_allclose(inside / 3 + outside * 2 / 3, whole, rtol=1e-5)
  empty = lpips.lpips(
    params, mixed, true, net='alex', region=np.zeros_like(region)
  )
  assert np.isnan(empty).all()


@_SLOW
@pytest.mark.parametrize('tag', ['small', 'full'])
def test_dists_of_the_true_network(tag):
  folder = fetched_models.folder('lpips', 'dists')
  read = weights.read_dists(
    folder / _FILES['vgg'], folder / 'dists' / 'weights.pt'
  )
  assert [x.name for x in read.files] == ['vgg16.ckpt', 'weights.pt']
  found = dists.dists(read.params, *goldens.pairs(tag))
  expected = goldens.arrays()[f'dists/{tag}/vgg_real']
  np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize('net', ['alex', 'squeeze'])
def test_a_perfect_result_has_no_distance(net):
  _, true = goldens.pairs('small')
  params = goldens.lpips_params(net)
  assert (lpips.lpips(params, true, true, net=net) == 0).all()


def test_a_perfect_result_has_no_dists():
  _, true = goldens.pairs('small')
  rng = np.random.default_rng(0)
  size = sum(dists.CHANNELS)
  params = {
    'convolutions': goldens.lpips_params('vgg')['convolutions'],
    'alpha': rng.uniform(size=size).astype(np.float32),
    'beta': rng.uniform(size=size).astype(np.float32),
  }
  found = dists.dists(params, true, true)
  np.testing.assert_allclose(found, 0, atol=1e-6)


# ------------------------------------------------------------------- Inception


def relative(found, expected) -> float:
  """The largest difference over the largest value."""
  return float(np.abs(found - expected).max() / np.abs(expected).max())


def first_pair() -> np.ndarray:
  return np.stack([x[0] for x in goldens.pairs('full')[::-1]])


@pytest.fixture(scope='module')
def inception_file(tmp_path_factory):
  """The published container with seeded weights, 95 MB."""
  path = tmp_path_factory.mktemp('inception') / 'pt_inception.pth'
  tensors = goldens.inception_tensors(1008)
  # As the files have it, and nothing that is needed.
  tensors['AuxLogits.fc.weight'] = np.full((1, 1), np.nan, np.float32)
  path.write_bytes(torch_writer.legacy(torch_writer.ordered(tensors)))
  return path


@_SLOW
def test_inception_after_every_resize(inception_file):
  read = weights.read_inception(inception_file)
  assert read.files[0].size == inception_file.stat().st_size
  params, arrays = jax.device_put(read.params), goldens.arrays()
  found = inception.features(
    params, first_pair(), protocol='torch-fidelity', taps=inception.TAPS
  )
  for tap in inception.TAPS:
    expected = arrays[f'inception/fidelity_0_4/{tap}']
    assert relative(found[tap], expected) < 1e-5, tap
  for protocol, name in (
    ('clean-fid', 'clean'),
    ('torchmetrics', 'torchmetrics_1_9'),
    ('pytorch-fid', 'pytorch_fid'),
  ):
    found = inception.features(params, first_pair(), protocol=protocol)
    assert list(found) == ['2048']
    expected = arrays[f'inception/{name}/2048']
    assert relative(found['2048'], expected) < 1e-5, protocol


def scripted(tensors) -> torch_writer.Module:
  """The same weights as the TorchScript of TensorFlow's network has them."""
  names = weights._scripted_names(inception.shapes(1008))
  tree: dict = {}
  for name, values in tensors.items():
    module, _, part = name.rpartition('.')
    # Half of the modules in modules, half in one name, as the file mixes them.
    place = names[module.removesuffix('.conv').removesuffix('.bn')]
    path = place[-1 if '_7' in module else 0].split('.')
    part = {'running_mean': 'mean', 'running_var': 'var'}.get(part, part)
    inner = tree
    for step in path + (['bn'] if '.bn.' in name else []):
      inner = inner.setdefault(step, {})
    inner[part] = values
  return _module(tree)


def _module(tree: dict) -> torch_writer.Module:
  return torch_writer.Module(
    {'training': False}
    | {k: _module(v) if isinstance(v, dict) else v for k, v in tree.items()}
  )


@_SLOW
def test_torchscript_has_the_same_inception(inception_file, tmp_path):
  path = tmp_path / 'inception-2015-12-05.pt'
  content = scripted(goldens.inception_tensors(1008))
  path.write_bytes(torch_writer.archive(content))
  jax.tree.map(
    np.testing.assert_array_equal,
    weights.read_inception(path).params,
    weights.read_inception(inception_file).params,
  )


@_SLOW
def test_inception_of_torchvision(inception_file, tmp_path):
  path = tmp_path / 'inception_v3_google-0cc3c7bd.pth'
  tensors = torch_writer.ordered(goldens.inception_tensors(1000))
  path.write_bytes(torch_writer.archive(tensors))
  params = jax.device_put(weights.read_torchvision_inception(path).params)
  for protocol, name in (
    ('hr-viton', 'hr_viton'),
    ('sbarratt', 'sbarratt_resize'),
    ('sbarratt-unresized', 'sbarratt_as_it_is'),
  ):
    found = inception.torchvision_logits(
      params, first_pair(), protocol=protocol
    )
    expected = goldens.arrays()[f'inception_tv/{name}/logits']
    assert relative(found, expected) < 1e-5, protocol
  # Each is told from the other, with the way to the right file.
  with pytest.raises(InputError, match=r'fc .*\(2048, 1008\) is due; get pt_'):
    weights.read_inception(path)
  with pytest.raises(InputError, match='get inception_v3_google.*108949747'):
    weights.read_torchvision_inception(inception_file)


# --------------------------------------------------------------------- weights


@pytest.mark.parametrize('net', ['alex', 'squeeze'])
def test_networks_of_torchvision(net, tmp_path):
  path = goldens.write_torchvision(tmp_path / 'net.pth', net)
  heads = goldens.write_heads(tmp_path / 'heads.pth', net)
  read = weights.read_lpips(net, path, heads=heads)
  jax.tree.map(
    np.testing.assert_array_equal, read.params, goldens.lpips_params(net)
  )
  assert [x.name for x in read.files] == ['net.pth', 'heads.pth']
  half = goldens.write_torchvision(tmp_path / 'half.pth', net, half=True)
  params = weights.read_lpips(net, half, heads=heads).params
  kernel = params['convolutions'][1]['kernel']
  expected = read.params['convolutions'][1]['kernel']
  assert kernel.dtype == np.float32
  np.testing.assert_array_equal(kernel, expected.astype(np.float16))


def test_another_network_is_refused_by_name(tmp_path):
  alex = goldens.write_torchvision(tmp_path / 'alex.pth', 'alex')
  squeeze = goldens.write_heads(tmp_path / 'squeeze.pth', 'squeeze')
  heads = goldens.write_heads(tmp_path / 'heads.pth', 'alex')
  for net, path, own, message in (
    ('squeeze', alex, squeeze, 'alex.pth: not the network .*squeezenet1_1'),
    ('alex', alex, None, 'alex.pth: LPIPS needs heads .*fetch lpips_heads'),
    ('alex', alex, squeeze, "squeeze.pth: not the heads of LPIPS's 'alex'"),
    ('vgg', tmp_path / 'no.ckpt', None, 'no.ckpt: .*No such file.*vgg16.ckpt'),
    ('alex', alex, tmp_path / 'no', 'No such file.*fetch lpips_heads'),
  ):
    with pytest.raises(InputError, match=message) as error:
      weights.read_lpips(net, path, heads=own)
    assert '\n' not in str(error.value)
  with pytest.raises(InputError, match='Conv2d_1a_3x3 is missing.*95628359'):
    weights.read_inception(alex)
  with pytest.raises(InputError, match='alpha is missing.*fetch dists'):
    weights.read_dists(
      goldens.write_torchvision(tmp_path / 'v.pth', 'vgg'), heads
    )
  path = tmp_path / 'alex.ckpt'
  path.write_bytes(b'\x80\x04cos\nsystem\n(S"true"\ntR.')
  with pytest.raises(InputError, match='refers to os.system; .*fetch lpips'):
    weights.read_lpips('alex', path)


def test_numbers_that_are_not_finite_are_refused(tmp_path):
  params = goldens.lpips_params('alex')
  params['heads'] = [np.full_like(x, np.nan) for x in params['heads']]
  heads = {
    f'lin{i}.model.1.weight': x[None, :, None, None]
    for i, x in enumerate(params['heads'])
  }
  path = tmp_path / 'heads.pth'
  path.write_bytes(torch_writer.legacy(torch_writer.ordered(heads)))
  network = goldens.write_torchvision(tmp_path / 'net.pth', 'alex')
  with pytest.raises(InputError, match='heads/0 holds numbers that are not'):
    weights.read_lpips('alex', network, heads=path)


def test_no_torch_is_imported(tmp_path):
  path = goldens.write_torchvision(tmp_path / 'net.pth', 'squeeze')
  heads = goldens.write_heads(tmp_path / 'heads.pth', 'squeeze')
  program = (
    'import sys\n'
    'from viton_jax.metrics import (dists, frechet, inception, weights,\n'
    '  inception_score, kernel_distance, truth)\n'
    f'weights.read_lpips("squeeze", {str(path)!r}, heads={str(heads)!r})\n'
    'print(*sorted({"torch", "PIL", "cv2"} & set(sys.modules)))'
  )
  done = subprocess.run(
    [sys.executable, '-c', program],
    cwd=entry_points.ROOT,
    env=entry_points.environment(),
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stdout.split() == []
