"""TensorFlow-1 checkpoints, the golden one and others made here."""

import dataclasses
import pathlib
import shutil
import subprocess
import sys

import entry_points
from flax import traverse_util
import network_goldens as goldens
import numpy as np
import pytest

from viton_jax import checkpoints, convert
from viton_jax.checkpoints import safetensors_files, tensorflow1
from viton_jax.errors import InputError

pytestmark = pytest.mark.slow


def tf1_values(*networks, features=2, seed=0):
  """Random values under TensorFlow's names."""
  rng = np.random.default_rng(seed)
  values = {}
  for network in networks or ('encoder_decoder', 'refinement'):
    first = {
      'generator/encoder_1/conv/filter': np.zeros((4, 4, 25, features)),
      'refine_generator/g_256_conv1/weights': np.zeros((3, 3, 6, 64)),
    }
    for name, shape in tensorflow1.expected_shapes(network, first).items():
      values[name] = rng.normal(size=shape).astype(np.float32)
  return values


def save_tf1(prefix, values, *, version=2):
  """Writes with TensorFlow's own Saver."""
  import tensorflow as tf

  v1 = tf.compat.v1
  prefix.parent.mkdir(parents=True, exist_ok=True)
  with tf.Graph().as_default(), v1.Session() as session:
    variables = {
      name: v1.get_variable(
        f'v{i}', value.shape, tf.as_dtype(value.dtype), use_resource=False
      )
      for i, (name, value) in enumerate(values.items())
    }
    for name, variable in variables.items():
      variable.load(values[name], session)
    saver = v1.train.Saver(variables, write_version=version)
    saver.save(session, str(prefix))


@pytest.fixture
def folder(tmp_path):
  shutil.copytree(goldens.CHECKPOINT.parent, tmp_path / 'model')
  return tmp_path / 'model'


def run_main(monkeypatch, *arguments):
  monkeypatch.setattr(sys, 'argv', ['convert', *map(str, arguments)])
  return convert.main()


def assert_equal(a, b):
  a, b = (traverse_util.flatten_dict(x, sep='/') for x in (a, b))
  assert a.keys() == b.keys()
  for name, value in a.items():
    assert np.asarray(value).dtype == np.float32
    np.testing.assert_array_equal(value, b[name], err_msg=name)


@pytest.mark.parametrize(
  'name',
  ['', 'model-6000', 'model-6000.index', 'model-6000.data-00000-of-00001'],
)
def test_prefix_folder_and_files_all_name_the_checkpoint(folder, name):
  found = tensorflow1.find_tf1_checkpoint(folder / name)
  assert found == folder / 'model-6000'


def test_every_variable_has_its_place():
  networks = goldens.networks()
  sizes = {'encoder_decoder': 52, 'refinement': 11}
  assert networks.keys() == sizes.keys()
  for network, variables in networks.items():
    flat = traverse_util.flatten_dict(variables)
    assert set(flat) == set(tensorflow1.tf1_names(network).values())
    assert len(flat) == sizes[network]
  assert tensorflow1.features_of(networks['encoder_decoder']) == 8
  assert tensorflow1.features_of(networks['refinement']) == 64


@pytest.mark.parametrize('version', [1, 2])
def test_savers_of_both_versions_with_leftovers_of_training(tmp_path, version):
  values = tf1_values('encoder_decoder')
  extra = {
    'global_step': np.int64(1234),
    'beta1_power': np.float32(0.5),
    'beta2_power_1': np.float32(0.9),
    'generator/encoder_1/conv/filter/Adam': np.zeros((2,), np.float32),
    'generator/encoder_1/conv/filter/Adam_1': np.zeros((2,), np.float32),
  }
  save_tf1(tmp_path / 'model-77', values | extra, version=version)
  assert (tmp_path / 'model-77.index').exists() == (version == 2)
  for path in (tmp_path, tmp_path / 'model-77'):
    found = tensorflow1.read_tf1(path)
    assert list(found) == ['encoder_decoder']
    one = found['encoder_decoder']
    assert (one.step, one.features, one.fidelity) == (1234, 2, 'original')
  for name, place in tensorflow1.tf1_names('encoder_decoder').items():
    collection, layer, variable = place
    np.testing.assert_array_equal(
      one.variables[collection][layer][variable], values[name]
    )


