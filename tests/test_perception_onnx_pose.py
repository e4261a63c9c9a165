"""Pose networks and detectors in ONNX files, against plain OpenCV."""

import cv2
import numpy as np
import onnx_files
import pytest
import skimage.data

from viton_jax.errors import InputError
from viton_jax.perception import estimate_pose, specs
from viton_jax.perception.pose import (
  detector,
  estimation,
  graph_pose,
  onnx_pose,
  simcc,
)
from viton_jax.perception.pose.estimator import Person, PoseEstimator
from viton_jax.perception.runners import onnx_model

# Two lists of names, so that the numbers in the specs can be wrong.
_COCO_17 = (
    'nose', 'left eye', 'right eye', 'left ear', 'right ear', 'left shoulder',
    'right shoulder', 'left elbow', 'right elbow', 'left wrist', 'right wrist',
    'left hip', 'right hip', 'left knee', 'right knee', 'left ankle',
    'right ankle',
)  # fmt: skip
_COCO_18 = (
    'nose', 'neck', 'right shoulder', 'right elbow', 'right wrist',
    'left shoulder', 'left elbow', 'left wrist', 'right hip', 'right knee',
    'right ankle', 'left hip', 'left knee', 'left ankle', 'right eye',
    'left eye', 'right ear', 'left ear',
)  # fmt: skip
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@pytest.mark.parametrize('name', ['rtmpose_m', 'dwpose'])
def test_the_order_of_the_joints(name):
  spec = specs.known_specs()[name]
  count = spec.output.channels
  rng = np.random.default_rng(1)
  joints = rng.uniform(0.5, 0.9, (count, 3))
  got = simcc.to_coco18(joints, spec.to_coco18, min_score=0.3)
  for place, part in enumerate(_COCO_18):
    if part == 'neck':
      sides = joints[
        [_COCO_17.index(f'{x} shoulder') for x in ('left', 'right')]
      ]
      expected = [*sides[:, :2].mean(0), sides[:, 2].min()]
    else:
      expected = joints[_COCO_17.index(part)]
    np.testing.assert_allclose(got[place], expected, rtol=1e-6, err_msg=part)


def test_a_joint_below_the_threshold_is_missing_and_the_neck_with_it():
  joints = np.ones((17, 3))
  joints[_COCO_17.index('left shoulder'), 2] = 0.29
  joints[_COCO_17.index('nose'), 2] = 1.7
  spec = specs.known_specs()['rtmpose_m']
  got = simcc.to_coco18(joints, spec.to_coco18, min_score=0.3)
  missing = [x for x, row in zip(_COCO_18, got, strict=True) if not row.any()]
  assert missing == ['neck', 'left shoulder']
  assert got[0, 2] == 1  # A confidence is not above 1.


def test_simcc_by_hand():
  x, y = np.zeros((2, 8), np.float32), np.zeros((2, 12), np.float32)
  x[0, 5], y[0, 3] = 0.9, 0.5
  x[1, 0], y[1, 11] = 0.2, 0.4
  np.testing.assert_allclose(
    simcc.decode_simcc(x, y, split=2.0), [(2.5, 1.5, 0.7), (0, 5.5, 0.3)]
  )


def dotted_photo(shape, joints, grey):
  """Squares of 11 x 11 pixels of one grey each; (h, w, 3)."""
  image = np.zeros((*shape, 3), np.uint8)
  for (x, y), level in zip(joints, grey, strict=True):
    image[y - 5 : y + 6, x - 5 : x + 6] = level
  return image


def grid_of_joints(shape, top=0.1, bottom=0.9):
  """17 places, right sides not above left ones."""
  h, w = shape
  rows = np.linspace(top * h, bottom * h, 6).astype(int)
  columns = (np.array([0.2, 0.5, 0.8]) * w).astype(int)
  return [(x, y) for y in rows for x in columns][:17]


