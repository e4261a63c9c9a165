"""Poses as tf-pose-estimation writes them: candidates and people."""

import pathlib

import numpy as np

from viton_jax.errors import InputError, shown
from viton_jax.io import files, pickles
from viton_jax.labels import NUM_KEYPOINTS


def pose_to_keypoints(pose, source: str):
  """Turns detected candidates and people into one person's key points.

  Args:
    pose: mapping with 'candidate' (k, >= 3): x, y, score; and 'subset'
      (people, >= 18): indices into candidate, -1 for a missing joint.
    source: its name in error messages.

  Returns:
    (18, 3) float32 of the first person: x, y in pixels, confidence (0 where
    missing, then x = y = 0).

  Raises:
    InputError: arrays of another shape or content, or nobody detected.
  """
  try:
    candidate = np.asarray(pose['candidate'], np.float64)
    subset = np.asarray(pose['subset'], np.float64)
  except (
    KeyError,
    TypeError,
    ValueError,
    IndexError,
    OverflowError,
  ) as error:
    raise InputError(
      f"{source}: a pose must hold the arrays 'candidate' and 'subset'; "
      'estimate it again'
    ) from error
  if not subset.size:
    raise InputError(
      f'{source}: nobody was detected in this photo; take the pair off the list'
    )
  if subset.ndim != 2 or subset.shape[1] < NUM_KEYPOINTS:
    raise InputError(
      f"{source}: 'subset' has shape {subset.shape}; it must be (people, 20)"
    )
  if candidate.size and (candidate.ndim != 2 or candidate.shape[1] < 3):
    raise InputError(
      f"{source}: 'candidate' has shape {candidate.shape}; it must be (k, 4)"
    )
  keypoints = np.zeros((NUM_KEYPOINTS, 3), np.float32)
  for joint, index in enumerate(subset[0, :NUM_KEYPOINTS]):
    if index == -1:
      continue
    if not (0 <= index < len(candidate) and index == int(index)):
      raise InputError(
        f"{source}: 'subset' points to candidate {index:g} of "
        f'{len(candidate)}; estimate the pose again'
      )
    x, y, score = candidate[int(index), :3]
    # A joint that is there keeps a confidence above 0, whatever its score.
    with np.errstate(over='ignore'):  # Infinity is refused by who uses it.
      keypoints[joint] = x, y, max(score, 1e-6)
  return keypoints


_MAX_BYTES = 1 << 27


def read_pose_pickle(path: pathlib.Path) -> dict:
  """Reads pose.pkl without running anything that it may contain.

  Args:
    path: a pickle of Python 2 or 3: person -> {'candidate', 'subset'}.

  Returns:
    the dict.

  Raises:
    InputError: not a pickle of a dict, or one that has anything other than
      arrays of numbers and what holds them.
  """
  remedy = 'copy it again, or remove it and use pose/*.mat'
  data = files.read(path, 'pickle', limit=_MAX_BYTES, remedy=remedy)
  try:
    poses = pickles.loads(data)
  except InputError as error:
    raise InputError(f'{path}: {error}; {pickles.REFUSED}') from None
  # A damaged pickle raises almost anything.
  except Exception as error:
    raise InputError(
      f'{path}: this is not a readable pickle ({type(error).__name__}: '
      f'{shown(error)}); {remedy}'
    ) from error
  if not isinstance(poses, dict):
    raise InputError(
      f'{path}: holds a {type(poses).__name__}; it must be a dict '
      "'000001_0' -> {'candidate', 'subset'}"
    )
  return poses