def test_the_folder_gives_what_its_checkpoint_file_names(tmp_path):
  for step in (5, 40, 300):
    for ending in ('.index', '.data-00000-of-00001'):
      (tmp_path / f'model-{step}{ending}').touch()
  state = tmp_path / 'checkpoint'
  state.write_text('model_checkpoint_path: "/gone/away/model-40"\n')
  assert tensorflow1.find_tf1_checkpoint(tmp_path).name == 'model-40'
  state.unlink()
  assert tensorflow1.find_tf1_checkpoint(tmp_path).name == 'model-300'


def test_there_and_back_is_bit_equal(tmp_path, folder, monkeypatch, capsys):
  a, b, c = (tmp_path / x for x in 'abc')
  assert run_main(monkeypatch, '--tf1_checkpoint', folder, '--out_dir', a) == 0
  printed = capsys.readouterr().out
  for name in tensorflow1.tf1_names('refinement'):
    assert name in printed
  assert '(4, 4, 25, 8)' in printed and 'step 6000' in printed

  for network in ('encoder_decoder', 'refinement'):
    first = checkpoints.read(a / network, network)
    assert (first.step, first.fidelity) == (6000, 'original')
    assert first.size == (256, 192)
    assert_equal(first.variables, goldens.networks()[network])

    run_main(
      monkeypatch,
      *('--checkpoint', a / network, '--to', 'safetensors', '--out_dir', b),
    )
    file = b / f'{network}.safetensors'
    run_main(monkeypatch, '--safetensors', file, '--out_dir', c)
    last = checkpoints.read(c / network, network)
    assert_equal(last.variables, first.variables)
    for field in ('step', 'network', 'features', 'fidelity', 'size', 'config'):
      assert getattr(last, field) == getattr(first, field), field

  with pytest.raises(InputError, match='exists already'):
    run_main(monkeypatch, '--tf1_checkpoint', folder, '--out_dir', a)


def test_half_the_size(tmp_path, folder, monkeypatch):
  a, b, c = (tmp_path / x for x in 'abc')
  run_main(monkeypatch, '--tf1_checkpoint', folder, '--out_dir', a)
  to = ('--checkpoint', a, '--to', 'safetensors', '--out_dir')
  run_main(monkeypatch, *to, b)
  run_main(monkeypatch, *to, c, '--half')
  name = 'encoder_decoder.safetensors'
  assert (c / name).stat().st_size < 0.55 * (b / name).stat().st_size
  whole, half = (
    checkpoints.read(x, 'encoder_decoder').variables for x in (b, c)
  )
  for kind in whole:
    for layer, values in whole[kind].items():
      for place, value in values.items():
        found = half[kind][layer][place]
        assert found.dtype == np.float32
        if value.ndim > 1:
          value = value.astype(np.float16)
        np.testing.assert_array_equal(found, value)
  with pytest.raises(InputError, match='--half: goes with --to safetensors'):
    run_main(monkeypatch, '--checkpoint', a, '--out_dir', tmp_path, '--half')


def test_a_missing_file_is_named(tmp_path, folder):
  with pytest.raises(InputError, match='model-7.*no such TensorFlow'):
    convert.read_tf1_checkpoint(folder / 'model-7')
  (tmp_path / 'empty').mkdir()
  with pytest.raises(InputError, match='holds no TensorFlow checkpoint'):
    convert.read_tf1_checkpoint(tmp_path / 'empty')
  (folder / 'model-6000.data-00000-of-00001').unlink()
  with pytest.raises(InputError, match='.data file is missing'):
    convert.read_tf1_checkpoint(folder)


@pytest.mark.parametrize(
  'name', ['model-6000.index', 'model-6000.data-00000-of-00001']
)
def test_a_truncated_file_is_refused(folder, tmp_path, monkeypatch, name):
  file = folder / name
  file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
  with pytest.raises(InputError, match='cannot be read as a TensorFlow'):
    run_main(
      monkeypatch, '--tf1_checkpoint', folder, '--out_dir', tmp_path / 'w'
    )
  assert not (tmp_path / 'w').exists()


_FILTER = 'generator/encoder_3/conv/filter'


