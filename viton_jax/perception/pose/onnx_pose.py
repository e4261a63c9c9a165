"""People from pose networks that onnxruntime runs."""

from collections.abc import Callable
import functools
import os
import pathlib

import cv2
import numpy as np

from viton_jax.perception import fitting, model_files
from viton_jax.perception.pose import (
  detector,
  graph_pose,
  paf_decoder,
  simcc,
)
from viton_jax.perception.pose.estimator import (
  Person,
  PoseEstimator,
  largest_first,
  one_by_one,
)
from viton_jax.perception.runners import onnx_model
from viton_jax.perception.spec_types import (
  FixedSize,
  HeatPaf,
  KeepHeight,
  PadMultiple,
  Spec,
)
from viton_jax.perception.specs import known_specs

# (18, 3) x, y in pixels of the photo, confidence; and a score.
People = list[tuple[np.ndarray, float]]
Box = tuple[float, float, float, float]


def open_network(
  path: pathlib.Path, spec: Spec | None, models_dir: str | os.PathLike | None
) -> PoseEstimator:
  """What finds people by an ONNX file.

  Args:
    path: the file.
    spec: how it is to be used; None: the known one that fits.
    models_dir: where the detector is looked for, if the model wants one.

  Raises:
    InputError: see `onnx_model.load`.
  """
  model = onnx_model.load(path, spec, task='pose')
  find, how = _finder(model, models_dir)
  return PoseEstimator(
    f'{model.spec.name} ({path}, onnxruntime on {model.device}{how})',
    one_by_one(
      lambda image: largest_first((Person(x), s) for x, s in find(image))
    ),
  )


def _finder(
  model: onnx_model.OnnxModel, models_dir: str | os.PathLike | None
) -> tuple[Callable[[np.ndarray], People], str]:
  """What finds the people in a photo with a model.

  Args:
    model: of the task 'pose'.
    models_dir: where the detector is looked for, if the model wants one.
    choose_pose: `estimation.choose_pose`, which opens a model that needs no
      boxes where the detector is missing. Given, because that module imports
      this one.

  Returns:
    (h, w, 3) uint8 RGB -> (18, 3) x, y in pixels, confidence, and a score, for
    each person; and where boxes come from, in words.
  """
  content = model.spec.output.content
  if isinstance(content, HeatPaf):
    return functools.partial(find_by_fields, model), ''
  boxes_of, how = choose_boxes(model.spec, models_dir)
  return (
    lambda image: find_in_boxes(model, image, boxes_of(image)),
    f'; {how}',
  )


def choose_boxes(
  spec: Spec, models_dir: str | os.PathLike | None
) -> tuple[Callable[[np.ndarray], list[Box] | list[None]], str]:
  """Where the boxes of a one-person network come from.

  The spec's detector if its file is there, else a pose model that finds several
  people by itself, else the whole photo.

  Args:
    spec: of the network.
    models_dir: where known models are.
    choose_pose: `estimation.choose_pose`.

  Returns:
    image -> list of x0, y0, x1, y1 (or None: the whole photo); and in words.
  """
  folder = model_files.models_folder(models_dir)
  known = known_specs()
  fit = spec.input.fit
  wanted = fit.detector if isinstance(fit, FixedSize) else None
  finder_spec = known.get(wanted) if wanted else None
  if finder_spec and (folder / finder_spec.file).is_file():
    found = onnx_model.load(
      folder / finder_spec.file, finder_spec, task='detector'
    )
    return (
      lambda image: detector.find_boxes(found, image),
      f'boxes by {finder_spec.name}',
    )
  for other in known.values():
    if other.backend == 'tf_graph' and (folder / other.file).is_file():
      find = graph_pose.open_graph(folder / other.file, other).find

      def around_people(image, find=find):
        return [simcc.box_of_joints(x.keypoints) for x in find(image)]

      return (
        around_people,
        f'boxes around the people that {other.name} finds',
      )
  return (
    lambda image: [None],
    'the whole photo taken for one person, because there is no '
    + (f'{finder_spec.file} to find people' if finder_spec else 'detector'),
  )


def find_in_boxes(
  model: onnx_model.OnnxModel,
  image: np.ndarray,
  boxes: list[Box] | list[None],
) -> People:
  """Runs a SimCC network on each box."""
  rules, people = model.spec.input, []
  for box in boxes:
    placed, place = fitting.fit_photo(image, rules, box)
    tensors = model.run(fitting.to_tensor(placed, rules))
    joints = simcc.joints_in_photo(tensors, place, model.spec)
    found = joints[:, 2] > 0
    if found.sum() >= simcc.MIN_JOINTS:
      people.append((joints, float(joints[found, 2].mean())))
  return people


def find_by_fields(model: onnx_model.OnnxModel, image: np.ndarray) -> People:
  """Runs a network of heat maps and affinity fields on a whole photo."""
  rules = model.spec.input
  height, width = image.shape[:2]
  if isinstance(rules.fit, PadMultiple):  # The fit of OpenPose's decoder alone.
    people = paf_decoder.decode_people(
      averaged_maps(model, image), paf_decoder.OPENPOSE
    )
  else:
    if isinstance(rules.fit, KeepHeight):
      placed = fitting.keep_height(image, rules, rules.fit)
    else:
      placed, _ = fitting.fit_photo(image, rules)
    people = paf_decoder.decode_people(_maps(model, placed))
  scale = np.array([width, height, 1], np.float32)
  return [(x.keypoints * scale, x.score) for x in people]


def averaged_maps(model: onnx_model.OnnxModel, image: np.ndarray) -> np.ndarray:
  """Maps as large as the photo, the mean over several input sizes.

  As OpenPose in Python: each size's maps are enlarged by the stride, cut where
  the padding begins, and brought to the photo's size, all by cubic
  interpolation. A photo above `work_height` is shrunk to that first.

  Args:
    model: of the kind 'heat_paf' and the fit 'pad_multiple'.
    image: (h, w, 3) uint8 RGB.

  Returns:
    (h', w', 57) float32.
  """
  rules, content = model.spec.input, model.spec.output.content
  fit = rules.fit
  assert isinstance(fit, PadMultiple) and isinstance(content, HeatPaf)
  stride = content.stride
  height, width = image.shape[:2]
  if height > fit.work_height:
    width = max(round(width * fit.work_height / height), 8)
    height = fit.work_height
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
  total = np.zeros((height, width, paf_decoder.NUM_CHANNELS), np.float32)
  for scale in fit.scales:
    placed, (inner_h, inner_w) = fitting.pad_multiple(
      image, rules, fit, scale=scale
    )
    # OpenCV's resize takes many channels, but not in one way on all builds.
    maps = [
      cv2.resize(
        cv2.resize(
          plane,
          (0, 0),
          fx=stride,
          fy=stride,
          interpolation=cv2.INTER_CUBIC,
        )[:inner_h, :inner_w],
        (width, height),
        interpolation=cv2.INTER_CUBIC,
      )
      for plane in _planes(model, placed)
    ]
    total = total + np.stack(maps, -1) / np.float32(len(fit.scales))
  return total


def _planes(model, placed) -> np.ndarray:
  """(57, h, w) float32: heat maps, then fields."""
  tensors = model.run(fitting.to_tensor(placed, model.spec.input))
  return np.ascontiguousarray(
    np.concatenate([onnx_model.planes(x, model.spec) for x in tensors])
  )


def _maps(model, placed) -> np.ndarray:
  return _planes(model, placed).transpose(1, 2, 0)
