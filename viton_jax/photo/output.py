"""Writes the images of a try-on from two photos."""

import pathlib

import numpy as np

from viton_jax.errors import InputError
from viton_jax.io import contact_sheets, images, storage

_STEP_HEIGHT = 384  # Of an image in the sheet of steps.


def check_output(path: pathlib.Path) -> None:
  """Refuses a name that cannot be written, before any work."""
  if path.suffix.lower() not in ('.png', '.jpg', '.jpeg'):
    raise InputError(f'{path}: give --out a name that ends in .png or .jpg')
  if path.is_dir():
    raise InputError(f'{path}: is a folder; give --out the name of a file')


def write_image(path: pathlib.Path, image: np.ndarray) -> None:
  """Writes a PNG, or a JPEG, as the name says, whole or not at all."""
  check_output(path)
  jpeg = path.suffix.lower() != '.png'
  data = (images.encode_jpeg if jpeg else images.encode_png)(image)
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    storage.write_file(path, data)
  except OSError as error:
    raise InputError(
      f'{path}: cannot be written ({error.strerror}); give another place'
    ) from error


def steps_sheet(steps: dict[str, np.ndarray]) -> np.ndarray:
  """All steps side by side, of one height, under their names."""
  width = _STEP_HEIGHT * 3 // 4
  columns = {}
  for name, image in steps.items():
    h, w = image.shape[:2]
    scale = min(_STEP_HEIGHT / h, width / w)
    inner = max(round(h * scale), 1), max(round(w * scale), 1)
    column = np.full((1, _STEP_HEIGHT, width, 3), 255, np.uint8)
    top, left = (_STEP_HEIGHT - inner[0]) // 2, (width - inner[1]) // 2
    column[0, top : top + inner[0], left : left + inner[1]] = (
      images.resize_area(np.ascontiguousarray(image), *inner)
    )
    columns[name] = column
  return contact_sheets.contact_sheet(columns)
