"""Writes drawn pairs in the layouts of other projects, with other libraries.

Persons 1 and 2 are for training, 3 and 4 for testing in each other's garment.
Label maps and photos are written by Pillow, so that the readers' own writers
are not what they are tested with.
"""

import dataclasses
import json

import numpy as np
from PIL import Image

from input_pipeline.synthetic import render_pair

TRAIN, TEST = (1, 2), ((3, 4), (4, 3))
SEED = 5
COLOURS = (
    (0, 0, 0), (128, 0, 0), (255, 0, 0), (0, 85, 0), (170, 0, 51),
    (255, 85, 0), (0, 0, 85), (0, 119, 221), (85, 85, 0), (0, 85, 85),
    (85, 51, 0), (52, 86, 128), (0, 128, 0), (0, 0, 255), (51, 170, 221),
    (0, 255, 255), (85, 255, 170), (170, 255, 85), (255, 255, 0),
    (255, 170, 0),
)  # fmt: skip
# For each of COCO-18's joints, by name, where BODY_25 has it.
BODY_25 = dict(
    nose=0, neck=1, right_shoulder=2, right_elbow=3, right_wrist=4,
    left_shoulder=5, left_elbow=6, left_wrist=7, right_hip=9, right_knee=10,
    right_ankle=11, left_hip=12, left_knee=13, left_ankle=14, right_eye=15,
    left_eye=16, right_ear=17, left_ear=18,
)  # fmt: skip
# From LIP to ATR, for the labels that are drawn.
LIP_TO_ATR = {
    0: 0, 1: 1, 2: 2, 5: 4, 9: 6, 12: 5, 13: 11, 14: 14, 15: 15, 16: 12,
    17: 13, 18: 9, 19: 10,
}  # fmt: skip


def draw(height=256):
  """The four pairs, by the person's number.

  Bare chest is the neck's label here, because ATR has none for it.
  """
  pairs = {k: render_pair(SEED, k, height) for k in (1, 2, 3, 4)}
  return {
    k: dataclasses.replace(
      pair,
      parse=np.where(pair.parse == 10, np.uint8(13), pair.parse),
    )
    for k, pair in pairs.items()
  }


def write_jpeg(path, image):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(image).save(path, quality=95, subsampling=0)


def write_palette(path, labels, **options):
  """A palette PNG as the parsers' tools write it."""
  path.parent.mkdir(parents=True, exist_ok=True)
  image = Image.fromarray(labels)
  image.putpalette(np.array(COLOURS, np.uint8).tobytes())
  assert image.mode == 'P'
  image.save(path, **options)


def write_grey(path, labels):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(labels).save(path)


def write_json(path, content):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(content))


def openpose(numbers, *, key='pose_keypoints_2d'):
  person = {key: np.asarray(numbers, float).ravel().tolist()}
  return {'version': 1.3, 'people': [{'person_id': [-1], **person}]}


def body_25(keypoints):
  """(25, 3) with the 18 joints in their places and others in the rest."""
  joints = np.full((25, 3), 7.0)
  joints[list(BODY_25.values())] = keypoints
  return joints


def write_lists(folder, person, garment, *, train, test, same=None):
  def text(pairs):
    return ''.join(f'{person(p)} {garment(g)}\n' for p, g in pairs)

  folder.mkdir(parents=True, exist_ok=True)
  (folder / train).write_text(text((k, k) for k in TRAIN))
  (folder / test).write_text(text(TEST))
  if same:
    (folder / same).write_text(text((p, p) for p, _ in TEST))


def write_cp_vton(folder, drawn):
  """The layout of CP-VTON; JSON of OpenPose 1.0, label maps with palettes."""
  for k, pair in drawn.items():
    split = folder / ('train' if k in TRAIN else 'test')
    write_jpeg(split / f'image/{k:06d}_0.jpg', pair.person)
    write_jpeg(split / f'cloth/{k:06d}_1.jpg', pair.garment)
    mask = pair.garment_mask.astype(np.uint8) * 255
    write_jpeg(split / f'cloth-mask/{k:06d}_1.jpg', mask)
    write_palette(split / f'image-parse/{k:06d}_0.png', pair.parse)
    write_json(
      split / f'pose/{k:06d}_0_keypoints.json',
      openpose(pair.keypoints, key='pose_keypoints'),
    )
  write_lists(
    folder,
    '{:06d}_0.jpg'.format,
    '{:06d}_1.jpg'.format,
    train='train_pairs.txt',
    test='test_pairs.txt',
    same='test_pairs_same.txt',
  )


