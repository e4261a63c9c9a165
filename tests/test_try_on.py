"""Two photos in, one picture out; the person is a real photograph."""

import json

import cv2
import entry_points
import numpy as np
import photograph
from PIL import Image
import pytest
import scipy.io
import skimage.data

from input_pipeline.layouts import open_layout
import viton_jax
from viton_jax.errors import InputError

pytestmark = pytest.mark.slow

_LEFT = 24  # Where the crop of tests/photograph.py begins.


@pytest.fixture(scope='module')
def astronaut():
  """Photo, joints and labels: those of the golden pose and GrabCut."""
  photo = skimage.data.astronaut()
  joints = photograph.keypoints()
  labels = np.zeros((512, 512), np.uint8)
  labels[:, _LEFT : _LEFT + 384] = photograph.segment(
    np.ascontiguousarray(photo[:, _LEFT : _LEFT + 384]), joints
  )
  joints[joints[:, 2] > 0, 0] += _LEFT
  return photo, joints.astype(np.float32), labels


@pytest.fixture(scope='module')
def files(astronaut, raw_dir, tmp_path_factory):
  """The same as files: person, joints, labels, garment and its mask."""
  folder = tmp_path_factory.mktemp('photos')
  photo, joints, labels = astronaut
  cv2.imwrite(str(folder / 'me.png'), photo[..., ::-1])
  cv2.imwrite(str(folder / 'labels.png'), labels)
  people = [{'pose_keypoints_2d': joints.astype(float).ravel().tolist()}]
  (folder / 'joints.json').write_text(json.dumps({'people': people}))
  sample = open_layout('viton', raw_dir, 'viton_test_pairs.txt').load(0)
  cv2.imwrite(str(folder / 'shirt.jpg'), sample.garment[..., ::-1])
  return folder


def arguments(files, out, *more):
  return (
    *('--person', files / 'me.png', '--garment', files / 'shirt.jpg'),
    *('--pose', files / 'joints.json', '--parse', files / 'labels.png'),
    *('--out', out, *more),
  )


def check_dressed(picture, astronaut, *, least, reach=61):
  """Face and surroundings are the photo's own pixels, the suit is not.

  Surroundings begin half of `reach` pixels from the person.
  """
  photo, _, labels = astronaut
  assert picture.shape == photo.shape
  far = cv2.dilate((labels > 0).astype(np.uint8), np.ones((reach, reach))) == 0
  np.testing.assert_array_equal(picture[far], photo[far])
  face = cv2.erode((labels == 13).astype(np.uint8), np.ones((21, 21))) > 0
  assert face.sum() > 1000
  np.testing.assert_array_equal(picture[face], photo[face])
  suit = cv2.erode((labels == 5).astype(np.uint8), np.ones((21, 21))) > 0
  changed = np.abs(picture.astype(int) - photo).max(axis=-1)
  assert (changed[suit] > 10).mean() > least


