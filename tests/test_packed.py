"""Packed files: what is in them, damage, and the same batches as records."""

import errno
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys

import entry_points
import numpy as np
import pytest
import small_sets

from input_pipeline import batches, prepare
from input_pipeline import packed as packed_command
from input_pipeline.formats import packed, records
from input_pipeline.preparing import parts
from viton_jax.errors import InputError


@pytest.fixture(scope='module')
def packed_dir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('packed')
  small_sets.write_packed(folder)
  return folder


@pytest.fixture(scope='module')
def small_records_dir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('records')
  small_sets.write_records(folder)
  return folder


@pytest.fixture
def copied(packed_dir, tmp_path):
  folder = tmp_path / 'copy'
  shutil.copytree(packed_dir, folder)
  return folder


def take(data_dir, count, **options):
  stream = batches.train_batches(
    data_dir, **{'seed': 0, 'batch_size': 4, **options}
  )
  return list(itertools.islice(stream, count))


def assert_same_examples(got, want):
  """Equal but for JPEG compression, which `want` went through."""
  assert got.keys() == want.keys()
  for name, values in want.items():
    assert got[name].dtype == values.dtype, name
    if name == 'person':
      head = want['head_mask'] > 0
      np.testing.assert_array_equal(got[name][head], values[head])
    elif name == 'garment':
      difference = got[name].astype(int) - values
      assert abs(difference).mean() < 12
    else:
      np.testing.assert_array_equal(got[name], values, err_msg=name)


def test_a_file_can_be_read_without_us(packed_dir):
  data = (packed_dir / 'train.packed').read_bytes()
  length = int.from_bytes(data[8:16], 'little')
  assert data[:8] == b'VITONPK1'
  header = json.loads(data[16 : 16 + length])
  assert header['num_bytes'] == len(data)
  assert header['num_examples'] == {'train': 23, 'validation': 7}
  assert header['split'] == 'train'
  assert (header['height'], header['width']) == (64, 64)
  assert header['fidelity'] == 'fixed'
  fields = {field['name']: field for field in header['fields']}
  example = small_sets.make_example(9)
  assert fields.keys() == example.keys()
  end = 16 + length
  for name, field in fields.items():
    assert field['offset'] % 4096 == 0 and field['offset'] >= end
    dtype = np.dtype(field['dtype'])
    count = np.prod(field['shape'], dtype=int)
    end = field['offset'] + count * dtype.itemsize
    content = data[field['offset'] : end]
    assert hashlib.sha256(content).hexdigest() == field['sha256']
    row = np.frombuffer(content, dtype).reshape(field['shape'])[9]
    if name in packed.IDS:
      assert row == example[name].encode()
    else:
      assert dtype == example[name].dtype
      np.testing.assert_array_equal(row, example[name])
  assert end == len(data)


@pytest.mark.parametrize('process_count', [1, 2])
def test_the_same_batches_as_from_records(
  packed_dir, small_records_dir, process_count
):
  options = {
    'seed': 3,
    'start_step': 4,
    'process_index': process_count - 1,
    'process_count': process_count,
  }
  want = take(small_records_dir, 9, **options)
  for cache in ('none', 'host'):
    got = take(packed_dir, 9, fmt='packed', cache=cache, **options)
    for one, other in zip(got, want, strict=True):
      assert_same_examples(one, other)
  del options['seed'], options['start_step']
  pairs = zip(
    batches.eval_batches(packed_dir, batch_size=4, fmt='packed', **options),
    batches.eval_batches(small_records_dir, batch_size=4, **options),
    strict=True,
  )
  seen = 0
  for one, other in pairs:
    assert_same_examples(one, other)
    seen += other['valid'].sum()
  assert 0 < seen <= small_sets.NUM_EXAMPLES['validation']


def test_names_and_sizes_are_those_of_records(packed_dir, small_records_dir):
  got = batches.read_info(packed_dir, fmt='packed')
  want = batches.read_info(small_records_dir)
  for name in ('height', 'width', 'fidelity', 'num_examples'):
    assert getattr(got, name) == getattr(want, name)


