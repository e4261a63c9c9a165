"""Drawn pairs: their files, and what is claimed to be known about them."""

import json
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest
import scipy.io

from input_pipeline.layouts import open_layout
from input_pipeline.synthetic import dataset, outfits, people, render_pair
from input_pipeline.synthetic.photo import surface
from input_pipeline.synthetic.styles import STYLES
from viton_jax.errors import InputError
from viton_jax.labels import (
  L_ELBOW,
  L_EYE,
  L_HIP,
  L_SHOULDER,
  L_WRIST,
  NECK,
  NOSE,
  R_ELBOW,
  R_EYE,
  R_HIP,
  R_SHOULDER,
  R_WRIST,
)

SEED, HEIGHT, WIDTH = 11, 192, 144
TRAIN, TEST = 3, 3
UPPER, HAIR, FACE, LEFT_ARM, RIGHT_ARM, TORSO = 5, 2, 13, 14, 15, 10
# Person, garment, and 12 x 9 means of the worn and of the flat picture.
_PLAIN = (
  (
    1,
    1,
    'cce1e9e6acd3e8e7e59ce5e9c9b5aae9e7e6a5b9e2afad99e9e8e6e7c19b8aa484d6'
    'e8e7e8e9e498978ca0e8e7e8e9eaa698758de4e7e8e9eaaf9f818bd3e6e7e8e9ab98'
    '82b4e7e5e6e7e89f938893e6e5e5e6e792878588e5e4e4e5e6a27489a0e4e2e2e3e4'
    'ae908eb1e2e1',
    'fffffffffffffffffffffffffffffeffffffffffd78e8e8bd2fffffffd9b93959698'
    'fbffffdf9793939499d7ffffb6c0959694c0aefffaa2da959594d3a6f5dbc3c59595'
    '95bdccd5dcedb4969594adf2d8ffffa88f8e8da1fffffffffaf0f1f0f9ffffffffff'
    'ffffffffffff',
  ),
  (
    2,
    5,
    'e7e8e9e9d1e0e8e7e6e8e9eadc748ae9e8e6e8e9eab5a790eae8e7e9eaeb8ca072ea'
    'e9e7e9eac455ae52abe9e7e8ea91505a4869e9e7e8e9bc5b6e7a9fe8e7e7e9d57d60'
    '4cd1e3e6e7e8d0545540c1e7e5e5e7ca302d23cae6e4e4e5cb322e4ed5e4e3e3e4d3'
    '4a473fd1e3e1',
    'fffffffffffffffffffffffffffffffffffffffffeeafbeafeffffffe6805a735b7d'
    'e3ffe3675a5c5c5c5a65ddc27b765d5c5c7080bafffe8f5a5a5a87feffffff935958'
    '588affffffff7159585869ffffffffd3bbbcbcd0ffffffffffffffffffffffffffff'
    'ffffffffffff',
  ),
)


def _files(folder):
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in folder.rglob('*')
    if path.is_file()
  }


def _read(path, flags=cv2.IMREAD_COLOR):
  picture = cv2.imread(str(path), flags)
  return picture[..., ::-1] if picture.ndim == 3 else picture


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('synthetic')
  dataset.write_dataset(
    folder, TRAIN, num_test_pairs=TEST, seed=SEED, height=HEIGHT, workers=1
  )
  return folder


def test_files_do_not_depend_on_workers(data_dir, tmp_path):
  dataset.write_dataset(
    tmp_path, TRAIN, num_test_pairs=TEST, seed=SEED, height=HEIGHT, workers=2
  )
  assert _files(tmp_path) == _files(data_dir)


@pytest.mark.parametrize('style', STYLES)
def test_another_seed_draws_something_else(style):
  a = render_pair(SEED, 1, 128, style=style)
  b = render_pair(SEED + 1, 1, 128, style=style)
  assert np.mean(a.person != b.person) > 0.2
  assert np.mean(a.garment != b.garment) > 0.1


def test_the_plain_style_draws_what_it_always_drew():
  # Networks that come along were trained on it. Means of 8 x 8 pixels and
  # channels, within what rounding differs between processors.
  for person, garment, worn, flat in _PLAIN:
    pair = render_pair(SEED, person, 96, garment_index=garment)
    for image, kept in ((pair.person, worn), (pair.garment, flat)):
      means = image.reshape(12, 8, 9, 8, 3).mean((1, 3, 4)).ravel()
      kept = np.frombuffer(bytes.fromhex(kept), np.uint8)
      np.testing.assert_allclose(means, kept, atol=1)