def test_paste_from_the_command_line(files, astronaut, tmp_path):
  out = tmp_path / 'new' / 'result.png'
  done = entry_points.run(
    'viton_jax.try_on',
    *arguments(files, out, '--method', 'paste', '--show_steps'),
  )
  picture = cv2.imread(str(out))[..., ::-1]
  check_dressed(picture, astronaut, least=0.9)
  # On the chest there are the colours of the shirt, and nothing else.
  shirt = cv2.imread(str(files / 'shirt.jpg'))[..., ::-1]
  cloth = shirt[shirt.shape[0] // 4 : -60 : 7, 60:-60:7].reshape(-1, 3)
  chest = picture[330:390:4, 150:210:4].reshape(-1, 1, 3).astype(int)
  assert (np.abs(chest - cloth).max(-1).min(1) < 25).mean() > 0.9
  assert cv2.imread(str(tmp_path / 'new' / 'result_steps.png')).shape[0] > 380
  for what in ('garment mask:', 'joints: of', '10 of 18', 'labels: of'):
    assert what in done.stdout
  assert not list(tmp_path.rglob('*.partial'))


def test_networks_from_the_command_line(files, networks, astronaut, tmp_path):
  out = tmp_path / 'result.jpg'
  entry_points.run(
    'viton_jax.try_on',
    *arguments(files, out, '--checkpoint', networks[0]),
    *('--refine_checkpoint', networks[1]),
    *('--show_steps', tmp_path / 'steps.png'),
  )
  assert (tmp_path / 'steps.png').exists()
  # As JPEG, so only nearly equal: the same in Python is exact.
  picture = cv2.imread(str(out))[..., ::-1]
  folder = tmp_path / 'demo'
  folder.mkdir()
  (folder / 'stage1').symlink_to(networks[0])
  (folder / 'stage2').symlink_to(networks[1])
  photo, joints, labels = astronaut
  result = viton_jax.try_on(
    photo,
    cv2.imread(str(files / 'shirt.jpg'))[..., ::-1],
    checkpoint=folder,
    pose=joints,
    parse=labels,
  )
  assert isinstance(result, viton_jax.TryOnResult)
  assert np.abs(picture.astype(int) - result.picture).mean() < 4
  # These networks have hardly trained: their mask reaches beyond the person.
  check_dressed(result.picture, astronaut, least=0.5, reach=121)
  assert {'coarse', 'mask', 'warped', 'alpha'} <= set(result.steps)


def test_any_orientation_gives_the_upright_picture(files, astronaut, tmp_path):
  photo, joints, labels = astronaut
  shirt = files / 'shirt.jpg'
  expected = viton_jax.try_on(
    photo, shirt, method='paste', pose=joints, parse=labels
  )
  exif = Image.Exif()
  exif[0x0112] = 6  # To be turned clockwise.
  turned = Image.fromarray(np.ascontiguousarray(np.rot90(photo)))
  turned.save(tmp_path / 'me.png', exif=exif)
  got = viton_jax.try_on(
    tmp_path / 'me.png', shirt, method='paste', pose=joints, parse=labels
  )
  np.testing.assert_array_equal(got.picture, expected.picture)


def test_large_photos_keep_the_pattern_sharp(files, astronaut):
  """Four times the photo: stripes finer than the working size survive."""
  photo, joints, labels = astronaut
  photo, labels = (
    cv2.resize(x, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
    for x in (photo, labels)
  )
  joints = joints * np.float32([4, 4, 1])
  shirt = np.full((1600, 1200, 3), 250, np.uint8)
  shirt[200:1400, 200:1000] = (0, 0, 160)
  shirt[200:1400:8, 200:1000] = (255, 255, 0)
  shirt[201:1400:8, 200:1000] = (255, 255, 0)
  mask = np.zeros((1600, 1200), bool)
  mask[200:1400, 200:1000] = True
  result = viton_jax.try_on(
    photo,
    shirt,
    method='paste',
    pose=joints,
    parse=labels,
    garment_mask=mask,
  )
  chest = result.picture[1300:1500, 700].astype(int)
  crossings = (np.diff(np.sign(chest[:, 0] - 100)) != 0).sum()
  assert crossings > 20  # 200 pixels hold some 15 stripes or more.


def test_a_coat_is_taken_off_like_any_other_garment(files, astronaut):
  photo, joints, labels = astronaut
  results = [
    viton_jax.try_on(
      photo, files / 'shirt.jpg', method='paste', pose=joints, parse=parse
    ).picture
    for parse in (labels, np.where(labels == 5, np.uint8(7), labels))
  ]
  np.testing.assert_array_equal(*results)


def test_cut_outs_bring_their_own_mask(files, astronaut):
  photo, joints, labels = astronaut
  cut_out = np.zeros((400, 300, 4), np.uint8)
  cut_out[50:350, 60:240] = (20, 120, 60, 255)
  result = viton_jax.try_on(
    photo, cut_out, method='paste', pose=joints, parse=labels
  )
  np.testing.assert_array_equal(result.garment_mask, cut_out[..., 3] > 127)
  np.testing.assert_array_equal(result.picture[350, 180], (20, 120, 60))


@pytest.mark.parametrize(
  ('options', 'said'),
  [
    ({'method': 'magic'}, "'magic' is unknown; use one of viton, paste"),
    ({'person_index': 3}, 'person_index is 3'),
    ({'parse': np.zeros((5, 5), np.uint8)}, r'shape \(512, 512\)'),
    ({'parse': np.full((512, 512), 37, np.uint8)}, 'up to 37'),
    ({'parse': np.zeros((512, 512), np.uint8)}, 'no upper garment.*FILE'),
    ({'pose': np.zeros((5, 3))}, r'give \(18, 3\)'),
    ({'pose': np.zeros((18, 3))}, 'neck.*cannot be seen.*--pose FILE'),
    ({'garment_mask': np.zeros((9, 9), bool)}, 'garment mask is 9 x 9'),
    ({'garment': np.full((90, 90, 3), 250, np.uint8)}, 'the garment: the'),
  ],
)
def test_bad_input_is_told_in_a_sentence(files, astronaut, options, said):
  photo, joints, labels = astronaut
  given = {
    'garment': files / 'shirt.jpg',
    'method': 'paste',
    'pose': joints,
    'parse': labels,
  } | options
  with pytest.raises(InputError, match=said):
    viton_jax.try_on(photo, given.pop('garment'), **given)


def test_the_command_refuses_with_exit_code_2(files, tmp_path):
  line = entry_points.fails(
    'viton_jax.try_on',
    *arguments(files, tmp_path / 'a.gif', '--method', 'paste'),
  )
  assert 'a.gif: give --out a name that ends in .png or .jpg' in line
  line = entry_points.fails(
    'viton_jax.try_on',
    *('--person', files / 'me.png', '--garment', files / 'shirt.jpg'),
    *('--method', 'paste', '--models_dir', tmp_path),
    *('--out', tmp_path / 'a.png'),
  )
  assert 'fetch blazepose' in line and '--pose FILE' in line


def test_other_files_of_joints_and_labels(files, astronaut, tmp_path):
  """VITON's own MATLAB files, in the frame that it has."""
  photo, joints, labels = astronaut
  seen = np.flatnonzero(joints[:, 2])
  candidate = np.column_stack([joints[seen], np.arange(len(seen))])
  subset = np.full((2, 20), -1.0)  # A smaller person comes first in the file.
  subset[0, [1, 2, 5]] = [list(seen).index(j) for j in (1, 2, 5)]
  subset[1, seen] = np.arange(len(seen))
  scipy.io.savemat(
    tmp_path / 'pose.mat', {'candidate': candidate, 'subset': subset}
  )
  square = cv2.resize(labels, (641, 641), interpolation=cv2.INTER_NEAREST)
  scipy.io.savemat(tmp_path / 'parse.mat', {'segment': square.T})
  result = viton_jax.try_on(
    photo,
    files / 'shirt.jpg',
    method='paste',
    pose=tmp_path / 'pose.mat',
    parse=tmp_path / 'parse.mat',
  )
  np.testing.assert_allclose(result.keypoints[seen], joints[seen], atol=1e-3)
  check_dressed(result.picture, astronaut, least=0.9)
  assert any('VITON .mat (candidate, subset)' in x for x in result.notes)
  assert any('of person 0 of 2' in x for x in result.notes)
  assert any('VITON .mat (segment)' in x for x in result.notes)