@pytest.mark.parametrize('split', ['train', 'validation'])
def test_whole_splits(packed_dir, small_records_dir, split):
  got = batches.read_all(packed_dir, split=split, fmt='packed')
  assert isinstance(got['person'].base, np.ndarray)  # Mapped, not read.
  assert not got['person'].flags.writeable
  want = batches.read_all(small_records_dir, split=split)
  assert_same_examples(got, want)
  for row, index in enumerate(small_sets.indices_of(split)):
    example = small_sets.make_example(index)
    assert got['person_id'][row] == example['person_id'].encode()
    np.testing.assert_array_equal(got['person'][row], example['person'])


def test_no_such_split(packed_dir, tmp_path):
  with pytest.raises(InputError, match="no split 'test', only train, valid"):
    batches.read_all(packed_dir, split='test', fmt='packed')
  with pytest.raises(InputError, match='no finished packed files; make them'):
    batches.read_info(tmp_path, fmt='packed')


def test_the_other_format_is_named(packed_dir, small_records_dir):
  with pytest.raises(InputError, match="is of the format 'packed'"):
    batches.read_info(packed_dir)
  with pytest.raises(InputError, match="is of the format 'records'"):
    batches.read_info(small_records_dir, fmt='packed')


def cut(path, data):
  path.write_bytes(data[:-1])


def lengthen(path, data):
  path.write_bytes(data + b'x')


def not_packed(path, data):
  path.write_bytes(b'\x0a' + data[1:])


def empty(path, data):
  path.write_bytes(b'')


def no_json(path, data):
  path.write_bytes(data[:20] + b'\0' + data[21:])


def another_shape(path, data):
  assert data.count(b'[23, 64, 64, 3]') == 2
  path.write_bytes(data.replace(b'[23, 64, 64, 3]', b'[23, 64, 64, 9]'))


@pytest.mark.parametrize(
  'damage, message',
  [
    (cut, r'has \d+ bytes instead of \d+; copy or prepare it again'),
    (lengthen, r'has \d+ bytes instead of \d+; copy or prepare it again'),
    (not_packed, 'this is not a packed file; copy'),
    (empty, 'this is not a packed file; copy'),
    (no_json, 'its header is damaged; copy'),
    (another_shape, 'its header is damaged; copy'),
  ],
)
def test_damaged_files(copied, damage, message):
  path = copied / 'train.packed'
  damage(path, path.read_bytes())
  for use in (
    lambda: take(copied, 1, fmt='packed'),
    lambda: batches.read_info(copied, fmt='packed'),
    lambda: packed.open_arrays(path),
  ):
    with pytest.raises(InputError, match=f'train.packed: .*{message}'):
      use()


@pytest.mark.parametrize('header', [b'5', b'[' * 4000])
def test_headers_of_another_kind_are_damaged(copied, header):
  path = copied / 'train.packed'
  data = bytearray(path.read_bytes())
  data[8 : 16 + len(header)] = len(header).to_bytes(8, 'little') + header
  path.write_bytes(data)
  with pytest.raises(InputError, match='train.packed: its header is damaged'):
    packed.read_header(path)


def test_files_that_do_not_belong_together(copied):
  path = copied / 'validation.packed'
  data = path.read_bytes()
  path.unlink()
  with pytest.raises(InputError, match='validation.packed: this file is miss'):
    batches.read_info(copied, fmt='packed')
  path.write_bytes(data.replace(b'"train": 23', b'"train": 22'))
  with pytest.raises(InputError, match='were not prepared together'):
    batches.read_info(copied, fmt='packed')


def test_sums_find_what_sizes_do_not(copied, capsys):
  path = copied / 'train.packed'
  packed_command.main([str(path)])
  assert '23 examples of 64 x 64, fixed' in capsys.readouterr().out
  data = bytearray(path.read_bytes())
  (garment,) = [
    x for x in packed.read_header(path).fields if x.name == 'garment'
  ]
  data[garment.offset + garment.nbytes - 1] ^= 1
  path.write_bytes(data)
  batches.read_info(copied, fmt='packed')
  with pytest.raises(InputError, match="content of 'garment' is not what was"):
    packed_command.main([str(path)])


def write_train(path, examples):
  packed.write(path, small_sets.packed_header('train'), examples)


def test_half_a_file_never_has_the_name(tmp_path):
  def examples():
    yield from map(small_sets.make_example, range(10))
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    write_train(tmp_path / 'train.packed', examples())
  with pytest.raises(ValueError, match='5 examples instead of'):
    write_train(
      tmp_path / 'train.packed', map(small_sets.make_example, range(5))
    )
  assert not list(tmp_path.iterdir())


