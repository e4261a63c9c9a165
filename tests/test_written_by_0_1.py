"""Files that version 0.1 wrote are still read: nobody has to start again.

goldens/written_by_0_1.tar.xz holds, as version 0.1.0 left them: records and
packed files of three drawn pairs, workdirs of both stages after two steps of
tiny networks (config fields by their old names, moving averages), an exported
try-on, a batch for it and what came out, and a batch of the records.
"""

import json
import pathlib
import tarfile

import entry_points
import numpy as np
import pytest

from input_pipeline import batches
from input_pipeline.formats import packed
from viton_jax import checkpoints
from viton_jax.serving import artifact

pytestmark = pytest.mark.slow

_ARCHIVE = pathlib.Path(__file__).parent / 'goldens' / 'written_by_0_1.tar.xz'


@pytest.fixture(scope='module')
def old(tmp_path_factory):
  folder = tmp_path_factory.mktemp('written_by_0_1')
  with tarfile.open(_ARCHIVE) as archive:
    archive.extractall(folder, **entry_points.SAFE_EXTRACTION)
  return folder


@pytest.mark.parametrize('fmt', ['records', 'packed'])
def test_prepared_data(old, fmt):
  batch = next(
    batches.train_batches(
      old / fmt, batch_size=2, seed=3, fmt=fmt, fidelity='fixed'
    )
  )
  with np.load(old / 'train_batch.npz') as then:
    for name, value in then.items():
      if fmt == 'packed' and name in ('person', 'garment'):
        # Records hold these two as JPEG, packed files as they were before.
        difference = np.abs(batch[name].astype(int) - value)
        assert difference.mean() < 4, name
      else:
        np.testing.assert_array_equal(batch[name], value, err_msg=name)


def test_packed_content_has_the_sha_256_of_its_header(old):
  assert packed.check_sums(old / 'packed/train.packed').height == 64


@pytest.mark.parametrize(
  'stage, network', [('stage1', 'encoder_decoder'), ('stage2', 'refinement')]
)
def test_checkpoints(old, stage, network):
  found = checkpoints.read(old / stage, network)
  assert (found.step, found.features, found.size) == (2, 2, (64, 64))
  # The moving averages, which differ from the parameters after two steps.
  tree = checkpoints.read_tree(found.path / 'state', ('params', 'ema'))
  name = 'encoder_1' if network == 'encoder_decoder' else 'conv_1'
  kept = tree['ema']['params'][name]['kernel']
  np.testing.assert_array_equal(found.variables['params'][name]['kernel'], kept)
  assert (kept != tree['params'][name]['kernel']).any()


@pytest.mark.parametrize('stage', ['stage1', 'stage2'])
def test_training_goes_on(old, stage):
  """The workdir's config.json has old names; flags take old and new ones."""
  config = json.loads((old / stage / 'config.json').read_text())
  assert config['accumulate'] == 2 and config['depth'] == 2
  arguments = [
    *('--config', entry_points.ROOT / f'configs/{stage}.py:smoke'),
    *('--workdir', stage, '--config.num_steps=3'),
    *('--config.data.dir=records', '--config.features=2'),
    *('--config.batch_size=2', '--config.ema=0.9'),
  ]
  if stage == 'stage2':
    arguments.append('--config.coarse_checkpoint=stage1')
  new = ['--config.num_downsamples=2', '--config.grad_accum_steps=2']
  before = ['--config.depth=2', '--config.accumulate=2']
  done = entry_points.run('viton_jax.train', *arguments, *new, cwd=old)
  assert 'goes on from step 2' in done.stdout
  done = entry_points.run('viton_jax.train', *arguments, *before, cwd=old)
  assert 'step 3 of 3 is reached' in done.stdout


def test_exported_folder(old):
  try_on = artifact.load(old / 'exported')
  with np.load(old / 'exported_outputs.npz') as then:
    inputs = {
      name.removeprefix('in_'): value
      for name, value in then.items()
      if name.startswith('in_')
    }
    tried = try_on(inputs)
    for name in ('output', 'coarse'):
      difference = getattr(tried, name).astype(int) - then[name]
      assert np.abs(difference).max() <= 1, name
    np.testing.assert_allclose(
      tried.control_points, then['control_points'], atol=1e-4
    )
  # Labels may stand for what is made of them.
  b, h, w, _ = inputs['person'].shape
  given = {x: y for x, y in inputs.items() if x not in ('head_mask', 'body')}
  made = try_on.checked({**given, 'parse': np.ones((b, h, w), np.uint8)})
  assert sorted(made) == sorted(try_on.manifest['inputs'])
  assert (made['head_mask'] == 255).all() and (made['body'] == 0).all()