def test_rtmpose_equals_opencv_on_a_whole_photo(tmp_path):
  joints = grid_of_joints((280, 200))
  grey = np.arange(17) * 14 + 20
  image = dotted_photo((280, 200), joints, grey)
  path = onnx_files.save_simcc(
    tmp_path / 'rtm.onnx',
    (grey - _MEAN[0]) / _STD[0],
    size=(256, 192),
  )
  estimator = estimation.choose_pose(path, tmp_path / 'nowhere')
  assert 'rtmpose_m' in estimator.description
  assert 'the whole photo taken for one person' in estimator.description
  (found,) = estimator.find(image)
  person = found.keypoints
  # The photo's box, 1.25 times as large, of aspect 3:4 around its centre.
  half_w, half_h = 280 * 1.25 * 0.75 / 2, 280 * 1.25 / 2
  matrix = cv2.getAffineTransform(
    np.float32([(100, 140), (100 - half_w, 140), (100, 140 - half_h)]),
    np.float32([(96, 128), (0, 128), (96, 0)]),
  )
  placed = cv2.warpAffine(image[..., ::-1], matrix, (192, 256))
  first = (placed[..., 0] - _MEAN[0]) / _STD[0]
  back = cv2.invertAffineTransform(matrix)
  for place, part in enumerate(_COCO_18):
    if part == 'neck':
      left, right = (
        person[_COCO_18.index(f'{x} shoulder'), :2] for x in ('left', 'right')
      )
      np.testing.assert_allclose(person[1, :2], (left + right) / 2, atol=1e-3)
      continue
    number = _COCO_17.index(part)
    level = (grey[number] - _MEAN[0]) / _STD[0]
    score = cv2.erode(1 - (30 * (first - level)) ** 2, np.ones((5, 5)))
    at = score.max(0).argmax(), score.max(1).argmax()
    x, y = back @ (*at, 1)
    np.testing.assert_allclose(person[place, :2], (x, y), atol=0.01)
    # And where it was drawn.
    assert np.abs(person[place, :2] - joints[number]).max() < 7
    assert person[place, 2] > 0.9


def test_dwpose_takes_the_first_17_of_133(tmp_path):
  joints = grid_of_joints((280, 200))
  grey = np.arange(17) * 14 + 20
  image = dotted_photo((280, 200), joints, grey)
  levels = np.full(133, 50.0)  # The others are nowhere.
  levels[:17] = (grey - _MEAN[0]) / _STD[0]
  path = onnx_files.save_simcc(tmp_path / 'dw.onnx', levels, size=(384, 288))
  assert 'dwpose' in estimation.choose_pose(path, tmp_path).description
  (person,) = estimate_pose(image, path, models_dir=tmp_path)
  for place, part in enumerate(_COCO_18):
    if part != 'neck':
      drawn = joints[_COCO_17.index(part)]
      assert np.abs(person[place, :2] - drawn).max() < 7, part


def test_nobody_in_an_empty_photo(tmp_path):
  grey = np.arange(17) * 14 + 20
  path = onnx_files.save_simcc(
    tmp_path / 'rtm.onnx', (grey - _MEAN[0]) / _STD[0], size=(256, 192)
  )
  assert (
    estimate_pose(np.full((90, 60, 3), 3, np.uint8), path, models_dir=tmp_path)
    == []
  )


def save_boxes(path, boxes):
  """A detector that always gives the same rows of 5 numbers."""
  rows = np.array([boxes], np.float32)
  onnx_files.save(
    path,
    [
      ('ReduceMax', ['images'], 'top', {'keepdims': 0}),
      ('Mul', ['top', 'none'], 'nothing', {}),
      ('Add', ['rows', 'nothing'], 'dets', {}),
    ],
    {'none': np.float32(0), 'rows': rows},
    inputs={'images': [1, 3, 640, 640]},
    outputs={'dets': ([1, len(boxes), 5], 1)},
  )


