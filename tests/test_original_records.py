"""The reader of the original's TFRecords, against what the original read."""

import gzip
import pathlib

import numpy as np
import preprocess_goldens
import pytest

from input_pipeline import batches, sample
from input_pipeline.formats import original_records
from input_pipeline.formats.record_files import index_records
from viton_jax.errors import InputError

GOLDENS = pathlib.Path(__file__).parent / 'goldens'


@pytest.fixture(scope='module')
def records_dir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('records')
  for path in (GOLDENS / 'tfrecord_seed0').glob('*.gz'):
    (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
  return folder


@pytest.fixture(scope='module')
def serialized(records_dir):
  files = original_records.index_original_records(records_dir)
  return [files.read(index) for index in range(len(files))]


def edited(serialized, edit):
  tf = original_records.tensorflow()
  record = tf.train.Example.FromString(serialized)
  edit(record.features.feature)
  return record.SerializeToString()


def draw_boxes(keypoints, limit):
  x, y = np.arange(192), np.arange(256)[:, None]
  return np.stack(
    [
      (abs(x - kx) <= 5) & (abs(y - ky) <= 5) & (x < limit[0]) & (y < limit[1])
      for kx, ky, _ in keypoints
    ],
    axis=-1,
  ).astype(np.uint8)


def test_batches_meet_the_goldens(records_dir):
  stream = batches.train_batches(
    records_dir, batch_size=2, seed=0, fmt='original_records'
  )
  seen = set()
  for batch in (next(stream), next(stream)):
    seen |= preprocess_goldens.check(batch, head_atol=1e-5, images_atol=1e-5)
  assert seen == {0, 1, 2, 3}
  assert batch['person'].dtype == np.float32


def test_fixed_reading_has_the_prepared_dtypes(serialized):
  example = original_records.read_record(serialized[0], 'a', fidelity='fixed')
  assert example['person'].dtype == example['head_mask'].dtype == np.uint8
  assert 'pose_limit' not in example
  # Joints 0 and 12 are missing; joint 1 was drawn around (2, 0).
  assert not example['keypoints'][[0, 12]].any()
  assert example['keypoints'][1].tolist() == [2, 0, 1]


@pytest.mark.parametrize('seed', range(5))
def test_boxes_give_back_their_joints(seed):
  rng = np.random.default_rng(seed)
  limit = np.array([192, 256])
  keypoints = np.ones((18, 3), np.float32)
  keypoints[:, 0] = rng.integers(0, 192, 18)
  keypoints[:, 1] = rng.integers(0, 256, 18)
  # The corners, where two sides are cut off; and just one pixel off them.
  keypoints[:6, :2] = [
    (191, 255),
    (191, 0),
    (0, 255),
    (1, 0),
    (5, 5),
    (186, 250),
  ]
  got = original_records.keypoints_from_boxes(
    draw_boxes(keypoints, limit), limit, name='a'
  )
  np.testing.assert_array_equal(got, keypoints)


def test_missing_and_absent_boxes():
  limit = np.array([192, 256])
  keypoints = np.ones((18, 3), np.float32) * 50
  keypoints[3] = 0, 0, 1  # The box of a missing joint.
  keypoints[4] = 0, -1, 1  # The same in a photo lower than 256.
  keypoints[5] = 400, 50, 1  # Outside.
  got = original_records.keypoints_from_boxes(
    draw_boxes(keypoints, limit), limit, name='a'
  )
  assert got[3].tolist() == [0, 0, 0]
  assert got[4].tolist() == [0, -1, 1]
  assert got[5].tolist() == [sample.OUTSIDE, sample.OUTSIDE, 1]
  assert got[6].tolist() == [50, 50, 1]


@pytest.mark.parametrize('change', ['hole', 'two', 'large', 'small'])
def test_ambiguous_pose_maps_are_refused(change):
  limit = np.array([192, 256])
  pose_map = draw_boxes(np.full((18, 3), 60.0), limit)
  if change == 'hole':
    pose_map[60, 60, 7] = 0
  elif change == 'two':
    pose_map[100:111, 100:111, 7] = 1
  elif change == 'large':
    pose_map[54:67, 54:67, 7] = 1
  else:
    pose_map[55, :, 7] = 0
  with pytest.raises(InputError, match='a: channel 7 of pose_map'):
    original_records.keypoints_from_boxes(pose_map, limit, name='a')


@pytest.mark.parametrize(
  'feature',
  [
    'image',
    'product_image',
    'height',
    'pose_map',
    'segment_map',
    'tps_control_points',
    'image_id',
  ],
)
def test_missing_features_are_named(serialized, feature):
  data = edited(serialized[0], lambda f: f.pop(feature))
  with pytest.raises(InputError, match=f"'{feature}' is missing") as error:
    original_records.read_record(data, 'file-1, record 7', fidelity='fixed')
  assert 'file-1, record 7' in str(error.value)


def set_bytes(name, value):
  def edit(features):
    features[name].bytes_list.value[0] = value

  return edit


@pytest.mark.parametrize(
  'edit, message',
  [
    (
      set_bytes('pose_map', bytes(128 * 96 * 18)),
      r'pose_map has 221184 bytes, but \(256, 192, 18\) needs 884736',
    ),
    (set_bytes('segment_map', b'123'), 'segment_map has 3 bytes'),
    (
      set_bytes('segment_map', b'\x14' * (275 * 190)),
      'segment_map has the label 20',
    ),
    (set_bytes('image', b'\xff\xd8\xff\xe0'), 'image: the file is trunc'),
    (set_bytes('product_image', b'x'), 'product_image: is neither'),
    (
      lambda f: f['tps_control_points'].float_list.value.pop(),
      'has 199 values',
    ),
    (
      lambda f: (
        f['image'].CopyFrom(f['product_image'])
        or f['height'].int64_list.value.__setitem__(0, 190)
        or f['width'].int64_list.value.__setitem__(0, 275)
      ),
      'the image is 190 x 275, but width and height say 275 x 190',
    ),
  ],
)
@pytest.mark.parametrize('fidelity', ['original', 'fixed'])
def test_wrong_features_are_named(serialized, edit, message, fidelity):
  data = edited(serialized[0], edit)
  with pytest.raises(InputError, match=message) as error:
    original_records.read_record(data, 'file-1, record 7', fidelity=fidelity)
  assert str(error.value).startswith('file-1, record 7')


def test_not_an_example():
  with pytest.raises(InputError, match='not a tf.train.Example'):
    original_records.read_record(b'\xff\xff\xff', 'a', fidelity='fixed')


def test_missing_files(records_dir, tmp_path):
  with pytest.raises(InputError, match='there are no files'):
    original_records.index_original_records(tmp_path)
  name = 'zalando-train-00001-of-00002'
  data = (records_dir / name).read_bytes()
  (tmp_path / name).write_bytes(data)
  with pytest.raises(InputError, match='1 of 2 record files are there'):
    original_records.index_original_records(tmp_path)
  (tmp_path / 'zalando-train-00000-of-00002').write_bytes(data[:-1])
  with pytest.raises(
    InputError, match='00000-of-00002: the file ends inside record 1'
  ):
    original_records.index_original_records(tmp_path)


def test_record_names_count_within_their_file(records_dir):
  files = index_records(sorted(records_dir.iterdir()))
  assert files.name(0).endswith('00000-of-00002, record 0')
  assert files.name(3).endswith('00001-of-00002, record 1')
  with pytest.raises(InputError, match='No such file'):
    index_records([records_dir / 'none'])
