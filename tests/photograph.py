"""A real photograph in VITON's layout: scikit-image's astronaut.

The keypoints are those that a pose network found (tests/goldens); the label map
comes from OpenCV's GrabCut, seeded by them. Nothing of it was drawn by us.
"""

import json
import pathlib
import shutil

import cv2
import numpy as np
import scipy.io
import skimage.data

_GOLDEN = pathlib.Path(__file__).parent / 'goldens' / 'pose_astronaut.json'
_CROP = slice(24, 408)  # 384 of 512 columns: 3 : 4, the person in the middle.
_JOINTS = (
  'nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow '
  'left_wrist right_hip right_knee right_ankle left_hip left_knee left_ankle '
  'right_eye left_eye right_ear left_ear'
).split()
_HAIR, _GARMENT, _FACE = 2, 5, 13  # LIP-20


def keypoints() -> np.ndarray:
  """(18, 3) float64 x, y in pixels of the crop, score; missing rows are 0."""
  found = json.loads(_GOLDEN.read_text())['keypoints']
  rows = np.zeros((18, 3))
  for name, (x, y, score) in found.items():
    rows[_JOINTS.index(name)] = x - _CROP.start, y, score
  return rows


def segment(photo: np.ndarray, joints: np.ndarray) -> np.ndarray:
  """LIP-20 labels of the upper body: GrabCut, seeded by the joints.

  Args:
    photo: (h, w, 3) uint8 RGB.
    joints: as `keypoints` gives them.

  Returns:
    (h, w) uint8.
  """
  h, w = photo.shape[:2]
  at = dict(zip(_JOINTS, joints[:, :2], strict=True))
  head = (at['right_ear'] + at['left_ear']) / 2
  radius = np.linalg.norm(at['right_ear'] - at['left_ear'])
  shoulders = np.linalg.norm(at['right_shoulder'] - at['left_shoulder'])

  def ellipse(centre, axes):
    mask = np.zeros((h, w), np.uint8)
    cv2.ellipse(mask, (centre, axes, 0), 1, -1)
    return mask > 0

  def polygon(*corners):
    mask = np.zeros((h, w), np.uint8)
    cv2.fillPoly(mask, [np.int32(corners)], 1)
    return mask > 0

  left, right = at['right_shoulder'], at['left_shoulder']
  out = np.array([0.35 * shoulders, 0])
  torso = polygon(left, right, (right[0], h), (left[0], h))
  around = polygon(left - out - (0, 20), right + out - (0, 20), (w, h), (0, h))
  face = ellipse(at['nose'] - (0, 0.1 * radius), (radius, 1.45 * radius))
  crown = ellipse(head - (0, 0.1 * radius), (2.3 * radius, 2.8 * radius))

  seeds = np.full((h, w), cv2.GC_BGD, np.uint8)
  seeds[around | crown] = cv2.GC_PR_FGD
  seeds[torso | face] = cv2.GC_FGD
  models = np.zeros((1, 65)), np.zeros((1, 65))
  cv2.setRNGSeed(0)
  bgr = np.ascontiguousarray(photo[..., ::-1])
  cv2.grabCut(bgr, seeds, None, *models, 5, cv2.GC_INIT_WITH_MASK)
  person = (seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)

  labels = np.zeros((h, w), np.uint8)
  rows = np.arange(h)[:, None]
  above_neck = rows < at['neck'][1] - 0.15 * radius
  labels[person & (rows >= at['neck'][1] - 0.3 * radius)] = _GARMENT
  labels[person & crown & above_neck] = _HAIR
  labels[person & face] = _FACE
  return labels


def write_layout(
  folder: pathlib.Path, garments: list[pathlib.Path]
) -> pathlib.Path:
  """Writes the photograph as one person, paired with every garment photo.

  Args:
    folder: to be made.
    garments: JPEG files.

  Returns:
    the pair list.
  """
  for name in ('women_top', 'pose', 'segment'):
    (folder / name).mkdir(parents=True)
  photo = np.ascontiguousarray(skimage.data.astronaut()[:, _CROP])
  cv2.imwrite(
    str(folder / 'women_top' / 'astronaut_0.jpg'),
    photo[..., ::-1],
    [cv2.IMWRITE_JPEG_QUALITY, 95],
  )
  joints = keypoints()
  seen = np.flatnonzero(joints[:, 2])
  subset = np.full((1, 20), -1.0)
  subset[0, seen] = np.arange(len(seen))
  subset[0, 18:] = joints[:, 2].sum(), len(seen)
  candidate = np.column_stack([joints[seen], np.arange(len(seen))])
  scipy.io.savemat(
    folder / 'pose' / 'astronaut_0.mat',
    {'candidate': candidate, 'subset': subset},
  )
  labels = segment(photo, joints)
  h, w = labels.shape
  scaled = cv2.resize(
    labels, (640 * w // h, 640), interpolation=cv2.INTER_NEAREST
  )
  square = np.zeros((641, 641), np.float32)
  square[:640, : scaled.shape[1]] = scaled
  scipy.io.savemat(
    folder / 'segment' / 'astronaut_0.mat',
    {'segment': square.T},
    do_compression=True,
  )
  lines = []
  for number, garment in enumerate(garments):
    name = f'garment{number}_1.jpg'
    shutil.copy(garment, folder / 'women_top' / name)
    lines.append(f'astronaut_0.jpg {name}\n')
  pairs = folder / 'viton_test_pairs.txt'
  pairs.write_text(''.join(lines))
  return pairs
