"""Export: the artifact and the SavedModel give the live model's pictures."""

import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import entry_points
import jax
import numpy as np
import pytest
import safetensors.numpy

from input_pipeline.layouts import open_layout
from input_pipeline.sample import Sample, working_example
from viton_jax import checkpoints, engine, export
from viton_jax import networks as try_on_networks
from viton_jax.checkpoints import Checkpoint
from viton_jax.checkpoints.safetensors_files import write as write_portable
from viton_jax.errors import InputError
from viton_jax.models import EncoderDecoder, Refinement
from viton_jax.representation import from_labels
from viton_jax.serving import artifact, programs

pytestmark = pytest.mark.slow

SIZE = (128, 64)
PAIRS = 3

# What an exported try-on needs: jax, flatbuffers, jaxtyping, safetensors and
# threadpoolctl, with what these require.
_ALONE = (
  *('jax', 'jaxlib', 'numpy', 'scipy', 'ml_dtypes', 'opt_einsum'),
  *('flatbuffers', 'jaxtyping', 'wadler_lindig'),
  *('safetensors', 'threadpoolctl.py'),
)


def arguments(networks, out_dir, *more):
  return (
    *('--checkpoint', networks[0], '--refine_checkpoint', networks[1]),
    *('--out_dir', out_dir, *more),
  )


@pytest.fixture(scope='module')
def exported(networks, tmp_path_factory):
  out_dir = tmp_path_factory.mktemp('export') / 'exported'
  done = entry_points.run(
    'viton_jax.export',
    *arguments(networks, out_dir, '--format', 'stablehlo,savedmodel'),
  )
  return out_dir, done.stdout


@pytest.fixture(scope='module')
def batch(raw_dir):
  layout = open_layout('viton', raw_dir, None, split='test')
  examples = [
    working_example(
      layout.load(i), height=SIZE[0], width=SIZE[1], fidelity='fixed'
    )
    for i in range(PAIRS)
  ]
  return {
    name: np.stack([example[name] for example in examples])
    for name in programs.describe_inputs(SIZE)
  }


@pytest.fixture(scope='module')
def live(networks, batch):
  """The live model's try-on, and its picture in grey levels."""
  made = from_labels(batch['parse'], batch['keypoints'], fidelity='fixed')
  made = {name: np.asarray(value) for name, value in made.items()}
  tried = try_on_networks.load(*networks, matching='device')({**batch, **made})
  assert tried.failures == [None] * PAIRS  # Else this tests too little.
  levels = np.clip(np.rint((tried.output + 1) * 127.5), 0, 255)
  return tried, levels.astype(int)


def test_the_export_says_how_close_it_is(exported):
  out_dir, log = exported
  for what in ('stablehlo, fresh process', 'SavedModel, TensorFlow'):
    assert f'{what}, against the live model' in log
  apart = [int(x) for x in re.findall(r'largest difference (\d+)', log)]
  # TensorFlow brings another XLA, whose rounding chooses other nearest points;
  # `export.compare` has seen to it that this shows little.
  count = len(engine.RANGES)
  assert len(apart) == 2 * count and max(apart[:count]) <= 2
  assert sorted(os.listdir(out_dir.parent)) == ['exported']


def test_manifest_lists_every_file(exported):
  out_dir, _ = exported
  manifest = json.loads((out_dir / 'manifest.json').read_text())
  files = {
    str(path.relative_to(out_dir)): path.read_bytes()
    for path in out_dir.rglob('*')
    if path.is_file() and path.name != 'manifest.json'
  }
  assert manifest['files'] == {
    name: {'bytes': len(data), 'sha256': hashlib.sha256(data).hexdigest()}
    for name, data in files.items()
  }
  assert manifest['platforms'] == ['cpu', 'cuda', 'tpu']
  assert (manifest['height'], manifest['width']) == SIZE
  assert manifest['fidelity'] == 'fixed' and manifest['dtype'] == 'float32'
  assert manifest['versions']['jax'] == jax.__version__
  assert manifest['inputs']['person'] == {
    'shape': ['b', 128, 64, 3],
    'dtype': 'uint8',
    'range': [0, 255],
    'what': 'photo of the person, RGB',
  }
  assert sorted(manifest['inputs']) == [
    *('garment', 'garment_mask', 'keypoints', 'parse', 'person')
  ]
  outputs = manifest['program']['outputs']
  assert outputs['reason'] == {'shape': ['b'], 'dtype': 'int32'}
  assert outputs['output']['shape'] == ['b', 128, 64, 3]
  assert outputs['output']['dtype'] == 'uint8'
  assert 'licence' in manifest
  names = sorted(files)
  assert [x for x in names if 'stablehlo' in x] == ['try_on.stablehlo']
  assert 'refinement.safetensors' in names


