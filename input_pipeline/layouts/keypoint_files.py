"""Key points from JSON files: OpenPose's two body models, and DressCode's.

OpenPose writes 54 numbers a person with its COCO model (18 joints) and 75 with
BODY_25, under 'pose_keypoints' (version 1.0) or 'pose_keypoints_2d'. What came
is found by the count alone.
"""

import pathlib

import numpy as np

from input_pipeline.layouts import files
from viton_jax.errors import InputError
from viton_jax.io import structured
from viton_jax.labels import NUM_KEYPOINTS

# The joint of BODY_25 for each of COCO-18; BODY_25 has the middle of the hips
# as joint 8, and six joints of the feet at the end.
COCO_18_FROM_BODY_25 = (*range(8), *range(9, 19))
_MODELS = {54: 'COCO-18', 75: 'BODY_25'}
_POSE_KEYS = ('pose_keypoints_2d', 'pose_keypoints')
# The width and height in pixels that DressCode's joints refer to.
DRESS_CODE_FRAME = (384, 512)
# How far out a joint may lie, as a part of the image's side: estimators
# round, but do not see beyond the border.
_MARGIN = 0.02


def read_openpose(
  path: pathlib.Path,
  frame,
  *,
  model: str | None = None,
  coordinates_tell: bool = False,
):
  """Reads the first person of an OpenPose file.

  Args:
    path: the JSON file.
    frame: (height, width) of the photo that the joints are in, in pixels.
    model: 'COCO-18' or 'BODY_25' if only that is right; None: either.
    coordinates_tell: a joint is there if x > 1 and y > 1, which is CP-VTON's
      rule; else if its confidence is above 0.

  Returns:
    (18, 3) float32, COCO-18: x, y in pixels of the photo, confidence; zero
    where missing.

  Raises:
    InputError: no such file, not OpenPose's JSON, nobody in it, another
      model, or a joint outside the photo.
  """
  people = _people(_read_json(path), path)
  # As the loaders of all these data sets do; OpenPose does not sort people.
  _, joints = _person(people[0], path, model)
  return _there(joints, frame, path, coordinates_tell)


def openpose_people(content: dict, path, frame):
  """Everybody in an OpenPose file.

  Args:
    content: of the JSON file.
    path: its name, for errors.
    frame: (height, width) of the photo that the joints are in, in pixels.

  Returns:
    (18, 3) float32 of each who has a joint, as `read_openpose`; and 'COCO-18'
    or 'BODY_25', which of them the file has.

  Raises:
    InputError: as `read_openpose`.
  """
  found, people = 'COCO-18', []
  for person in _people(content, path):
    found, joints = _person(person, path, None)
    people.append(_there(joints, frame, path, False))
  return [x for x in people if x.any()], found


def _people(content: dict, path) -> list:
  people = content.get('people')
  if not isinstance(people, list):
    raise InputError(
      f"{path}: there is no list 'people'; write the file with OpenPose's "
      '--write_json'
    )
  if not people:
    raise InputError(
      f'{path}: nobody was detected in this photo (people is empty); take '
      'the pair off the list or estimate the pose again'
    )
  return people


def _person(person, path, model: str | None):
  """('COCO-18' or 'BODY_25', (18, 3) float64) of one person."""
  if not isinstance(person, dict):
    person = {}
  key = next((key for key in _POSE_KEYS if key in person), None)
  if key is None:
    raise InputError(
      f"{path}: a person has neither 'pose_keypoints_2d' nor "
      "'pose_keypoints'; write the file with OpenPose's --write_json"
    )
  numbers = _numbers(person[key], path)
  found = _MODELS.get(numbers.size) if numbers.ndim == 1 else None
  if found is None:
    raise InputError(
      f"{path}: '{key}' has {numbers.size} numbers; give 54 (COCO-18) or 75 "
      '(BODY_25), x, y and confidence of each joint'
    )
  if model not in (None, found):
    raise InputError(
      f"{path}: '{key}' has {numbers.size} numbers, which is {found}, but "
      f'this layout says {model}; run OpenPose with --model_pose '
      f'{model.partition("-")[0]}, or convert the joints'
    )
  joints = numbers.reshape(-1, 3)
  if found == 'BODY_25':
    joints = joints[list(COCO_18_FROM_BODY_25)]
  return found, joints