def test_two_people_in_boxes_of_a_detector(tmp_path):
  shape = 300, 520
  one, two = grid_of_joints((290, 180)), grid_of_joints((140, 120), 0.12, 0.9)
  grey = np.arange(17) * 14 + 20
  image = dotted_photo(shape, one, grey)
  for (x, y), level in zip(two, grey, strict=True):
    image[y + 95 : y + 106, x + 375 : x + 386] = level
  (tmp_path / 'dwpose').mkdir()
  # In pixels of the 640 x 640 picture, 640 / 520 as large; the third is too
  # unsure, the fourth on top of the first.
  zoom = 640 / 520
  save_boxes(
    tmp_path / 'dwpose/yolox_l.onnx',
    [
      (380 * zoom, 100 * zoom, 500 * zoom, 240 * zoom, 0.95),
      (0, 0, 180 * zoom, 290 * zoom, 0.9),
      (200, 0, 300, 300, 0.1),
      (4, 4, 180 * zoom, 285 * zoom, 0.5),
    ],
  )
  path = onnx_files.save_simcc(
    tmp_path / 'rtm.onnx', (grey - _MEAN[0]) / _STD[0], size=(256, 192)
  )
  estimator = estimation.choose_pose(path, tmp_path)
  assert 'boxes by yolox_l' in estimator.description
  first, second = estimator.find(image)  # The larger first.
  for person, drawn, shift in ((first, one, (0, 0)), (second, two, (380, 100))):
    for place, part in enumerate(_COCO_18):
      if part != 'neck':
        expected = np.add(drawn[_COCO_17.index(part)], shift)
        assert np.abs(person.keypoints[place, :2] - expected).max() < 7, part


def test_the_grid_of_yolox_by_hand():
  out = np.zeros((80 * 80 + 40 * 40 + 20 * 20, 85), np.float32)
  # Row 3, column 7 of the grid of 40 x 40: cells of 16 pixels.
  out[6400 + 3 * 40 + 7, :6] = 0.5, 0.25, np.log(4), np.log(6), 0.8, 0.5
  boxes, scores = detector.decode_grid(out, (640, 640))
  (best,) = np.flatnonzero(scores > 0)
  assert scores[best] == pytest.approx(0.4)
  x, y = 7.5 * 16, 3.25 * 16
  np.testing.assert_allclose(
    boxes[best], [x - 32, y - 48, x + 32, y + 48], rtol=1e-6
  )
  with pytest.raises(InputError, match='8399 boxes'):
    detector.decode_grid(out[:-1], (640, 640))


def test_overlaps_are_suppressed():
  boxes = np.array(
    [(0, 0, 10, 10), (1, 0, 11, 10), (30, 30, 40, 50), (0, 0, 10, 3)],
    np.float32,
  )
  kept = detector.suppress(boxes, np.array([0.6, 0.9, 0.5, 0.4]), 0.3)
  assert kept.tolist() == [1, 2, 3]
  assert detector.suppress(boxes, np.full(4, 0.1), 0.3).size == 0


def save_openpose(path):
  """Fields and heat maps, linear in the mean of each 8 x 8 pixels."""
  rng = np.random.default_rng(4)
  paf, heat = rng.normal(size=(38, 3)), rng.normal(size=(19, 3))
  nodes = [
    (
      'AveragePool',
      ['image'],
      'small',
      {'kernel_shape': [8, 8], 'strides': [8, 8]},
    ),
    ('Conv', ['small', 'paf_w'], 'paf', {}),
    ('Conv', ['small', 'heat_w'], 'heat', {}),
  ]
  onnx_files.save(
    path,
    nodes,
    {
      'paf_w': paf.astype(np.float32).reshape(38, 3, 1, 1),
      'heat_w': heat.astype(np.float32).reshape(19, 3, 1, 1),
    },
    inputs={'image': [1, 3, 'h', 'w']},
    outputs={'paf': ([1, 38, 'a', 'b'], 1), 'heat': ([1, 19, 'a', 'b'], 1)},
  )
  return paf, heat