@pytest.mark.parametrize(
  'name, value, message',
  [
    (_FILTER, None, f'encoder_decoder lacks {_FILTER}'),
    (
      'discriminator/w',
      np.zeros(3, np.float32),
      'belong to no network.*discriminator/w',
    ),
    (
      _FILTER,
      np.zeros((4, 4, 8, 16), np.float32),
      rf'{_FILTER} is \(4, 4, 8, 16\).*\(4, 4, 4, 8\)',
    ),
    (_FILTER, np.full((4, 4, 4, 8), np.nan, np.float32), 'not finite'),
    (_FILTER, np.zeros((4, 4, 4, 8), np.float64), 'float64, not float32'),
  ],
)
def test_leftovers_and_gaps_are_refused_by_name(
  monkeypatch, name, value, message
):
  values = tf1_values() | {name: value}
  if value is None:
    del values[name]
  monkeypatch.setattr(tensorflow1, '_read_values', lambda prefix: dict(values))
  with pytest.raises(InputError, match=message):
    convert.read_tf1_checkpoint(goldens.CHECKPOINT)


def test_another_projects_checkpoint_is_refused(tmp_path):
  save_tf1(tmp_path / 'model-1', {'dense/kernel': np.zeros((2, 2), np.float32)})
  with pytest.raises(InputError, match='none of VITON.*dense/kernel'):
    convert.read_tf1_checkpoint(tmp_path)


def test_safetensors_with_a_gap_are_refused_by_name(tmp_path):
  path = tmp_path / 'refinement.safetensors'
  one = tensorflow1.read_tf1(goldens.CHECKPOINT)['refinement']
  params = dict(one.variables['params'])
  del params['conv_2']
  broken = dataclasses.replace(one, variables={'params': params})
  safetensors_files.write(broken, path)
  with pytest.raises(InputError, match='conv_2/kernel is nothing where'):
    safetensors_files.read(path)
  safetensors_files.write(dataclasses.replace(one, features=32), path)
  with pytest.raises(InputError, match=r'64\) where a refinement of 32'):
    safetensors_files.read(path)
  safetensors_files.write(dataclasses.replace(one, network='gan'), path)
  with pytest.raises(
    InputError, match='metadata cannot be used .network is gan'
  ):
    safetensors_files.read(path)


def test_other_safetensors_are_refused(tmp_path):
  from safetensors.numpy import save_file

  path = tmp_path / 'x.safetensors'
  with pytest.raises(InputError, match='no such file'):
    safetensors_files.read(path)
  save_file({'w': np.zeros(3, np.float32)}, path)
  with pytest.raises(InputError, match='not of viton_jax'):
    safetensors_files.read(path)
  path.write_bytes(path.read_bytes()[:-4])
  with pytest.raises(InputError, match='cannot be read as safetensors'):
    safetensors_files.read(path)


def test_help_and_errors_are_for_people(monkeypatch, capsys, tmp_path):
  with pytest.raises(SystemExit) as stop:
    run_main(monkeypatch, '--help')
  assert stop.value.code == 0
  assert '--tf1_checkpoint model/stage1' in capsys.readouterr().out
  file = pathlib.Path(tmp_path / 'file')
  file.touch()
  source = goldens.CHECKPOINT
  with pytest.raises(InputError, match='cannot be written'):
    run_main(
      monkeypatch, '--tf1_checkpoint', source, '--out_dir', file / 'below'
    )


def test_a_published_size_converts_in_4_gb(tmp_path):
  """Both networks with ngf 64, written by TensorFlow's own Saver."""
  prefix = tmp_path / 'model-6000'
  save_tf1(prefix, tf1_values('encoder_decoder', 'refinement', features=64))
  limited = (
    'import resource, runpy, sys\n'
    'sys.argv = sys.argv[1:]\n'
    'try:\n'
    '  runpy.run_module(sys.argv[0], run_name="__main__")\n'
    'finally:\n'
    '  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n'
    '  assert peak < 4 * 2**20, f"{peak} kB"\n'
  )
  done = subprocess.run(
    [
      *(sys.executable, '-c', limited, 'viton_jax.convert'),
      *('--tf1_checkpoint', prefix, '--out_dir', tmp_path / 'out'),
    ],
    cwd=entry_points.ROOT,
    env=entry_points.environment(),
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  checkpoint = checkpoints.read(tmp_path / 'out', 'encoder_decoder')
  assert checkpoint.features == 64 and checkpoint.step == 6000
