"""Boxes around people, from YOLOX [1].

References:
  [1] Ge et al.: "YOLOX: exceeding YOLO series in 2021", arXiv:2107.08430.
"""

import cv2
import numpy as np

from viton_jax.errors import InputError
from viton_jax.perception import fitting
from viton_jax.perception.runners.onnx_model import OnnxModel
from viton_jax.perception.spec_types import Boxes

_STRIDES = (8, 16, 32)
_MAX_OVERLAP = 0.45
_MAX_PEOPLE = 20
_PERSON = 0  # The class, of COCO's 80.


def find_boxes(
  model: OnnxModel, image: np.ndarray
) -> list[tuple[float, float, float, float]]:
  """Finds the people in a photo.

  Args:
    model: of the task 'detector'.
    image: (h, w, 3) uint8 RGB.

  Returns:
    x0, y0, x1, y1 in pixels of the photo for each person, surest first.
  """
  rules, content = model.spec.input, model.spec.output.content
  assert isinstance(content, Boxes)  # The spec was checked.
  placed, place = fitting.fit_photo(image, rules)
  out = model.run(fitting.to_tensor(placed, rules))[0][0]
  if out.shape[-1] == 5:  # The network has suppressed overlaps by itself.
    boxes, scores = out[:, :4], out[:, 4]
  elif out.shape[-1] > 5:
    boxes, scores = decode_grid(out, place.size)
  else:
    raise InputError(
      f'{model.path}: gives boxes of {out.shape[-1]} numbers; a detector '
      'must give 5 (corners and score) or 85 (YOLOX, 80 classes)'
    )
  kept = suppress(boxes, scores, content.min_score)
  corners = place.to_photo(boxes[kept].reshape(-1, 2, 2)).reshape(-1, 4)
  width, height = image.shape[1::-1]
  corners = np.clip(corners, 0, [width, height, width, height])
  return [tuple(x) for x in corners.tolist() if x[2] > x[0] and x[3] > x[1]]


def decode_grid(
  out: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
  """Boxes of YOLOX's raw output.

  Args:
    out: (n, 5 + classes): centre relative to a cell in cells, logarithm of
      width and height in cells, whether there is anything, and the classes;
      for the cells of all three grids, row by row.
    size: (height, width) of the input.

  Returns:
    (n, 4) x0, y0, x1, y1 in pixels of the input; (n,) scores of a person.
  """
  cells, strides = [], []
  for stride in _STRIDES:
    y, x = np.mgrid[: size[0] // stride, : size[1] // stride]
    cells.append(np.stack([x.ravel(), y.ravel()], -1))
    strides.append(np.full((y.size, 1), stride))
  cells, strides = np.concatenate(cells), np.concatenate(strides)
  if len(cells) != len(out):
    raise InputError(
      f'the detector gives {len(out)} boxes for an image of {size[1]} x '
      f'{size[0]} instead of {len(cells)}; it is no YOLOX of this size'
    )
  centre = (out[:, :2] + cells) * strides
  # A damaged network must not overflow.
  half = np.exp(np.minimum(out[:, 2:4], 20)) * strides / 2
  boxes = np.concatenate([centre - half, centre + half], -1)
  return boxes, out[:, 4] * out[:, 5 + _PERSON]


def suppress(
  boxes: np.ndarray, scores: np.ndarray, min_score: float
) -> np.ndarray:
  """Drops what is unsure, and what overlaps something surer.

  Args:
    boxes: (n, 4) x0, y0, x1, y1.
    scores: (n,).
    min_score: what is less sure is dropped.

  Returns:
    (m,) indices, surest first, not more than 20.
  """
  sizes = boxes[:, 2:] - boxes[:, :2]
  kept = cv2.dnn.NMSBoxes(
    np.concatenate([boxes[:, :2], sizes], -1).astype(float).tolist(),
    scores.astype(float).tolist(),
    min_score,
    _MAX_OVERLAP,
  )
  return np.asarray(kept, int).reshape(-1)[:_MAX_PEOPLE]
