"""Joints and labels of one photo, from a file that says itself what it is.

The layouts know what their files are. A user who hands over a single file may
not, so these readers look, and say which rule they have followed.
"""

import pathlib
import reprlib

import numpy as np

from input_pipeline.layouts import (
  files,
  keypoint_files,
  label_maps,
  poses,
  viton,
)
from viton_jax.errors import InputError, shown
from viton_jax.io import files as io_files
from viton_jax.labels import LABEL_SETS, NUM_KEYPOINTS, NUM_LABELS


def read_people(
  path: pathlib.Path, frame, *, person: str | None = None
) -> tuple[list[np.ndarray], str]:
  """Reads the joints of the people in a photo.

  Args:
    path: OpenPose's JSON ('pose_keypoints' or 'pose_keypoints_2d', COCO-18 or
      BODY_25), DressCode's JSON, a '.mat' of VITON ('candidate' and 'subset'),
      or a pickle: the same two arrays, VITON's pose.pkl of many people, or what
      tf-pose-estimation's real-time demo returns ({part: (x, y)}).
    frame: (height, width) of the photo in pixels.
    person: the photo's name without extension, which a pose.pkl is asked for.

  Returns:
    (18, 3) float32 of each person: COCO-18, x, y in pixels, confidence, zero
    where missing; in the file's order. And which rule was followed.

  Raises:
    InputError: no such file, another kind, nobody in it, or joints that are
      not of a photo of this size.
  """
  _check_there(path)
  suffix = path.suffix.lower()
  if suffix == '.json':
    return decode_people(files.read_file(path, 'pose'), str(path), frame)
  if suffix == '.mat':
    people = _candidates(files.read_mat(path), str(path))
    rule = 'VITON .mat (candidate, subset)'
  elif suffix in ('.pkl', '.pickle'):
    people, rule = _people_of_pickle(path, person)
  else:
    raise InputError(
      f'{path}: joints are read from .json, .mat or .pkl files; give one, or '
      'a pose model'
    )
  for joints in people:
    if not np.isfinite(joints).all():
      raise InputError(
        f'{path}: a joint is not a finite number; estimate the pose again'
      )
    keypoint_files.check_inside(joints, frame, path)
  return people, rule


def _check_there(path: pathlib.Path) -> None:
  io_files.check_regular(path, 'file', limit=io_files.MAX_TABLE_BYTES)


def decode_people(
  data: bytes, path: str, frame
) -> tuple[list[np.ndarray], str]:
  """As `read_people`, from the bytes of a JSON file and its name."""
  content = keypoint_files.decode_json(data, path)
  if keypoint_files.is_dress_code(content):
    joints = keypoint_files.dress_code_joints(content, path, frame)
    return [joints], (
      'DressCode JSON, 18 joints scaled from 384 x 512 to '
      f'{frame[1]} x {frame[0]}'
    )
  people, model = keypoint_files.openpose_people(content, path, frame)
  if not people:
    raise InputError(
      f'{path}: nobody in it has a joint; estimate the pose again'
    )
  count = {'COCO-18': 'COCO-18 (54 numbers)'}.get(
    model, 'BODY_25 (75 numbers; middle of the hips and feet left out)'
  )
  return people, f'OpenPose JSON, {count}'


def _people_of_pickle(path, person):
  content = poses.read_pose_pickle(path)
  if {'candidate', 'subset'} <= content.keys():
    return _candidates(content, str(path)), 'pickle (candidate, subset)'
  parts = range(NUM_KEYPOINTS)
  if content and all(
    isinstance(x, (int, np.integer)) and x in parts for x in content
  ):
    joints = np.zeros((NUM_KEYPOINTS, 3), np.float32)
    for part, point in content.items():
      try:
        x, y = np.asarray(point, np.float32)[:2]
        joints[part] = x, y, 1
      except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise InputError(
          f'{path}: part {part} is {reprlib.repr(point)}; it must be (x, y)'
        ) from error
    return [joints], 'tf-pose-estimation pickle ({part: (x, y)})'
  if person not in content:
    names = shown(', '.join(map(str, list(content)[:3])))
    raise InputError(
      f'{path}: holds {len(content)} entries ({names} ...), but none for '
      f"'{person}'; give the photo by the name that it has there"
    )
  found = _candidates(content[person], f'{path} ({person})')
  return found, f"VITON pose.pkl, entry '{person}' (candidate, subset)"


