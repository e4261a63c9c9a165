"""The reader of the original VITON layout."""

import gzip
import os
import pathlib
import pickle
import shutil

import cv2
import numpy as np
import pytest
import scipy.io

from input_pipeline.formats import original_records
from input_pipeline.layouts import open_layout, poses
from viton_jax.errors import InputError

GOLDENS = pathlib.Path(__file__).parent / 'goldens'
PAIRS = 'viton_train_pairs.txt'


@pytest.fixture
def data_dir(tmp_path):
  shutil.copytree(GOLDENS / 'raw_seed0', tmp_path / 'data')
  return tmp_path / 'data'


def write_segment(data_dir, segment):
  path = data_dir / 'segment/000000_0.mat'
  scipy.io.savemat(path, {'segment': segment})
  return path


def write_pickle(data_dir, value, *, protocol=2):
  data = pickle.dumps(value, protocol=protocol)
  # Old pickles use the module names of NumPy 1.
  data = data.replace(b'numpy._core.multiarray', b'numpy.core.multiarray')
  (data_dir / 'pose.pkl').write_bytes(data)


def test_segments_equal_the_original_records():
  tf = original_records.tensorflow()
  layout = open_layout('viton', GOLDENS / 'raw_seed0', PAIRS)
  samples = {pair.person_id: pair for pair in layout}
  seen = 0
  for path in sorted((GOLDENS / 'tfrecord_seed0').glob('*.gz')):
    data = gzip.decompress(path.read_bytes())
    while data:
      length = int.from_bytes(data[:8], 'little')
      record = tf.train.Example.FromString(data[12 : 12 + length])
      data = data[16 + length :]
      feature = record.features.feature
      pair = samples[feature['image_id'].bytes_list.value[0].decode()]
      want = feature['segment_map'].bytes_list.value[0]
      assert pair.parse.tobytes() == want
      assert pair.parse.shape[0] == feature['height'].int64_list.value[0]
      seen += 1
  assert seen == len(layout) == 4


def test_poses_from_pickle_and_mat_agree(data_dir):
  from_pickle = open_layout('viton', data_dir, PAIRS)
  wanted = [pair.keypoints for pair in from_pickle]
  (data_dir / 'pose.pkl').unlink()
  from_mat = open_layout('viton', data_dir, PAIRS)
  for got, want in zip(from_mat, wanted, strict=True):
    np.testing.assert_array_equal(got.keypoints, want)
  # 000000 has no nose; joint 1 is candidate 0.
  assert not wanted[0][0].any()
  np.testing.assert_allclose(wanted[0][1], [2, 1, 0.43864016])


def test_pose_of_a_person_who_is_not_in_the_pickle(data_dir):
  want = open_layout('viton', data_dir, PAIRS).load(0).keypoints
  write_pickle(data_dir, {})
  got = open_layout('viton', data_dir, PAIRS).load(0).keypoints
  np.testing.assert_array_equal(got, want)
  (data_dir / 'pose/000000_0.mat').unlink()
  layout = open_layout('viton', data_dir, PAIRS)
  with pytest.raises(InputError, match='000000_0.mat: the pose of 000000_0'):
    layout.load(0)
  assert layout.load(1).person_id == '000001_0.jpg'


# {'a': array([1., 2.])} as Python 2 wrote it: byte strings, old module names.
PYTHON_2_PICKLE = (
  b'\x80\x02}q\x01U\x01acnumpy.core.multiarray\n_reconstruct\n'
  b'cnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85'
  b'cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNN'
  b'J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89'
  b'U\x10' + np.array([1.0, 2.0]).tobytes() + b'tbs.'
)


def test_python_2_pickle(tmp_path):
  path = tmp_path / 'pose.pkl'
  path.write_bytes(PYTHON_2_PICKLE)
  got = poses.read_pose_pickle(path)
  assert list(got) == ['a']
  np.testing.assert_array_equal(got['a'], [1.0, 2.0])


@pytest.mark.parametrize('protocol', range(6))
def test_arrays_and_containers_of_every_protocol(tmp_path, protocol):
  value = {'a': [np.arange(6.0).reshape(2, 3), np.float64(3), (4,)]}
  path = tmp_path / 'pose.pkl'
  path.write_bytes(pickle.dumps(value, protocol=protocol))
  got = poses.read_pose_pickle(path)['a']
  np.testing.assert_array_equal(got[0], value['a'][0])
  assert got[1:] == value['a'][1:]


class Attack:
  def __init__(self, function, *arguments):
    self.call = function, arguments

  def __reduce__(self):
    return self.call


