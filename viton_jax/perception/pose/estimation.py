"""Key points of people in photos: 18 COCO joints, in image pixels."""

from collections.abc import Callable
import dataclasses
import functools
import os
import pathlib
from typing import Any

import jax
import numpy as np

from viton_jax.errors import InputError
from viton_jax.io import photos
from viton_jax.perception import fitting
from viton_jax.perception import specs as specs_lib
from viton_jax.perception.pose import onnx_pose, paf_decoder
from viton_jax.perception.runners import frozen_graph, graphdef, onnx_model

_MIN_SIDE = 16


@dataclasses.dataclass(frozen=True)
class PoseModel:
  """A pose network that is ready to run.

  Attributes:
    spec: how to feed it.
    weights: its float constants, on the device.
    maps: (weights, (b, h, w, 3) BGR 0..255, uint8 or float32) ->
      (b, h / 8, w / 8, 57) float32; compiled for each new shape. Images of a
      batch do not influence each other.
  """

  spec: specs_lib.Spec
  weights: dict[str, jax.Array]
  maps: Callable[[Any, Any], jax.Array]


def load_pose_model(
  model: str | os.PathLike | None = None,
  models_dir: str | os.PathLike | None = None,
) -> PoseModel:
  """Reads a frozen graph of tf-pose-estimation; again only if it changes.

  Args:
    model: a '.pb' file, the name of a known model, or None for the default.
    models_dir: where known models are; None: $VITON_JAX_MODELS, or
      ~/.cache/viton_jax/models.

  Returns:
    the model.

  Raises:
    InputError: the file is missing, damaged or no such graph.
  """
  spec, path = specs_lib.find(model, models_dir, task='pose')
  if spec is None or spec.backend != 'tf_graph':
    raise InputError(
      f'{path}: not a frozen graph (.pb) of tf-pose-estimation; give one'
    )
  stat = path.stat()
  return _load(spec, path.resolve(), stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=2)
def _load(
  spec: specs_lib.Spec, path: pathlib.Path, mtime: int, size: int
) -> PoseModel:
  del mtime, size  # They make a changed file another key of the cache.
  try:
    nodes = graphdef.read_graph(path.read_bytes())
    weights, function = frozen_graph.build(
      nodes, spec.input['name'], spec.output['name']
    )
    if not all(np.isfinite(x).all() for x in weights.values()):
      raise graphdef.GraphError('some of its weights are not finite')
    _check_shapes(spec, weights, function)
  except graphdef.GraphError as error:
    raise InputError(
      f'{path}: not a usable pose graph of tf-pose-estimation, because '
      f'{error}; get {pathlib.Path(spec.file).name} again from {spec.source}'
    ) from error
  except OSError as error:
    raise InputError(
      f'{path}: cannot be read ({error.strerror}); check its permissions'
    ) from error
  # One transfer for hundreds of small arrays.
  return PoseModel(
    spec, jax.device_put(weights), frozen_graph.batched(function)
  )


def _check_shapes(spec, weights, function) -> None:
  """Evaluates the graph on shapes alone, which costs no arithmetic."""
  size, stride = spec.input['height'], spec.output['stride']
  image = jax.ShapeDtypeStruct((size, size, 3), np.float32)
  try:
    shape = jax.eval_shape(function, weights, image).shape
  except graphdef.GraphError:
    raise
  # Whatever a wrong attribute or shape makes JAX or NumPy raise.
  except (
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    ZeroDivisionError,
    NotImplementedError,
  ) as error:
    raise graphdef.GraphError(
      'its operations do not fit one another'
    ) from error
  wanted = (size // stride, size // stride, paf_decoder.NUM_CHANNELS)
  if shape != wanted:
    raise graphdef.GraphError(
      f'it makes maps of shape {shape} instead of {wanted}'
    )


def network_image(image: np.ndarray, spec: specs_lib.Spec) -> np.ndarray:
  """Resizes a photo to what a graph takes: `fitting.keep_height`."""
  return fitting.keep_height(image, spec.input)


@dataclasses.dataclass(frozen=True)
class PoseEstimator:
  """A pose model of any kind.

  Attributes:
    description: which model, of which file, and how it is used.
    find: (h, w, 3) uint8 RGB -> (18, 3) of each person, largest first.
  """

  description: str
  find: Callable[[np.ndarray], list[np.ndarray]]


def choose_pose(
  model: str | os.PathLike | None = None,
  models_dir: str | os.PathLike | None = None,
) -> PoseEstimator:
  """Opens a pose model.

  Args:
    model: a '.pb' file of tf-pose-estimation, an '.onnx' file, a spec of the
      user's own ('.toml'), the name of a known model, or None: the first known
      one whose file is there (`python -m viton_jax.perception list` shows the
      order).
    models_dir: where known models are; None: $VITON_JAX_MODELS, or
      ~/.cache/viton_jax/models.

  Returns:
    what finds people.

  Raises:
    InputError: the file is missing, damaged or of another kind.
  """
  spec, path = specs_lib.find(model, models_dir, task='pose')
  if spec is None or spec.backend == 'onnx':
    loaded = onnx_model.load(path, spec, task='pose')
    find, how = onnx_pose.finder(loaded, models_dir, choose_pose=choose_pose)
    return PoseEstimator(
      f'{loaded.spec.name} ({path}, onnxruntime on {loaded.device}{how})',
      lambda image: largest_first(find(image)),
    )
  graph = load_pose_model(model, models_dir)

  def find_people(image):
    maps = graph.maps(graph.weights, network_image(image, graph.spec)[None])
    people = paf_decoder.decode_people(np.asarray(maps[0]))
    return in_pixels(people, image.shape[:2])

  known = path.stat().st_size == spec.size
  name = spec.name if known else 'a graph of tf-pose-estimation'
  return PoseEstimator(f'{name} ({path}, in JAX)', find_people)


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
  if not isinstance(image, np.ndarray):
    image = read_photo(image)
  check_photo(image)
  return choose_pose(model, models_dir).find(image)


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


def in_pixels(
  people: list[paf_decoder.Person], size: tuple[int, int]
) -> list[np.ndarray]:
  """Scales people to an image of (height, width), largest first."""
  scale = np.array([*size[::-1], 1], np.float32)
  return largest_first([(x.keypoints * scale, x.score) for x in people])


def largest_first(people: list[tuple[np.ndarray, float]]) -> list[np.ndarray]:
  """Sorts (key points, score) by the box that the joints span, then score."""
  found = []
  for keypoints, score in people:
    extent = np.ptp(keypoints[keypoints[:, 2] > 0, :2], axis=0)
    found.append((-float(extent[0] * extent[1]), -score, keypoints))
  return [x[2] for x in sorted(found, key=lambda x: x[:2])]


def read_photo(path: str | os.PathLike) -> np.ndarray:
  """Reads a picture, upright as its EXIF orientation says.

  Args:
    path: a JPEG, PNG or WebP file.

  Returns:
    (h, w, 3) uint8 RGB.

  Raises:
    InputError: it is missing, damaged, too large or of another kind.
  """
  return photos.read_photo(path)[0]