def test_too_full_a_disk_is_told_before_writing(tmp_path, monkeypatch):
  def must_not_run():
    raise AssertionError('an example was asked for')
    yield

  size = small_sets.packed_header('train').num_bytes
  usage = shutil._ntuple_diskusage(10**12, 10**12, size - 1)
  with monkeypatch.context() as patched:
    patched.setattr(shutil, 'disk_usage', lambda _: usage)
    with pytest.raises(InputError, match=r'need 0\.00 GB, but the disk has'):
      write_train(tmp_path / 'train.packed', must_not_run())

  def refuse(*_):
    raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

  monkeypatch.setattr(os, 'posix_fallocate', refuse)
  with pytest.raises(
    InputError, match='too little space for .* free some space or give'
  ):
    write_train(tmp_path / 'train.packed', must_not_run())
  assert not list(tmp_path.iterdir())


def test_file_systems_that_cannot_reserve(tmp_path, packed_dir, monkeypatch):
  def refuse(*_):
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

  monkeypatch.setattr(os, 'posix_fallocate', refuse)
  small_sets.write_packed(tmp_path)
  for name in ('train.packed', 'validation.packed'):
    assert (tmp_path / name).read_bytes() == (packed_dir / name).read_bytes()


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('raw') / 'data'
  entry_points.run(
    'input_pipeline.synthetic',
    *('--out_dir', folder, '--num_pairs', 4, '--num_test_pairs', 0),
    *('--seed', 1, '--height', 256),
  )
  return folder


def run(data_dir, out_dir, **options):
  options = {
    'workers': 0,
    'height': 128,
    'width': 64,
    'validation_fraction': 0.25,
    'fmt': 'packed',
    **options,
  }
  return prepare.prepare('viton', data_dir, out_dir=out_dir, **options)


@pytest.fixture(scope='module')
def prepared(data_dir, tmp_path_factory):
  folder = tmp_path_factory.mktemp('prepared')
  assert run(data_dir, folder / 'packed') == 0
  assert run(data_dir, folder / 'records', fmt='records') == 0
  return folder


@pytest.mark.slow
def test_prepare_packs_what_it_records(prepared):
  seen = []
  for split in ('train', 'validation'):
    (got,), (want,) = (
      batches.eval_batches(prepared / fmt, split=split, batch_size=3, fmt=fmt)
      for fmt in ('packed', 'records')
    )
    assert_same_examples(got, want)
    # At quality 95 photos lose little.
    difference = got['person'].astype(int) - want['person']
    assert abs(difference).mean() < 3
    seen += got['person_id'][got['valid']].tolist()
  assert sorted(seen) == [b'%06d_0.jpg' % i for i in range(1, 5)]
  files = {path.name for path in (prepared / 'packed').iterdir()}
  assert files == {
    'train.packed',
    'validation.packed',
    'manifest.jsonl',
    'prepare.json',
    '.lock',
  }


def test_packed_in_the_originals_fidelity(data_dir, tmp_path):
  assert run(data_dir, tmp_path / 'out', fidelity='original') == 0
  (batch,) = batches.eval_batches(
    tmp_path / 'out', split='train', batch_size=3, fmt='packed'
  )
  assert batch['pose_limit'].shape == (3, 2)
  assert batch.keys() == {
    *records.array_shapes(128, 64, fidelity='original'),
    'valid',
    'person',
    'garment',
    'head_mask',
    'parse',
    'garment_mask',
    *packed.IDS,
  }


def test_prepared_folders_are_of_one_format(data_dir, prepared, capsys):
  folder = prepared / 'packed'
  assert run(data_dir, folder) == 0
  assert 'nothing to do' in capsys.readouterr().out
  with pytest.raises(InputError, match='format = packed, not records'):
    run(data_dir, folder, fmt='records')
  with pytest.raises(InputError, match="format is 'npz'; it must be one of"):
    run(data_dir, folder, fmt='npz')
  # Folders of earlier versions do not say a format: they hold records.
  path = prepared / 'records' / 'prepare.json'
  state = json.loads(path.read_text())
  del state['settings']['format']
  path.write_text(json.dumps(state))
  assert run(data_dir, prepared / 'records', fmt='records') == 0
  with pytest.raises(InputError, match='format = records, not packed'):
    run(data_dir, prepared / 'records')