def test_openpose_maps_equal_opencv_at_every_scale(tmp_path):
  paf, heat = save_openpose(tmp_path / 'body.onnx')
  model = onnx_model.load(tmp_path / 'body.onnx', None, task='pose')
  assert model.spec.name == 'openpose_body'
  image = cv2.resize(skimage.data.astronaut(), (250, 301))
  got = onnx_pose.averaged_maps(model, image)
  assert got.shape == (301, 250, 57)
  expected = 0
  for scale in (0.5, 1, 1.5, 2):
    # BGR; 368 rows times the scale; grey to the right and below.
    factor = scale * 368 / 301
    size = round(250 * factor), round(301 * factor)
    resized = cv2.resize(image[..., ::-1], size, interpolation=cv2.INTER_CUBIC)
    h, w = size[1] + -size[1] % 8, size[0] + -size[0] % 8
    padded = np.full((h, w, 3), 128.0)
    padded[: size[1], : size[0]] = resized
    small = (padded / 256 - 0.5).reshape(h // 8, 8, w // 8, 8, 3).mean((1, 3))
    maps = np.concatenate([small @ heat.T, small @ paf.T], -1)
    planes = [
      cv2.resize(
        cv2.resize(
          maps[..., i].astype(np.float32),
          (w, h),
          interpolation=cv2.INTER_CUBIC,
        )[: size[1], : size[0]],
        (250, 301),
        interpolation=cv2.INTER_CUBIC,
      )
      for i in range(57)
    ]
    expected = expected + np.stack(planes, -1) / 4
  np.testing.assert_allclose(got, expected, atol=2e-3)
  # A photo above 512 rows is shrunk first.
  assert onnx_pose.averaged_maps(
    model, cv2.resize(image, (100, 1024))
  ).shape == (512, 50, 57)


@pytest.mark.parametrize('decoder', ['tf_pose', 'openpose'])
def test_a_person_in_maps_from_onnx(tmp_path, decoder):
  """Maps in NHWC, decoded as either program does."""
  import test_perception_decoder as drawing

  rng = np.random.default_rng(0)
  joints = drawing._FIGURE * 36 + (22.3, 2.2)
  maps = drawing.draw_maps(rng, [joints], noise=0, missing=0)[None]
  onnx_files.save(
    tmp_path / 'graph.onnx',
    [
      ('ReduceMax', ['image'], 'top', {'keepdims': 0}),
      ('Mul', ['top', 'none'], 'nothing', {}),
      ('Add', ['maps', 'nothing'], 'out', {}),
    ],
    {'none': np.float32(0), 'maps': maps},
    inputs={'image': [1, 'h', 'w', 3]},
    outputs={'out': ([1, 'a', 'b', 57], 1)},
  )
  fit = {
    'tf_pose': 'fit = "keep_height"\nmax_width = 1280',
    'openpose': 'fit = "pad_multiple"\nwork_height = 512\nscales = [1.0]\n'
    'pad_value = 128',
  }[decoder]
  (tmp_path / 'mine.toml').write_text(f'''
[model]
task = "pose"
backend = "onnx"
file = "graph.onnx"
licence = "mine"
source = "me"
summary = "a test"
[input]
color = "bgr"
{fit}
height = 320
multiple_of = 8
interpolation = "cubic"
layout = "nhwc"
[output]
kind = "heat_paf"
decoder = "{decoder}"
channels = 57
stride = 8
''')
  (person,) = estimate_pose(
    np.zeros((400, 440, 3), np.uint8), tmp_path / 'mine.toml'
  )
  # The photo is ten times as large as the maps. Blocks of a pixel begin at its
  # corner; where maps are interpolated, pixels have their centre.
  shift = {'tf_pose': -0.375, 'openpose': -0.45}[decoder]
  found = person[:, :2] / 10 + shift
  atol = {'tf_pose': 0.5, 'openpose': 0.25}[decoder]
  np.testing.assert_allclose(found, joints, atol=atol)


def test_a_pose_network_of_another_shape_is_refused(tmp_path):
  path = onnx_files.save_linear(
    tmp_path / 'a.onnx', np.zeros((20, 3)), size=(473, 473), stride=43
  )
  with pytest.raises(InputError, match='a.onnx: no known pose network'):
    estimate_pose(np.zeros((90, 60, 3), np.uint8), path)


def test_boxes_around_the_people_of_another_model(tmp_path, monkeypatch):
  spec = specs.known_specs()['tf_pose_mobilenet_v2_small']
  path = tmp_path / spec.file
  path.parent.mkdir()
  path.write_bytes(b'there')
  person = np.zeros((18, 3), np.float32)
  person[[1, 2, 5, 11]] = (50, 40, 1), (30, 42, 0.5), (70, 41, 1), (60, 140, 1)
  monkeypatch.setattr(
    graph_pose,
    'open_graph',
    lambda *_: PoseEstimator('', lambda photos: [[Person(person)]]),
  )
  boxes_of, how = onnx_pose.choose_boxes(
    specs.known_specs()['dwpose'], tmp_path
  )
  assert spec.name in how
  # A tenth of the larger side, 140 - 40, all around.
  np.testing.assert_allclose(boxes_of(None), [(20, 30, 80, 150)])
