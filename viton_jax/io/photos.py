"""Photos of any orientation, format or depth -> upright 8-bit RGB.

Data sets go through `images`, which leaves pixels as they are stored; this is
for images from phones, shops and browsers.

What decodes applies no EXIF orientation to pixels as they are stored, nor does
it tell whether a WebP is animated before decoding, so the few header fields for
that are read here. Pillow could read them; it is not required, see `images`.
"""

import os
import struct
from typing import Any

import cv2
import numpy as np

from viton_jax.errors import InputError
from viton_jax.io import files, images

# Of files that are read. Which of these a file is, its content says.
SUFFIXES = ('.png', '.jpg', '.jpeg', '.webp')
_REMEDY = 'save it as JPEG or PNG'
# What a file starts with -> what it is and why it is not read.
_REFUSED = (
  (b'GIF8', 'a GIF, which may be animated and has 256 colours'),
  (b'BM', 'a BMP image'),
  (b'II*\0', 'a TIFF or raw image'),
  (b'MM\0*', 'a TIFF or raw image'),
  (b'%PDF', 'a PDF document'),
  (b'8BPS', 'a Photoshop document'),
)
_WEBP_ANIMATED = 0x02
# EXIF orientation -> quarter turns counter-clockwise, then left-right flip.
_TURNS = {
    1: (0, False), 2: (0, True), 3: (2, False), 4: (2, True),
    5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False),
}  # fmt: skip
_ORIENTATION_TAG = 0x0112


def read_photo(
  photo: Any,
  what: str = 'photo',
  *,
  max_pixels: int = images.MAX_PIXELS,
) -> tuple[np.ndarray, np.ndarray | None]:
  """Reads a JPEG, PNG or WebP file, or takes an array or a Pillow image.

  Args:
    photo: a path; an array, or anything with `__array_interface__` or
      `__array__`, (h, w), (h, w, 3) or (h, w, 4) uint8, grey, RGB or RGBA; or
      a Pillow image of any mode, whose EXIF orientation is applied.
    what: what the photo is of, for errors.
    max_pixels: a larger image is refused before it is decoded.

  Returns:
    (h, w, 3) uint8 RGB, upright, before white where it is transparent; and
    (h, w) uint8, its opacity, or None where it is opaque.

  Raises:
    InputError: it is missing, damaged, animated, too large or of another kind.
  """
  if not isinstance(photo, str | os.PathLike):
    if hasattr(photo, 'getexif') and hasattr(photo, 'convert'):
      return _from_pillow(photo, what, max_pixels=max_pixels)
    if not hasattr(photo, '__array_interface__') and not hasattr(
      photo, '__array__'
    ):
      raise InputError(
        f'the {what} is a {type(photo).__name__}; give a path, a uint8 array '
        'or a Pillow image'
      )
    photo = np.asarray(photo)
    if (
      photo.dtype != np.uint8
      or photo.ndim not in (2, 3)
      or (photo.ndim == 3 and photo.shape[2] not in (3, 4))
    ):
      raise InputError(
        f'the {what} is an array of {photo.dtype} {photo.shape}; give uint8 '
        'of shape (h, w, 3), RGB from 0 to 255'
      )
    return _flatten(photo)
  name = os.fspath(photo)
  data = files.read(
    photo,
    what,
    limit=files.MAX_IMAGE_BYTES,
    remedy='give a JPEG or PNG image',
  )
  return decode_photo(data, name, max_pixels=max_pixels)


def decode_photo(
  data: bytes, name: str, *, max_pixels: int = images.MAX_PIXELS
) -> tuple[np.ndarray, np.ndarray | None]:
  """As `read_photo`, from a file's bytes; `name` is for errors.

  JPEG: RGB, grey or CMYK. PNG: grey or colour of up to 16 bits, palettes,
  transparency. WebP: a still image. The file name's extension is ignored.
  """
  size, orientation = _header(data, name, max_pixels)
  if images.is_jpeg(data):
    pixels = images.decode_jpeg(data, name, size=size)
    return _flatten(_upright(pixels, orientation))
  pixels = images.decode(data, name, cv2.IMREAD_UNCHANGED, size=size)
  if pixels.dtype == np.uint16:
    pixels = _eight_bits(pixels)
  if pixels.ndim == 3:
    order = (2, 1, 0, 3)[: pixels.shape[2]]
    pixels = pixels[..., order]
  return _flatten(_upright(pixels, orientation))