@pytest.fixture(scope='module')
def photo_dir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('photo')
  dataset.write_dataset(
    folder, 1, num_test_pairs=2, seed=SEED, height=HEIGHT, style='photo'
  )
  return folder


def test_photos_bring_masks_of_their_garments(photo_dir):
  for index in (1, 2, 3):
    mask = _read(
      photo_dir / 'garment_mask' / f'{index:06d}_1.png', cv2.IMREAD_UNCHANGED
    )
    pair = render_pair(SEED, index, HEIGHT, style='photo')
    np.testing.assert_array_equal(mask, 255 * pair.garment_mask)
    photo = _read(photo_dir / 'women_top' / f'{index:06d}_0.jpg').astype(int)
    assert 0 < np.abs(photo - pair.person).mean() < 4  # What JPEG loses.
  marker = json.loads((photo_dir / 'synthetic.json').read_text())
  assert marker['style'] == 'photo'
  with pytest.raises(InputError, match='new folder'):
    dataset.write_dataset(
      photo_dir, 1, num_test_pairs=2, seed=SEED, height=HEIGHT
    )


def test_photos_are_read_back_as_samples(photo_dir):
  samples = list(open_layout('viton', photo_dir, 'viton_test_pairs.txt'))
  assert len(samples) == 2
  for sample in samples:
    index = int(sample.garment_id[:6])
    pair = render_pair(SEED, index, HEIGHT, style='photo')
    np.testing.assert_array_equal(sample.garment_mask, pair.garment_mask)


def _lit_from(light, normal):
  """The shade of a white surface that faces `normal` (x, y)."""
  canvas = surface.Surface(8, 8, light=light, unit=4.0)
  full = np.ones((8, 8), np.float32)
  normal = np.broadcast_to(np.float32(normal), (8, 8, 2))
  canvas.lay((0, 0, 8, 8), full, colour=np.full(3, 0.5), normal=normal, label=5)
  return float(canvas.lit(np.zeros((8, 8, 3), np.float32))[4, 4].mean())


def test_what_faces_the_lamp_is_brighter():
  sides = set()
  for k in range(12):
    light = surface.make_light(np.random.default_rng(k))
    side = np.sign(light.direction[0])
    sides.add(side)
    assert _lit_from(light, (0.6 * side, 0)) > _lit_from(
      light, (-0.6 * side, 0)
    )
    assert _lit_from(light, (0, -0.6)) > _lit_from(light, (0, 0.6))
  assert sides == {-1, 1}


def test_folds_move_the_cloth_but_stay_known():
  # A print's edges lie where the correspondence says, to a pixel.
  found = 0
  for index in range(1, 40):
    garment = STYLES['photo'].make_garment(SEED, index, height=512)
    if garment.cloth.kind != 'print' or garment.front != 'closed':
      continue
    pair = render_pair(SEED, index, 512, style='photo')
    worn, flat = _sampled(pair)
    score = np.corrcoef(worn.mean(1), flat.mean(1))[0, 1]
    moved = {**vars(pair), 'flat_coordinates': pair.flat_coordinates + 12}
    worn, flat = _sampled(pair.__class__(**moved))
    assert score > np.corrcoef(worn.mean(1), flat.mean(1))[0, 1] + 0.05
    found += 1
  assert found >= 2


def test_outfits_are_drawn_in_the_style_asked_for():
  plain, photo = (
    outfits.render_outfit(SEED, 3, style=style) for style in STYLES
  )
  for drawn in (plain, photo):
    assert {FACE, HAIR, UPPER} <= set(np.unique(drawn.labels))
  # Behind people of the plain style lies paper without noise.
  rough = [
    np.abs(np.diff(drawn.rgb[:12].astype(int), axis=1)).mean()
    for drawn in (plain, photo)
  ]
  assert rough[1] > 4 * rough[0]


def test_an_unknown_style_is_refused():
  with pytest.raises(InputError, match='choose one of plain, photo'):
    render_pair(SEED, 1, 64, style='oil')


