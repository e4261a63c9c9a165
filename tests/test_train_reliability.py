"""Trainings that are killed, diverge, run out of disk or of libraries."""

import json
import os
import pathlib
import random
import shutil
import textwrap
import types

import entry_points
import jax
from ml_collections import ConfigDict
import numpy as np
import pytest
import train_jobs
from train_jobs import arguments

from configs import stage1
from viton_jax import checkpoints
from viton_jax.errors import EXIT_NOT_FINITE, InputError
from viton_jax.training import loop, metric_log, schedules, workdir

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def averaged(packed, tmp_path_factory):
  """Four steps in one go, with averages, a trace and the best kept."""
  folder = tmp_path_factory.mktemp('averaged') / 'w'
  done = entry_points.run(
    'viton_jax.train', *averaged_arguments(packed, folder)
  )
  return folder, done.stdout


def averaged_arguments(packed, folder, **more):
  return arguments(
    packed,
    folder,
    ema_decay=0.5,
    profile='2:3',
    keep=1,
    keep_best=1,
    checkpoint_every=1,
    bn_momentum=0.5,
    warmup_steps=2,
    **more,
  )


def test_killed_many_times_and_gone_on_with_is_bit_equal(packed, tmp_path):
  """VITON_JAX_KILLS=20 kills it twenty times."""
  kills = train_jobs.kills_wanted()
  steps = max(8, 5 * kills)
  options = {'num_steps': steps, 'checkpoint_every': 2, 'ema_decay': 0.9}
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  entry_points.run('viton_jax.train', *arguments(packed, whole, **options))
  seed = random.randrange(10**6)
  print(f'seed of the kills: {seed}')  # Before anything can fail.
  rng = random.Random(seed)
  moments = [
    train_jobs.kill_somewhere(
      train_jobs.start(arguments(packed, cut, **options)), rng
    )
    for _ in range(kills)
  ]
  print(f'killed at: {", ".join(moments)}')
  done = entry_points.run('viton_jax.train', *arguments(packed, cut, **options))
  assert f'step {steps}' in done.stdout
  train_jobs.assert_bit_equal(whole, cut)
  steps_logged = [x['step'] for x in metric_log.read(cut) if 'train/loss' in x]
  assert steps_logged == sorted(set(steps_logged))


def test_where_the_pictures_lie_changes_nothing(packed, tmp_path):
  folders = {}
  for cache in ('none', 'host', 'device'):
    folders[cache] = tmp_path / cache
    entry_points.run(
      'viton_jax.train',
      *arguments(packed, folders[cache], data__cache=cache, grad_accum_steps=2),
      devices=2,
    )
  train_jobs.assert_bit_equal(folders['none'], folders['host'])
  train_jobs.assert_bit_equal(folders['none'], folders['device'])


def test_averages_go_on_and_are_what_is_read(averaged, packed, tmp_path):
  whole, log = averaged
  cut = tmp_path / 'cut'
  entry_points.run(
    'viton_jax.train', *averaged_arguments(packed, cut, num_steps=3)
  )
  entry_points.run('viton_jax.train', *averaged_arguments(packed, cut))
  train_jobs.assert_bit_equal(whole, cut)
  state = train_jobs.whole_state(whole)
  read = checkpoints.read(whole, 'encoder_decoder').variables
  jax.tree.map(np.testing.assert_array_equal, read, state['ema'])
  gap = jax.tree.map(
    lambda a, b: np.abs(a - b).max(), read['params'], state['params']
  )
  assert max(jax.tree.leaves(gap)) > 1e-6

  # The best is the smallest of the logged validation losses.
  losses = {
    x['step']: x['validation/loss']
    for x in metric_log.read(whole)
    if 'validation/loss' in x
  }
  best = min(losses, key=losses.get)
  assert f'best: step {best} ' in log
  kept = {int(x.name) for x in (whole / 'checkpoints').iterdir()}
  assert kept == {best, 4}
  # The first of two warm-up steps has the rate 0, the second half.
  rates = [
    x['learning_rate'] for x in metric_log.read(whole) if 'learning_rate' in x
  ]
  np.testing.assert_allclose(rates, [0.0, 1e-4, 2e-4, 2e-4], rtol=1e-6)


def test_the_trace_is_where_tensorboard_looks(averaged):
  folder, log = averaged
  (trace,) = (folder / 'tensorboard' / 'plugins' / 'profile').glob(
    '*/*.xplane.pb'
  )
  assert trace.stat().st_size > 1000
  assert 'steps 2 to 3 are profiled' in log