def check_photo(
  data: bytes, name: str, *, max_pixels: int = images.MAX_PIXELS
) -> tuple[int, int]:
  """(height, width) of a photo that `decode_photo` would give, undecoded.

  Raises:
    InputError: as far as a photo's header tells.
  """
  (height, width), orientation = _header(data, name, max_pixels)
  turns, _ = _TURNS.get(orientation, (0, False))
  return (width, height) if turns % 2 else (height, width)


def _header(data: bytes, name: str, max_pixels: int):
  """(height, width) as they are stored, and the EXIF orientation."""
  _refuse(data, name)
  if data[:4] == b'RIFF':
    size = _check_webp(data, name, max_pixels=max_pixels)
    return size, _orientation(_webp_exif(data))
  size = images.check_image(data, name, max_pixels=max_pixels)
  jpeg = images.is_jpeg(data)
  return size, _orientation(_jpeg_exif(data) if jpeg else _png_exif(data, name))


def _upright(pixels, orientation: int):
  turns, flip = _TURNS.get(orientation, (0, False))
  pixels = np.rot90(pixels, turns)
  return pixels[:, ::-1] if flip else pixels


def _from_pillow(image: Any, what: str, *, max_pixels: int):
  """As `read_photo`, from a `PIL.Image.Image`; does not import Pillow."""
  width, height = image.size
  if width * height > max_pixels:
    raise InputError(
      f'the {what}: {width} x {height} pixels is above the limit of '
      f'{max_pixels / 1e6:g} megapixels; scale the image down'
    )
  if getattr(image, 'is_animated', False):
    raise InputError(f'the {what} is animated; give one frame of it')
  if image.mode in ('I', 'F'):
    raise InputError(
      f'the {what} is a Pillow image of mode {image.mode!r}, whose range is '
      "not known; convert it to 'RGB'"
    )
  try:
    if image.mode.startswith('I;16'):
      pixels = _eight_bits(np.asarray(image).astype(np.uint16))
    else:
      transparent = (
        image.mode.endswith(('A', 'a')) or 'transparency' in image.info
      )
      pixels = np.asarray(image.convert('RGBA' if transparent else 'RGB'))
    orientation = image.getexif().get(_ORIENTATION_TAG, 1)
  except (OSError, SyntaxError) as error:  # What Pillow raises while it loads.
    raise InputError(
      f'the {what}: the image data are damaged ({error}); copy or export the '
      'file again'
    ) from error
  return _flatten(_upright(pixels, orientation))


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
  """uint16 levels to uint8, rounded."""
  return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _flatten(pixels):
  """Grey, RGB or RGBA -> RGB before white, and the opacity or None."""
  if pixels.ndim == 2:
    pixels = np.repeat(pixels[..., None], 3, axis=2)
  if pixels.shape[2] == 3 or (pixels[..., 3] == 255).all():
    return np.ascontiguousarray(pixels[..., :3]), None
  opacity = np.ascontiguousarray(pixels[..., 3])
  share = opacity[..., None].astype(np.float32) / 255
  white = pixels[..., :3] * share + 255 * (1 - share)
  return np.rint(white).astype(np.uint8), opacity


def _refuse(data, name):
  for start, kind in _REFUSED:
    if data.startswith(start):
      raise InputError(f'{name}: this is {kind}; {_REMEDY}')
  if data[4:8] == b'ftyp':
    kind = data[8:12].decode('latin-1').strip()
    raise InputError(
      f'{name}: this is a HEIC, AVIF or video file ({kind!r}), as phones '
      f'write them; {_REMEDY}'
    )


def _webp_chunks(data):
  """Yields (kind, where its content begins, its length) of a whole WebP.

  Raises:
    ValueError: chunks do not fill the file that the header says.
  """
  (length,) = struct.unpack_from('<I', data, 4)
  position, end = 12, length + 8
  if data[8:12] != b'WEBP' or end > len(data):
    raise ValueError('the header')
  while position < end:
    kind, length = struct.unpack_from('<4sI', data, position)
    yield kind, position + 8, length
    position += 8 + length + length % 2
  # The last chunk's padding may be left out.
  if position not in (end, end + 1):
    raise ValueError('the chunks')