def test_layout(data_dir):
  names = set(_files(data_dir))
  stems = [f'{k:06d}' for k in range(1, TRAIN + TEST + 1)]
  expected = {f'women_top/{stem}_{k}.jpg' for stem in stems for k in (0, 1)}
  expected |= {
    f'{kind}/{stem}_0.mat' for stem in stems for kind in ('pose', 'segment')
  }
  expected |= {
    'pose.pkl',
    'viton_train_images.txt',
    'viton_train_pairs.txt',
    'viton_test_pairs.txt',
    'synthetic.json',
  }
  pairs = (data_dir / 'viton_test_pairs.txt').read_text().split()
  for person, garment in zip(pairs[::2], pairs[1::2], strict=True):
    stem = f'truth/{person[:-4]}_{garment[:-4]}'
    expected |= {f'{stem}{end}.png' for end in ('', '_parse', '_flow')}
  assert names == expected

  train = (data_dir / 'viton_train_pairs.txt').read_text()
  assert train == ''.join(f'{s}_0.jpg {s}_1.jpg\n' for s in stems[:TRAIN])
  assert (data_dir / 'viton_train_images.txt').read_text() == train
  for kind in (0, 1):
    picture = _read(data_dir / 'women_top' / f'000001_{kind}.jpg')
    assert picture.shape == (HEIGHT, WIDTH, 3)


def test_test_pairs_are_new_and_unpaired(data_dir):
  lines = (data_dir / 'viton_test_pairs.txt').read_text().splitlines()
  persons = [line.split()[0][:6] for line in lines]
  worn = [line.split()[1][:6] for line in lines]
  train = (data_dir / 'viton_train_pairs.txt').read_text()
  assert len(lines) == TEST == len(set(persons))
  assert sorted(persons) == sorted(worn)
  assert all(p != w for p, w in zip(persons, worn, strict=True))
  assert not any(stem in train for stem in persons + worn)


@pytest.mark.parametrize('count', [2, 3, 7, 40])
def test_nobody_tests_their_own_garment(count):
  pairs = dataset.garments_of_others(11, count, seed=5)
  assert [p for p, _ in pairs] == list(range(11, 11 + count))
  assert sorted(g for _, g in pairs) == list(range(11, 11 + count))
  assert all(p != g for p, g in pairs)


def test_exchanged_pairs_come_with_their_truth(data_dir, tmp_path):
  args = dict(num_test_pairs=TEST, seed=SEED, height=HEIGHT, workers=1)
  dataset.write_dataset(tmp_path, TRAIN, exchange=True, **args)
  before, now = _files(data_dir), _files(tmp_path)
  added = set(now) - set(before)
  changed = {name for name in before if now[name] != before[name]}
  assert changed == {'viton_train_pairs.txt', 'synthetic.json'}

  lines = now['viton_train_pairs.txt'].decode().splitlines()
  own, exchanged = lines[:TRAIN], lines[TRAIN:]
  alone = now['viton_exchanged_pairs.txt'].decode().splitlines()
  assert alone == exchanged
  assert own == before['viton_train_pairs.txt'].decode().splitlines()
  pairs = [line.replace('.jpg', '').split() for line in exchanged]
  stems = {f'{k:06d}' for k in range(1, TRAIN + 1)}
  assert {p[:6] for p, _ in pairs} == {g[:6] for _, g in pairs} == stems
  assert all(p[:6] != g[:6] for p, g in pairs)
  assert added == {
    f'truth/{p}_{g}{end}.png'
    for p, g in pairs
    for end in ('', '_parse', '_flow')
  } | {'viton_exchanged_pairs.txt'}
  # The same settings find everything; others are another data set.
  assert not dataset.write_dataset(tmp_path, TRAIN, exchange=True, **args)[
    'drawn'
  ]
  with pytest.raises(InputError, match='new folder'):
    dataset.write_dataset(tmp_path, TRAIN, **args)


