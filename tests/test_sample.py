"""Decoding, resizing, the sample's checks and the working example."""

import dataclasses
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import pytest

from input_pipeline import sample
from input_pipeline.formats import original_records
from input_pipeline.layouts import open_layout
from viton_jax.errors import InputError
from viton_jax.io import images

GOLDENS = pathlib.Path(__file__).parent / 'goldens'
EXPECTED = np.load(GOLDENS / 'preprocess_seed0.npz')


def make_sample(height=96, width=80, **changes):
  rng = np.random.default_rng(0)
  parse = np.zeros((height, width), np.uint8)
  parse[8:32, 16:48] = 13
  parse[32:80, 8:64] = 5
  keypoints = np.zeros((18, 3), np.float32)
  keypoints[1] = 40, 34, 0.9
  pair = sample.Sample(
    person_id='p_0.jpg',
    garment_id='g_1.jpg',
    person=rng.integers(0, 256, (height, width, 3), np.uint8),
    garment=rng.integers(0, 256, (72, 64, 3), np.uint8),
    keypoints=keypoints,
    parse=parse,
    garment_mask=np.ones((72, 64), bool),
  )
  return dataclasses.replace(pair, **changes)


def draw_boxes(keypoints, limit, *, height=256, width=192):
  """The original's pose map, from the contract of the key points."""
  x, y = np.arange(width), np.arange(height)[:, None]
  return np.stack(
    [
      (abs(x - kx) <= 5) & (abs(y - ky) <= 5) & (x < limit[0]) & (y < limit[1])
      for kx, ky, _ in keypoints
    ],
    axis=-1,
  )


@pytest.mark.parametrize('size', [(275, 190), (190, 275), (64, 300), (97, 50)])
def test_resizing_equals_tensorflow_1(size):
  tf = original_records.tensorflow()
  image_ops = tf.compat.v1.image
  image = np.random.default_rng(1).random((*size, 3)).astype(np.float32)
  for ours, theirs in (
    (images.resize_bilinear_tf1, image_ops.resize_bilinear),
    (images.resize_nearest_tf1, image_ops.resize_nearest_neighbor),
  ):
    want = theirs(image[None], (128, 96))[0].numpy()
    np.testing.assert_array_equal(ours(image, 128, 96), want)
  want = image_ops.resize_area(image[None, ..., :1], (16, 12))[0, ..., 0]
  got = images.resize_area_tf1(image[..., 0], 16, 12)
  np.testing.assert_allclose(got, want.numpy(), atol=1e-6)


@pytest.mark.parametrize('index', range(4))
def test_original_example_meets_the_goldens(index):
  layout = open_layout(
    'viton',
    GOLDENS / 'raw_seed0',
    'viton_train_pairs.txt',
    decode=original_records.decode_photo_tf,
    tps=True,
  )
  example = sample.working_example(
    layout.load(index), height=256, width=192, fidelity='original'
  )
  mask = example['head_mask'][..., None] / 255
  head = (example['person'] / 127.5 - 1) * mask
  want = {
    name: EXPECTED[f'{index}_{name}']
    for name in ('skin_segment', 'prod_segment', 'pose_map', 'tps_points')
  }
  np.testing.assert_allclose(
    head[::2, ::2], want['skin_segment'], atol=1.5 / 255
  )
  np.testing.assert_array_equal(
    example['parse'] == 5, want['prod_segment'][..., 0]
  )
  body = images.resize_bilinear_tf1(example['body'], 256, 192)[::4, ::4]
  np.testing.assert_allclose(
    body, EXPECTED[f'{index}_body_segment'][..., 0], atol=1e-5
  )
  boxes = draw_boxes(example['keypoints'], example['pose_limit'])
  np.testing.assert_array_equal(boxes, want['pose_map'])
  np.testing.assert_allclose(
    example['control_points'], want['tps_points'], atol=1e-6
  )


def test_missing_joint_of_the_original_on_a_full_size_photo():
  keypoints = np.zeros((18, 3), np.float32)
  got = sample.working_keypoints(
    keypoints, (1100, 762), size=(256, 192), fidelity='original'
  )
  # -1 scales to -0.25 and truncates to 0: the box is drawn in the corner.
  np.testing.assert_array_equal(got, keypoints)


def test_fixed_example_keeps_areas_and_scales_joints():
  pair = make_sample(height=512, width=384)
  example = sample.working_example(pair, height=128, width=64, fidelity='fixed')
  np.testing.assert_allclose(
    example['body'].mean(), np.isin(pair.parse, [5]).mean(), atol=1e-6
  )
  np.testing.assert_allclose(
    example['head_mask'].mean() / 255, (pair.parse == 13).mean(), atol=2e-3
  )
  np.testing.assert_allclose(
    example['person'].mean(), pair.person.mean(), atol=0.6
  )
  np.testing.assert_allclose(
    example['keypoints'][1], [40 / 384 * 64, 34 / 512 * 128, 0.9], rtol=1e-6
  )
  assert not example['keypoints'][0].any()
  assert 'pose_limit' not in example
  shapes = {
    k: (v.shape, v.dtype)
    for k, v in example.items()
    if isinstance(v, np.ndarray)
  }
  assert shapes == {
    'person': ((128, 64, 3), np.uint8),
    'garment': ((128, 64, 3), np.uint8),
    'head_mask': ((128, 64), np.uint8),
    'parse': ((128, 64), np.uint8),
    'body': ((8, 4), np.float32),
    'keypoints': ((18, 3), np.float32),
    'garment_mask': ((128, 64), np.uint8),
  }


