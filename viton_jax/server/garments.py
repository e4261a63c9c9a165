"""Photos in a folder, by names that are no paths: garments, sample people."""

import pathlib
import re

import cv2
import numpy as np

from viton_jax.errors import InputError
from viton_jax.io import images, photos, storage
from viton_jax.server.problems import Problem

NAME = re.compile(r'[a-z0-9_-]{1,64}')
_LIMIT = 1000


class Gallery:
  """Garments that everybody may choose.

  A name is looked up among the files that are there; no path is made of it.

  Args:
    folder: of the photos, NAME.png, .jpg or .webp; None: an empty gallery that
      nobody can change.
    max_pixels: of a photo.
  """

  def __init__(self, folder: pathlib.Path | None, *, max_pixels: int):
    self._folder = folder
    self._max_pixels = max_pixels
    self._thumbnails: dict[tuple[str, int, int], bytes] = {}

  def names(self) -> list[str]:
    return sorted(self._files())

  def _files(self) -> dict[str, pathlib.Path]:
    if self._folder is None:
      return {}
    return {
      path.stem: path
      for path in self._folder.iterdir()
      if path.suffix in photos.SUFFIXES and NAME.fullmatch(path.stem)
    }

  def _path(self, name: str) -> pathlib.Path:
    path = self._files().get(name)
    if path is None:
      raise Problem(
        404,
        'there is no garment of this name; GET /garments lists them',
        about='garment',
      )
    return path

  def photo(self, name: str) -> bytes:
    """The photo's file.

    Raises:
      Problem: 404, there is no such garment.
    """
    return self._path(name).read_bytes()

  def thumbnail(self, name: str, height: int) -> bytes:
    """A JPEG of this height before white.

    Raises:
      Problem: 404, there is no such garment.
      InputError: its file is damaged.
    """
    path = self._path(name)
    key = name, height, path.stat().st_mtime_ns
    if key not in self._thumbnails:
      if len(self._thumbnails) >= _LIMIT:
        self._thumbnails.clear()
      photo, _ = photos.decode_photo(
        path.read_bytes(), f'the garment {name}', max_pixels=self._max_pixels
      )
      width = max(round(photo.shape[1] * height / photo.shape[0]), 1)
      small = images.resize_area(photo, height, width)
      self._thumbnails[key] = images.encode_jpeg(small, quality=85)
    return self._thumbnails[key]

  def beside(self, name: str, ending: str) -> bytes:
    """What lies beside a photo, NAME and this ending.

    Raises:
      Problem: 404, there is no such photo or nothing beside it.
    """
    try:
      return self._path(name).with_name(name + ending).read_bytes()
    except FileNotFoundError:
      raise Problem(404, 'there is nothing of this kind for it') from None

  def put(self, name: str, photo: bytes, mask: bytes | None) -> None:
    """Adds or replaces a garment, as an upright PNG without metadata.

    Args:
      name: see `NAME`.
      photo: of a JPEG, PNG or WebP file.
      mask: of an image that is light on the garment; it becomes the
        transparency. None: as it is.

    Raises:
      Problem: 404 or 409, it cannot be kept.
      InputError: the photo or the mask is not usable.
    """
    if self._folder is None:
      raise Problem(
        409,
        'this server has no gallery; start it with --garments FOLDER, or send '
        'the garment with the request',
        about='garment',
      )
    if not NAME.fullmatch(name):
      raise Problem(
        404,
        'a garment is named by 1 to 64 of the characters a-z, 0-9, _ and -',
        about='garment',
      )
    there = self._files()
    if name not in there and len(there) >= _LIMIT:
      raise Problem(
        409,
        f'the gallery has {_LIMIT} garments, which is the limit; delete one',
        about='garment',
      )
    pixels, opacity = photos.decode_photo(
      photo, 'the garment', max_pixels=self._max_pixels
    )
    if mask is not None:
      opacity = _opacity(mask, pixels.shape[:2])
    if opacity is not None:
      pixels = np.dstack([pixels, opacity])
    path = self._folder / f'{name}.png'
    storage.write_file(path, images.encode_png(pixels))
    if there.get(name, path) != path:
      there[name].unlink()

  def delete(self, name: str) -> None:
    """Raises Problem (404) where there is no such garment."""
    self._path(name).unlink()


def _opacity(mask: bytes, size: tuple[int, int]) -> np.ndarray:
  grey, _ = photos.decode_photo(
    mask, 'the garment mask', max_pixels=size[0] * size[1]
  )
  if grey.shape[:2] != size:
    raise InputError(
      f'the garment mask is {grey.shape[1]} x {grey.shape[0]} pixels, the '
      f'photo {size[1]} x {size[0]}; make both the same size'
    )
  return cv2.threshold(grey[..., 0], 127, 255, cv2.THRESH_BINARY)[1]
