"""BlazePose: both runners, real photos, and files that are damaged."""

import json
import pathlib

import cv2
import entry_points
import fetched_models
import numpy as np
import pytest
import skimage.data

from viton_jax.errors import InputError
from viton_jax.labels import (
  L_EAR,
  L_SHOULDER,
  NECK,
  NOSE,
  R_EYE,
  R_HIP,
  R_SHOULDER,
)
from viton_jax.perception import estimate_pose, find_people
from viton_jax.perception.pose import anchors, blazepose, landmarks, regions
from viton_jax.perception.runners import (
  tflite_file,
  tflite_graph,
  tflite_model,
)
from viton_jax.perception.runners.graphdef import GraphError
from viton_jax.perception.specs import known_specs

SPEC = known_specs()['blazepose']
# Seen on the photo by eye.
_ASTRONAUT = {NOSE: (221, 130), R_EYE: (207, 103), L_EAR: (265, 120)}


@pytest.fixture(scope='module')
def models():
  return fetched_models.folder('blazepose', 'faces')


def opened(models, runner=None):
  return blazepose.open_network(models / SPEC.file, SPEC, runner)


def photo_of(name):
  image = getattr(skimage.data, name)()
  if image.ndim == 2:
    image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
  return np.ascontiguousarray(image)


def overlap(a, b):
  return np.sum(a & b) / np.sum(a | b)


# ------------------------------------------------------------ without any model


def test_regions_turn_with_the_body():
  # Who leans to the right by 30 degrees is upright in the input.
  hips, lean = np.array([120.0, 150.0]), np.deg2rad(30)
  end = hips + 80 * np.array([np.sin(lean), -np.cos(lean)])
  region = regions.around(hips, end, 1.25)
  np.testing.assert_allclose([region.side, region.angle], [200, lean])
  # The middle of 256 pixels is between two of them.
  inputs = np.array([[127.5, 127.5], [127.5, 127.5 - 80 * 256 / 200]])
  np.testing.assert_allclose(
    regions.to_photo(inputs, region, 256), [hips, end], atol=1e-9
  )


@pytest.mark.parametrize('scale', [1, 7])
def test_a_map_goes_back_where_its_region_was_cut(scale):
  photo = np.zeros((300 * scale, 260 * scale, 3), np.uint8)
  cv2.circle(photo, (150 * scale, 90 * scale), 40 * scale, (255,) * 3, -1)
  centre = np.array([130.0, 140.0]) * scale
  region = regions.Region(centre, 330.0 * scale, 0.4)
  values = regions.cut(photo, region, 256)[..., 0].astype(np.float32) / 255
  back = regions.paste(values, region, photo.shape[:2])
  assert overlap(back > 0.5, photo[..., 0] > 127) > 0.97


def test_boxes_that_overlap_are_one_person():
  grid = anchors.anchors() * 224
  values = np.zeros((2254, 12), np.float32)
  logits = np.full(2254, -9.0, np.float32)
  near = np.argsort(np.hypot(*(grid - (60, 100)).T))[:2]
  far = np.argmin(np.hypot(*(grid - (180, 60)).T))
  for k, at, logit in (
    (near[0], (60, 100), 1.0),
    (near[1], (62, 104), 3.0),
    (far, (180, 60), 2.0),
  ):
    values[k, :2] = at - grid[k]
    values[k, 2:4] = 40
    values[k, 4:] = np.tile(at - grid[k], 4)
    logits[k] = logit
  found, best = anchors.decode_anchors(values, logits, size=224, min_score=0.4)
  scores = tflite_model.sigmoid(np.array([1.0, 3.0]))
  mean = np.average([(60, 100), (62, 104)], axis=0, weights=scores)
  np.testing.assert_allclose(found[:, 0], [mean, (180, 60)], atol=1e-4)
  np.testing.assert_allclose(best, tflite_model.sigmoid(np.array([3.0, 2.0])))
  none, _ = anchors.decode_anchors(values, logits - 9, size=224, min_score=0.4)
  assert none.shape == (0, 4, 2)