def _webp_frame(data, kind, start):
  """[height, width] of the coded image in a chunk."""
  if kind == b'VP8L':
    signature, bits = struct.unpack_from('<BI', data, start)
    right = signature == 0x2F and bits >> 29 == 0
    size = [(bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1]
  else:
    right = not data[start] & 1 and data[start + 3 : start + 6] == b'\x9d\x01*'
    size = [x & 0x3FFF for x in struct.unpack_from('<HH', data, start + 6)]
    size.reverse()
  if not right:
    raise ValueError('the frame')
  return size


def _check_webp(data, name, *, max_pixels):
  """(height, width) of a WebP, after looking whether its parts fit together.

  OpenCV decodes more than other programs do: files whose chunks overlap, or
  whose canvas is not the image's.
  """
  size = canvas = None
  try:
    for kind, start, length in _webp_chunks(data):
      if kind == b'VP8X':
        flags = data[start]
        w, h = data[start + 4 : start + 7], data[start + 7 : start + 10]
        canvas = [int.from_bytes(side, 'little') + 1 for side in (h, w)]
        if flags & _WEBP_ANIMATED:
          raise InputError(f'{name}: this WebP is animated; {_REMEDY}')
      elif kind in (b'VP8 ', b'VP8L') and size is None:
        if start + length > len(data):
          raise ValueError('the frame')
        size = _webp_frame(data, kind, start)
    whole = size is not None and canvas in (None, size) and 0 not in size
  except InputError:
    raise
  except (struct.error, IndexError, ValueError):
    whole = False
  if size is None or not whole:
    raise InputError(
      f'{name}: the WebP file is truncated or damaged ({len(data)} bytes); '
      'copy or download it again'
    )
  if size[0] * size[1] > max_pixels:
    raise InputError(
      f'{name}: {size[1]} x {size[0]} pixels is above the limit of '
      f'{max_pixels / 1e6:g} megapixels; scale the image down'
    )
  return size[0], size[1]


def _jpeg_exif(data):
  """The EXIF block of a JPEG that `check_image` has found whole."""
  position = 2
  while data[position : position + 2] != b'\xff\xda':  # The coded part.
    if data[position + 1] == 0xFF:  # A fill byte before the marker.
      position += 1
      continue
    kind, length = struct.unpack_from('>HH', data, position)
    start = position + 4
    if kind == 0xFFE1 and data[start : start + 6] == b'Exif\0\0':
      return data[start + 6 : position + 2 + length]
    position += 2 + length
  return b''


def _webp_exif(data):
  for kind, start, length in _webp_chunks(data):
    if kind == b'EXIF':
      return data[start : start + length].removeprefix(b'Exif\0\0')
  return b''


def _png_exif(data, name):
  """The EXIF chunk of a PNG that `check_image` has found whole."""
  position, exif = 8, b''
  while position < len(data):
    length, kind = struct.unpack_from('>I4s', data, position)
    if kind == b'acTL':
      raise InputError(f'{name}: this PNG is animated; {_REMEDY}')
    if kind == b'eXIf':
      exif = data[position + 8 : position + 8 + length]
    if kind == b'IEND':
      break
    position += length + 12
  return exif


def _orientation(exif: bytes) -> int:
  """The orientation tag of an EXIF block, 1 (upright) where there is none."""
  order = {b'II': '<', b'MM': '>'}.get(exif[:2])
  if order is None:
    return 1
  try:
    (start,) = struct.unpack_from(f'{order}I', exif, 4)
    (count,) = struct.unpack_from(f'{order}H', exif, start)
    for i in range(count):
      tag, _, _, value = struct.unpack_from(
        f'{order}HHIH', exif, start + 2 + 12 * i
      )
      if tag == _ORIENTATION_TAG:
        return value
  except struct.error:
    pass  # A damaged EXIF block does not make the pixels unusable.
  return 1