def test_what_is_not_finite_ends_the_run_and_saves_nothing(packed, tmp_path):
  folder = tmp_path / 'w'
  options = arguments(
    packed,
    folder,
    num_steps=20,
    checkpoint_every=2,
    log_every=100,
    schedule='step',
    schedule_steps='(4,)',
    schedule_factor=1e38,
  )
  # The second run goes on from step 4 and always looks at its first step.
  for window in ('steps 5 and 6', 'steps 6 and 6'):
    done = entry_points.run('viton_jax.train', *options, expect=EXIT_NOT_FINITE)
    assert 'Traceback' not in done.stderr
    assert f'not finite at step 6, between the checks of {window}' in (
      done.stderr
    )
    assert f'the last good checkpoint of {folder} is step 4' in done.stderr
    assert checkpoints.find(folder).name == '4'
  state = train_jobs.whole_state(folder)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(state))


def test_a_validation_that_is_not_finite_ends_the_run(packed, tmp_path):
  """The loss of the last step is finite, what it leads to gives none."""
  folder = tmp_path / 'w'
  options = arguments(
    packed,
    folder,
    num_steps=5,
    checkpoint_every=5,
    eval_every=5,
    schedule='step',
    schedule_steps='(4,)',
    schedule_factor=1e38,
  )
  done = entry_points.run('viton_jax.train', *options, expect=EXIT_NOT_FINITE)
  assert 'Traceback' not in done.stderr
  assert 'the validation of step 5 is not finite' in done.stderr
  assert f'{folder} has no checkpoint yet' in done.stderr
  assert not list((folder / 'checkpoints').glob('[0-9]*'))


def test_packed_data_train_without_tensorflow(packed, tmp_path):
  """In a process for which it, and what needs it, are not installed."""
  barred = 'tensorflow tensorflow_datasets tensorboard clu onnxruntime grain'
  (tmp_path / 'sitecustomize.py').write_text(
    textwrap.dedent(f"""
          import sys

          class Without:
            def __init__(self, finder):
              self.finder = finder

            def find_spec(self, name, path=None, target=None):
              if name.split('.')[0] in {barred.split()!r}:
                return None
              return self.finder.find_spec(name, path, target)

            def __getattr__(self, name):
              return getattr(self.finder, name)

          sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
      """)
  )
  process = train_jobs.start(
    arguments(packed, tmp_path / 'bare', sample_every=4, eval_every=4),
    env={'PYTHONPATH': str(tmp_path)},
  )
  out, err = process.communicate()
  assert process.returncode == 0, out + err
  assert 'done: step 4' in out
  assert (tmp_path / 'bare' / 'samples' / 'step_0000004.png').exists()
  entry_points.run(
    'viton_jax.train', *arguments(packed, tmp_path / 'full', sample_every=4)
  )
  train_jobs.assert_bit_equal(tmp_path / 'bare', tmp_path / 'full')


def test_refusals_before_anything_is_written(packed, tmp_path):
  folder = tmp_path / 'new'

  def fails(**fields):
    config = stage1.get_config('smoke')
    config.data.dir, config.data.format = str(packed), 'packed'
    config.features = 4
    for name, value in fields.items():
      config[name] = value
    with pytest.raises(InputError) as raised:
      loop.train_and_evaluate(config, folder)
    return str(raised.value)

  message = fails(grad_accum_steps=3)
  assert 'batch_size: 8' in message and '3 micro-batches' in message
  assert 'cosine, linear or step' in fails(schedule='exponential')
  assert 'config.profile' in fails(profile='15:10')
  assert 'config.ema_decay: 1.0' in fails(ema_decay=1.0)
  assert 'config.keep_best: -1' in fails(keep_best=-1)
  assert not folder.exists()
  # What ten million checkpoints take is said before the first step.
  message = fails(keep=10_000_000)
  assert 'are free' in message and '--config.keep' in message
  assert not (folder / 'config.json').exists()


def test_room_on_the_disk(tmp_path, monkeypatch):
  state = {'a': np.zeros(1_000_000, np.float32)}
  monkeypatch.setattr(
    shutil, 'disk_usage', lambda path: types.SimpleNamespace(free=12_000_000)
  )
  workdir.check_space(tmp_path, state, checkpoints=2)
  with pytest.raises(InputError, match='0.01 GB are free, but 3 checkpoints'):
    workdir.check_space(tmp_path, state, checkpoints=3)
  # What old checkpoints take will be free again.
  old = tmp_path / 'checkpoints' / '1'
  old.mkdir(parents=True)
  (old / 'file').write_bytes(bytes(1_000_000))
  workdir.check_space(tmp_path, state, checkpoints=3)