def test_fixed_resizing_mixes_growing_and_shrinking():
  ramp = np.tile(np.arange(256, dtype=np.uint8), (32, 1))
  got = images.resize_area(ramp, 64, 64)
  assert got.shape == (64, 64)
  np.testing.assert_allclose(got[10], np.arange(64) * 4 + 1.5, atol=0.51)


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'person': np.zeros((96, 80, 4), np.uint8)}, 'person must be uint8'),
    ({'garment': np.zeros((72, 64, 3))}, 'garment must be uint8'),
    ({'garment': np.zeros((8, 64, 3), np.uint8)}, '64 x 8 pixels'),
    ({'keypoints': np.zeros((17, 3), np.float32)}, 'keypoints must be'),
    ({'parse': np.zeros((95, 80), np.uint8)}, 'parse must be uint8'),
    ({'parse': np.full((96, 80), 20, np.uint8)}, 'has the label 20'),
    ({'garment_mask': np.ones((72, 63), bool)}, 'garment_mask must be'),
    ({'truth': np.zeros((90, 80, 3), np.uint8)}, 'truth must be uint8'),
    (
      {'keypoints': np.full((18, 3), np.nan, np.float32)},
      'not a finite number',
    ),
  ],
)
def test_wrong_samples_are_refused(changes, message):
  with pytest.raises(InputError, match=message) as error:
    make_sample(**changes)
  assert 'p_0.jpg g_1.jpg' in str(error.value)


@pytest.mark.parametrize('height, width', [(250, 192), (256, 0), (256, 200)])
def test_unusable_sizes_are_refused(height, width):
  with pytest.raises(
    InputError, match='not a multiple of 64|width 0 is not a number'
  ):
    sample.working_example(
      make_sample(), height=height, width=width, fidelity='fixed'
    )


def test_unknown_fidelity_is_refused():
  with pytest.raises(InputError, match="fidelity is 'exact'; it must be"):
    sample.check_settings(256, 192, fidelity='exact')


def encoded(extension, *options):
  image = np.random.default_rng(2).integers(0, 256, (60, 50, 3), np.uint8)
  return cv2.imencode(extension, image, list(options))[1].tobytes()


@pytest.mark.parametrize(
  'data',
  [
    encoded('.jpg'),
    encoded('.jpg', cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    encoded('.jpg', cv2.IMWRITE_JPEG_RST_INTERVAL, 4),
    encoded('.png'),
  ],
  ids=['jpeg', 'progressive', 'restarts', 'png'],
)
def test_whole_images_decode_and_cut_ones_do_not(data):
  want = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
  for tail in (b'', b'\0\0garbage'):  # Cameras append things.
    got = images.decode_image(data + tail, 'a.jpg')
    np.testing.assert_array_equal(got, want[..., ::-1])
  for length in (30, len(data) // 3, len(data) * 9 // 10, len(data) - 2):
    with pytest.raises(InputError, match='a.jpg: the file is truncated'):
      images.decode_image(data[:length], 'a.jpg')


def test_other_bytes_are_refused():
  for data, message in ((b'', 'is empty'), (b'GIF89a....', 'neither a JPEG')):
    with pytest.raises(InputError, match=message):
      images.decode_image(data, 'a.gif')
  png = bytearray(encoded('.png'))
  png[len(png) // 2] ^= 0xFF
  with pytest.raises(InputError, match='damaged'):
    images.decode_image(bytes(png), 'a.png')


@pytest.mark.parametrize('extension', ['.jpg', '.png'])
def test_large_images_are_refused_before_decoding(extension, monkeypatch):
  monkeypatch.setattr(cv2, 'imdecode', None)  # Must not be reached.
  with pytest.raises(InputError, match='50 x 60 pixels is above the limit'):
    images.decode_image(encoded(extension), 'a', max_pixels=2999)


def test_orientation_tag_is_ignored():
  data = encoded('.jpg')
  exif = (
    b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0'
  )
  tag = b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif
  assert images.decode_image(data[:2] + tag + data[2:], 'a').shape == (
    60,
    50,
    3,
  )


def test_labels_must_be_a_grey_png():
  with pytest.raises(InputError, match='grey 8-bit PNG'):
    images.decode_labels(encoded('.png'), 'a.png')
  labels = np.arange(20, dtype=np.uint8).reshape(4, 5)
  png = images.encode_png(labels)
  np.testing.assert_array_equal(images.decode_labels(png, 'a.png'), labels)


def test_imports_stay_light():
  code = (
    'import sys, input_pipeline.layouts, input_pipeline.sample;'
    'assert not {"tensorflow", "jax", "flax"} & set(sys.modules);'
    'import input_pipeline.batches, input_pipeline.prepare;'
    'assert not {"tensorflow", "jax", "flax"} & set(sys.modules);'
    'import input_pipeline.try_on.try_on_dataset_builder;'
    'assert "flax" not in sys.modules'
  )
  subprocess.run([sys.executable, '-c', code], check=True)