def _there(joints, frame, path, coordinates_tell: bool):
  if coordinates_tell:
    there = (joints[:, :2] > 1).all(axis=1)
  else:
    there = joints[:, 2] > 0
  return _keypoints(joints, there, frame, path)


def read_dress_code(path: pathlib.Path, frame):
  """Reads a file of DressCode; see `dress_code_joints`."""
  return dress_code_joints(_read_json(path), path, frame)


def dress_code_joints(content: dict, path, frame):
  """The joints in a file of DressCode: 18 in a frame of 384 x 512.

  Args:
    content: of the JSON file, {'keypoints': 18 lists that begin with x, y}.
    path: its name, for errors.
    frame: (height, width) of the photo in pixels, to which they are scaled.

  Returns:
    (18, 3) float32, COCO-18: x, y in pixels of the photo, confidence 1; zero
    where missing, which is where the scaled x or y is not above 1.

  Raises:
    InputError: no such file, or anything else in it.
  """
  joints = _numbers(content.get('keypoints', ()), path)
  if (
    joints.ndim != 2
    or joints.shape[0] != NUM_KEYPOINTS
    or (joints.shape[1] < 2)
  ):
    raise InputError(
      f"{path}: 'keypoints' has shape {joints.shape}; DressCode has 18 "
      'joints (COCO-18) of x, y and two more numbers'
    )
  scale = frame[1] / DRESS_CODE_FRAME[0], frame[0] / DRESS_CODE_FRAME[1]
  joints = np.column_stack([joints[:, :2] * scale, np.ones(NUM_KEYPOINTS)])
  there = (joints[:, :2] > 1).all(axis=1)
  return _keypoints(
    joints,
    there,
    frame,
    path,
    remedy='DressCode gives joints in a frame of 384 x 512 pixels',
  )


def is_dress_code(content: dict) -> bool:
  """Whether a JSON file has DressCode's 'keypoints' and nobody else's."""
  return 'keypoints' in content and 'people' not in content


def _read_json(path: pathlib.Path) -> dict:
  return decode_json(files.read_file(path, 'pose'), path)


def decode_json(data: bytes, path) -> dict:
  """The object in a JSON file; `path` is its name, for errors."""
  return structured.decode_object(data, path, remedy='write the pose again')


def _numbers(values, path: pathlib.Path):
  try:
    numbers = np.asarray(values, np.float64)
  except (ValueError, TypeError, OverflowError) as error:
    raise InputError(
      f'{path}: the joints are not all numbers ({error}); write the pose again'
    ) from error
  if not np.isfinite(numbers).all():
    raise InputError(
      f'{path}: a joint is not a finite number; estimate the pose again'
    )
  return numbers


def check_inside(
  joints, frame, path, remedy='give the joints in pixels of this very photo'
) -> None:
  """Raises InputError if a joint that is there lies outside the photo.

  Args:
    joints: (18, 3) x, y in pixels, confidence (0: missing).
    frame: (height, width) of the photo.
    path: of the file, for the error.
    remedy: what to do about it.
  """
  height, width = frame
  margin = np.array([width, height]) * _MARGIN
  points = joints[:, :2]
  outside = (points < -margin) | (points > [width, height] + margin)
  for joint in np.flatnonzero((joints[:, 2] > 0) & outside.any(axis=1)):
    x, y = points[joint]
    raise InputError(
      f'{path}: joint {joint} is at ({x:g}, {y:g}), outside the photo of '
      f'{width} x {height} pixels; {remedy}'
    )


def _keypoints(joints, there, frame, path, **remedy):
  """Joints as (18, 3) float32, zero where missing; none outside the photo."""
  # A joint that is there keeps a confidence above 0, whatever its score.
  confidence = np.maximum(joints[:, 2:], 1e-6)
  keypoints = np.concatenate([joints[:, :2], confidence], axis=1)
  keypoints = np.where(there[:, None], keypoints, 0)
  check_inside(keypoints, frame, path, **remedy)
  # Scores are of any size; only whether they are above 0 counts.
  return np.minimum(keypoints, 1e6).astype(np.float32)