def test_refinement_equals_a_loop():
  rng = np.random.default_rng(0)
  heat = rng.normal(-4, 3, (2, 64, 64, 5)).astype(np.float32)
  points = rng.uniform(-20, 276, (2, 5, 2)).astype(np.float32)
  points[0, 0] = 1, 255  # Windows end at the border.
  got = landmarks.refine(points, heat, 256)
  moved = 0
  for b, n in np.ndindex(2, 5):
    x, y = np.floor(points[b, n] / 4).astype(int)
    expected = points[b, n]
    if 0 <= x < 64 and 0 <= y < 64:
      total = weighted = 0
      best = 0
      for i in range(max(y - 3, 0), min(y + 4, 64)):
        for j in range(max(x - 3, 0), min(x + 4, 64)):
          w = 1 / (1 + np.exp(-float(heat[b, i, j, n])))
          total, weighted = total + w, weighted + w * np.array([j, i])
          best = max(best, w)
      if best >= 0.5:
        expected, moved = weighted / total * 4, moved + 1
    np.testing.assert_allclose(got[b, n], expected, rtol=1e-5)
  assert moved >= 4


def test_sparse_weights_equal_the_format_said_in_words():
  """Blocks of four channels, rows of them sparse: what the detector has."""

  class Numbers:
    """Fields by number, as a table of a file."""

    def __init__(self, **fields):
      self.fields = fields

    def _get(self, field, default=None):
      return self.fields.get(f'f{field}', default)

    def array(self, field, dtype):
      return np.asarray(self._get(field, []), dtype)

    def int8(self, field):
      return self._get(field, 0)

    int32 = int8

    def tables(self, field):
      return self._get(field)

    def table(self, field):
      return self._get(field)

  dense = np.zeros((6, 8), np.float32)
  rng = np.random.default_rng(0)
  kept = [(0, 1), (0, 0), (3, 1), (5, 0), (5, 1)]
  kept.sort()
  for row, block in kept:
    dense[row, block * 4 : block * 4 + 4] = rng.normal(size=4)
  starts = np.cumsum([0] + [sum(r == k for r, _ in kept) for k in range(6)])
  sparsity = Numbers(
    f0=[0, 1, 2],
    f1=[1],
    f2=[
      Numbers(f0=0, f1=6),
      Numbers(
        f0=1,
        f2=3,
        f3=Numbers(f0=starts),
        f4=3,
        f5=Numbers(f0=[b for _, b in kept]),
      ),
      Numbers(f0=0, f1=4),
    ],
  )
  values = np.concatenate([dense[r, b * 4 : b * 4 + 4] for r, b in kept])
  np.testing.assert_array_equal(
    tflite_file.dense(sparsity, values, (6, 8)), dense
  )
  for wrong in (
    values[:-1],
    np.concatenate([values, values])[: len(values) - 4],
  ):
    with pytest.raises(GraphError, match='fewer numbers'):
      tflite_file.dense(sparsity, wrong, (6, 8))
  with pytest.raises(GraphError, match='outside of their shape'):
    tflite_file.dense(sparsity, values, (6, 4))


# ----------------------------------------------------------------- the runners

_FILES = (
  'blazepose/pose_landmark_full.tflite',
  'blazepose/pose_detection.tflite',
  'faces/face_landmark.tflite',
  'faces/face_detection_short_range.tflite',
)


