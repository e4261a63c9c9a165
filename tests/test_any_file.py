"""Single files of joints and labels, each kind with its rule."""

import json
import pickle

import layout_folders
import numpy as np
from PIL import Image
import pytest
import scipy.io

from input_pipeline.layouts import any_file
from viton_jax.errors import InputError

FRAME = 256, 192


def joints(count=18, at=10):
  j = np.arange(count, dtype=float)
  return np.stack([at + j, at + 10 + j, (j + 1) / 100], axis=1)


def candidates(*people):
  """People as candidates and subset; missing joints have confidence 0."""
  rows, subset = [], []
  for person in people:
    numbers = []
    for x, y, score in person:
      if score > 0:
        numbers.append(len(rows))
        rows.append((x, y, score, len(rows)))
      else:
        numbers.append(-1)
    subset.append([*numbers, 20.0, 18])
  return {'candidate': np.array(rows), 'subset': np.array(subset)}


def one_missing():
  person = joints(at=40)
  person[4] = 0
  return person


@pytest.mark.parametrize('key', ['pose_keypoints', 'pose_keypoints_2d'])
def test_everybody_of_openpose(tmp_path, key):
  path = tmp_path / 'me_keypoints.json'
  content = layout_folders.openpose(joints(), key=key)
  for other in (np.zeros((18, 3)), one_missing()):
    content['people'] += layout_folders.openpose(other, key=key)['people']
  path.write_text(json.dumps(content))
  people, rule = any_file.read_people(path, FRAME)
  # Who has no joint is nobody.
  np.testing.assert_allclose(people, [joints(), one_missing()], rtol=1e-6)
  assert 'OpenPose JSON, COCO-18' in rule
  path.write_text(json.dumps(layout_folders.openpose(joints(25), key=key)))
  (person,), rule = any_file.read_people(path, FRAME)
  np.testing.assert_allclose(
    person, joints(25)[[*range(8), *range(9, 19)]], rtol=1e-6
  )
  assert 'BODY_25' in rule


def test_dress_code(tmp_path):
  path = tmp_path / 'a_2.json'
  path.write_text(json.dumps({'keypoints': [[192, 256, 0, 0]] * 18}))
  (person,), rule = any_file.read_people(path, FRAME)
  np.testing.assert_array_equal(person[7], [96, 128, 1])
  assert 'DressCode' in rule and '192 x 256' in rule


def test_viton_mat_and_pickles_agree(tmp_path):
  pose = candidates(joints(), one_missing())
  scipy.io.savemat(tmp_path / 'pose.mat', pose)
  (tmp_path / 'one.pkl').write_bytes(pickle.dumps(pose, protocol=2))
  (tmp_path / 'pose.pkl').write_bytes(
    pickle.dumps({'000001_0': pose, '000002_0': pose}, protocol=2)
  )
  for name, rule in (
    ('pose.mat', 'VITON .mat'),
    ('one.pkl', 'pickle (cand'),
    ('pose.pkl', "entry '000001_0'"),
  ):
    people, said = any_file.read_people(
      tmp_path / name, FRAME, person='000001_0'
    )
    np.testing.assert_allclose(people, [joints(), one_missing()], rtol=1e-6)
    assert rule in said
  with pytest.raises(InputError, match="pose.pkl: .*2 entries.*none for 'me'"):
    any_file.read_people(tmp_path / 'pose.pkl', FRAME, person='me')


def test_what_the_real_time_demo_returns(tmp_path):
  path = tmp_path / 'pose.pkl'
  path.write_bytes(pickle.dumps({0: (50, 60), 1: (51, 90)}))
  (person,), rule = any_file.read_people(path, FRAME)
  np.testing.assert_array_equal(person[:2], [(50, 60, 1), (51, 90, 1)])
  assert not person[2:].any() and 'tf-pose-estimation' in rule
  path.write_bytes(pickle.dumps({0: 'nose'}))
  with pytest.raises(InputError, match="part 0 is 'nose'"):
    any_file.read_people(path, FRAME)


@pytest.mark.parametrize(
  'name, content, message',
  [
    ('no.json', None, 'cannot be read'),
    ('no.mat', None, 'cannot be read'),
    ('no.pkl', None, 'cannot be read'),
    ('a.txt', b'', 'from .json, .mat or .pkl'),
    ('a.mat', b'hello', 'MATLAB file cannot be read'),
    ('a.json', b'{"people": []}', 'nobody was detected'),
    (
      'a.json',
      json.dumps(layout_folders.openpose(np.zeros((18, 3)))).encode(),
      'nobody in it has a joint',
    ),
    ('a.pkl', pickle.dumps(candidates(joints() * 20)), 'outside the photo'),
    (
      'a.pkl',
      pickle.dumps(candidates(joints() * [np.nan, 1, 1])),
      'not a finite number',
    ),
    ('a.pkl', pickle.dumps(json.JSONDecoder), 'json.decoder.JSONDecoder'),
  ],
)
def test_wrong_joints_are_refused(tmp_path, name, content, message):
  if content is not None:
    (tmp_path / name).write_bytes(content)
  with pytest.raises(InputError, match=f'{name}: .*{message}'):
    any_file.read_people(tmp_path / name, FRAME)


