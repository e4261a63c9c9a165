"""Reading single files of a data set, with errors that name them."""

import abc
from collections.abc import Callable, Iterator
import dataclasses
import pathlib

import cv2

from input_pipeline.sample import Sample
from viton_jax.errors import InputError
from viton_jax.io import files, images, matlab

# Soft masks and JPEG's ringing: what counts as garment, as CP-VTON does.
MASK_THRESHOLD = 128


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairFolder(abc.ABC):
  """What all layouts share; picklable, so that workers can load from it.

  Attributes:
    name: of the layout.
    folder: where its files are.
    pairs: (person file, garment file) of every pair.
    found: what was found, and which rules hold, in words.
    decode: (bytes, name) -> (h, w, 3) uint8 RGB, for photos.
  """

  name: str
  folder: pathlib.Path
  pairs: tuple[tuple[str, str], ...]
  found: str
  decode: Callable

  def __len__(self) -> int:
    return len(self.pairs)

  def __iter__(self) -> Iterator[Sample]:
    return map(self.load, range(len(self)))

  @abc.abstractmethod
  def load(self, index: int) -> Sample:
    """Reads a pair; an InputError names what is wrong with it alone."""

  def true_flow(self, index: int):
    """Where a pair's garment comes from, where a data set knows it.

    Returns:
      float32 (h, w, 2) at the size of the truth: x, y in [-1, 1] of the
      garment's photo, NaN where the truth does not show it; or None.
    """
    del index
    return None

  def photo(self, path: pathlib.Path):
    """Reads a photo; (h, w, 3) uint8 RGB."""
    return self.decode(read_file(path, 'photo'), str(path))


def read_file(path: pathlib.Path, what: str) -> bytes:
  """Reads a file; `what` it is, for the InputError if it cannot be read."""
  return files.read(
    path,
    what,
    limit=files.MAX_IMAGE_BYTES,
    remedy='add it or take the pair off the list',
  )


def read_mat(path: pathlib.Path) -> dict:
  """Reads a MATLAB file of version 5 to 7.2: its variables by name."""
  return matlab.read(path)


def with_suffix_that_exists(path: pathlib.Path, *suffixes: str):
  """The path, or the same with another suffix if only that exists."""
  for suffix in (path.suffix, *suffixes):
    if path.with_suffix(suffix).exists():
      return path.with_suffix(suffix)
  return path


def read_mask(path: pathlib.Path, *, shape):
  """Reads a garment's mask.

  Args:
    path: JPEG or PNG, white on black; grey levels from 128 on count.
    shape: (height, width) of the garment's photo.

  Returns:
    (height, width) bool.

  Raises:
    InputError: no such file, another size, or nothing white in it.
  """
  image = images.decode_image(read_file(path, 'garment mask'), str(path))
  if image.shape[:2] != tuple(shape):
    raise InputError(
      f'{path}: the mask is {image.shape[1]} x {image.shape[0]} pixels, its '
      f'garment {shape[1]} x {shape[0]}; make both the same size'
    )
  grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
  mask = grey >= MASK_THRESHOLD
  if not mask.any():
    raise InputError(
      f'{path}: the mask is empty (its brightest grey level is '
      f'{grey.max()}, and the garment is what has {MASK_THRESHOLD} or more); '
      'write 255 for the garment and 0 for the rest'
    )
  return mask
