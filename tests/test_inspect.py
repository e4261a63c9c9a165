"""Every form of a checkpoint is read and told alike; others are refused."""

import shutil
import sys

import entry_points
import network_goldens as goldens
import pytest

from viton_jax import checkpoints, convert, inspect
from viton_jax.errors import InputError


@pytest.fixture(scope='module')
def converted(tmp_path_factory):
  """The golden checkpoint as folders, and as portable files."""
  folders, files = (tmp_path_factory.mktemp('w') / x for x in ('a', 'b'))
  with pytest.MonkeyPatch.context() as patch:
    for arguments in (
      ['--tf1_checkpoint', goldens.CHECKPOINT, '--out_dir', folders],
      ['--checkpoint', folders, '--to', 'safetensors', '--out_dir', files],
    ):
      patch.setattr(sys, 'argv', ['convert', *map(str, arguments)])
      assert convert.main() == 0
  return folders, files


def test_all_forms_are_told_alike(converted):
  folders, files = converted
  paths = (
    goldens.CHECKPOINT,
    goldens.CHECKPOINT.parent,
    folders,
    files,
  )
  told = []
  for path in paths:
    both = inspect.read_all(path)
    assert [one.network for one in both] == list(checkpoints.NETWORKS[:2])
    told.append(
      [
        [x for x in inspect.describe(one).splitlines() if x[:4] != 'path']
        for one in both
      ]
    )
  assert told[1:] == told[:-1]
  first, second = ('\n'.join(lines) for lines in told[0])
  assert 'features    8' in first and 'step        6000' in first
  assert 'fidelity    original' in first and '256 x 192' in first
  assert 'kernel (4, 4, 25, 8)' in first
  assert '461,776  and 848 running statistics' in first
  assert '77,633' in second  # 9 * (6 + 64 + 64) * 64 + 3 * 128 + 65.
  for path in (
    folders / 'refinement',
    folders / 'refinement' / 'checkpoints' / '6000',
    files / 'refinement.safetensors',
  ):
    (one,) = inspect.read_all(path)
    lines = inspect.describe(one).splitlines()
    assert [x for x in lines if x[:4] != 'path'] == told[0][1]


def test_the_wanted_network_is_found_or_refused(converted, tmp_path):
  folders, files = converted
  for place in (
    folders,
    folders / 'refinement',
    files,
    files / 'refinement.safetensors',
  ):
    assert checkpoints.read(place, 'refinement').features == 64
  for place in (
    folders / 'refinement',
    files / 'refinement.safetensors',
    tmp_path,
  ):
    if place == tmp_path:  # A converted stage 2 without its stage 1.
      shutil.copy(files / 'refinement.safetensors', tmp_path)
    with pytest.raises(InputError, match='refinement where the encoder_dec'):
      checkpoints.read(place, 'encoder_decoder')
  with pytest.raises(InputError, match='TensorFlow checkpoint; convert it'):
    checkpoints.read(goldens.CHECKPOINT, 'refinement')


@pytest.mark.parametrize('place', ['/', '.', ''])
def test_places_without_a_name(place, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(InputError, match='no checkpoint found'):
    inspect.read_all(place)


def test_names_that_are_not_utf8(converted, tmp_path, monkeypatch):
  """Orbax cannot write there, safetensors can."""
  place = tmp_path / 'a\udcffb'
  with pytest.raises(InputError, match='not UTF-8'):
    inspect.read_all(place)
  command = ['convert', '--checkpoint', str(converted[0]), '--out_dir']
  monkeypatch.setattr(sys, 'argv', [*command, str(place)])
  with pytest.raises(InputError, match='not UTF-8'):
    convert.main()
  assert not list(tmp_path.iterdir())
  monkeypatch.setattr(sys, 'argv', [*sys.argv, '--to', 'safetensors'])
  assert convert.main() == 0
  assert len(list(place.iterdir())) == 2
  command = ['--config', 'configs/stage1.py:smoke', '--config.data.dir=none']
  said = entry_points.fails('viton_jax.train', *command, '--workdir', place)
  assert 'not UTF-8' in said


def test_command(converted, tmp_path):
  done = entry_points.run('viton_jax.inspect', converted[1])
  assert 'network     refinement' in done.stdout
  assert 'no checkpoint found' in entry_points.fails(
    'viton_jax.inspect', tmp_path / 'nowhere'
  )
  other = tmp_path / 'model.safetensors'
  other.write_bytes(b'12345678')
  assert 'cannot be read as safetensors' in entry_points.fails(
    'viton_jax.inspect', other
  )
