"""Tests run stricter than production.

Eight CPU devices, strict dtype promotion, no rank promotion; the shapes in the
signatures of `CHECKED` are checked at every call; pyproject.toml turns warnings
into errors. TensorFlow is told to be quiet before anybody imports it.
"""

import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

import jax  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_dtype_promotion', 'strict')
jax.config.update('jax_numpy_rank_promotion', 'raise')

# Modules whose annotations are enforced. The hook works on modules that are not
# imported yet, so it stands before anything that imports them; production never
# installs it. Commands that tests start as processes run without it.
CHECKED = (
  'viton_jax.losses',
  'viton_jax.models',
  'viton_jax.representation',
)
install_import_hook(CHECKED, 'beartype.beartype')

import pathlib  # noqa: E402
import sys  # noqa: E402

import pytest  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import entry_points  # noqa: E402


@pytest.fixture(scope='session')
def raw_dir(tmp_path_factory) -> pathlib.Path:
  """A dozen synthetic pairs in the raw VITON layout, four unpaired for test."""
  folder = tmp_path_factory.mktemp('data') / 'raw'
  entry_points.run(
    'input_pipeline.synthetic',
    *('--out_dir', folder, '--num_pairs', 12, '--num_test_pairs', 4),
    *('--seed', 1, '--height', 256),
  )
  return folder


@pytest.fixture(scope='session')
def records_dir(raw_dir) -> pathlib.Path:
  """The same as records of 128 x 64, small enough to train on in a test."""
  folder = raw_dir.parent / 'records'
  entry_points.run(
    'input_pipeline.prepare',
    *('--layout', 'viton', '--data_dir', raw_dir, '--out_dir', folder),
    *('--height', 128, '--width', 64, '--validation_fraction', 0.2),
  )
  return folder


@pytest.fixture(scope='session')
def networks(records_dir, tmp_path_factory):
  """Workdirs of both stages, trained just enough to see where a garment is."""
  first, second = (tmp_path_factory.mktemp('networks') / x for x in '12')
  common = (
    *('--config.data.dir', records_dir, '--config.log_every', 1000),
    *('--config.eval_every', 1000, '--config.sample_every', 1000),
    *('--config.checkpoint_every', 1000, '--config.learning_rate', 2e-3),
  )
  entry_points.run(
    'viton_jax.train',
    *('--config', 'configs/stage1.py:smoke', '--workdir', first),
    *('--config.num_steps', 200, *common),
  )
  entry_points.run(
    'viton_jax.train',
    *('--config', 'configs/stage2.py:smoke', '--workdir', second),
    *('--config.num_steps', 10, '--config.coarse_checkpoint', first),
    *common,
  )
  return first, second
