"""Garments as the live try-on uses them, prepared once for each content."""

from collections import OrderedDict
import dataclasses
import hashlib
import threading

import numpy as np

from viton_jax.io import images, photos
from viton_jax.photo import full_size, inputs

# Rows of a garment's photo; a person's upper body has no more in a frame.
HEIGHT = 512
_KEPT = 32


@dataclasses.dataclass(frozen=True, eq=False)
class Garment:
  """A garment that is ready to be tried on.

  Attributes:
    name: SHA-256 of its photo and mask: of what it looks like.
    photo: (h, w, 3) uint8 RGB.
    mask: (h, w) bool, where it is in its photo.
    spread: (h, w, 3) uint8, its colours continued beyond the mask.
  """

  name: str
  photo: np.ndarray
  mask: np.ndarray
  spread: np.ndarray


class Garments:
  """Prepares garments, and remembers the last ones; for several threads."""

  def __init__(self):
    self._lock = threading.Lock()
    self._known: OrderedDict[str, Garment] = OrderedDict()

  def get(
    self,
    photo: bytes,
    mask: bytes | None = None,
    *,
    max_pixels: int = images.MAX_PIXELS,
  ) -> Garment:
    """The garment of a photo's file.

    Args:
      photo: a JPEG, PNG or WebP file.
      mask: an image of the photo's size that is light on the garment, or None.
      max_pixels: of the photo.

    Raises:
      InputError: no usable picture, or no garment in it.
    """
    name = hashlib.sha256(photo + b'\0' + (mask or b'')).hexdigest()
    with self._lock:
      if name in self._known:
        self._known.move_to_end(name)
        return self._known[name]
    made = _prepare(name, photo, mask, max_pixels)
    with self._lock:
      self._known[name] = made
      while len(self._known) > _KEPT:
        self._known.popitem(last=False)
    return made


def _prepare(
  name: str, data: bytes, mask: bytes | None, max_pixels: int
) -> Garment:
  photo, opacity = photos.decode_photo(
    data, 'the garment', max_pixels=max_pixels
  )
  if mask is not None:
    found, _ = inputs.garment_mask_of(mask, photo, opacity, 'the garment')
    opacity = np.where(found, 255, 0).astype(np.uint8)
  height = min(photo.shape[0], HEIGHT)
  width = max(round(photo.shape[1] * height / photo.shape[0]), 1)
  photo = images.resize_area(photo, height, width)
  if opacity is not None:
    opacity = images.resize_area(opacity, height, width)
  if mask is None:
    found, _ = inputs.garment_mask_of(None, photo, opacity, 'the garment')
  else:
    assert opacity is not None
    found = opacity > 127
  return Garment(name, photo, found, full_size.spread_garment(photo, found))
