"""CP-VTON in PyTorch: its parts against other libraries, and the commands."""

import argparse
import json
import math
import pathlib
import sys
import warnings

import entry_points
import evaluations
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator

from input_pipeline import batches
from viton_jax import errors, geometry
from viton_jax.io import images

with warnings.catch_warnings():
  warnings.simplefilter('ignore')  # Of PyTorch's own modules.
  torch = pytest.importorskip('torch')

# The benchmarks are not installed; they run from the repository.
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from benchmarks import cp_vton_jobs as jobs  # noqa: E402
from benchmarks import cp_vton_networks as networks  # noqa: E402
from benchmarks.torch_twin import Warp  # noqa: E402

pytestmark = pytest.mark.slow

SIZE = (64, 64)


def random_anchors(count, spread=0.1):
  rng = np.random.default_rng(0)
  grid = geometry.regular_grid(5)
  moved = grid + rng.normal(0, spread, (count, *grid.shape))
  return moved.astype(np.float32)


def test_warp_is_scipys_spline():
  anchors = random_anchors(1)
  matrix = Warp(SIZE, networks.ANCHORS).matrix
  found = torch.einsum('qn,bnd->bqd', matrix, torch.tensor(anchors))
  side = np.linspace(-1, 1, SIZE[0])
  y, x = np.meshgrid(side, side, indexing='ij')
  spline = RBFInterpolator(geometry.regular_grid(5), anchors[0])
  expected = spline(np.stack([x.ravel(), y.ravel()], axis=1))
  np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-4)


def test_warped_garment_is_the_projects():
  anchors = random_anchors(2)
  rng = np.random.default_rng(1)
  garment = rng.uniform(-1, 1, (2, *SIZE, 3)).astype(np.float32)
  mask = (rng.uniform(size=(2, *SIZE, 1)) < 0.5).astype(np.float32)
  warped = networks.warp_both(
    Warp(SIZE, networks.ANCHORS),
    *(torch.tensor(x).permute(0, 3, 1, 2) for x in (garment, mask)),
    torch.tensor(anchors),
  )
  for found, flat in zip(warped, (garment, mask), strict=True):
    np.testing.assert_allclose(
      found.permute(0, 2, 3, 1).numpy(),
      geometry.warp_tps(jnp.asarray(flat), jnp.asarray(anchors)),
      atol=1e-4,
    )


def test_finer_points_are_the_same_warp():
  """What evaluation gets of a warp is off by 2 % of what it moves at most."""
  anchors = random_anchors(4)
  fine = networks.finer_points(torch.tensor(anchors), 10)
  regular = geometry.regular_grid(5)[None].astype(np.float32)
  coarse, finer, still = (
    np.asarray(geometry.sampling_grid(jnp.asarray(points), (256, 192)))
    for points in (anchors, fine, regular)
  )
  off, moved = (
    np.linalg.norm(x, axis=-1).mean() for x in (finer - coarse, coarse - still)
  )
  assert off < 0.02 * moved


def test_correlation_is_an_einsum():
  rng = np.random.default_rng(0)
  garment, person = rng.normal(size=(2, 2, 7, 4, 3)).astype(np.float32)
  found = networks.correlate(torch.tensor(garment), torch.tensor(person))
  garment, person = (
    x / np.linalg.norm(x, axis=1, keepdims=True) for x in (garment, person)
  )
  alike = np.einsum('bckl,bcij->bklij', garment, person).reshape(2, 12, 4, 3)
  alike = alike.clip(0)
  alike /= np.linalg.norm(alike, axis=1, keepdims=True)
  np.testing.assert_allclose(found.numpy(), alike, atol=1e-5)


def test_both_networks_are_as_large_as_ours():
  ours = jobs.our_parameters()
  assert ours == 1_842_545  # Of docs: 1.84 million.
  features = networks.features_for(ours, (256, 192))
  theirs = networks.count(
    [
      networks.GeometricMatching(features, (256, 192)),
      networks.TryOnModule(features),
    ]
  )
  assert abs(theirs / ours - 1) < 0.1


def test_the_first_warp_changes_nothing():
  network = networks.GeometricMatching(4, SIZE).eval()
  with torch.no_grad():
    anchors = network(torch.rand(2, 22, *SIZE), torch.rand(2, 3, *SIZE))
  np.testing.assert_array_equal(
    anchors.numpy(), np.stack([geometry.regular_grid(5)] * 2).astype(np.float32)
  )


def test_networks_learn_where_a_garment_goes(records_dir):
  """A dozen steps on one batch: both losses fall, masks go to the garment."""
  torch.manual_seed(0)
  batch = networks.learned_from(
    next(batches.train_batches(records_dir, batch_size=8, seed=0)),
    fidelity='fixed',
  )
  size = tuple(batch.image.shape[2:])
  warp = Warp(size, networks.ANCHORS)
  matching = networks.GeometricMatching(6, size)
  drawing = networks.TryOnModule(6)

  def losses(network, loss):
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    values = []
    for _ in range(30):
      optimizer.zero_grad()
      value = loss()
      value.backward()
      optimizer.step()
      values.append(value.item())
    return values

  values = losses(
    matching, lambda: networks.matching_loss(matching, warp, batch)
  )
  assert values[-1] < 0.8 * values[0]
  with torch.no_grad():
    anchors = matching(batch.person, batch.garment)
    warped, mask = networks.warp_both(
      warp, batch.garment, batch.garment_mask, anchors
    )
  values = losses(
    drawing,
    lambda: networks.try_on_loss(
      drawing, batch, warped=warped, warped_mask=mask
    ),
  )
  assert values[-1] < 0.6 * values[0]
  with torch.no_grad():
    _, found = drawing(batch.person, warped)
  assert found[mask > 0.9].mean() > found[mask < 0.1].mean() + 0.3