@pytest.fixture(scope='module')
def alone(tmp_path_factory):
  """Runs Python where nothing is installed but `_ALONE`."""
  folder = tmp_path_factory.mktemp('packages')
  installed = pathlib.Path(jax.__file__).parents[1]
  for name in _ALONE:
    # jaxtyping asks for its own version, which stands in its .dist-info.
    described = [x.name for x in installed.glob(f'{name}-*.dist-info')]
    for part in (name, f'{name}.libs', *described):
      if (installed / part).exists():
        (folder / part).symlink_to(installed / part)
  # The product's own package, without its neighbours.
  (folder / 'viton_jax').symlink_to(entry_points.ROOT / 'viton_jax')

  def run(*command):
    return subprocess.run(
      [sys.executable, '-S', *map(str, command)],
      cwd=folder,
      env=entry_points.environment() | {'PYTHONPATH': str(folder)},
      capture_output=True,
      text=True,
      check=False,
    )

  for name in ('cv2', 'flax', 'orbax', 'absl', 'tensorflow'):
    assert 'ModuleNotFoundError' in run('-c', f'import {name}').stderr
  return run


@pytest.mark.parametrize('pairs', [PAIRS, 1])
def test_jax_and_numpy_alone_give_the_live_picture(
  exported, batch, live, alone, tmp_path, pairs
):
  inputs, outputs = tmp_path / 'batch.npz', tmp_path / 'tried.npz'
  np.savez(inputs, **{name: x[:pairs] for name, x in batch.items()})
  done = alone(
    *('-m', 'viton_jax.serving.artifact', exported[0]),
    *('--inputs', inputs, '--outputs', outputs),
  )
  assert done.returncode == 0, done.stderr
  assert f'{pairs} pairs, 0 failed' in done.stdout
  tried = np.load(outputs)
  assert tried['output'].dtype == np.uint8
  assert np.abs(tried['output'] - live[1][:pairs]).max() <= 2
  assert live[1].std() > 10  # Pictures, not grey.
  np.testing.assert_allclose(
    tried['control_points'], live[0].control_points[:pairs], atol=2e-3
  )


@pytest.fixture(scope='module')
def try_on(exported):
  return artifact.load(exported[0], max_batch=2)


def test_any_batch_size_from_one_artifact(try_on, batch, live):
  assert try_on.size == SIZE and try_on.fidelity == 'fixed'
  for order in ([2], [0, 1, 2], [2, 1, 0, 1, 2]):
    tried = try_on({name: values[order] for name, values in batch.items()})
    assert tried.output.shape == (len(order), *SIZE, 3)
    assert np.abs(tried.output.astype(int) - live[1][order]).max() <= 2
    assert tried.failures == [None] * len(order)
  for name, (low, high) in {
    'warped': (-1, 1),
    'coarse': (-1, 1),
    'mask': (0, 1),
    'alpha': (0, 1),
  }.items():
    levels = (getattr(live[0], name)[order] - low) * 255 / (high - low)
    apart = np.abs(getattr(tried, name) - levels)
    # Of another batch size, whose program may round to other nearest points.
    matched = name in ('warped', 'alpha')
    assert (apart > 2).mean() < (0.01 if matched else 1e-9), name


def test_an_exported_folder_is_a_checkpoint(exported, networks):
  """Its weights, by the networks of Flax."""
  for network in ('encoder_decoder', 'refinement'):
    kept, found = (
      checkpoints.read(x, network).variables
      for x in (exported[0], networks[network == 'refinement'])
    )
    jax.tree.map(np.testing.assert_array_equal, kept, found)


def test_a_pair_that_cannot_be_matched(try_on, batch):
  masks = batch['garment_mask'].copy()
  masks[1] = 0
  tried = try_on(batch | {'garment_mask': masks})
  assert 'empty' in tried.failures[1]
  assert tried.failures[0] is None and tried.failures[2] is None


@pytest.mark.parametrize('fidelity', ['fixed', 'original'])
def test_what_is_made_of_labels_and_joints(fidelity):
  """Equal to the working example of photos that have the working size."""
  rng = np.random.default_rng(3)
  keypoints = rng.uniform(1, 60, (18, 3)).astype(np.float32)
  keypoints[5] = 0
  sample = Sample(
    'a',
    'b',
    person=rng.integers(0, 256, (*SIZE, 3), np.uint8),
    garment=rng.integers(0, 256, (*SIZE, 3), np.uint8),
    keypoints=keypoints,
    parse=rng.integers(0, 20, SIZE).astype(np.uint8),
    garment_mask=rng.integers(0, 2, SIZE).astype(bool),
  )
  expected = working_example(
    sample, height=SIZE[0], width=SIZE[1], fidelity=fidelity
  )
  made = from_labels(sample.parse[None], keypoints[None], fidelity=fidelity)
  assert len(made) == (4 if fidelity == 'original' else 2)
  for name, value in made.items():
    np.testing.assert_allclose(value[0], expected[name], atol=1e-6)
    assert value.dtype == expected[name].dtype


