"""Order, sharding, padding and content of batches."""

import itertools
import shutil

import numpy as np
import pytest
import small_sets
from small_sets import make_example
import tensorflow_datasets as tfds

from input_pipeline import batches
from input_pipeline.formats.record_files import RecordReader
from viton_jax.errors import InputError

NUM_TRAIN, NUM_VALIDATION = small_sets.NUM_EXAMPLES.values()


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('records')
  small_sets.write_records(folder)
  return folder


def take(data_dir, count, **options):
  stream = batches.train_batches(data_dir, **{'seed': 0, **options})
  return list(itertools.islice(stream, count))


def ids(batch_list):
  return [b.decode() for batch in batch_list for b in batch['person_id']]


def assert_equal(got, want):
  assert len(got) == len(want)
  for a, b in zip(got, want, strict=True):
    assert a.keys() == b.keys()
    for key in a:
      np.testing.assert_array_equal(a[key], b[key])
      assert a[key].dtype == b[key].dtype


def test_info(data_dir):
  info = batches.read_info(data_dir)
  assert (info.height, info.width, info.fidelity) == (64, 64, 'fixed')
  assert info.num_examples == {'train': NUM_TRAIN, 'validation': NUM_VALIDATION}


def test_records_come_back(data_dir):
  for batch in take(data_dir, 6, batch_size=4):
    for row in range(4):
      want = make_example(int(batch['person_id'][row][:6]))
      for name in (
        'head_mask',
        'parse',
        'body',
        'keypoints',
        'garment_mask',
        'control_points',
      ):
        np.testing.assert_array_equal(batch[name][row], want[name])
        assert batch[name].dtype == want[name].dtype
      # The head is stored without loss, the rest of a photo is not.
      head = want['head_mask'] > 0
      person = batch['person'][row]
      assert head.any() and not head.all()
      np.testing.assert_array_equal(person[head], want['person'][head])
      assert (person[~head] != want['person'][~head]).any()
      difference = batch['garment'][row].astype(int) - want['garment']
      assert abs(difference).mean() < 12
      assert batch['garment_id'][row].decode() == want['garment_id']


def test_every_epoch_is_another_permutation(data_dir):
  # 4 does not divide 23: epochs follow each other inside a batch.
  order = ids(take(data_dir, NUM_TRAIN, batch_size=4))
  epochs = [order[i : i + NUM_TRAIN] for i in range(0, 4 * NUM_TRAIN, 23)]
  everybody = [f'{i:06d}_0.jpg' for i in range(NUM_TRAIN)]
  assert len(epochs) == 4
  for epoch in epochs:
    assert sorted(epoch) == everybody
  assert len({tuple(epoch) for epoch in [*epochs, everybody]}) == 5


def test_batches_are_a_function_of_seed_and_step(data_dir):
  want = take(data_dir, 9, batch_size=4)
  assert_equal(take(data_dir, 9, batch_size=4), want)
  assert_equal(take(data_dir, 4, batch_size=4, start_step=5), want[5:])
  assert ids(take(data_dir, 5, batch_size=4, seed=1)) != ids(want[:5])


