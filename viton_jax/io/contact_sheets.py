"""Contact sheets: labelled columns of images, a row for each example."""

from collections.abc import Mapping
import pathlib

import cv2
import numpy as np

from viton_jax.errors import InputError
from viton_jax.io import photos

_HEADER_PX = 22
_GAP_PX = 4


def read_image(path: pathlib.Path) -> np.ndarray:
  """(h, w, 3) uint8 RGB of an image that a job wrote, in any of its formats."""
  try:
    return photos.read_photo(path, 'picture')[0]
  except InputError as error:
    raise InputError(f'{error}; remove it to have it made again.') from error


def contact_sheet(columns: Mapping[str, np.ndarray]) -> np.ndarray:
  """Lays images out side by side under their columns' names.

  Args:
    columns: name -> (n, h, w, 1 or 3) uint8, all of one size, as many in each.

  Returns:
    (H, W, 3) uint8.
  """
  n, h, w, _ = next(iter(columns.values())).shape
  width = len(columns) * (w + _GAP_PX) + _GAP_PX
  height = _HEADER_PX + n * (h + _GAP_PX)
  sheet = np.full((height, width, 3), 255, np.uint8)
  for i, (name, images) in enumerate(columns.items()):
    left = _GAP_PX + i * (w + _GAP_PX)
    cv2.putText(
      sheet,
      name,
      (left, _HEADER_PX - 7),
      cv2.FONT_HERSHEY_SIMPLEX,
      min(0.5, w / 240),
      (60, 60, 60),
      1,
      cv2.LINE_AA,
    )
    for j, image in enumerate(images):
      top = _HEADER_PX + j * (h + _GAP_PX)
      sheet[top : top + h, left : left + w] = image
  return sheet
