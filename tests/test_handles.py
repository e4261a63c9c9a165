"""Files and locks are closed by the code, not by the garbage collector."""

import itertools
import os

import numpy as np
import pytest
import small_sets

from input_pipeline import batches
from input_pipeline.formats import packed, record_files
from viton_jax.errors import InputError
from viton_jax.io import storage, tfrecords
from viton_jax.job_folders import folder
from viton_jax.job_folders.shards import Shard
from viton_jax.jobs import writers
from viton_jax.jobs.pipeline import PairResult


@pytest.fixture(scope='module')
def small_records_dir(tmp_path_factory):
  directory = tmp_path_factory.mktemp('records')
  small_sets.write_records(directory)
  return directory


def open_files(directory):
  """Paths below a folder that this process has open."""
  found = []
  for number in os.listdir('/proc/self/fd'):
    try:
      path = os.readlink(f'/proc/self/fd/{number}')
    except FileNotFoundError:  # Of the listing itself.
      continue
    if path.startswith(str(directory)):
      found.append(path)
  return found


def test_batches_that_are_never_read_hold_no_file(small_records_dir):
  stream = batches.train_batches(small_records_dir, batch_size=2, seed=0)
  assert open_files(small_records_dir) == []
  stream.close()


def test_batches_close_their_files(small_records_dir):
  stream = batches.train_batches(small_records_dir, batch_size=2, seed=0)
  list(itertools.islice(stream, 3))
  assert open_files(small_records_dir)
  stream.close()
  assert open_files(small_records_dir) == []
  stream = batches.eval_batches(small_records_dir, split='train', batch_size=9)
  assert list(stream)
  assert open_files(small_records_dir) == []


def test_an_error_closes_the_files_of_an_index(tmp_path):
  good, bad = tmp_path / 'a.tfrecord', tmp_path / 'b.tfrecord'
  good.write_bytes(tfrecords.frame(b'one') + tfrecords.frame(b'three'))
  bad.write_bytes(tfrecords.frame(b'two')[:-3])
  with pytest.raises(InputError, match='ends inside record 0') as error:
    record_files.index_records([good, bad])
  assert open_files(tmp_path) == []  # `error` keeps the frames alive.
  del error
  index = record_files.index_records([good])
  assert index.read(1) == b'three'
  assert open_files(tmp_path) == []
  with index.open() as files:
    assert [files.read(i) for i in range(2)] == [b'one', b'three']
    assert open_files(tmp_path) == [str(good)]
  assert open_files(tmp_path) == []
  good.unlink()
  with pytest.raises(InputError, match='cannot be read'):
    index.open()


def settings():
  return {'pairs': 'x', 'list': 'y', 'folders': 1}


def test_a_shard_that_cannot_be_claimed_is_not_locked(tmp_path):
  (tmp_path / f'manifest-{Shard().tag}.jsonl').mkdir()
  with pytest.raises(InputError, match='cannot be written') as error:
    folder.claim(tmp_path, settings(), Shard())
  assert storage.holder(tmp_path / '.jobs' / f'{Shard().tag}.lock') is None
  assert open_files(tmp_path) == []
  del error


def test_a_job_that_breaks_off_closes_its_files(tmp_path):
  one = PairResult(
    'a_b',
    ('a.jpg', 'b.jpg'),
    images={'result': np.zeros((8, 6, 3), np.uint8)},
    control_points=np.zeros((100, 2), np.float32),
  )
  with folder.claim(tmp_path, settings(), Shard()) as claim:
    writer = writers.RecordWriter(
      claim, 'png', quality=None, records_per_file=5
    )
    with (
      pytest.raises(KeyError) as error,
      writers.writing(writer, tmp_path, threads=1) as write,
    ):
      write([one])
      raise KeyError
    assert [x for x in open_files(tmp_path) if 'tfrecord' in x] == []
    del error
  assert open_files(tmp_path) == []
  assert storage.holder(claim.lock.path) is None


def test_a_damaged_packed_file_is_closed(tmp_path):
  path = tmp_path / 'train.packed'
  path.write_bytes(b'VITONPK1' + (9).to_bytes(8, 'little') + b'[' * 9)
  with pytest.raises(InputError, match='header is damaged') as error:
    packed.check_sums(path)
  assert open_files(tmp_path) == []
  del error