def test_a_run_that_ended_while_packing_goes_on(
  data_dir, prepared, tmp_path, monkeypatch
):
  folder = tmp_path / 'out'
  write = packed.write

  def stop_at_second(path, *arguments):
    if path.name == 'validation.packed':
      raise KeyboardInterrupt
    write(path, *arguments)

  with monkeypatch.context() as patched:
    patched.setattr(packed, 'write', stop_at_second)
    with pytest.raises(KeyboardInterrupt):
      run(data_dir, folder)
  with pytest.raises(InputError, match='validation.packed: this file is miss'):
    batches.read_info(folder, fmt='packed')
  (folder / '.train.packed.1.partial').write_bytes(b'of a killed run')
  monkeypatch.setattr(
    parts, 'prepare_chunk', lambda *_: pytest.fail('done before')
  )
  assert run(data_dir, folder) == 0
  for path in folder.iterdir():
    want = prepared / 'packed' / path.name
    assert path.read_bytes() == want.read_bytes(), path.name


def test_prepare_tells_of_a_full_disk_first(data_dir, tmp_path, monkeypatch):
  usage = shutil._ntuple_diskusage(10**9, 10**9, 2 * 10**5)
  monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage)
  monkeypatch.setattr(
    parts, 'prepare_chunk', lambda *_: pytest.fail('work was begun')
  )
  with pytest.raises(InputError, match='4 packed pairs, and as much again'):
    run(data_dir, tmp_path / 'out')


# Every process below reads this first, its workers too.
_BLOCK = """
import sys
class Block:
  def find_spec(self, name, path=None, target=None):
    if name.partition('.')[0] in {
        'tensorflow', 'tensorflow_datasets', 'clu', 'ml_collections',
        'tensorboard', 'apache_beam',
    }:
      raise ModuleNotFoundError(f'{name} is blocked', name=name)
sys.meta_path.insert(0, Block())
"""
_READ = """
import itertools, sys
from input_pipeline import batches
folder = sys.argv[1]
for cache in ('none', 'host'):
  stream = batches.train_batches(
      folder, batch_size=2, seed=0, fmt='packed', cache=cache
  )
  for batch in itertools.islice(stream, 3):
    print(*[x.decode() for x in batch['person_id']])
print(batches.read_all(folder, split='train', fmt='packed')['person'].shape)
for batch in batches.eval_batches(folder, batch_size=2, fmt='packed'):
  print(batch['valid'].tolist())
try:
  batches.train_batches(folder, batch_size=2, seed=0, fmt='original_records')
except batches.InputError as error:
  print(error)
"""


@pytest.mark.slow
def test_no_tensorflow_from_folder_to_batches(data_dir, prepared, tmp_path):
  (tmp_path / 'sitecustomize.py').write_text(_BLOCK)
  environment = entry_points.environment() | {
    'PYTHONPATH': os.pathsep.join([str(tmp_path), str(entry_points.ROOT)])
  }
  options = {'env': environment, 'capture_output': True, 'text': True}
  command = [
      sys.executable, '-m', 'input_pipeline.prepare', '--data_dir',
      str(data_dir), '--out_dir', str(tmp_path / 'out'), '--height', '128',
      '--width', '64', '--validation_fraction', '0.25', '--workers', '1',
  ]  # fmt: skip
  done = subprocess.run(
    [*command, '--format', 'packed'], check=False, **options
  )
  assert done.returncode == 0, done.stderr
  for name in ('train.packed', 'validation.packed'):
    want = (prepared / 'packed' / name).read_bytes()
    assert (tmp_path / 'out' / name).read_bytes() == want
  read = subprocess.run(
    [sys.executable, '-c', _READ, str(tmp_path / 'out')],
    check=False,
    **options,
  )
  assert read.returncode == 0, read.stderr
  lines = read.stdout.splitlines()
  assert lines[:3] == lines[3:6] and len(set(lines[:3])) > 1
  assert lines[6] == '(3, 128, 64, 3)'
  assert lines[7] == '[True, False]'
  assert "no files '*-train" in lines[8]