def test_poses_agree_and_miss_what_is_outside(data_dir):
  raw = (data_dir / 'pose.pkl').read_bytes()
  assert raw[:2] == b'\x80\x02'  # Protocol 2.
  # Every NumPy, old or new, knows its arrays under this name.
  assert b'numpy._core' not in raw and b'numpy.core.multiarray' in raw
  poses = pickle.loads(raw)
  assert set(poses) == {f'{k:06d}_0' for k in range(1, TRAIN + TEST + 1)}
  missing = 0
  for stem, pose in poses.items():
    mat = scipy.io.loadmat(data_dir / 'pose' / f'{stem}.mat')
    candidate, subset = pose['candidate'], pose['subset']
    np.testing.assert_array_equal(mat['candidate'], candidate)
    np.testing.assert_array_equal(mat['subset'], subset)
    assert candidate.shape[1] == 4 and subset.shape == (1, 20)
    assert candidate.dtype == subset.dtype == np.float64
    person = people.make_person(SEED, int(stem[:6]), height=HEIGHT)
    for joint, index in enumerate(subset[0, :18].astype(int)):
      x, y = person.joints[joint]
      if index < 0:
        missing += 1
        assert not (0 <= x <= WIDTH - 1 and 0 <= y <= HEIGHT - 1)
      else:
        np.testing.assert_allclose(candidate[index, :2], (x, y), atol=1e-3)
    assert subset[0, 19] == (subset[0, :18] >= 0).sum()
  assert missing  # Ankles are never in the picture.


def test_segments_decode_to_the_drawn_labels(data_dir):
  for index in (1, 2):
    segment = scipy.io.loadmat(data_dir / 'segment' / f'{index:06d}_0.mat')[
      'segment'
    ]
    assert segment.shape == (641, 641) and segment.dtype == np.float32
    parse = render_pair(SEED, index, HEIGHT).parse
    # The original's reading: transpose, shrink the square, keep the left part.
    square = segment.T.astype(np.uint8)
    pick = np.floor(np.arange(HEIGHT) * 641 / HEIGHT).astype(int)
    decoded = square[np.ix_(pick, pick)][:, :WIDTH]
    assert np.mean(decoded == parse) > 0.985
    assert not segment[480:].any() and not segment[:, 640:].any()
    # Read without transposing, the picture would lie on its side.
    wrong = segment.astype(np.uint8)[np.ix_(pick, pick)][:, :WIDTH]
    assert np.mean(wrong == parse) < 0.9


def test_truth_of_the_own_garment_is_the_photo(data_dir):
  pair = render_pair(SEED, 1, HEIGHT)
  again = render_pair(SEED, 1, HEIGHT, garment_index=1)
  np.testing.assert_array_equal(pair.person, again.person)
  photo = _read(data_dir / 'women_top' / '000001_0.jpg').astype(int)
  assert np.abs(photo - pair.person).mean() < 1.5  # What JPEG loses.

  line = (data_dir / 'viton_test_pairs.txt').read_text().splitlines()[0]
  person, garment = (name[:6] for name in line.split())
  truth = _read(data_dir / 'truth' / f'{person}_0_{garment}_1.png')
  worn = render_pair(SEED, int(person), HEIGHT, garment_index=int(garment))
  np.testing.assert_array_equal(truth, worn.person)
  labels = _read(
    data_dir / 'truth' / f'{person}_0_{garment}_1_parse.png',
    cv2.IMREAD_UNCHANGED,
  )
  assert labels.dtype == np.uint8
  np.testing.assert_array_equal(labels, worn.parse)


@pytest.mark.parametrize('style', STYLES)
def test_another_garment_leaves_face_and_backdrop_alone(style):
  own = render_pair(SEED, 4, HEIGHT, style=style)
  other = render_pair(SEED, 4, HEIGHT, garment_index=5, style=style)
  np.testing.assert_array_equal(
    other.garment, render_pair(SEED, 5, HEIGHT, style=style).garment
  )
  backdrop = (own.parse == 0) & (other.parse == 0)
  backdrop = cv2.erode(backdrop.astype(np.uint8), np.ones((5, 5))) > 0
  head = np.isin(own.parse, (HAIR, FACE)) & np.isin(other.parse, (HAIR, FACE))
  make_person = STYLES[style].make_person
  nose = make_person(SEED, 4, height=HEIGHT).joints[NOSE]
  head[int(nose[1]) + 5 :] = False
  same = own.person == other.person
  assert backdrop.sum() > 1000 and same[backdrop].all()
  assert head.sum() > 200 and same[head].all()
  assert np.mean(same[own.parse == UPPER]) < 0.5