def write_viton_hd(folder, drawn, *, old=False):
  """The layout of VITON-HD, BODY_25; `old`: as its first download spells."""
  parse_dir = 'image-parse' if old else 'image-parse-v3'
  pose_dir = 'openpose-json' if old else 'openpose_json'
  for k, pair in drawn.items():
    split = folder / ('train' if k in TRAIN else 'test')
    write_jpeg(split / f'image/{k:05d}_00.jpg', pair.person)
    write_jpeg(split / f'cloth/{k:05d}_00.jpg', pair.garment)
    mask = pair.garment_mask.astype(np.uint8) * 255
    write_jpeg(split / f'cloth-mask/{k:05d}_00.jpg', mask)
    write_palette(split / f'{parse_dir}/{k:05d}_00.png', pair.parse)
    write_json(
      split / f'{pose_dir}/{k:05d}_00_keypoints.json',
      openpose(body_25(pair.keypoints)),
    )
  write_lists(
    folder,
    '{:05d}_00.jpg'.format,
    '{:05d}_00.jpg'.format,
    train='train_pairs.txt',
    test='test_pairs.txt',
  )


def write_dress_code(folder, drawn, *, masks=True):
  """The layout of DressCode, upper body; joints in 384 x 512, ATR labels."""
  upper = folder / 'upper_body'
  to_atr = np.full(256, 255, np.uint8)
  to_atr[list(LIP_TO_ATR)] = list(LIP_TO_ATR.values())
  for k, pair in drawn.items():
    write_jpeg(upper / f'images/{k:06d}_0.jpg', pair.person)
    write_jpeg(upper / f'images/{k:06d}_1.jpg', pair.garment)
    write_grey(upper / f'label_maps/{k:06d}_4.png', to_atr[pair.parse])
    height, width = pair.parse.shape
    joints = np.full((18, 4), -1.0)
    joints[:, :2] = pair.keypoints[:, :2] * [384 / width, 512 / height]
    write_json(
      upper / f'keypoints/{k:06d}_2.json', {'keypoints': joints.tolist()}
    )
    if masks:
      mask = pair.garment_mask.astype(np.uint8) * 255
      write_grey(_made(upper / f'masks/{k:06d}_1.png'), mask)
  write_lists(
    upper,
    '{:06d}_0.jpg'.format,
    '{:06d}_1.jpg'.format,
    train='train_pairs.txt',
    test='test_pairs_unpaired.txt',
    same='test_pairs_paired.txt',
  )
  # The root's lists are of all categories.
  (folder / 'train_pairs.txt').write_text('900000_0.jpg 900000_1.jpg\n')


def _made(path):
  path.parent.mkdir(parents=True, exist_ok=True)
  return path


def check_sample(sample, person, garment, *, joints_atol, confidence=True):
  """That a sample is what was drawn.

  Args:
    sample: what a reader made.
    person: the drawn pair of the person.
    garment: the drawn pair of the garment.
    joints_atol: in pixels.
    confidence: whether the files hold it.
  """
  for got, want in (
    (sample.person, person.person),
    (sample.garment, garment.garment),
  ):
    assert got.shape == want.shape and got.dtype == np.uint8
    difference = abs(got.astype(int) - want)
    assert difference.mean() < 2 and np.quantile(difference, 0.99) < 16
  np.testing.assert_array_equal(sample.parse, person.parse)
  columns = 3 if confidence else 2
  np.testing.assert_allclose(
    sample.keypoints[:, :columns],
    person.keypoints[:, :columns],
    atol=joints_atol,
  )
  np.testing.assert_array_equal(
    sample.keypoints[:, 2] > 0, person.keypoints[:, 2] > 0
  )
  assert (sample.keypoints[:, 2] > 0).sum() >= 8
