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
# `geometry.tps` and `geometry.sampling` check their arguments in production too
# and raise errors of their own, so only tests/test_shapes.py wraps them.
CHECKED = (
  'viton_jax.composition',
  'viton_jax.engine',
  'viton_jax.geometry.prediction',
  'viton_jax.losses',
  'viton_jax.metrics',
  'viton_jax.models',
  'viton_jax.networks',
  'viton_jax.predictions',
  'viton_jax.representation',
  'viton_jax.training.mirroring',
)
install_import_hook(CHECKED, 'beartype.beartype')

from collections.abc import Callable  # noqa: E402
import fcntl  # noqa: E402
import pathlib  # noqa: E402
import shutil  # noqa: E402
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
import train_jobs  # noqa: E402


def once(
  tmp_path_factory, name: str, make: Callable[[pathlib.Path], None]
) -> pathlib.Path:
  """Makes a folder in the first test process that asks; the others wait.

  Tests only read what is in it.

  Args:
    tmp_path_factory: of pytest.
    name: of the folder.
    make: fills the folder, which is there and empty.
  """
  base = tmp_path_factory.getbasetemp()
  if 'PYTEST_XDIST_WORKER' in os.environ:
    base = base.parent  # Of all workers of this run.
  folder, done = base / f'shared_{name}', base / f'shared_{name}.done'
  with (base / f'shared_{name}.lock').open('w') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not done.exists():
      shutil.rmtree(folder, ignore_errors=True)  # An attempt that failed.
      folder.mkdir()
      make(folder)
      done.touch()
  return folder


@pytest.fixture(scope='session')
def raw_dir(tmp_path_factory) -> pathlib.Path:
  """A dozen synthetic pairs in the raw VITON layout, four unpaired for test."""

  def make(folder):
    entry_points.run(
      'input_pipeline.synthetic',
      *('--out_dir', folder, '--num_pairs', 12, '--num_test_pairs', 4),
      *('--seed', 1, '--height', 256),
    )

  return once(tmp_path_factory, 'raw', make)


@pytest.fixture(scope='session')
def records_dir(raw_dir, tmp_path_factory) -> pathlib.Path:
  """The same as records of 128 x 64, small enough to train on in a test."""

  def make(folder):
    entry_points.run(
      'input_pipeline.prepare',
      *('--layout', 'viton', '--data_dir', raw_dir, '--out_dir', folder),
      *('--height', 128, '--width', 64, '--validation_fraction', 0.2),
    )

  return once(tmp_path_factory, 'records', make)


@pytest.fixture(scope='session')
def packed(raw_dir, tmp_path_factory) -> pathlib.Path:
  """The same as packed data of 64 x 64, ten to train on, two held out."""
  return once(
    tmp_path_factory,
    'packed',
    lambda folder: train_jobs.pack(raw_dir, folder),
  )


@pytest.fixture(scope='session')
def networks(records_dir, tmp_path_factory):
  """Workdirs of both stages, trained just enough to see where a garment is."""

  def make(folder):
    common = (
      *('--config.data.dir', records_dir, '--config.log_every', 1000),
      *('--config.eval_every', 1000, '--config.sample_every', 1000),
      *('--config.checkpoint_every', 1000, '--config.learning_rate', 2e-3),
    )
    entry_points.run(
      'viton_jax.train',
      *('--config', 'configs/stage1.py:smoke', '--workdir', folder / '1'),
      *('--config.num_steps', 200, *common),
    )
    entry_points.run(
      'viton_jax.train',
      *('--config', 'configs/stage2.py:smoke', '--workdir', folder / '2'),
      *('--config.num_steps', 10, '--config.coarse_checkpoint', folder / '1'),
      *common,
    )

  folder = once(tmp_path_factory, 'networks', make)
  return folder / '1', folder / '2'