@pytest.mark.slow
@pytest.mark.parametrize('file', _FILES)
def test_jax_equals_litert(models, file):
  """A batch against one at a time: to 1e-3 of each output's range."""
  pytest.importorskip('ai_edge_litert')
  data = (models / file).read_bytes()
  network = tflite_file.read_network(data)
  weights, function = tflite_graph.build(network)
  _, size, _, _ = network.shapes[network.inputs[0]]
  photo = photo_of('astronaut')
  region = regions.Region(np.array([190.0, 260.0]), 560.0, 0.1)
  images = np.stack(
    [regions.cut(photo, region, size), photo[:size, 80:][:, :size]]
  )
  images = images.astype(np.float32) / 255
  theirs = tflite_model.by_litert(data)(images)
  spec = {x.file: x for x in known_specs().values()}.get(file)
  if spec:  # Compiled for the tests below as well.
    outputs = tflite_graph.output_shapes(weights, function, (size, size, 3))
    theirs = [theirs[int(k)] for k in spec.output.tensors]
    ours = tflite_model.load(
      models / file, spec, outputs=outputs[: len(theirs)], runner='jax'
    ).run(images)
  else:
    ours = tflite_model.by_jax(weights, function, (8,))(images)
  for mine, its in zip(ours, theirs, strict=True):
    assert mine.shape == its.shape
    if mine.shape[1:] == (256, 256, 1):
      # Mask logits reach 1500, where LiteRT's own two sets of kernels differ
      # by 5; what is made of them is the sigmoid.
      mine, its = tflite_model.sigmoid(mine), tflite_model.sigmoid(its)
      assert overlap(mine > 0.5, its > 0.5) > 0.9999
      np.testing.assert_allclose(mine, its, atol=5e-3)
      assert np.abs(mine - its).mean() < 1e-5
    else:
      np.testing.assert_allclose(mine, its, atol=1e-3 * np.abs(its).max())


@pytest.mark.slow
@pytest.mark.parametrize('name', ['astronaut', 'camera'])
def test_both_runners_find_the_same_person(models, name):
  pytest.importorskip('ai_edge_litert')
  photo = photo_of(name)
  (mine,) = opened(models, 'jax').find(photo)
  (its,) = opened(models, 'litert').find(photo)
  seen = its.keypoints[:, 2] > 0
  np.testing.assert_array_equal(mine.keypoints[:, 2] > 0, seen)
  shoulders = np.hypot(
    *(its.keypoints[R_SHOULDER] - its.keypoints[L_SHOULDER])[:2]
  )
  apart = np.hypot(*(mine.keypoints - its.keypoints)[seen, :2].T)
  assert apart.max() < 0.03 * shoulders
  assert overlap(mine.mask > 0.5, its.mask > 0.5) > 0.99


# ----------------------------------------------------------------- real photos


@pytest.mark.slow
@pytest.mark.parametrize('zoom', [1, 5])
def test_a_photo_of_half_a_person(models, zoom):
  photo = photo_of('astronaut')
  big = cv2.resize(photo, None, fx=zoom, fy=zoom)
  (person,) = opened(models).find(big)
  points = person.keypoints
  assert points.dtype == np.float32 and points.shape == (18, 3)
  for joint, place in _ASTRONAUT.items():
    assert np.hypot(*(points[joint, :2] / zoom - place)) < 8, joint
  # The suit's shoulders, not the ring around the neck; nothing below the photo.
  assert 90 < points[R_SHOULDER, 0] / zoom < 135
  assert 280 < points[L_SHOULDER, 0] / zoom < 325
  np.testing.assert_allclose(
    points[NECK, :2],
    points[[R_SHOULDER, L_SHOULDER], :2].mean(axis=0),
    rtol=1e-5,
  )
  assert points[R_HIP].tolist() == [0, 0, 0]
  inside = points[points[:, 2] > 0, :2]
  assert (inside >= -0.5).all() and (inside < 512 * zoom).all()
  mask = cv2.resize(person.mask, (512, 512), interpolation=cv2.INTER_AREA) > 0.5
  for x, y, there in (
    (220, 60, True),  # Hair.
    (200, 420, True),  # The suit.
    (60, 440, True),  # An arm.
    (400, 200, False),  # The rocket.
    (20, 60, False),  # The flag.
    (300, 20, False),
  ):
    assert mask[y, x] == there, (x, y)


