"""Label maps and key points as other tools write them."""

import io
import json
import struct
import zlib

import layout_folders
import numpy as np
from PIL import Image
import pytest

from input_pipeline.layouts import keypoint_files, label_maps
from viton_jax.errors import InputError
from viton_jax.labels import ATR, CIHP, LIP

FRAME = (256, 192)


def saved(image, kind='PNG', **options):
  file = io.BytesIO()
  image.save(file, kind, **options)
  return file.getvalue()


def palette_image(labels):
  image = Image.fromarray(labels)
  image.putpalette(np.array(layout_folders.COLOURS, np.uint8).tobytes())
  return image


def random_labels(count, shape=(31, 45)):
  labels = np.random.default_rng(count).integers(0, count, shape, np.uint8)
  labels.flat[:count] = np.arange(count)
  return labels


@pytest.mark.parametrize(
  'bits, count', [(8, 20), (8, 256), (4, 16), (2, 4), (1, 2)]
)
def test_palette_indices(bits, count):
  labels = random_labels(count)
  data = saved(palette_image(labels), bits=bits)
  assert (data[24], data[25]) == (bits, 3)
  got = label_maps.decode_indices(data, 'a', colours=False)
  np.testing.assert_array_equal(got, labels)
  assert got.dtype == np.uint8


def test_palette_with_transparency():
  labels = random_labels(20)
  data = saved(palette_image(labels), transparency=0)
  assert b'tRNS' in data
  np.testing.assert_array_equal(
    label_maps.decode_indices(data, 'a', colours=False), labels
  )


def test_grey_levels_and_colours():
  labels = random_labels(20)
  grey = saved(Image.fromarray(labels))
  np.testing.assert_array_equal(
    label_maps.decode_indices(grey, 'a', colours=False), labels
  )
  rgb = np.array(layout_folders.COLOURS, np.uint8)[labels]
  data = saved(Image.fromarray(rgb))
  np.testing.assert_array_equal(
    label_maps.decode_indices(data, 'a', colours=True), labels
  )
  with pytest.raises(InputError, match='a: .* 8 bits and colour type 2'):
    label_maps.decode_indices(data, 'a', colours=False)
  for colour in ((1, 2, 3), (255, 255, 255), (0, 0, 1)):
    rgb[4, 6] = colour
    data = saved(Image.fromarray(rgb))
    with pytest.raises(InputError, match=r'colour \(.*\) at \(6, 4\)'):
      label_maps.decode_indices(data, 'a', colours=True)


def interlaced_png(labels):
  """A palette PNG in Adam7, of which Pillow writes none."""
  height, width = labels.shape
  body = b''
  for x0, y0, dx, dy in (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
  ):
    for row in labels[y0::dy, x0::dx]:
      body += b'\x00' + row.tobytes()
  header = struct.pack('>IIBBBBB', width, height, 8, 3, 0, 0, 1)
  colours = np.array(layout_folders.COLOURS, np.uint8).tobytes()
  data = b'\x89PNG\r\n\x1a\n'
  for kind, content in (
    (b'IHDR', header),
    (b'PLTE', colours),
    (b'IDAT', zlib.compress(body)),
    (b'IEND', b''),
  ):
    checksum = struct.pack('>I', zlib.crc32(kind + content))
    data += struct.pack('>I', len(content)) + kind + content + checksum
  return data


def test_interlaced_palette():
  labels = random_labels(20, (24, 16))
  data = interlaced_png(labels)
  # That the test's writer is right.
  np.testing.assert_array_equal(Image.open(io.BytesIO(data)), labels)
  np.testing.assert_array_equal(
    label_maps.decode_indices(data, 'a', colours=False), labels
  )


@pytest.mark.parametrize(
  'data, message',
  [
    (b'', 'is empty'),
    (b'hello', 'neither a JPEG nor a PNG'),
    (saved(palette_image(random_labels(20)))[:-20], 'truncated'),
    (saved(Image.fromarray(random_labels(20)), 'JPEG'), 'must be PNG'),
    (saved(Image.fromarray(np.zeros((9, 9, 4), np.uint8))), 'type 6'),
    (saved(Image.fromarray(np.zeros((9, 9), np.uint16))), '16 bits'),
  ],
)
def test_other_files_are_refused(data, message):
  with pytest.raises(InputError, match=f'map.png: .*{message}'):
    label_maps.decode_indices(data, 'map.png', colours=True)


@pytest.mark.parametrize(
  'labels, number, lip',
  [
    (ATR, 3, 4),  # sunglasses
    (ATR, 4, 5),  # upper clothes
    (ATR, 5, 12),  # skirt
    (ATR, 6, 9),  # trousers
    (ATR, 7, 6),  # dress
    (ATR, 8, 9),  # belt -> trousers
    (ATR, 11, 13),  # head -> face
    (ATR, 12, 16),  # left leg
    (ATR, 15, 15),  # right arm
    (ATR, 16, 0),  # bag
    (ATR, 17, 11),  # scarf
    (LIP, 19, 19),
    (CIHP, 9, 9),
    (CIHP, 11, 11),
  ],
)
def test_label_sets(labels, number, lip):
  assert labels.to_lip[number] == lip
  lengths = {'ATR': 18, 'LIP': 20, 'CIHP': 20}
  assert len(labels.to_lip) == lengths[labels.name.partition(',')[0]]


