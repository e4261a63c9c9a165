"""People from pose networks that onnxruntime runs."""

from collections.abc import Callable
import os

import cv2
import numpy as np

from viton_jax.perception import fitting
from viton_jax.perception import specs as specs_lib
from viton_jax.perception.pose import detector, paf_decoder, simcc
from viton_jax.perception.runners import onnx_model

People = list[tuple[np.ndarray, float]]


def finder(
  model: onnx_model.OnnxModel,
  models_dir: str | os.PathLike | None,
  *,
  choose_pose: Callable,
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
  if model.spec.output['kind'] == 'heat_paf':
    return lambda image: find_by_fields(model, image), ''
  boxes_of, how = choose_boxes(model.spec, models_dir, choose_pose=choose_pose)
  return (
    lambda image: find_in_boxes(model, image, boxes_of(image)),
    f'; {how}',
  )


def choose_boxes(
  spec: specs_lib.Spec, models_dir, *, choose_pose: Callable
) -> tuple[Callable, str]:
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
  folder = specs_lib.models_folder(models_dir)
  known = specs_lib.known_specs()
  finder_spec = known.get(spec.input.get('detector'))
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
      find = choose_pose(other.name, models_dir).find

      def around_people(image, find=find):
        return [simcc.box_of_joints(x) for x in find(image)]

      return (
        around_people,
        f'boxes around the people that {other.name} finds',
      )
  return (
    lambda image: [None],
    'the whole photo taken for one person, because there is no '
    + (f'{finder_spec.file} to find people' if finder_spec else 'detector'),
  )


def find_in_boxes(model: onnx_model.OnnxModel, image, boxes) -> People:
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


def find_by_fields(model: onnx_model.OnnxModel, image) -> People:
  """Runs a network of heat maps and affinity fields on a whole photo."""
  rules = model.spec.input
  height, width = image.shape[:2]
  if model.spec.output['decoder'] == 'openpose':
    people = paf_decoder.decode_people(
      averaged_maps(model, image), paf_decoder.OPENPOSE
    )
  else:
    if rules['fit'] == 'keep_height':
      placed = fitting.keep_height(image, rules)
    else:
      placed, _ = fitting.fit_photo(image, rules)
    people = paf_decoder.decode_people(_maps(model, placed))
  scale = np.array([width, height, 1], np.float32)
  return [(x.keypoints * scale, x.score) for x in people]


def averaged_maps(model: onnx_model.OnnxModel, image) -> np.ndarray:
  """Maps as large as the photo, the mean over several input sizes.

  As OpenPose in Python: each size's maps are enlarged by the stride, cut where
  the padding begins, and brought to the photo's size, all by cubic
  interpolation. A photo above `work_height` is shrunk to that first.

  Args:
    model: of the kind 'heat_paf'.
    image: (h, w, 3) uint8 RGB.

  Returns:
    (h', w', 57) float32.
  """
  rules = model.spec.input
  height, width = image.shape[:2]
  if height > rules['work_height']:
    width = max(round(width * rules['work_height'] / height), 8)
    height = rules['work_height']
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
  total = 0
  for scale in rules['scales']:
    placed, (inner_h, inner_w) = fitting.pad_multiple(image, rules, scale)
    stride = model.spec.output['stride']
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
    total = total + np.stack(maps, -1) / np.float32(len(rules['scales']))
  return total


def _planes(model, placed) -> np.ndarray:
  """(57, h, w) float32: heat maps, then fields."""
  tensors = model.run(fitting.to_tensor(placed, model.spec.input))
  return np.ascontiguousarray(
    np.concatenate([onnx_model.planes(x, model.spec) for x in tensors])
  )


def _maps(model, placed) -> np.ndarray:
  return _planes(model, placed).transpose(1, 2, 0)