@pytest.mark.slow
def test_several_people_and_nobody(models):
  astronaut = photo_of('astronaut')
  photos = [
    np.concatenate([astronaut, astronaut[:, ::-1]], axis=1),
    photo_of('chelsea'),
    photo_of('coffee'),
    np.full((40, 30, 3), 127, np.uint8),
    np.full((16, 9000, 3), 127, np.uint8),
    astronaut,
  ]
  estimator = opened(models)
  found = estimator.find_many(photos)
  assert [len(x) for x in found] == [2, 0, 0, 0, 0, 1]
  noses = sorted(person.keypoints[NOSE, 0] for person in found[0])
  assert abs(noses[0] - 221) < 10 and abs(1023 - noses[1] - 221) < 10
  first, second = found[0]
  assert overlap(first.mask > 0.5, second.mask > 0.5) < 0.02

  def extent(person):
    seen = person.keypoints[person.keypoints[:, 2] > 0, :2]
    return np.prod(np.ptp(seen, axis=0))

  assert extent(first) >= extent(second)
  # Too small for the detector in the whole photo.
  many = np.tile(cv2.resize(astronaut, (300, 300)), (3, 4, 1))
  assert len(estimator.find(many)) >= 5
  # In the company of others as alone.
  (alone,) = estimator.find(astronaut)
  np.testing.assert_allclose(found[5][0].keypoints, alone.keypoints, atol=0.1)


@pytest.mark.slow
def test_the_functions_take_it_by_default(models, tmp_path):
  (person,) = find_people(photo_of('astronaut'), models_dir=models)
  assert person.mask.shape == (512, 512) and person.mask.dtype == np.float32
  (joints,) = estimate_pose(photo_of('astronaut'), models_dir=models)
  np.testing.assert_allclose(joints, person.keypoints, atol=1e-3)
  photo = tmp_path / 'me.png'
  cv2.imwrite(str(photo), photo_of('astronaut')[..., ::-1])
  done = entry_points.run(
    *('viton_jax.perception', 'pose', '--image', photo),
    *('--models_dir', models, '--out', tmp_path / 'k.json'),
    *('--show', tmp_path / 'k.png'),
  )
  assert 'pose model: blazepose' in done.stdout
  (told,) = json.loads((tmp_path / 'k.json').read_text())['people']
  told = np.reshape(told['pose_keypoints_2d'], (18, 3))
  np.testing.assert_allclose(told, joints, atol=0.01)
  cv2.imwrite(str(photo), photo_of('coffee'))
  line = entry_points.fails(
    *('viton_jax.perception', 'pose', '--image', photo),
    *('--models_dir', models, '--out', tmp_path / 'none.json'),
  )
  assert 'me.png: nobody was found' in line
  assert not (tmp_path / 'none.json').exists()


@pytest.mark.slow
def test_two_photos_need_nothing_else(models, tmp_path):
  two = photo_of('astronaut')
  two = np.concatenate([two, two[:, ::-1]], axis=1)
  cv2.imwrite(str(tmp_path / 'two.png'), two[..., ::-1])
  shirt = np.full((300, 240, 3), 250, np.uint8)
  cv2.rectangle(shirt, (60, 40), (180, 260), (200, 90, 40), -1)
  cv2.rectangle(shirt, (20, 40), (220, 110), (200, 90, 40), -1)
  cv2.imwrite(str(tmp_path / 'shirt.png'), shirt)
  people = find_people(two, models_dir=models)
  (astronaut,) = (k for k in (0, 1) if people[k].keypoints[NOSE, 0] < 512)
  done = entry_points.run(
    *('viton_jax.try_on', '--method', 'paste', '--models_dir', models),
    *('--person_index', astronaut),
    *('--person', tmp_path / 'two.png', '--garment', tmp_path / 'shirt.png'),
    *('--out', tmp_path / 'out.png'),
  )
  for said in (
    'joints: found by blazepose',
    f'of person {astronaut} of 2',
    'warning: 2 people were found',
    'warning: hidden or outside the photo:',
  ):
    assert said in done.stdout, done.stdout
  picture = cv2.imread(str(tmp_path / 'out.png'))[..., ::-1].astype(int)
  changed = np.abs(picture - two).max(axis=-1) > 30
  # On the suit, and on nobody else.
  assert (people[astronaut].mask > 0.5)[changed].mean() > 0.8
  assert changed[300:450, 120:260].mean() > 0.8
  done = entry_points.fails(
    *('viton_jax.try_on', '--method', 'paste', '--models_dir', models),
    *('--person', tmp_path / 'two.png', '--garment', tmp_path / 'shirt.png'),
    *('--out', tmp_path / 'none.png', '--person_index', 2),
  )
  assert 'person_index is 2' in done and '0 to 1' in done