@pytest.mark.parametrize('index', [1, 2, 3, 4])
def test_shop_photo_is_white_but_for_the_garment(index):
  pair = render_pair(SEED, index, HEIGHT)
  rim = cv2.dilate(pair.garment_mask.astype(np.uint8), np.ones((5, 5))) > 0
  assert (pair.garment[~rim] == 255).all()
  assert pair.garment[pair.garment_mask].min(1).max() < 255
  assert 0.1 < pair.garment_mask.mean() < 0.8
  # All of it is in the photo.
  assert not pair.garment_mask[[0, -1]].any()
  assert not pair.garment_mask[:, [0, -1]].any()


@pytest.mark.parametrize('style', STYLES)
@pytest.mark.parametrize('index', range(1, 9))
def test_correspondence_lies_on_the_garment(index, style):
  pair = render_pair(SEED, index, HEIGHT, style=style)
  known = np.isfinite(pair.flat_coordinates).all(-1)
  np.testing.assert_array_equal(known, pair.parse == UPPER)
  x, y = pair.flat_coordinates[known].T
  mask = cv2.dilate(pair.garment_mask.astype(np.uint8), np.ones((3, 3)))
  assert mask[np.round(y).astype(int), np.round(x).astype(int)].all()
  # Smooth: neighbours on the body are neighbours on the cloth, but where the
  # sleeve meets the torso.
  step = np.abs(np.diff(pair.flat_coordinates, axis=1)).max(-1)
  step = step[np.isfinite(step)]
  assert np.mean(step < 4) > 0.95
  # The torso is not mirrored: x grows with x.
  ahead = np.diff(pair.flat_coordinates[..., 0], axis=1)
  ahead = ahead[np.isfinite(ahead)]
  assert np.median(ahead) > 0


def _pairs_of_kind(kind, count, *, style):
  found = []
  for index in range(1, 200):
    garment = STYLES[style].make_garment(SEED, index, height=HEIGHT)
    if garment.cloth.kind == kind and not garment.cloth.trimmed:
      found.append(index)
    if len(found) == count:
      return found
  raise AssertionError(f'too few garments with {kind}')


def _sampled(pair):
  """Colours of worn pixels, and of the cloth they are said to show."""
  known = np.isfinite(pair.flat_coordinates[..., 0])
  known = cv2.erode(known.astype(np.uint8), np.ones((5, 5))) > 0
  at = np.nan_to_num(pair.flat_coordinates)
  flat = cv2.remap(pair.garment, at, None, cv2.INTER_LINEAR)
  return pair.person[known].astype(float), flat[known].astype(float)


def test_solid_cloth_keeps_its_hue():
  for index in _pairs_of_kind('solid', 2, style='plain'):
    worn, flat = _sampled(render_pair(SEED, index, HEIGHT))
    # Shading changes the level, hardly the ratio of the channels.
    worn /= worn.sum(1, keepdims=True)
    flat /= flat.sum(1, keepdims=True)
    assert np.abs(worn - flat).mean() < 0.02


@pytest.mark.parametrize('style', STYLES)
def test_stripes_follow_the_correspondence(style):
  for index in _pairs_of_kind('stripes', 2, style=style):
    pair = render_pair(SEED, index, 512, style=style)
    worn, flat = _sampled(pair)
    score = np.corrcoef(worn.mean(1), flat.mean(1))[0, 1]
    # Thrown off by half a stripe, the same cloth no longer agrees.
    period = STYLES[style].make_garment(SEED, index, height=512)
    shift = 0.5 * period.cloth.period * period.unit
    moved = pair.flat_coordinates + np.float32(
      (shift, 0) if period.cloth.variant == 3 else (0, shift)
    )
    worn_too, off = _sampled(
      pair.__class__(**{**vars(pair), 'flat_coordinates': moved})
    )
    assert score > 0.8
    assert np.corrcoef(worn_too.mean(1), off.mean(1))[0, 1] < score - 0.3


