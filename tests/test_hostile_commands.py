"""Commands whose terminal, folder or weights are not as expected."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import entry_points
import jax
import numpy as np
import pytest

from configs import defaults
from input_pipeline import prepare
from viton_jax import checkpoints, errors
from viton_jax.checkpoints import Checkpoint, orbax_files, safetensors_files
from viton_jax.errors import InputError
from viton_jax.io import storage
from viton_jax.models.shapes import abstract_variables
from viton_jax.training import config as configs

GOLDENS = pathlib.Path(__file__).parent / 'goldens'
SAY = 'from viton_jax import errors; errors.run(lambda: print({text!r} * 99))'


def shell(command, **options):
  return subprocess.run(
    ['bash', '-c', command],
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
    **options,
  )


def say(text='word\n'):
  return f"{sys.executable} -c '{SAY.format(text=text)}'".replace(
    repr(text), json.dumps(text)
  )


def test_a_full_standard_output_is_told_in_one_sentence():
  done = shell(f'{say()} > /dev/full')
  assert done.returncode == errors.EXIT_BAD_INPUT
  assert done.stderr.count('\n') == 1
  assert 'standard output cannot be written (No space left' in done.stderr


@pytest.mark.parametrize(
  'ending', ['| head -1', '>&-', '>&- 2>&-', '< /dev/null']
)
def test_a_standard_output_that_is_closed_is_no_error(ending):
  done = shell(f'set -o pipefail; {say()} {ending}')
  assert done.returncode == 0
  assert done.stderr == ''


def test_names_that_are_no_utf_8_are_printed_escaped():
  text = 'a\udcff'
  done = shell(
    f'{sys.executable} -c "from viton_jax import errors; '
    f'errors.run(lambda: print({ascii(text)!s}))"',
    env=os.environ | {'PYTHONIOENCODING': 'utf-8:strict'},
  )
  assert done.returncode == 0 and done.stdout == 'a\\udcff\n'


@pytest.mark.parametrize(
  'error', ['os.mkdir("x" * 300)', 'open("/proc/none/x", "w")']
)
def test_what_the_system_refuses_is_one_sentence(error):
  done = shell(
    f"{sys.executable} -c 'import os; from viton_jax import errors; "
    f"errors.run(lambda: {error})'"
  )
  assert done.returncode == errors.EXIT_BAD_INPUT
  assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1


@pytest.mark.skipif(os.geteuid() != 0, reason='needs another user number')
def test_a_user_without_a_home(tmp_path):
  program = (
    'import os; from viton_jax import errors; '
    'from viton_jax.perception.model_files import models_folder; '
    'from viton_jax.runtime import compile_cache; '
    'import jax; jax.devices(); '
    'os.environ.pop("HOME", None); os.setuid(12345); '
    'print(compile_cache.use("auto")); '
    'errors.run(models_folder)'
  )
  done = subprocess.run(
    [sys.executable, '-c', program],
    capture_output=True,
    text=True,
    check=False,
    env={k: v for k, v in os.environ.items() if not k.endswith('CACHE_HOME')},
  )
  assert 'not kept' in done.stdout
  assert done.returncode == errors.EXIT_BAD_INPUT
  assert 'no home folder; set HOME' in done.stderr


def test_an_interrupt_while_a_command_imports_is_one_line():
  with subprocess.Popen(
    [sys.executable, '-X', 'importtime', '-m', 'viton_jax.inspect', 'x'],
    stderr=subprocess.PIPE,
    text=True,
  ) as process:
    assert process.stderr
    for line in process.stderr:
      if 'viton_jax.startup' in line:
        break
    time.sleep(0.3)  # It is within the imports of Flax and Orbax now.
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
  assert process.returncode == errors.EXIT_INTERRUPTED
  assert 'interrupted; run the same command' in rest
  assert 'Traceback' not in rest


def test_two_prepares_of_one_folder(tmp_path):
  with storage.Lock(tmp_path / '.lock'):
    with pytest.raises(InputError, match='prepares into this folder'):
      prepare.prepare(
        'viton',
        GOLDENS / 'raw_seed0',
        out_dir=tmp_path,
        pairs='viton_train_pairs.txt',
      )
  assert not (tmp_path / 'prepare.json').exists()


def test_a_layout_without_a_name_is_not_the_default(tmp_path):
  with pytest.raises(InputError, match='layout'):
    prepare.main(
      ['--layout=', '--data_dir', str(tmp_path), '--out_dir', str(tmp_path)]
    )


def test_the_root_is_no_checkpoint():
  with pytest.raises(InputError, match='/: no checkpoint found'):
    checkpoints.read_pair('/')


# -------------------------------------------------------------------- weights


def network(features=1) -> Checkpoint:
  rng = np.random.default_rng(0)
  variables = jax.tree.map(
    lambda x: rng.normal(size=x.shape).astype(np.float32),
    abstract_variables('refinement', features),
  )
  return Checkpoint(
    pathlib.Path('a'), 5, 'refinement', features, 'fixed', (64, 64), variables,
    {'seed': 0},
  )  # fmt: skip


def with_bias(one, change):
  params = dict(one.variables['params'])
  final = dict(params['final'])
  final['bias'] = change(final['bias'])
  return dataclasses.replace(
    one, variables={'params': params | {'final': final}}
  )


@pytest.mark.parametrize('form', ['orbax', 'safetensors'])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, form):
  one = with_bias(network(), lambda x: x * np.nan)
  path = tmp_path / f'a.{form}'
  if form == 'orbax':
    checkpoints.write(one, path)
  else:
    safetensors_files.write(one, path)
  with pytest.raises(InputError, match='params/final/bias holds numbers'):
    checkpoints.read(path, 'refinement')


@pytest.mark.parametrize('form', ['orbax', 'safetensors'])
def test_weights_of_another_type_are_refused_by_name(tmp_path, form):
  one = with_bias(network(), lambda x: x.astype(np.float64))
  path = tmp_path / f'a.{form}'
  if form == 'orbax':
    checkpoints.write(one, path)
  else:
    safetensors_files.write(one, path)
  with pytest.raises(InputError, match='final/bias is float64.* has float32'):
    checkpoints.read(path, 'refinement')


def test_flipped_bytes_never_give_other_weights(tmp_path):
  checkpoints.write(network(), tmp_path / 'sound')
  sound = checkpoints.read(tmp_path / 'sound', 'refinement')
  step = checkpoints.find(tmp_path / 'sound')
  places = [
    (path.relative_to(tmp_path / 'sound'), path.stat().st_size)
    for path in sorted(step.rglob('*'))
    if path.is_file() and path.stat().st_size
  ]
  rng = np.random.default_rng(0)
  refused = 0
  for number in range(40):
    name, size = places[rng.integers(len(places))]
    copy = tmp_path / f'copy{number}'
    shutil.copytree(tmp_path / 'sound', copy)
    data = bytearray((copy / name).read_bytes())
    data[rng.integers(size)] ^= 1 << int(rng.integers(8))
    (copy / name).write_bytes(data)
    try:
      found = checkpoints.read(copy, 'refinement')
    except InputError as error:
      assert '\n' not in str(error)
      refused += 1
      continue
    for got, want in zip(
      jax.tree.leaves(found.variables),
      jax.tree.leaves(sound.variables),
      strict=True,
    ):
      np.testing.assert_array_equal(got, want)
    for field in ('features', 'size', 'step', 'fidelity', 'config'):
      assert getattr(found, field) == getattr(sound, field)
  assert refused > 10


@pytest.mark.parametrize(
  'change',
  [
    {'features': 0},
    {'features': 10**6},
    {'features': '1'},
    {'height': -64},
    {'step': None},
    {'fidelity': 'x'},
    {'network': 'gan'},
    {'config': []},
    {'other': 1},
  ],
)
def test_metadata_that_cannot_be_are_refused(tmp_path, change):
  checkpoints.write(network(), tmp_path)
  path = checkpoints.find(tmp_path) / 'metadata' / 'metadata'
  metadata = json.loads(path.read_text())
  # As one of an earlier version, which has no checksums.
  for name in ('crc32c', 'crc32c_of_metadata'):
    del metadata[name]
  path.write_text(json.dumps(metadata))
  assert checkpoints.read(tmp_path, 'refinement').features == 1
  path.write_text(json.dumps(metadata | change))
  with pytest.raises(InputError, match='its metadata') as error:
    checkpoints.read(tmp_path, 'refinement')
  assert next(iter(change)) in str(error.value)


def test_states_are_compared_with_their_checksums(tmp_path):
  """What resumes is what was written."""
  state = {'w': np.arange(4, dtype=np.float32), 'n': np.int32(3)}
  manager = checkpoints.open_manager(tmp_path, keep=None)
  checkpoints.save(manager, 1, state, metadata={})
  checkpoints.finish(manager)
  restored = checkpoints.restore_state(manager, 1, state)
  np.testing.assert_array_equal(restored['w'], state['w'])
  path = tmp_path / 'checkpoints/1/metadata/metadata'
  metadata = orbax_files.read_metadata(tmp_path / 'checkpoints/1')
  metadata['crc32c']['w'] ^= 1
  path.write_text(json.dumps(metadata))
  with pytest.raises(InputError, match='w is not what was written'):
    checkpoints.restore_state(manager, 1, state)
  manager.close()


# ------------------------------------------------------------------- training


@pytest.mark.parametrize(
  'name, value',
  [
    ('bn_momentum', 7.0),
    ('learning_rate', -1.0),
    ('learning_rate', float('nan')),
    ('features', 0),
    ('seed', int(1e20)),
    ('seed', -1),
    ('num_steps', 0),
    ('ema_decay', 1.0),
    ('warmup_steps', -1),
    ('schedule_factor', float('inf')),
    ('keep', 10**12),
    ('schedule_steps', (0,)),
  ],
)
def test_every_number_of_a_config_has_a_range(name, value):
  config = defaults.get_config()
  configs.check_numbers(config)
  config[name] = value
  with pytest.raises(InputError, match=f'config.{name}.*from .* to'):
    configs.check_numbers(config)


def test_weights_of_the_loss_have_a_range():
  config = defaults.get_config()
  config.loss.image = -1.0
  with pytest.raises(InputError, match='config.loss.image'):
    configs.check_numbers(config)


@pytest.mark.parametrize(
  'text, message',
  [
    ('def get_config(:\n', 'SyntaxError'),
    ('def get_config():\n  raise SystemExit(0)\n', 'SystemExit'),
    ('def get_config():\n  1 / 0\n', 'ZeroDivisionError'),
    ('import no_such_module\n', 'ModuleNotFoundError'),
    ('x = 1\n', 'get_config'),
    ('def get_config():\n  return 5\n', 'returns a int'),
    (
      'from ml_collections import ConfigDict\n'
      'def get_config():\n  return ConfigDict({"a": 1})\n',
      'no field',
    ),
  ],
)
@pytest.mark.slow
def test_config_files_that_are_none(tmp_path, text, message):
  path = tmp_path / 'mine.py'
  path.write_text(text)
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'viton_jax.train', '--config', path),
      *('--workdir', tmp_path / 'w'),
    ],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == errors.EXIT_BAD_INPUT
  (line,) = [x for x in done.stderr.splitlines() if x.startswith('error: ')]
  assert message in line and 'Traceback' not in done.stderr
  assert not (tmp_path / 'w').exists()


def test_sigterm_is_not_lost_in_a_finaliser():
  """Where Python drops exceptions; temporary folders go all the same."""
  program = """
