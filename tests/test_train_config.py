"""Configs of trainings: files, old names of fields, a run without writing."""

import json
import pathlib
import signal
import threading

from absl import flags
import entry_points
import jax
from ml_collections import config_flags
import numpy as np
import pytest
import train_jobs

from configs import defaults, stage1
from viton_jax.errors import InputError
from viton_jax.training import config as configs
from viton_jax.training import loop, workdir

ROOT = entry_points.ROOT
# ml_collections reads config files in an old way.
pytestmark = [
  pytest.mark.slow,
  pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning'),
]


@pytest.fixture(scope='module')
def packed(raw_dir, tmp_path_factory):
  return train_jobs.pack(raw_dir, tmp_path_factory.mktemp('packed') / 'data')


def parse(*arguments):
  argv = configs.translate_flags(['program', *arguments])
  values = flags.FlagValues()
  holder = config_flags.DEFINE_config_file(
    'config', flag_values=values, sys_argv=argv
  )
  values(argv)
  return configs.current(holder.value)


def test_old_names_of_fields_on_the_command_line():
  old = parse(
    *('--config', 'stage1:smoke', '--config.accumulate=2', '--config.ema'),
    *('0.9', '--config.depth=5', '--config.norm_decay', '0.5'),
  )
  new = parse(
    *('--config=stage1:smoke', '--config.grad_accum_steps=2'),
    *('--config.ema_decay=0.9', '--config.num_downsamples', '5'),
    '--config.bn_momentum=0.5',
  )
  assert old == new
  assert (new.grad_accum_steps, new.ema_decay) == (2, 0.9)
  assert (new.num_downsamples, new.bn_momentum) == (5, 0.5)
  # Other flags and values are left alone.
  argv = ['p', '--config.vgg=--config.ema', '--config.remat', '--', '--config']
  assert configs.translate_flags(argv) == argv


def test_old_names_of_fields_in_a_file_of_somebodys_own():
  config = defaults.get_config()
  config.accumulate = 4
  config = configs.current(config)
  assert config.grad_accum_steps == 4 and 'accumulate' not in config
  with pytest.raises(AttributeError):
    config.accumulate = 2


def test_old_names_of_fields_in_an_old_workdir(tmp_path):
  """A config.json as it was written before the fields had their names."""
  config = stage1.get_config('smoke')
  text = json.loads(config.to_json())
  for old, new in (
    ('accumulate', 'grad_accum_steps'),
    ('depth', 'num_downsamples'),
    ('ema', 'ema_decay'),
    ('norm_decay', 'bn_momentum'),
  ):
    text[old] = text.pop(new)
  (tmp_path / 'config.json').write_text(json.dumps(text))
  workdir.claim(tmp_path, config)
  text['accumulate'] = 2
  (tmp_path / 'config.json').write_text(json.dumps(text))
  with pytest.raises(InputError, match='begun with grad_accum_steps = 2'):
    workdir.claim(tmp_path, config)


def test_configs_that_come_along_are_found(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  ours = str(ROOT / 'configs' / 'stage1.py')
  assert configs.find('stage1') == ours
  assert configs.find('configs/stage1.py:smoke') == f'{ours}:smoke'
  with pytest.raises(InputError, match='demo, .*stage1, stage2, stage3'):
    configs.find('stage4')
  with pytest.raises(InputError, match='my/stage1.py: there is no such file'):
    configs.find('my/stage1.py')
  # A file that is there is the one that is meant.
  pathlib.Path('configs').mkdir()
  pathlib.Path('configs/stage1.py').write_text('')
  assert configs.find('configs/stage1.py') == 'configs/stage1.py'


def test_a_dry_run_checks_everything_and_writes_nothing(packed, tmp_path):
  folder = tmp_path / 'w'
  arguments = train_jobs.arguments(packed, folder, ema_decay=0.9)
  done = entry_points.run('viton_jax.train', *arguments, '--dry_run')
  assert '10 training pairs of 64 x 64' in done.stdout
  assert 'would start from scratch' in done.stdout
  assert 'nothing was written' in done.stdout
  assert not folder.exists()
  message = entry_points.fails(
    'viton_jax.train', *arguments, '--dry_run', '--config.accumulate=3'
  )
  assert '3 micro-batches' in message
  assert not folder.exists()


def train_here(packed, folder, **fields):
  config = stage1.get_config('smoke')
  config.data.dir, config.data.format = str(packed), 'packed'
  config.features, config.compile_cache = 4, 'off'
  for name, value in fields.items():
    config[name] = value
  return loop.train_and_evaluate(config, folder)


def test_training_is_a_function(packed, tmp_path, capsys):
  """From Python, without flags, in any thread; signals are given back."""
  handlers = [signal.getsignal(x) for x in (signal.SIGTERM, signal.SIGINT)]
  folder = tmp_path / 'w'
  first = train_here(packed, folder, num_steps=1)
  assert int(first.step) == 1
  assert handlers == [
    signal.getsignal(x) for x in (signal.SIGTERM, signal.SIGINT)
  ]
  states = []
  thread = threading.Thread(
    target=lambda: states.append(train_here(packed, folder, num_steps=2))
  )
  thread.start()
  thread.join()
  (state,) = states
  assert int(state.step) == 2
  assert 'goes on from step 1' in capsys.readouterr().out
  saved = train_jobs.whole_state(folder)
  jax.tree.map(np.testing.assert_array_equal, state.params, saved['params'])
