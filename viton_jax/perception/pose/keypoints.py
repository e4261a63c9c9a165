"""Key points as OpenPose's files, and drawn on photos."""

import os
import pathlib

import cv2
import numpy as np

from viton_jax.errors import InputError
from viton_jax.io import images, storage
from viton_jax.labels import LIMBS


def openpose_json(people: list[np.ndarray]) -> dict:
  """People as OpenPose's JSON output, in its 18 point COCO model.

  Args:
    people: (18, 3) arrays of x, y, confidence.

  Returns:
    {'version': 1.0, 'people': [{'pose_keypoints_2d': 54 numbers}, ...]}.
  """
  return {
    'version': 1.0,
    'people': [
      {'pose_keypoints_2d': [round(float(v), 4) for v in x.ravel()]}
      for x in people
    ],
  }


def write_openpose_json(
  path: str | os.PathLike, people: list[np.ndarray]
) -> None:
  """Writes `openpose_json` to a file, whole or not at all."""
  _write(path, lambda p: storage.write_json(p, openpose_json(people)))


def draw_people(image: np.ndarray, people: list[np.ndarray]) -> np.ndarray:
  """Draws skeletons, each limb in a colour of its own.

  Args:
    image: (h, w, 3) uint8 RGB.
    people: (18, 3) arrays of x, y in its pixels, confidence.

  Returns:
    (h, w, 3) uint8 RGB, a new array.
  """
  drawn = image.copy()
  thickness = max(1, round(max(image.shape) / 200))
  hues = np.arange(len(LIMBS)) * 180 // len(LIMBS)
  colors = cv2.cvtColor(
    np.stack([hues, hues * 0 + 255, hues * 0 + 255], -1)[None].astype(np.uint8),
    cv2.COLOR_HSV2RGB,
  )[0].tolist()
  for keypoints in people:
    points = [tuple(p) for p in np.round(keypoints[:, :2]).astype(int).tolist()]
    there = keypoints[:, 2] > 0
    for (a, b), color in zip(LIMBS, colors, strict=True):
      if there[a] and there[b]:
        cv2.line(drawn, points[a], points[b], color, thickness, cv2.LINE_AA)
    for point in (p for p, found in zip(points, there, strict=True) if found):
      cv2.circle(drawn, point, 2 * thickness, (255, 255, 255), -1)
      cv2.circle(drawn, point, 2 * thickness, (0, 0, 0), 1, cv2.LINE_AA)
  return drawn


def write_drawing(
  path: str | os.PathLike, image: np.ndarray, people: list[np.ndarray]
) -> None:
  """Writes `draw_people` as a PNG file, whole or not at all."""
  write_png(path, draw_people(image, people))


def write_png(path: str | os.PathLike, pixels: np.ndarray) -> None:
  """Writes (h, w, 3) RGB or (h, w) uint8 as PNG, whole or not at all."""
  data = images.encode_png(pixels)
  _write(path, lambda p: storage.write_file(p, data))


def _write(path, write) -> None:
  path = pathlib.Path(path)
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path)
  except OSError as error:
    raise InputError(
      f'{path}: cannot be written ({error.strerror}); give another place'
    ) from error
