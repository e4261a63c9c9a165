"""Training as a command: equal on any number of devices, after any kill."""

import gzip
import json
import random
import signal
import time

import entry_points
import jax
import numpy as np
import pytest
import train_jobs

from viton_jax import checkpoints
from viton_jax.training import metric_log

pytestmark = pytest.mark.slow

SMOKE = 'configs/stage1.py:smoke'


def arguments(records_dir, workdir, *more):
  return (
    *('--config', SMOKE, '--workdir', workdir),
    *('--config.data.dir', records_dir, *more),
  )


@pytest.fixture(scope='module')
def trained(records_dir, tmp_path_factory):
  """A finished run of four steps on one device."""
  workdir = tmp_path_factory.mktemp('train') / 'one'
  done = entry_points.run('viton_jax.train', *arguments(records_dir, workdir))
  return workdir, done.stdout


def test_says_what_it_does_and_writes_it(trained):
  workdir, log = trained
  assert 'starts from scratch' in log
  assert 'no perceptual loss' in log
  assert 'step 4/4' in log and 'images/s' in log and 'ETA' in log
  assert 'validation' in log
  assert (workdir / 'samples' / 'step_0000004.png').exists()
  assert list((workdir / 'tensorboard').glob('events*'))
  assert json.loads((workdir / 'config.json').read_text())['features'] == 8
  checkpoint = checkpoints.read(workdir, 'encoder_decoder')
  assert (checkpoint.step, checkpoint.features) == (4, 8)
  assert checkpoint.size == (128, 64)


def test_eight_devices_train_to_the_same_parameters(
  trained, records_dir, tmp_path
):
  workdir = tmp_path / 'eight'
  entry_points.run(
    'viton_jax.train',
    *arguments(records_dir, workdir, '--config.num_steps', 3),
    devices=8,
  )
  single = tmp_path / 'single'
  entry_points.run(
    'viton_jax.train',
    *arguments(records_dir, single, '--config.num_steps', 3),
  )
  one, eight = (train_jobs.whole_state(w) for w in (single, workdir))
  train_jobs.assert_same_training(one, eight)
  losses = [
    [x['train/loss'] for x in metric_log.read(w) if 'train/loss' in x]
    for w in (single, workdir)
  ]
  assert len(losses[0]) == 3
  np.testing.assert_allclose(*losses, rtol=1e-5)
  started = checkpoints.read(trained[0], 'encoder_decoder').variables
  moved = jax.tree.map(
    lambda a, b: np.abs(a - b).max(), one['params'], started['params']
  )
  assert max(jax.tree.leaves(moved)) > 1e-5  # Otherwise nothing was trained.


def test_killed_and_resumed_run_is_bit_equal(records_dir, tmp_path):
  def steps(count):
    return (
      *('--config.num_steps', count, '--config.checkpoint_every', 1),
      *('--config.sample_every', 10**6, '--config.eval_every', 10**6),
    )

  # With a discriminator, whose state has to be saved as well.
  critic = ('--config.loss.adversarial', 0.01, '--config.loss.gradient', 0.5)
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  # As if it were endless, so that the kill comes in the middle.
  seed = random.randrange(10**6)
  print(f'seed of the kill: {seed}')  # pytest shows it where the test fails.
  rng = random.Random(seed)
  process = train_jobs.start(
    arguments(records_dir, cut, *critic, *steps(10**6))
  )
  train_jobs.wait_for(process, f'step {rng.randint(2, 6)}/')
  train_jobs.wait_for_checkpoint(process, cut)
  time.sleep(rng.random() * 0.2)
  process.send_signal(signal.SIGKILL)
  process.communicate()
  assert process.returncode == -signal.SIGKILL
  last = int(checkpoints.find(cut).name)
  more = (*critic, *steps(last + 2))
  done = entry_points.run(
    'viton_jax.train', *arguments(records_dir, cut, *more)
  )
  assert f'goes on from step {last}' in done.stdout
  entry_points.run('viton_jax.train', *arguments(records_dir, whole, *more))
  train_jobs.assert_bit_equal(whole, cut)
  state = train_jobs.whole_state(whole)
  names = {'params', 'batch_stats', 'opt_state', 'step', 'critic'}
  assert names <= state.keys()


def test_sigterm_saves_and_ends_well(records_dir, tmp_path):
  flags = arguments(
    records_dir,
    tmp_path / 'w',
    *('--config.num_steps', 10**6, '--config.checkpoint_every', 10**6),
    *('--config.sample_every', 10**6, '--config.eval_every', 10**6),
  )
  process = train_jobs.start(flags)
  train_jobs.wait_for(process, 'step 2/')
  message = entry_points.fails('viton_jax.train', *flags)
  assert 'trains in this workdir' in message
  process.send_signal(signal.SIGTERM)
  rest, _ = process.communicate()
  assert process.returncode == 0
  assert 'stopped by a signal' in rest
  assert checkpoints.read(tmp_path / 'w', 'encoder_decoder').step >= 2


def test_bad_input(trained, records_dir, tmp_path):
  workdir, _ = trained

  def fails(*more, to=tmp_path / 'new'):
    return entry_points.fails(
      'viton_jax.train', *arguments(records_dir, to, *more)
    )

  assert 'learning_rat' in fails('--config.learning_rat', 1)
  message = fails('--config.seed', 7, to=workdir)
  assert 'begun with seed = 0' in message and 'config.json' in message
  message = fails('--config.loss.perceptual', 3)
  assert 'config.vgg' in message and 'imagenet-vgg-verydeep-19.mat' in message
  message = fails('--config.loss.lpips', 1, '--config.lpips_weights', 'x.ckpt')
  assert 'config.loss.lpips' in message and 'x.ckpt' in message
  assert 'config.lpips_net' in fails('--config.lpips_net', 'squeeze')
  message = fails('--config.features', 16, '--config.warm_start', workdir)
  assert '8' in message and '16' in message and str(workdir) in message
  message = fails('--config.data.dir', tmp_path / 'nowhere')
  assert 'nowhere' in message
  message = fails('--config.fidelity', 'original')
  assert 'prepared with fidelity' in message
  assert not (tmp_path / 'new').exists()


def test_trains_on_the_originals_records_as_they_lie(tmp_path):
  """No conversion: the records that VITON's own scripts wrote."""
  folder = tmp_path / 'original'
  folder.mkdir()
  goldens = entry_points.ROOT / 'tests' / 'goldens' / 'tfrecord_seed0'
  for path in goldens.glob('*.gz'):
    (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
  done = entry_points.run(
    'viton_jax.train',
    *arguments(folder, tmp_path / 'w'),
    *('--config.data.format', 'original_records'),
    *('--config.fidelity', 'original', '--config.num_steps', 1),
    *('--config.batch_size', 2),
  )
  assert '4 training pairs of 256 x 192' in done.stdout
  checkpoint = checkpoints.read(tmp_path / 'w', 'encoder_decoder')
  assert checkpoint.fidelity == 'original'