@pytest.mark.parametrize(
  'function, named',
  [
    (os.system, 'posix.system'),
    (eval, r'builtin(s|__).eval'),
    (getattr, r'builtin(s|__).getattr'),
    (np.load, 'numpy.load'),
    (np.fromfile, 'numpy'),
  ],
)
@pytest.mark.parametrize('protocol', [2, 4])
def test_pickles_that_run_code_are_refused(data_dir, function, named, protocol):
  mark = data_dir / 'executed'
  attack = Attack(function, f'touch {mark}')
  write_pickle(data_dir, {'000000_0': attack}, protocol=protocol)
  with pytest.raises(InputError, match=named) as error:
    open_layout('viton', data_dir, PAIRS)
  assert 'pose.pkl' in str(error.value)
  assert not mark.exists()


def test_damaged_pickles_are_refused(data_dir):
  path = data_dir / 'pose.pkl'
  data = path.read_bytes()
  for bad in (b'', data[: len(data) // 2], b'hello', b'\x80\x02X\xff\xff'):
    path.write_bytes(bad)
    with pytest.raises(InputError, match='pose.pkl: this is not a readable'):
      open_layout('viton', data_dir, PAIRS)
  write_pickle(data_dir, [1])
  with pytest.raises(InputError, match='pose.pkl: holds a list'):
    open_layout('viton', data_dir, PAIRS)


@pytest.mark.parametrize(
  'pose, message',
  [
    ({'candidate': np.ones((3, 4))}, "'candidate' and 'subset'"),
    (3, "'candidate' and 'subset'"),
    (
      {'candidate': np.ones((3, 4)), 'subset': np.ones((1, 9))},
      r"'subset' has shape \(1, 9\)",
    ),
    (
      {'candidate': np.ones((3, 2)), 'subset': np.ones((1, 20))},
      r"'candidate' has shape \(3, 2\)",
    ),
    (
      {'candidate': np.ones((3, 4)), 'subset': np.full((1, 20), 3)},
      'candidate 3 of 3',
    ),
    (
      {'candidate': np.ones((3, 4)), 'subset': np.full((1, 20), 0.5)},
      'candidate 0.5 of 3',
    ),
    (
      {'candidate': np.ones((0, 4)), 'subset': np.ones((0, 20))},
      'nobody was detected',
    ),
    (
      {
        'candidate': np.full((3, 4), np.inf),
        'subset': np.zeros((1, 20)),
      },
      'not a finite number',
    ),
  ],
)
def test_wrong_poses_fail_their_pair_alone(data_dir, pose, message):
  others = poses.read_pose_pickle(data_dir / 'pose.pkl')
  write_pickle(data_dir, {**others, '000000_0': pose})
  layout = open_layout('viton', data_dir, PAIRS)
  with pytest.raises(InputError, match=message) as error:
    layout.load(0)
  assert '000000_0' in str(error.value)
  assert layout.load(1).person_id == '000001_0.jpg'


def test_only_the_first_person_is_used(data_dir):
  want = poses.pose_to_keypoints(
    {'candidate': np.ones((2, 4)), 'subset': np.zeros((1, 20))}, 'a'
  )
  two = {'candidate': np.ones((2, 4)), 'subset': np.zeros((2, 20))}
  two['subset'][1] = 99
  np.testing.assert_array_equal(poses.pose_to_keypoints(two, 'a'), want)


def test_a_joint_with_score_zero_is_still_there():
  pose = {
    'candidate': np.array([[7, 8, 0, 0.0]]),
    'subset': np.full((1, 20), -1.0),
  }
  pose['subset'][0, 1] = 0
  keypoints = poses.pose_to_keypoints(pose, 'a')
  assert keypoints[1, 2] > 0
  assert (keypoints[[0, *range(2, 18)]] == 0).all()


@pytest.mark.parametrize(
  'line',
  [
    '000000_0.jpg',
    'a b c',
    '../000000_0.jpg 000000_1.jpg',
    'x/a.jpg b.jpg',
    '.. b.jpg',
    r'x\a.jpg b.jpg',
  ],
)
def test_wrong_pair_lines_are_named(data_dir, line):
  with (data_dir / PAIRS).open('a') as file:
    file.write(f'\n{line}\n')
  with pytest.raises(InputError, match=f'{PAIRS}, line 6: ') as error:
    open_layout('viton', data_dir, PAIRS)
  assert f"'{line}'" in str(error.value)


def test_structural_errors_are_raised_at_open(data_dir):
  with pytest.raises(InputError, match="layout 'vitn' is unknown"):
    open_layout('vitn', data_dir, PAIRS)
  with pytest.raises(InputError, match='none.txt: the pair list cannot be'):
    open_layout('viton', data_dir, 'none.txt')
  (data_dir / 'empty.txt').write_text('\n')
  with pytest.raises(InputError, match='empty.txt: the pair list is empty'):
    open_layout('viton', data_dir, 'empty.txt')
  (data_dir / 'binary.txt').write_bytes(b'\xff\xfe')
  with pytest.raises(InputError, match='binary.txt: .* not UTF-8'):
    open_layout('viton', data_dir, 'binary.txt')
  with pytest.raises(InputError, match='nowhere: there is no such folder'):
    open_layout('viton', data_dir / 'nowhere', PAIRS)
  shutil.rmtree(data_dir / 'pose')
  (data_dir / 'pose.pkl').unlink()
  with pytest.raises(InputError, match='pose.pkl: there is no such file'):
    open_layout('viton', data_dir, PAIRS)
  shutil.rmtree(data_dir / 'segment')
  with pytest.raises(InputError, match='segment: there is no such folder'):
    open_layout('viton', data_dir, PAIRS)


def test_missing_and_damaged_files_fail_their_pair_alone(data_dir):
  (data_dir / 'women_top/000000_1.jpg').unlink()
  cut = data_dir / 'women_top/000001_0.jpg'
  cut.write_bytes(cut.read_bytes()[:5000])
  (data_dir / 'segment/000002_0.mat').unlink()
  layout = open_layout('viton', data_dir, PAIRS)
  for index, message in (
    (0, '000000_1.jpg: the photo cannot be read'),
    (1, '000001_0.jpg: the file is truncated'),
    (2, '000002_0.mat: the label map is missing'),
  ):
    with pytest.raises(InputError, match=message):
      layout.load(index)
  assert layout.load(3).parse.shape == (256, 192)
  mat = data_dir / 'segment/000003_0.mat'
  mat.write_bytes(mat.read_bytes()[:2000])
  with pytest.raises(InputError, match='000003_0.mat: the MATLAB file'):
    layout.load(3)


@pytest.mark.parametrize(
  'segment, message',
  [
    (np.zeros((641, 640)), r'shape \(641, 640\); it must be square'),
    (np.zeros((0, 0)), 'empty'),
    (np.full((9, 9), 20.0), 'values from 20.0 to 20.0'),
    (np.full((9, 9), 1.5), 'between whole numbers'),
    (np.full((9, 9), -1.0), 'values from -1.0'),
    (np.full((9, 9), np.nan), 'values from nan'),
    (np.full((2, 2), 'a', object), 'no array of numbers'),
  ],
)
def test_wrong_segments_are_refused(data_dir, segment, message):
  path = write_segment(data_dir, segment)
  layout = open_layout('viton', data_dir, PAIRS)
  with pytest.raises(InputError, match=message) as error:
    layout.load(0)
  assert str(path) in str(error.value)


def test_segment_frame(data_dir):
  # A label at x = 2/3, y = 1/4 of a portrait must come out there.
  segment = np.zeros((641, 641))
  height, width = 275, 190
  x, y = round(640 * width / height * 2 / 3), 160
  segment[x - 5 : x + 5, y - 5 : y + 5] = 5
  write_segment(data_dir, segment)
  parse = open_layout('viton', data_dir, PAIRS).load(0).parse
  ys, xs = np.nonzero(parse == 5)
  assert parse.shape == (height, width)
  np.testing.assert_allclose(
    [xs.mean(), ys.mean()], [width * 2 / 3, height / 4], atol=1
  )


def test_truth(data_dir):
  paired = open_layout('viton', data_dir, PAIRS).load(0)
  assert paired.truth is paired.person
  assert paired.truth_parse is paired.parse
  (data_dir / 'test.txt').write_text('000000_0.jpg 000001_1.jpg\n')
  layout = open_layout('viton', data_dir, 'test.txt', tps=True)
  unpaired = layout.load(0)
  assert unpaired.truth is None and unpaired.truth_parse is None
  # tps/ tells of the person's own garment only.
  assert unpaired.control_points is None
  (data_dir / 'truth').mkdir()
  truth = np.random.default_rng(0).integers(0, 256, (275, 190, 3), np.uint8)
  stem = data_dir / 'truth/000000_0_000001_1'
  cv2.imwrite(f'{stem}.png', truth)
  cv2.imwrite(f'{stem}_parse.png', np.full((275, 190), 5, np.uint8))
  got = layout.load(0)
  np.testing.assert_array_equal(got.truth, truth[..., ::-1])
  assert (got.truth_parse == 5).all()


def test_layout_survives_pickling(data_dir):
  layout = open_layout('viton', data_dir, PAIRS)
  copy = pickle.loads(pickle.dumps(layout))
  assert len(copy) == 4 and copy.pairs == layout.pairs
  np.testing.assert_array_equal(copy.load(2).parse, layout.load(2).parse)


def test_wrong_control_points_are_refused(data_dir):
  scipy.io.savemat(
    data_dir / 'tps/000000_0.mat', {'control_points': np.zeros((2, 5, 5))}
  )
  layout = open_layout('viton', data_dir, PAIRS, tps=True)
  with pytest.raises(InputError, match=r'\(2, 10, 10\), not \(2, 5, 5\)'):
    layout.load(0)
  assert open_layout('viton', data_dir, PAIRS).load(0) is not None