@pytest.mark.parametrize('style', STYLES)
def test_joints_lie_in_their_limbs(style):
  # Either the limb itself or what is drawn over it.
  allowed = {
    NOSE: {FACE, 4},
    R_EYE: {FACE, 4, HAIR},
    L_EYE: {FACE, 4, HAIR},
    NECK: {FACE, UPPER, HAIR, TORSO},
    R_SHOULDER: {UPPER, RIGHT_ARM, FACE, HAIR, TORSO},
    L_SHOULDER: {UPPER, LEFT_ARM, FACE, HAIR, TORSO},
    R_ELBOW: {UPPER, RIGHT_ARM},
    L_ELBOW: {UPPER, LEFT_ARM},
    R_WRIST: {UPPER, RIGHT_ARM, LEFT_ARM},
    L_WRIST: {UPPER, LEFT_ARM, RIGHT_ARM},
    R_HIP: {UPPER, 9, 12, RIGHT_ARM, LEFT_ARM},
    L_HIP: {UPPER, 9, 12, RIGHT_ARM, LEFT_ARM},
  }
  if style == 'photo':  # Hands reach everywhere, and bags hang at hips.
    for joint in allowed.keys() - {NOSE, R_EYE, L_EYE}:
      allowed[joint] |= {LEFT_ARM, RIGHT_ARM}
    allowed[R_HIP] |= {0}
    allowed[L_HIP] |= {0}
  seen = set()
  for index in range(1, 25):
    pair = render_pair(SEED, index, 96, style=style)
    for joint, labels in allowed.items():
      x, y, score = pair.keypoints[joint]
      if score > 0:
        label = int(pair.parse[int(round(y)), int(round(x))])
        assert label in labels, (index, joint, label)
        seen.add(label)
  assert {UPPER, FACE, LEFT_ARM, RIGHT_ARM} <= seen


def test_rerun_draws_only_what_is_missing(data_dir):
  before = _files(data_dir)
  lost = data_dir / 'segment' / '000002_0.mat'
  lost.unlink()
  args = dict(num_test_pairs=TEST, seed=SEED, height=HEIGHT, workers=1)
  assert dataset.write_dataset(data_dir, TRAIN, **args) == {
    'drawn': 1,
    'kept': TRAIN + 2 * TEST - 1,
  }
  assert _files(data_dir) == before
  with pytest.raises(InputError, match='new folder'):
    dataset.write_dataset(data_dir, TRAIN + 1, **args)
  assert _files(data_dir) == before


@pytest.mark.parametrize('style', STYLES)
def test_odd_heights_are_drawn(style):
  for height in (64, 101):
    pair = render_pair(SEED, 2, height, style=style)
    assert pair.person.shape == (height, round(height * 0.75), 3)
    assert (pair.parse == UPPER).any()


@pytest.mark.parametrize(
  'changes, words',
  [
    (dict(num_pairs=-1), '--num_pairs is -1'),
    (dict(num_pairs=0), 'num_test_pairs are 0; draw some'),
    (dict(height=63), '--height is 63'),
    (dict(num_test_pairs=1), '--num_test_pairs is 1'),
    (dict(num_test_pairs=-2), '--num_test_pairs is -2'),
    (dict(exchange=True), '--exchange needs a second garment'),
    (dict(seed=-1), '--seed is -1'),
    (dict(workers=0), '--workers is 0'),
  ],
)
def test_bad_values_are_refused(tmp_path, changes, words):
  args = dict(num_pairs=1, num_test_pairs=0, seed=0, height=64) | changes
  with pytest.raises(InputError, match=words) as caught:
    dataset.write_dataset(tmp_path / 'out', **args)
  assert str(caught.value).count('.') >= 1
  assert '\n' not in str(caught.value)
  assert not (tmp_path / 'out').exists()


def _command(*args):
  return subprocess.run(
    [sys.executable, '-m', 'input_pipeline.synthetic', *map(str, args)],
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )


def test_command_line(tmp_path):
  out = tmp_path / 'data'
  done = _command(
    '--out_dir', out, '--num_pairs', 1, '--height', 64, '--workers', 1
  )
  assert done.returncode == 0, done.stderr
  assert 'a second' in done.stdout
  assert (out / 'women_top' / '000001_0.jpg').is_file()

  (tmp_path / 'holiday.txt').write_text('mine')
  refused = _command('--out_dir', tmp_path, '--num_pairs', 1)
  assert refused.returncode == 2
  assert refused.stderr.startswith('error: ')
  assert refused.stderr.count('\n') == 1
  assert str(tmp_path) in refused.stderr
  wrong = _command('--out_dir', out, '--num_pairs', 'many')
  assert wrong.returncode == 2 and wrong.stderr.count('\n') == 1