@pytest.mark.parametrize('process_count', [2, 4])
def test_processes_share_the_global_batch(data_dir, process_count):
  want = take(data_dir, 8, batch_size=8)
  shares = [
    take(
      data_dir,
      8,
      batch_size=8 // process_count,
      process_index=index,
      process_count=process_count,
    )
    for index in range(process_count)
  ]
  joined = [
    {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    for parts in zip(*shares, strict=True)
  ]
  assert_equal(joined, want)


def test_skipped_steps_are_not_read(data_dir, monkeypatch):
  reads = []
  read = RecordReader.read

  def counted(self, index):
    reads.append(index)
    return read(self, index)

  monkeypatch.setattr(RecordReader, 'read', counted)
  take(data_dir, 1, batch_size=2, start_step=10**9)
  # The batch, what was prefetched, and what was on its way.
  assert 2 <= len(reads) < 100


def test_kept_in_memory_nothing_is_read_again(data_dir, monkeypatch):
  want = take(data_dir, 3 * NUM_TRAIN // 4, batch_size=4, start_step=2)
  reads = []
  read = RecordReader.read

  def counted(self, index):
    reads.append(int(index))
    return read(self, index)

  monkeypatch.setattr(RecordReader, 'read', counted)
  options = {'batch_size': 4, 'start_step': 2, 'cache': 'host'}
  assert_equal(take(data_dir, len(want), **options), want)
  assert sorted(set(reads)) == list(range(NUM_TRAIN))
  # The last batch is filled up with its last example.
  assert len(reads) <= 2 * NUM_TRAIN
  with pytest.raises(InputError, match="cache is 'disk'; it must be one of"):
    take(data_dir, 1, batch_size=4, cache='disk')


@pytest.mark.parametrize('process_count', [1, 2])
def test_indices_are_rows_of_the_whole_split(data_dir, process_count):
  arrays = batches.read_all(data_dir, split='train', fmt='records')
  assert len(arrays['person_id']) == NUM_TRAIN
  place = {
    'batch_size': 4,
    'seed': 5,
    'start_step': 4,
    'process_index': process_count - 1,
    'process_count': process_count,
  }
  rows = list(itertools.islice(batches.train_indices(NUM_TRAIN, **place), 9))
  assert all(row.dtype == np.int32 for row in rows)
  want = take(data_dir, 9, **place)
  for row, batch in zip(rows, want, strict=True):
    for name, values in batch.items():
      np.testing.assert_array_equal(arrays[name][row], values)


@pytest.mark.parametrize('process_count', [1, 2, 4])
def test_evaluation_sees_each_record_once(data_dir, process_count):
  shares = [
    list(
      batches.eval_batches(
        data_dir,
        batch_size=2,
        process_index=index,
        process_count=process_count,
      )
    )
    for index in range(process_count)
  ]
  assert len({len(share) for share in shares}) == 1
  seen, padding = [], []
  for step in zip(*shares, strict=True):
    for batch in step:
      assert batch['person'].shape == (2, 64, 64, 3)
      assert batch['valid'].dtype == bool
      for valid, person_id in zip(
        batch['valid'], batch['person_id'], strict=True
      ):
        (seen if valid else padding).append(int(person_id[:6]))
  assert seen == list(range(NUM_TRAIN, NUM_TRAIN + NUM_VALIDATION))
  assert set(padding) == {NUM_TRAIN + NUM_VALIDATION - 1}
  assert len(seen + padding) % (2 * process_count) == 0


def test_training_split_can_be_evaluated(data_dir):
  stream = batches.eval_batches(data_dir, split='train', batch_size=8)
  assert ids(stream)[:NUM_TRAIN] == [f'{i:06d}_0.jpg' for i in range(NUM_TRAIN)]


def test_no_records(tmp_path):
  with pytest.raises(InputError, match='no finished records; make them with'):
    batches.read_info(tmp_path)
  (tmp_path / 'prepare.json').write_text('{}')
  with pytest.raises(InputError, match='prepare has not finished'):
    batches.train_batches(tmp_path, batch_size=2, seed=0)


def test_unknown_names(data_dir):
  with pytest.raises(InputError, match="no split 'test', only train, valid"):
    list(batches.eval_batches(data_dir, split='test', batch_size=2))
  with pytest.raises(
    InputError, match="format is 'tfrecord'; it must be one of"
  ):
    take(data_dir, 1, batch_size=2, fmt='tfrecord')


@pytest.fixture
def damaged(data_dir, tmp_path):
  shutil.copytree(data_dir, tmp_path / 'copy')
  folder = tmp_path / 'copy/try_on/64x64_fixed/1.0.0'
  return tmp_path / 'copy', folder / 'try_on-train.tfrecord-00000-of-00001'


def test_damaged_record_is_named(damaged):
  folder, path = damaged
  data = path.read_bytes()
  places = [i for i in range(len(data)) if data.startswith(b'\x89PNG', i)]
  # Three PNGs a record; the fifth record.
  path.write_bytes(data[: places[12]] + b'xxxx' + data[places[12] + 4 :])
  with pytest.raises(InputError, match='00000-of-00001, record 4: the record'):
    take(folder, 8, batch_size=4)


def test_cut_file_is_named(damaged):
  folder, path = damaged
  path.write_bytes(path.read_bytes()[:-10])
  with pytest.raises(InputError, match='the file ends inside record 22'):
    take(folder, 1, batch_size=4)
  path.write_bytes(b'')
  with pytest.raises(InputError, match='train has 0 records instead of 23'):
    take(folder, 1, batch_size=4)
  path.unlink()
  with pytest.raises(InputError, match='the record file cannot be read'):
    take(folder, 1, batch_size=4)


def test_damaged_metadata_is_named(damaged):
  folder, path = damaged
  (path.parent / 'metadata.json').write_text('{"height": 64}')
  with pytest.raises(InputError, match='is damaged .*width'):
    batches.read_info(folder)


def test_tfds_alone_reads_the_records(data_dir):
  builder = tfds.builder_from_directory(str(batches.read_info(data_dir).folder))
  example = next(iter(builder.as_dataset(split='train')))
  assert example['person'].shape == (64, 64, 3)
  assert example['head'].shape == (64, 64, 4)