def random_labels(count, shape=(31, 45)):
  labels = np.random.default_rng(count).integers(0, count, shape, np.uint8)
  labels.flat[:count] = np.arange(count)
  return labels


def test_pngs_say_what_their_numbers_were_taken_for(tmp_path):
  path = tmp_path / 'labels.png'
  labels = random_labels(20)
  Image.fromarray(labels).save(path)
  found, rule = any_file.read_labels(path, labels.shape)
  np.testing.assert_array_equal(found, labels)
  assert rule == 'PNG of grey levels, taken for LIP'
  found, rule = any_file.read_labels(path, labels.shape, labels='cihp')
  np.testing.assert_array_equal(found, labels)
  assert 'CIHP' in rule
  labels = random_labels(18)
  image = Image.fromarray(labels)
  image.putpalette(np.array(layout_folders.COLOURS, np.uint8).tobytes())
  image.save(path)
  found, rule = any_file.read_labels(path, labels.shape, labels='atr')
  table = [0, 1, 2, 4, 5, 12, 9, 6, 9, 18, 19, 13, 16, 17, 14, 15, 0, 11]
  np.testing.assert_array_equal(found, np.array(table)[labels])
  assert rule == 'PNG of palette indices, ATR to LIP'


def test_colours_of_lip_and_of_lip_ssl(tmp_path):
  path = tmp_path / 'labels.png'
  labels = random_labels(20)
  colours = np.array(layout_folders.COLOURS, np.uint8)
  # As LIP_SSL's human_colormap.mat comes out in 8 bits.
  lower = colours.copy()
  lower[colours == 255], lower[colours == 170] = 254, 169
  lower[colours == 221] = 220
  for table in (colours, lower):
    Image.fromarray(table[labels]).save(path)
    found, rule = any_file.read_labels(path, labels.shape)
    np.testing.assert_array_equal(found, labels)
    assert rule == 'PNG of colours, LIP to LIP'


def test_viton_segment(tmp_path):
  path = tmp_path / 'a.mat'
  labels = random_labels(20, (64, 48))
  square = np.zeros((64, 64))
  square[:, :48] = labels
  scipy.io.savemat(path, {'segment': square.T.astype(np.float32)})
  found, rule = any_file.read_labels(path, (64, 48))
  np.testing.assert_array_equal(found, labels)
  assert rule.startswith('VITON .mat (segment)')


@pytest.mark.parametrize('dtype', [np.float32, np.uint8])
def test_lip_ssl_data(tmp_path, dtype):
  path = tmp_path / 'a.mat'
  labels = random_labels(20, (64, 48))
  # Columns first, 641 x 641, the photo at the top left.
  data = np.zeros((641, 641, 1, 1), dtype)
  data[:48, :64, 0, 0] = labels.T
  scipy.io.savemat(path, {'data': data})
  found, rule = any_file.read_labels(path, (64, 48))
  np.testing.assert_array_equal(found, labels)
  assert found.dtype == np.uint8 and rule.startswith('LIP_SSL .mat (data)')
  with pytest.raises(InputError, match='a.mat: .*641 x 641.*700 x 300'):
    any_file.read_labels(path, (300, 700))
  data[3, 3] = 37
  scipy.io.savemat(path, {'data': data})
  with pytest.raises(InputError, match='a.mat: .*to 37'):
    any_file.read_labels(path, (64, 48))


@pytest.mark.parametrize(
  'name, labels, message',
  [
    ('other.mat', 'lip', "holds pose; a label map is 'segment'"),
    ('other.mat', 'atr', "have LIP's labels, but atr"),
    ('no.mat', 'lip', 'cannot be read'),
    ('wrong.png', 'lip', 'the label 37 at .*not of the set LIP'),
    ('wrong.png', 'fashn', 'lip, cihp, atr'),
  ],
)
def test_wrong_labels_are_refused(tmp_path, name, labels, message):
  scipy.io.savemat(tmp_path / 'other.mat', {'pose': np.zeros((3, 3))})
  Image.fromarray(np.full((9, 9), 37, np.uint8)).save(tmp_path / 'wrong.png')
  with pytest.raises(InputError, match=message):
    any_file.read_labels(tmp_path / name, (9, 9), labels=labels)
