"""Tests run stricter than production.

Eight CPU devices, strict dtype promotion; pyproject.toml turns warnings into
errors. TensorFlow is told to be quiet before anybody imports it.
"""

import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

import jax  # noqa: E402

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_dtype_promotion', 'strict')

import pathlib  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402

import pytest  # noqa: E402

# A shell that starts the tests in the background (nohup ... &) has SIGINT
# ignored, and what the tests start would inherit that: some of it gets a SIGINT
# and has to end by it.
if (
  signal.getsignal(signal.SIGINT) == signal.SIG_IGN
  and threading.current_thread() is threading.main_thread()
):
  signal.signal(signal.SIGINT, signal.default_int_handler)

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