@pytest.fixture(scope='module')
def workdir(records_dir, tmp_path_factory):
  folder = tmp_path_factory.mktemp('cp_vton') / 'networks'
  done = entry_points.run(
    'benchmarks.cp_vton',
    *('train', '--data_dir', records_dir, '--workdir', folder),
    *('--minutes', 0.05),
  )
  assert '1,842,545' in done.stdout
  return folder


@pytest.mark.parametrize('composition', ['changes', 'whole'])
def test_results_are_evaluated(
  composition, workdir, raw_dir, tmp_path, monkeypatch
):
  monkeypatch.setenv('JAX_NUMPY_DTYPE_PROMOTION', 'strict')
  monkeypatch.setenv('JAX_NUMPY_RANK_PROMOTION', 'raise')
  results = tmp_path / 'results'
  entry_points.run(
    'benchmarks.cp_vton',
    *('try_on', '--workdir', workdir, '--data_dir', raw_dir),
    *('--out_dir', results, '--composition', composition),
    devices=2,
  )
  found = {}
  for method in ('result', 'whole', 'paste'):
    found[method] = evaluations.evaluate(
      tmp_path / method, results=str(results), method=method, figures='l1,ssim'
    )['figures']
    for name in ('l1', 'ssim', 'garment_l1', 'mask_iou', 'epe_mean'):
      figure = found[method][name]
      assert math.isfinite(figure['value']) and figure['n'] == 4, name
  if composition == 'whole':
    assert found['result']['l1'] == found['whole']['l1']
    return
  # As untrained as it is: what stays in the photo is right.
  assert found['result']['l1']['value'] < found['whole']['l1']['value']
  names = [
    json.loads(line)['name']
    for line in (results / 'manifest.jsonl').read_text().splitlines()
  ]
  for name in names:
    result, person, changed = (
      images.decode_image(path.read_bytes(), str(path))
      for path in (
        results / f'results/{name}.png',
        results / f'steps/{name}_person.png',
        results / f'steps/{name}_changed.png',
      )
    )
    kept = changed[..., 0] == 0
    assert kept.mean() > 0.2
    np.testing.assert_array_equal(result[kept], person[kept])


def options(**changed):
  return argparse.Namespace(
    **{
      'minutes': 1.0,
      'gmm_share': 0.4,
      'learning_rate': 1e-3,
      'batch_size': 8,
      'seed': 0,
    }
    | changed
  )


@pytest.mark.parametrize(
  ('name', 'value'),
  [
    ('minutes', 0.0),
    ('minutes', math.nan),
    ('learning_rate', math.inf),
    ('batch_size', 0),
    ('gmm_share', 1.0),
    ('seed', -1),
  ],
)
def test_numbers_out_of_range_are_named(name, value, records_dir, tmp_path):
  given = {'data_dir': str(records_dir), 'workdir': str(tmp_path), name: value}
  with pytest.raises(errors.InputError, match=f'--{name} {value}'):
    jobs.train(options(**given))


def test_a_trained_workdir_is_kept(workdir, records_dir):
  with pytest.raises(errors.InputError, match='is trained already'):
    jobs.train(options(data_dir=str(records_dir), workdir=str(workdir)))


@pytest.mark.parametrize('damage', ['missing', 'cut', 'other', 'mixed'])
def test_networks_that_are_none_are_named(damage, workdir, tmp_path):
  for name in ('gmm', 'tom'):
    data = (workdir / f'{name}.safetensors').read_bytes()
    (tmp_path / f'{name}.safetensors').write_bytes(data)
  tom = tmp_path / 'tom.safetensors'
  if damage == 'missing':
    tom.unlink()
  elif damage == 'cut':
    tom.write_bytes(tom.read_bytes()[:-1000])
  elif damage == 'other':
    tom.write_bytes((tmp_path / 'gmm.safetensors').read_bytes())
  else:
    header = networks.Header(5, 64, 64, 'fixed', steps=1)
    networks.write(tom, networks.TryOnModule(5), header)
  said = 'trained together' if damage == 'mixed' else 'tom.safetensors'
  given = {'data_dir': str(tmp_path), 'layout': 'viton', 'pairs': None}
  with pytest.raises(errors.InputError, match=said):
    jobs.try_on(
      argparse.Namespace(
        workdir=str(tmp_path),
        out_dir=str(tmp_path / 'results'),
        composition='changes',
        **given,
      )
    )
  assert not (tmp_path / 'results').exists()


def test_command_ends_in_a_sentence(tmp_path):
  said = entry_points.fails(
    'benchmarks.cp_vton',
    *('train', '--data_dir', tmp_path, '--workdir', tmp_path / 'w'),
    *('--minutes', 1),
  )
  assert str(tmp_path) in said and 'prepare' in said
  assert not (tmp_path / 'w').exists()