# --------------------------------------------------------------- damaged files


@pytest.mark.slow
@pytest.mark.parametrize('runner', ['jax', 'litert'])
def test_damaged_files_are_one_sentence(models, tmp_path, runner):
  if runner == 'litert':
    pytest.importorskip('ai_edge_litert')
  path = tmp_path / 'pose_landmark_full.tflite'
  detector = tmp_path / 'pose_detection.tflite'
  with pytest.raises(InputError, match='pose_detection.tflite: the detector'):
    blazepose.open_network(path, SPEC, runner)
  good = (models / SPEC.file).read_bytes()
  detector.write_bytes((models / _FILES[1]).read_bytes())
  other = (models / _FILES[2]).read_bytes()
  for data, said in (
    (good[: len(good) // 2], 'ends before|damaged'),
    (b'', 'no file of TensorFlow Lite'),
    (b'<!DOCTYPE html><html>', 'no file of TensorFlow Lite'),
    (other, r'takes \[\(1, 192, 192, 3\)\] instead of \(1, 256, 256, 3\)'),
  ):
    path.write_bytes(data)
    with pytest.raises(
      InputError, match=f'pose_landmark_full.tflite: not a usable.*{said}'
    ):
      blazepose.open_network(path, SPEC, runner)


@pytest.mark.slow
def test_no_damage_does_anything_but_raise_the_error(models):
  """Of bytes changed at random: a network, or the error; no other exception."""
  good = (models / _FILES[3]).read_bytes()
  rng = np.random.default_rng(0)
  refused = 0
  # Weights fill most of a file; what describes them stands before and after.
  weights = np.frombuffer(good, np.uint8)
  for k in range(400):
    data = weights.copy()
    if k % 4:
      place = rng.integers(0, len(data), 200)
      near_end = rng.integers(len(data) - 40_000, len(data), 200)
      place = np.concatenate([place, near_end, rng.integers(0, 400, 3)])
      data[place[: 2 ** (k % 9)]] = rng.integers(0, 256, 1)
      data[rng.choice(near_end, 3)] = 255
    else:
      data = data[: rng.integers(0, len(data))]
    try:
      network = tflite_file.read_network(data.tobytes())
      weights_, function = tflite_graph.build(network)
      if k % 20 == 1:
        tflite_graph.output_shapes(weights_, function, (128, 128, 3))
    except GraphError:
      refused += 1
  assert refused > 200


@pytest.mark.slow
@pytest.mark.parametrize('size', [0, -1, 1 << 30])
def test_a_shape_that_would_fill_the_memory(models, size):
  data = bytearray((models / _FILES[3]).read_bytes())
  shape = np.int32([1, 128, 128, 3]).tobytes()
  where = data.find(shape)
  assert where > 0
  data[where + 4 : where + 8] = np.int32(size).tobytes()
  with pytest.raises(GraphError, match='a tensor has the shape'):
    tflite_file.read_network(bytes(data))


def test_a_file_that_is_too_large(tmp_path):
  path = tmp_path / 'big.tflite'
  with path.open('wb') as file:
    file.truncate((256 << 20) + 1)
  with pytest.raises(InputError, match='big.tflite: has 268435457 bytes'):
    tflite_model.load(pathlib.Path(path), SPEC, outputs=[])