def _candidates(pose, source: str) -> list[np.ndarray]:
  """Everybody in candidates and people."""
  first = poses.pose_to_keypoints(pose, source)
  others = [
    poses.pose_to_keypoints(
      {'candidate': pose['candidate'], 'subset': [row]}, source
    )
    for row in np.asarray(pose['subset'])[1:]
  ]
  return [first, *others]


def read_labels(
  path: pathlib.Path, shape, *, labels: str = 'lip'
) -> tuple[np.ndarray, str]:
  """Reads a label map.

  Args:
    path: a PNG with palette indices or grey levels, or LIP's colours in RGB; or
      a '.mat' of VITON ('segment') or LIP_SSL ('data').
    shape: (height, width) of the photo.
    labels: what a PNG's numbers mean: 'lip' (JPPNet, SCHP on LIP, LIP_SSL),
      'cihp' or 'atr'; no file says that by itself.

  Returns:
    (height, width) uint8 LIP-20 labels; and which rule was followed.

  Raises:
    InputError: no such file, another kind, another size, or a label that the
      set does not have.
  """
  if labels not in LABEL_SETS:
    raise InputError(
      f"labels '{labels}' are unknown; use {', '.join(LABEL_SETS)}"
    )
  _check_there(path)
  if path.suffix.lower() == '.mat':
    if labels != 'lip':
      raise InputError(
        f"{path}: .mat files of VITON and LIP_SSL have LIP's labels, but "
        f'{labels} is said; use lip'
      )
    return _labels_of_mat(path, shape)
  data = files.read_file(path, 'label map')
  return decode_labels(data, str(path), shape, labels=labels)


def decode_labels(
  data: bytes, path: str, shape, *, labels: str = 'lip'
) -> tuple[np.ndarray, str]:
  """As `read_labels`, from the bytes of a PNG file and its name."""
  if labels not in LABEL_SETS:
    raise InputError(
      f"labels '{labels}' are unknown; use {', '.join(LABEL_SETS)}"
    )
  label_set = LABEL_SETS[labels]
  found = label_maps.decode_label_map(data, path, label_set, shape=shape)
  kind = label_maps.png_kind(data)
  if labels == 'lip' and kind != 'colours':
    return found, f'PNG of {kind}, taken for LIP'
  return found, f'PNG of {kind}, {label_set.name} to LIP'


def _labels_of_mat(path, shape):
  height, width = shape
  content = files.read_mat(path)
  if 'segment' in content:
    found = viton.read_segment(path, height, width)
    return found, (
      'VITON .mat (segment): transposed, cut to the aspect of the photo and '
      'enlarged'
    )
  if 'data' not in content:
    names = ', '.join(x for x in content if not x.startswith('__'))
    raise InputError(
      f"{path}: holds {names or 'nothing'}; a label map is 'segment' (VITON) "
      "or 'data' (LIP_SSL)"
    )
  data = np.squeeze(np.asarray(content['data']))
  if data.ndim != 2 or data.dtype.kind not in 'biuf' or not data.size:
    raise InputError(
      f"{path}: 'data' has shape {data.shape} and type {data.dtype}; it must "
      'be one map of label numbers'
    )
  # Columns first, as Caffe's MatWrite stores it.
  if data.shape[0] < width or data.shape[1] < height:
    raise InputError(
      f"{path}: 'data' is {data.shape[0]} x {data.shape[1]} (columns first), "
      f'smaller than the photo of {width} x {height}; make both the same size'
    )
  found = data[:width, :height].T
  if not (
    np.isfinite(found).all()
    and (found == np.floor(found)).all()
    and found.min() >= 0
    and found.max() < NUM_LABELS
  ):
    raise InputError(
      f"{path}: 'data' has values from {found.min()} to {found.max()}; "
      "LIP's labels are whole numbers from 0 to 19"
    )
  return np.ascontiguousarray(found.astype(np.uint8)), (
    'LIP_SSL .mat (data): columns first, the photo at the top left'
  )