def test_wrong_arrays(exported, batch):
  manifest = artifact.read_manifest(exported[0])

  def refused(**changes):
    changed = {k: v for k, v in (batch | changes).items() if v is not None}
    with pytest.raises(InputError) as caught:
      artifact.checked_inputs(manifest, changed)
    return str(caught.value)

  assert 'give uint8 of shape (b, 128, 64, 3)' in refused(
    person=batch['person'][:, :100]
  )
  assert 'person is float32' in refused(
    person=batch['person'].astype(np.float32)
  )
  assert 'shape (0, 128, 64, 3)' in refused(person=batch['person'][:0])
  assert 'person is for 1 pairs' in refused(person=batch['person'][:1])
  assert 'within 0 and 1' in refused(garment_mask=batch['garment_mask'] * 255)
  broken = batch['keypoints'].copy()
  broken[0, 0, 0] = np.nan
  assert 'keypoints goes from nan' in refused(keypoints=broken)
  assert 'parse is missing' in refused(parse=None)
  labels = np.full((PAIRS, *SIZE), 20, np.uint8)
  message = refused(parse=labels)
  assert 'parse goes from 20 to 20' in message


def test_changed_files(exported, batch, tmp_path):
  def refused(file, change):
    folder = tmp_path / 'copy'
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(exported[0], folder)
    if change is None:
      (folder / file).unlink()
    else:
      (folder / file).write_bytes(change((folder / file).read_bytes()))
    with pytest.raises(InputError) as caught:
      artifact.load(folder)
    assert str(folder / file) in str(caught.value)
    return str(caught.value)

  def flip(data):
    return data[:999] + bytes([data[999] ^ 1]) + data[1000:]

  assert 'SHA-256' in refused('try_on.stablehlo', flip)
  assert 'SHA-256' in refused('encoder_decoder.safetensors', flip)
  assert 'No such file' in refused('try_on.stablehlo', None)
  assert 'usable JSON' in refused('manifest.json', lambda data: data[:-9])
  assert 'is not a' in refused('manifest.json', lambda data: b'{}')

  def without(part):
    def change(data):
      manifest = json.loads(data)
      del manifest[part]
      return json.dumps(manifest).encode()

    return change

  for part in ('program', 'reasons', 'inputs', 'files', 'height'):
    assert f"'{part}'" in refused('manifest.json', without(part))

  def damage(data):  # By someone who mends the manifest as well.
    path = tmp_path / 'copy' / 'manifest.json'
    manifest = json.loads(path.read_text())
    changed = data[: len(data) // 2]
    manifest['files']['try_on.stablehlo']['sha256'] = artifact.digest(changed)
    path.write_text(json.dumps(manifest))
    return changed

  assert 'export again' in refused('try_on.stablehlo', damage)
  inputs = tmp_path / 'batch.npz'
  np.savez(inputs, **batch)
  line = entry_points.fails(
    'viton_jax.serving.artifact',
    tmp_path,
    *('--inputs', inputs, '--outputs', tmp_path / 'out.npz'),
  )
  assert 'manifest.json' in line
  inputs.write_bytes(b'nothing')
  line = entry_points.fails(
    'viton_jax.serving.artifact',
    exported[0],
    *('--inputs', inputs, '--outputs', tmp_path / 'out.npz'),
  )
  assert 'batch.npz' in line and not (tmp_path / 'out.npz').exists()


def test_weights_as_safetensors_reads_them(exported):
  path = exported[0] / 'encoder_decoder.safetensors'
  flat = safetensors.numpy.load_file(path)
  tree = artifact.read_weights(path.read_bytes(), path)
  assert len(jax.tree.leaves(tree)) == len(flat)
  for place, value in flat.items():
    found = tree
    for part in place.split('/'):
      found = found[part]
    np.testing.assert_array_equal(found, value)
  with pytest.raises(InputError, match='safetensors'):
    artifact.read_weights(path.read_bytes()[:-4], path)
  with pytest.raises(InputError, match='safetensors'):
    artifact.read_weights(b'', path)


def test_saved_model_in_one_call(exported, batch, live):
  import tensorflow as tf

  loaded = tf.saved_model.load(str(exported[0] / 'savedmodel' / '1'))
  assert sorted(loaded.signatures) == ['images', 'serving_default']
  given = {name: tf.constant(x) for name, x in batch.items()}
  one = {name: value[1:2] for name, value in given.items()}
  for inputs, rows in ((given, slice(None)), (one, slice(1, 2))):
    answer = loaded.signatures['serving_default'](**inputs)
    assert sorted(answer) == ['control_points', 'output', 'reason']
    picture = answer['output'].numpy()
    assert picture.dtype == np.uint8
    assert picture.shape == live[1][rows].shape
    # TensorFlow brings another XLA, whose rounding chooses other nearest
    # points: the garment lies a little otherwise.
    points = answer['control_points'].numpy() - live[0].control_points[rows]
    assert np.abs(points).max() < 0.05
    assert np.abs(picture - live[1][rows]).mean((1, 2, 3)).max() < 1
    assert (answer['reason'].numpy() == 0).all()
  text = (exported[0] / 'batching_parameters.txt').read_text()
  assert text.count('allowed_batch_sizes') == 4


@pytest.mark.parametrize(
  'name', ['saved_model.pb', 'variables/variables.data-00000-of-00001']
)
def test_changed_saved_model(exported, tmp_path, name):
  from viton_jax.serving import saved_model

  shutil.copytree(exported[0], tmp_path / 'copy')
  path = tmp_path / 'copy' / 'savedmodel' / '1' / name
  path.write_bytes(path.read_bytes()[:-100])
  with pytest.raises(InputError, match='SHA-256'):
    saved_model.load(tmp_path / 'copy')
  manifest = tmp_path / 'copy' / 'manifest.json'
  entries = json.loads(manifest.read_text())
  name = str(path.relative_to(tmp_path / 'copy'))
  entries['files'][name]['sha256'] = artifact.digest(path.read_bytes())
  manifest.write_text(json.dumps(entries))
  with pytest.raises(InputError, match='export again'):
    saved_model.load(tmp_path / 'copy')


def test_original_in_bfloat16(tmp_path):
  """The other fidelity has one more input; random weights match nothing."""
  paths = []
  for seed, (name, model, channels) in enumerate(
    (
      ('encoder_decoder', EncoderDecoder(features=4), (25,)),
      ('refinement', Refinement(features=4), (3, 3)),
    )
  ):
    variables = jax.jit(model.init)(
      jax.random.key(seed), *(np.zeros((1, 64, 64, c)) for c in channels)
    )
    paths.append(tmp_path / f'{name}.safetensors')
    write_portable(
      Checkpoint(
        path=paths[-1],
        step=0,
        network=name,
        features=4,
        fidelity='original',
        size=(64, 64),
        config={},
        variables=jax.tree.map(np.asarray, dict(variables)),
      ),
      paths[-1],
    )
  done = entry_points.run(
    'viton_jax.export',
    *arguments(paths, tmp_path / 'E', '--dtype', 'bfloat16'),
  )
  assert 'largest difference' in done.stdout
  manifest = artifact.read_manifest(tmp_path / 'E')
  assert manifest['dtype'] == 'bfloat16'
  assert manifest['fidelity'] == 'original'
  assert not (tmp_path / 'E' / 'savedmodel').exists()


def test_killed_half_way(networks, tmp_path):
  out_dir = tmp_path / 'exported'
  process = subprocess.Popen(
    entry_points.command('viton_jax.export', *arguments(networks, out_dir)),
    cwd=entry_points.ROOT,
    env=entry_points.environment(),
    stdout=subprocess.DEVNULL,
  )
  try:
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob('.*.partial/work/exported/try_on.stablehlo')):
      assert process.poll() is None and time.monotonic() < deadline
      time.sleep(0.01)
  finally:
    process.send_signal(signal.SIGKILL)
    process.wait()
  assert not out_dir.exists()
  (left,) = tmp_path.iterdir()
  with pytest.raises(InputError, match='manifest.json'):
    artifact.load(out_dir)
  assert left.name == '.exported.partial'


def test_bad_input(networks, exported, tmp_path, monkeypatch):
  def fails(*more, use=networks, out_dir=tmp_path / 'new'):
    command = ['export', *map(str, arguments(use, out_dir, *more))]
    monkeypatch.setattr(sys, 'argv', command)
    with pytest.raises(InputError) as caught:
      export.main()
    return str(caught.value)

  assert 'exists already' in fails(out_dir=exported[0])
  assert "'tflite' is unknown" in fails('--format', 'stablehlo,tflite')
  assert 'wanted' in fails(use=networks[::-1])
  (tmp_path / 'file').touch()
  message = fails(out_dir=tmp_path / 'file' / 'new')
  assert 'cannot be written' in message
  assert [path.name for path in tmp_path.iterdir()] == ['file']