@pytest.fixture
def read(tmp_path):
  def read_content(content, **options):
    path = tmp_path / 'pose.json'
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text)
    return keypoint_files.read_openpose(path, FRAME, **options)

  return read_content


def joints(count):
  """Joint j at (10 + j, 20 + j), confidence (j + 1) / 100."""
  j = np.arange(count, dtype=float)
  return np.stack([10 + j, 20 + j, (j + 1) / 100], axis=1)


@pytest.mark.parametrize('key', ['pose_keypoints', 'pose_keypoints_2d'])
def test_coco_and_body_25(read, key):
  got = read(layout_folders.openpose(joints(18), key=key))
  np.testing.assert_allclose(got, joints(18), rtol=1e-6)
  assert got.dtype == np.float32
  got = read(layout_folders.openpose(joints(25), key=key))
  # Hips, knees and ankles follow the middle of the hips, which goes.
  want = joints(25)[[*range(8), 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]]
  np.testing.assert_allclose(got, want, rtol=1e-6)


def test_the_first_of_several_people(read):
  content = layout_folders.openpose(joints(18))
  content['people'] += layout_folders.openpose(joints(18) * 2)['people']
  np.testing.assert_allclose(read(content), joints(18), rtol=1e-6)


def test_what_counts_as_missing(read):
  values = joints(18)
  values[3] = 0
  values[4] = 50, 60, 0
  values[5] = 1, 60, 0.9
  content = layout_folders.openpose(values)
  by_confidence = read(content)
  assert not by_confidence[[3, 4]].any()
  np.testing.assert_allclose(by_confidence[5], [1, 60, 0.9])
  # CP-VTON draws a joint if x > 1 and y > 1, whatever its confidence.
  by_coordinates = read(content, coordinates_tell=True)
  assert not by_coordinates[[3, 5]].any()
  np.testing.assert_array_equal(by_coordinates[4, :2], [50, 60])
  assert by_coordinates[4, 2] > 0


@pytest.mark.parametrize(
  'content, message',
  [
    ({'people': []}, 'nobody was detected'),
    ({'version': 1.1}, "no list 'people'"),
    ([1], 'holds a list'),
    ('{"people": [', 'not a usable JSON file'),
    ('[' * 100_000, 'not a usable JSON file'),
    ({'people': [{}]}, "neither 'pose_keypoints_2d' nor"),
    ({'people': [3]}, "neither 'pose_keypoints_2d' nor"),
    (layout_folders.openpose(np.ones(51)), '51 numbers; give 54'),
    (layout_folders.openpose(()), ' 0 numbers; give 54'),
    ({'people': [{'pose_keypoints': 'x' * 54}]}, 'not all numbers'),
    ({'people': [{'pose_keypoints': [None] * 54}]}, 'finite number'),
    ({'people': [{'pose_keypoints': [[1], [2, 3]]}]}, 'not all numbers'),
    ({'people': [{'pose_keypoints': [10**400] * 54}]}, 'is too large'),
    (layout_folders.openpose(np.full((18, 3), np.nan)), 'finite number'),
    (
      layout_folders.openpose(np.full((18, 3), 300.0)),
      r'joint 0 is at \(300, 300\), outside the photo of 192 x 256',
    ),
    (layout_folders.openpose(np.full((18, 3), 230.0)), 'outside'),
    (layout_folders.openpose([[-9, 30, 1]] * 18), 'outside'),
  ],
)
def test_wrong_poses_are_refused(read, content, message):
  with pytest.raises(InputError, match=f'pose.json: .*{message}'):
    read(content)


def test_joints_on_the_border_are_not_outside(read):
  got = read(layout_folders.openpose([[192.5, 256.5, 0.5]] * 18))
  np.testing.assert_allclose(got, [[192.5, 256.5, 0.5]] * 18)


def test_coco_where_body_25_is_said(read):
  content = layout_folders.openpose(joints(18))
  with pytest.raises(
    InputError, match='54 numbers, which is COCO-18, .* --model_pose BODY_25'
  ):
    read(content, model='BODY_25')
  assert read(content, model='COCO-18').any()


def test_dress_code_joints(tmp_path):
  path = tmp_path / 'a_2.json'
  values = np.concatenate([joints(18), np.zeros((18, 1))], axis=1)
  values[6, :2] = 0.9, 90  # 1.8 at the photo's size: there.
  values[7, :2] = 0.4, 90
  values[8, :2] = -1
  path.write_text(json.dumps({'keypoints': values.tolist()}))
  got = keypoint_files.read_dress_code(path, (1024, 768))
  np.testing.assert_allclose(got[0], [20, 40, 1])
  np.testing.assert_allclose(got[6], [1.8, 180, 1], rtol=1e-6)
  assert not got[7:9].any()
  values[0, :2] = 700, 900  # As if in pixels of the photo.
  path.write_text(json.dumps({'keypoints': values.tolist()}))
  with pytest.raises(InputError, match=r'\(1400, 1800\).* frame of 384 x 512'):
    keypoint_files.read_dress_code(path, (1024, 768))
  for content, message in (
    ({}, r'shape \(0,\)'),
    ({'keypoints': [[1, 2, 0, 0]] * 17}, r'shape \(17, 4\)'),
    ({'keypoints': 3}, r'shape \(\)'),
  ):
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=f'a_2.json: .*{message}'):
      keypoint_files.read_dress_code(path, (1024, 768))
