"""Poses as tf-pose-estimation writes them: candidates and people.

A pickle from strangers can run code, so it is read by an unpickler that admits
NumPy arrays and builtin containers only.
"""

import functools
import pathlib
import pickle

import numpy as np

from viton_jax.errors import InputError
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
  except (KeyError, TypeError, ValueError, IndexError) as error:
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
    keypoints[joint] = x, y, max(score, 1e-6)
  return keypoints


def _decode_bytes(text: str, encoding: str) -> bytes:
  """How Python 3 writes bytes in protocol 2; only this encoding occurs."""
  if encoding != 'latin1':
    raise pickle.UnpicklingError(f'bytes in the encoding {encoding!r}')
  return text.encode('latin1')


def _empty_bytes() -> bytes:
  """How Python 3 writes bytes of no length in protocol 2."""
  return b''


class _PoseUnpickler(pickle.Unpickler):
  """Admits NumPy arrays and builtin containers, and nothing that runs."""

  def find_class(self, module, name):
    admitted = _admitted_classes()
    if (module, name) not in admitted:
      raise InputError(f'it refers to {module}.{name}')
    return admitted[module, name]


@functools.cache
def _admitted_classes() -> dict:
  # What NumPy itself names in a pickle, under the module names of versions
  # 1 and 2; Python 2 said __builtin__.
  array = np.zeros(1)
  reconstruct = array.__reduce__()[0]
  scalar = np.float64(0).__reduce__()[0]
  from_buffer = array.__reduce_ex__(5)[0]
  admitted = {
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
    ('_codecs', 'encode'): _decode_bytes,
  }
  for core in ('numpy.core', 'numpy._core'):
    admitted[f'{core}.multiarray', '_reconstruct'] = reconstruct
    admitted[f'{core}.multiarray', 'scalar'] = scalar
    admitted[f'{core}.numeric', '_frombuffer'] = from_buffer
  for module in ('__builtin__', 'builtins'):
    admitted[module, 'bytes'] = _empty_bytes
    for container in (list, dict, tuple, set, frozenset, bytearray):
      admitted[module, container.__name__] = container
  return admitted


def read_pose_pickle(path: pathlib.Path) -> dict:
  """Reads pose.pkl without running anything that it may contain.

  Args:
    path: a pickle of Python 2 or 3: person -> {'candidate', 'subset'}.

  Returns:
    the dict.

  Raises:
    InputError: not a pickle of a dict, or one that refers to anything other
      than NumPy arrays and builtin containers.
  """
  try:
    with path.open('rb') as file:
      poses = _PoseUnpickler(file, encoding='latin1').load()
  except InputError as error:
    raise InputError(
      f'{path}: {error}; only NumPy arrays and builtin containers are '
      'admitted, because a pickle can run code'
    ) from None
  # A damaged pickle raises almost anything.
  except Exception as error:
    raise InputError(
      f'{path}: this is not a readable pickle ({type(error).__name__}: '
      f'{error}); copy it again, or remove it and use pose/*.mat'
    ) from error
  if not isinstance(poses, dict):
    raise InputError(
      f'{path}: holds a {type(poses).__name__}; it must be a dict '
      "'000001_0' -> {'candidate', 'subset'}"
    )
  return poses