import os, pathlib, signal, tempfile, time
from viton_jax import errors
class Slow:
  def __del__(self):
    os.kill(os.getpid(), signal.SIGTERM)
def main():
  errors.clean_up_on_sigterm()
  with tempfile.TemporaryDirectory() as folder:
    print(folder, flush=True)
    Slow()
    time.sleep(30)
errors.run(main)
"""
  done = subprocess.run(
    [sys.executable, '-c', program],
    capture_output=True,
    text=True,
    timeout=25,
    check=False,
  )
  assert done.returncode == errors.EXIT_INTERRUPTED, done.stderr
  assert done.stderr == 'interrupted; run the same command to go on\n'
  assert not pathlib.Path(done.stdout.strip()).exists()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason='mounts a small disk')
def test_records_on_a_disk_that_fills_at_the_end(raw_dir, tmp_path):
  """TFDS wraps what the system says; a second run goes on."""
  disk = tmp_path / 'disk'
  disk.mkdir()
  if shell(f'mount -t tmpfs -o size=64m tmpfs {disk}').returncode:
    pytest.skip('tmpfs cannot be mounted here')
  arguments = (
    *('--layout', 'viton', '--data_dir', raw_dir, '--out_dir', disk / 'out'),
    *('--height', 64, '--width', 64, '--workers', 2),
  )
  try:
    entry_points.run('input_pipeline.prepare', *arguments)
    written = sum(
      x.stat().st_size for x in (disk / 'out').rglob('*') if x.is_file()
    )
    shutil.rmtree(disk / 'out')
    ballast, free = disk / 'ballast', os.statvfs(disk)
    # Parts and records do not fit together.
    with ballast.open('wb') as file:
      size = free.f_bavail * free.f_frsize - int(1.6 * written)
      os.posix_fallocate(file.fileno(), 0, size)
    line = entry_points.fails('input_pipeline.prepare', *arguments)
    assert 'the disk is full; free some space' in line, line
    ballast.unlink()
    done = entry_points.run('input_pipeline.prepare', *arguments)
    assert 'records in' in done.stdout
    assert not list(disk.rglob('*incomplete*'))
  finally:
    shell(f'umount -l {disk}')
