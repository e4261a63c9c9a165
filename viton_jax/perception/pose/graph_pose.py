"""People from frozen graphs of tf-pose-estimation, which JAX runs."""

from collections.abc import Callable
import dataclasses
import functools
import os
import pathlib
from typing import Any

import jax
import numpy as np

from viton_jax.errors import InputError, shown
from viton_jax.io import files, finite
from viton_jax.perception import fitting, model_files
from viton_jax.perception.pose import paf_decoder
from viton_jax.perception.pose.estimator import (
  Person,
  PoseEstimator,
  largest_first,
  one_by_one,
)
from viton_jax.perception.runners import frozen_graph, graphdef
from viton_jax.perception.spec_types import HeatPaf, KeepHeight, Spec
from viton_jax.perception.specs import known_specs


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

  spec: Spec
  weights: dict[str, jax.Array]
  maps: Callable[[Any, Any], jax.Array]


def load_pose_model(
  model: str | os.PathLike | None = None,
  models_dir: str | os.PathLike | None = None,
) -> PoseModel:
  """Reads a frozen graph of tf-pose-estimation; again only if it changes.

  Args:
    model: a '.pb' file, the name of a known model, or None: the first known
      graph whose file is there.
    models_dir: where known models are; None: $VITON_JAX_MODELS, or
      ~/.cache/viton_jax/models.

  Returns:
    the model.

  Raises:
    InputError: the file is missing, damaged or no such graph.
  """
  if model is None:
    folder = model_files.models_folder(models_dir)
    graphs = (x for x in known_specs().values() if x.backend == 'tf_graph')
    there = (x.name for x in graphs if model_files.is_there(x, folder))
    model = next(there, model_files.ANY_GRAPH)
  spec, path = model_files.find(model, models_dir, task='pose')
  if spec is None or spec.backend != 'tf_graph':
    raise InputError(
      f'{path}: not a frozen graph (.pb) of tf-pose-estimation; give one'
    )
  return _load_file(path, spec)


def open_graph(path: pathlib.Path, spec: Spec) -> PoseEstimator:
  """What finds people by a frozen graph.

  Args:
    path: the '.pb' file.
    spec: of the backend 'tf_graph'.

  Raises:
    InputError: see `load_pose_model`.
  """
  graph = _load_file(path, spec)

  def find_people(image):
    maps = graph.maps(graph.weights, network_image(image, graph.spec)[None])
    people = paf_decoder.decode_people(np.asarray(maps[0]))
    return in_pixels(people, image.shape[:2])

  known = path.stat().st_size == spec.size
  name = spec.name if known else 'a graph of tf-pose-estimation'
  return PoseEstimator(f'{name} ({path}, in JAX)', one_by_one(find_people))


def _load_file(path: pathlib.Path, spec: Spec) -> PoseModel:
  stat = path.stat()
  return _load(spec, path.resolve(), stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=2)
def _load(spec: Spec, path: pathlib.Path, mtime: int, size: int) -> PoseModel:
  del mtime, size  # They make a changed file another key of the cache.
  try:
    data = files.read(path, 'pose graph', limit=files.MAX_IMAGE_BYTES)
    nodes = graphdef.read_graph(data)
    weights, function = frozen_graph.build(
      nodes, str(spec.input.name), str(spec.output.name)
    )
    bad = finite.first_not_finite(weights.items())
    if bad is not None:
      raise graphdef.GraphError(f'its weights {shown(bad)} are not finite')
    _check_shapes(spec, weights, function)
  except graphdef.GraphError as error:
    raise InputError(
      f'{path}: not a usable pose graph of tf-pose-estimation, because '
      f'{error}; get {pathlib.Path(spec.file).name} again from {spec.source}'
    ) from error
  # One transfer for hundreds of small arrays.
  return PoseModel(
    spec, jax.device_put(weights), frozen_graph.batched(function)
  )


def _check_shapes(spec: Spec, weights, function) -> None:
  """Evaluates the graph on shapes alone, which costs no arithmetic."""
  size, stride = _fit(spec).height, _content(spec).stride
  image = jax.ShapeDtypeStruct((size, size, 3), np.float32)
  (shape,) = frozen_graph.output_shapes(function, weights, image)
  wanted = (size // stride, size // stride, paf_decoder.NUM_CHANNELS)
  if shape != wanted:
    raise graphdef.GraphError(
      f'it makes maps of shape {shape} instead of {wanted}'
    )


def network_image(image: np.ndarray, spec: Spec) -> np.ndarray:
  """Resizes a photo to what a graph takes: `fitting.keep_height`."""
  return fitting.keep_height(image, spec.input, _fit(spec))


def _fit(spec: Spec) -> KeepHeight:
  assert isinstance(spec.input.fit, KeepHeight)  # The spec was checked.
  return spec.input.fit


def _content(spec: Spec) -> HeatPaf:
  assert isinstance(spec.output.content, HeatPaf)  # The spec was checked.
  return spec.output.content


def in_pixels(
  people: list[paf_decoder.Person], size: tuple[int, int]
) -> list[Person]:
  """Scales people to an image of (height, width), largest first."""
  scale = np.array([*size[::-1], 1], np.float32)
  return largest_first([(Person(x.keypoints * scale), x.score) for x in people])