def test_a_workdir_that_cannot_be_used(tmp_path):
  config = ConfigDict({'seed': 1})
  file = tmp_path / 'file'
  file.write_text('')
  for folder in (file, file / 'below', pathlib.Path('/proc/self/w')):
    with pytest.raises(InputError, match='cannot be written'):
      workdir.lock(folder)
    with pytest.raises(InputError, match='cannot be used as workdir'):
      workdir.claim(folder, config)
  with workdir.lock(tmp_path / 'new'):
    with pytest.raises(InputError, match=f'process {os.getpid()} on .* trains'):
      workdir.lock(tmp_path / 'new')
  workdir.lock(tmp_path / 'new').release()
  (tmp_path / 'config.json').write_text('{"seed"')
  with pytest.raises(
    InputError, match='config.json: this is not a usable JSON'
  ):
    workdir.claim(tmp_path, config)


def test_workdirs_from_before_a_field_was_there_are_gone_on_with(tmp_path):
  config = stage1.get_config()
  workdir.claim(tmp_path, config)
  path = tmp_path / 'config.json'
  old = json.loads(path.read_text())
  for name in (
    'ema_decay',
    'grad_accum_steps',
    'remat',
    'warmup_steps',
    'keep_best',
    'schedule_steps',
    'schedule_factor',
    'profile',
  ):
    del old[name]
  path.write_text(json.dumps(old))
  config.keep_best = 2
  workdir.claim(tmp_path, config)
  config.ema_decay = 0.9
  with pytest.raises(InputError, match='begun with ema_decay = 0.0'):
    workdir.claim(tmp_path, config)


def test_metrics_of_steps_to_come_again_are_dropped(tmp_path):
  log = metric_log.MetricLog(tmp_path, start_step=0, tensorboard=False)
  for step in (1, 2, 3):
    log.scalars(step, {'train/loss': step / 2, 'x': float('nan')})
  log.close()
  with (tmp_path / 'metrics.jsonl').open('a') as file:
    file.write('{"step": 2, "train/lo')
  log = metric_log.MetricLog(tmp_path, start_step=2, tensorboard=False)
  log.scalars(3, {'train/loss': 9.0})
  log.close()
  assert metric_log.read(tmp_path) == [
    {'step': 1, 'train/loss': 0.5, 'x': None},
    {'step': 2, 'train/loss': 1.0, 'x': None},
    {'step': 3, 'train/loss': 9.0},
  ]


@pytest.mark.parametrize(
  'schedule, warmup, rates',
  [
    ('constant', 0, {0: 8, 5: 8, 99: 8}),
    ('constant', 4, {0: 0, 1: 2, 3: 6, 4: 8, 50: 8}),
    ('linear', 0, {0: 8, 50: 4, 75: 2, 100: 0}),
    ('linear', 20, {10: 4, 20: 8, 60: 4, 100: 0}),
    ('cosine', 0, {0: 8, 50: 4, 100: 0}),
    ('cosine', 20, {10: 4, 20: 8, 60: 4, 100: 0}),
    ('step', 0, {0: 8, 39: 8, 40: 4, 59: 4, 60: 2, 100: 2}),
    ('step', 10, {5: 4, 10: 8, 39: 8, 40: 4, 60: 2}),
  ],
)
def test_learning_rates(schedule, warmup, rates):
  config = schedule_config(schedule=schedule, warmup_steps=warmup)
  rate = schedules.learning_rate(config)
  for step, expected in rates.items():
    np.testing.assert_allclose(rate(step), expected, atol=1e-5)


@pytest.mark.parametrize(
  'fields, said',
  [
    ({'schedule': 'exponential'}, "'exponential' is unknown"),
    ({'warmup_steps': 100}, 'config.warmup_steps: 100'),
    ({'schedule': 'step', 'schedule_steps': (60, 40)}, 'schedule_steps'),
    ({'schedule': 'step', 'schedule_steps': ()}, 'schedule_steps'),
  ],
)
def test_learning_rates_that_make_no_sense(fields, said):
  with pytest.raises(InputError, match=said):
    schedules.learning_rate(schedule_config(**fields))


def schedule_config(**fields):
  return types.SimpleNamespace(
    **(
      {
        'learning_rate': 8.0,
        'num_steps': 100,
        'schedule': 'constant',
        'schedule_steps': (40, 60),
        'schedule_factor': 0.5,
        'warmup_steps': 0,
      }
      | fields
    )
  )
