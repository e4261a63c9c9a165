"""Key points of people in photos: 18 COCO joints, in image pixels."""

from collections.abc import Callable
import dataclasses
import functools
import os
import pathlib
from typing import Any

import cv2
import jax
import numpy as np

from viton_jax.errors import InputError
from viton_jax.perception import frozen_graph, graphdef, paf_decoder
from viton_jax.perception import specs as specs_lib

_MIN_SIDE = 16
# A photo that is more than this many times larger than the network's input is
# first averaged down to twice the input: cubic interpolation reads 4 x 4
# pixels and would miss most of it. Below, exactly what the original does.
_MAX_SHRINK = 4


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
  stat = path.stat()
  return _load(spec.name, path.resolve(), stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=2)
def _load(name: str, path: pathlib.Path, mtime: int, size: int) -> PoseModel:
  del mtime, size  # They make a changed file another key of the cache.
  spec = specs_lib.known_specs()[name]
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
  except (TypeError, ValueError, KeyError, IndexError, AttributeError,
          ZeroDivisionError, NotImplementedError) as error:
    raise graphdef.GraphError(
        'its operations do not fit one another'
    ) from error
  wanted = (size // stride, size // stride, paf_decoder.NUM_CHANNELS)
  if shape != wanted:
    raise graphdef.GraphError(
        f'it makes maps of shape {shape} instead of {wanted}'
    )


def network_image(image: np.ndarray, spec: specs_lib.Spec) -> np.ndarray:
  """Resizes a photo to what the network takes.

  Args:
    image: (h, w, 3) uint8 RGB.
    spec: of the network.

  Returns:
    (h', w', 3) uint8 BGR: h' as the spec says, w' the multiple of 8 that is
    nearest to the photo's aspect.
  """
  multiple, target = spec.input['multiple_of'], spec.input['height']

  def rounded(value):
    return max(round(value / multiple), 1) * multiple

  h, w = image.shape[:2]
  height, width = target, rounded(target * w / h)
  if width > spec.input['max_width']:
    width = spec.input['max_width']
    height = rounded(width * h / w)
  bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
  if min(h / height, w / width) > _MAX_SHRINK:
    bgr = cv2.resize(
        bgr, (2 * width, 2 * height), interpolation=cv2.INTER_AREA
    )
  if bgr.shape[:2] == (height, width):
    return bgr
  return cv2.resize(bgr, (width, height), interpolation=cv2.INTER_CUBIC)


def estimate_pose(
    image: np.ndarray | str | os.PathLike,
    model: str | os.PathLike | None = None,
    *,
    models_dir: str | os.PathLike | None = None,
) -> list[np.ndarray]:
  """Finds the people in a photo and their joints.

  Args:
    image: (h, w, 3) uint8 RGB, or a JPEG or PNG file, which is turned upright
      as its EXIF orientation says.
    model: a '.pb' file of tf-pose-estimation, the name of a known model
      (`python -m viton_jax.perception list`), or None for the default one.
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
  loaded = load_pose_model(model, models_dir)
  maps = loaded.maps(loaded.weights, network_image(image, loaded.spec)[None])
  people = paf_decoder.decode_people(np.asarray(maps[0]))
  return in_pixels(people, image.shape[:2])


def in_pixels(
    people: list[paf_decoder.Person], size: tuple[int, int]
) -> list[np.ndarray]:
  """Scales people to an image of (height, width), largest first."""
  found = []
  for person in people:
    keypoints = person.keypoints.copy()
    keypoints[:, :2] *= np.array(size[::-1], np.float32)
    extent = np.ptp(keypoints[keypoints[:, 2] > 0, :2], axis=0)
    found.append((-float(extent[0] * extent[1]), -person.score, keypoints))
  return [x[2] for x in sorted(found, key=lambda x: x[:2])]


def read_photo(path: str | os.PathLike) -> np.ndarray:
  """Reads a JPEG or PNG file, upright as its EXIF orientation says.

  Args:
    path: of the file.

  Returns:
    (h, w, 3) uint8 RGB.

  Raises:
    InputError: it is missing, damaged, too large or of another kind.
  """
  from input_pipeline import images

  name = os.fspath(path)
  try:
    data = pathlib.Path(path).read_bytes()
  except OSError as error:
    raise InputError(
        f'{name}: cannot be read ({error.strerror}); give a JPEG or PNG '
        'picture'
    ) from error
  images.check_image(data, name)
  try:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
  except cv2.error:
    image = None
  if image is None:
    raise InputError(
        f'{name}: the image data are damaged; copy or export the file again'
    )
  return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
