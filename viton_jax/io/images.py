"""Images from bytes, with limits, and the two ways of resizing.

Files are checked before they are decoded: the size in the header against a
limit, and that the file is whole and has one header alone (OpenCV allocates
the last size it reads). JPEGs are decoded by simplejpeg, because that tells of
damage within the coded part, which libjpeg otherwise fills with grey: the
pixels are those of OpenCV's libjpeg. Everything else is OpenCV's.

The check is ours and not Pillow's. Pillow is not required, and would be a
second decoder whose rules differ from OpenCV's: its limit on pixels is a
setting of the whole process that only warns up to twice its value, and it
finds a truncated file by decoding all of it.

Resizing: `*_tf1` reproduce TensorFlow 1's operations (`half_pixel_centers` and
`antialias` off), on which the published weights depend; `resize_area` and
`resize_labels` are what new training uses.
"""

import re
import struct
import zlib

import cv2
import numpy as np
import simplejpeg

from viton_jax.errors import InputError, shown

MAX_PIXELS = 64_000_000

# A marker inside the entropy-coded part: not a stuffed zero, not a restart.
_JPEG_MARKER = re.compile(rb'\xff[^\x00\xd0-\xd7\xff]')
# libjpeg's warnings of lost pixels; others are about harmless headers.
_JPEG_DAMAGE = ('Corrupt JPEG data', 'Premature end')
# Some cameras pad the coded part, which loses nothing.
_JPEG_PADDING = re.compile(r'(\d+) extraneous bytes')
_MAX_PADDING = 2
_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
# Start-of-frame markers: C0..CF without DHT (C4), JPG (C8) and DAC (CC).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def decode_image(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS):
  """Decodes a JPEG or PNG file to RGB, as its pixels are stored.

  The orientation tag is ignored: label maps and key points of data sets refer
  to the stored pixels.

  Args:
    data: the file.
    name: its name in error messages.
    max_pixels: a larger image is refused before it is decoded.

  Returns:
    (h, w, 3) uint8 RGB.

  Raises:
    InputError: neither JPEG nor PNG, too large, cut short or damaged.
  """
  size = check_image(data, name, max_pixels=max_pixels)
  if is_jpeg(data):
    return decode_jpeg(data, name, size=size)
  flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
  return cv2.cvtColor(decode(data, name, flags, size=size), cv2.COLOR_BGR2RGB)


def decode_labels(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS):
  """Decodes a one-channel 8-bit PNG of labels.

  Args:
    data: the file.
    name: its name in error messages.
    max_pixels: a larger image is refused before it is decoded.

  Returns:
    (h, w) uint8.

  Raises:
    InputError: not such a PNG, too large, cut short or damaged.
  """
  size = check_image(data, name, max_pixels=max_pixels)
  labels = decode(data, name, cv2.IMREAD_UNCHANGED, size=size)
  if labels.ndim != 2 or labels.dtype != np.uint8:
    raise InputError(
      f'{name}: labels must be a grey 8-bit PNG of label numbers, but this '
      f'has shape {labels.shape} and type {labels.dtype}; write the label '
      'numbers themselves as grey levels'
    )
  return labels


def decode_16_bits(data: bytes, name: str, *, remedy: str) -> np.ndarray:
  """Decodes a picture of numbers: (h, w, 3) uint16, red, green, blue.

  Args:
    data: of a PNG of 16 bits.
    name: of the file.
    remedy: what to do where it is another picture.

  Raises:
    InputError: it is.
  """
  size = check_image(data, name)
  levels = decode(data, name, cv2.IMREAD_UNCHANGED, size=size)
  if levels.dtype != np.uint16 or levels.ndim != 3 or levels.shape[2] != 3:
    raise InputError(f'{name}: is no 16-bit PNG of three channels; {remedy}')
  return levels[..., ::-1]


def is_jpeg(data: bytes) -> bool:
  return data[:2] == b'\xff\xd8'


def decode_jpeg(data: bytes, name: str, *, size: tuple[int, int]):
  """The pixels of a checked JPEG, of grey and CMYK ones, too, as stored.

  Damage that changes no more than numbers within the code, a flipped sign,
  say, cannot be seen: JPEG has no checksum.

  Args:
    data: the file.
    name: its name in error messages.
    size: (height, width) that the header promises.

  Returns:
    (h, w, 3) uint8 RGB.

  Raises:
    InputError: the coded part is damaged or cut short.
  """
  reason = 'it has another size than it says'
  try:
    image = _decode_jpeg(data)
    if image.shape == (*size, 3):
      return image
  except ValueError as error:
    reason = shown(error)
  raise InputError(
    f'{name}: the image data are damaged ({reason}); copy or export the file '
    'again'
  )


def _decode_jpeg(data):
  try:
    return simplejpeg.decode_jpeg(data, 'RGB')
  except ValueError as error:
    text = str(error)
  if 'subsampling level' in text:
    # Chroma in ratios that hardly anybody writes, and simplejpeg does not know:
    # OpenCV reads them, without telling of damage.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if bgr is None:
      raise ValueError(text)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
  padding = _JPEG_PADDING.search(text)
  padded = padding and int(padding[1]) <= _MAX_PADDING
  if text.startswith(_JPEG_DAMAGE) and not padded:
    raise ValueError(text)
  return simplejpeg.decode_jpeg(data, 'RGB', strict=False)


def decode(data: bytes, name: str, flags: int, *, size: tuple[int, int]):
  """What OpenCV makes of a checked file; see `cv2.imdecode` about the flags.

  Args:
    data: the file.
    name: its name in error messages.
    flags: of OpenCV.
    size: (height, width) that the header promises.

  Returns:
    (h, w) or (h, w, c), uint8 or uint16, BGR as OpenCV has it.

  Raises:
    InputError: it is damaged, or of another size than it says.
  """
  try:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
  except cv2.error:
    image = None
  if (
    image is None
    or image.dtype not in (np.uint8, np.uint16)
    or image.shape[:2] != tuple(size)
  ):
    raise InputError(
      f'{name}: the image data are damaged; copy or export the file again'
    )
  return image


def check_image(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS):
  """Reads a JPEG's or PNG's size and checks that the file is whole.

  Args:
    data: the file.
    name: its name in error messages.
    max_pixels: the largest height * width to accept.

  Returns:
    (height, width) in pixels.

  Raises:
    InputError: neither JPEG nor PNG, too large, cut short.
  """
  try:
    if is_jpeg(data):
      size, whole = _scan_jpeg(data)
    elif data[:8] == _PNG_SIGNATURE:
      size, whole = _scan_png(data)
    else:
      kind = 'is empty' if not data else 'is neither a JPEG nor a PNG file'
      raise InputError(f'{name}: {kind}; give a JPEG or PNG image')
  except (struct.error, IndexError):
    size, whole = None, False
  if size is not None and size[0] * size[1] > max_pixels:
    raise InputError(
      f'{name}: {size[1]} x {size[0]} pixels is above the limit of '
      f'{max_pixels / 1e6:g} megapixels; scale the image down'
    )
  if size is None or 0 in size or not whole:
    raise InputError(
      f'{name}: the file is truncated or damaged ({len(data)} bytes); copy '
      'or download it again'
    )
  return size


def _scan_jpeg(data: bytes):
  """((height, width) or None, whether it has one frame and an end marker).

  A decoder takes the size of the last frame header, so a second one could
  hide a size above the limit; only hierarchical JPEGs, which nobody writes,
  have several. Pillow accepts them.
  """
  position, size = 2, None
  while True:
    if data[position] != 0xFF:
      return size, False
    while data[position] == 0xFF:  # Fill bytes are allowed before a marker.
      position += 1
    marker = data[position]
    position += 1
    if marker == 0xD9:
      return size, True
    if marker in _JPEG_FRAMES:
      if size is not None:
        return size, False
      size = struct.unpack_from('>HH', data, position + 3)
    (length,) = struct.unpack_from('>H', data, position)
    position += length
    if marker == 0xDA:  # Entropy-coded data follow; find where they end.
      found = _JPEG_MARKER.search(data, position)
      if not found:
        return size, False
      position = found.start()


def _scan_png(data: bytes):
  """((height, width) or None, whether all chunks are whole and one is IHDR).

  libpng allocates the size of a second IHDR before it refuses it.
  """
  position, size = 8, None
  while True:
    length, kind = struct.unpack_from('>I4s', data, position)
    end = position + 8 + length
    (checksum,) = struct.unpack_from('>I', data, end)
    if zlib.crc32(data[position + 4 : end]) != checksum:
      return size, False
    if kind == b'IHDR':
      if size is not None:
        return size, False
      width, height = struct.unpack_from('>II', data, position + 8)
      size = (height, width)
    if kind == b'IEND':
      return size, True
    position = end + 4


def encode_jpeg(image, *, quality: int = 95) -> bytes:
  """Encodes (h, w, 3) uint8 RGB as JPEG."""
  bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
  return _encode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])


def encode_webp(image, *, quality: int = 90) -> bytes:
  """Encodes (h, w, 3) uint8 RGB as WebP; lossy, whatever the quality."""
  bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
  return _encode('.webp', bgr, [cv2.IMWRITE_WEBP_QUALITY, quality])


def encode_png(image) -> bytes:
  """Encodes (h, w), (h, w, 3) RGB or (h, w, 4) RGBA as PNG; uint8 or uint16."""
  if image.ndim == 3:
    code = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[image.shape[-1]]
    image = cv2.cvtColor(image, code)
  # Looking for runs of equal bytes alone takes a fifth of the time of looking
  # for strings, and photos and masks become no larger (docs/inference.md). In
  # this order: the level sets the strategy.
  options = [
    *(cv2.IMWRITE_PNG_COMPRESSION, 6),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
  ]
  return _encode('.png', image, options)


def _encode(extension, image, options) -> bytes:
  ok, data = cv2.imencode(extension, image, options)
  if not ok:
    raise ValueError(f'OpenCV cannot encode {image.shape} as {extension}')
  return data.tobytes()


def resize_area(image, height: int, width: int):
  """Resizes with antialiasing: areas where it shrinks, linear where it grows.

  Args:
    image: (h, w) or (h, w, c), uint8 or float32.
    height: of the result.
    width: of the result.

  Returns:
    the image at (height, width), same dtype.
  """
  for size in ((image.shape[1], height), (width, height)):
    # One axis at a time, because INTER_AREA needs both to shrink.
    if (size[1], size[0]) == image.shape[:2]:
      continue
    shrinks = size[0] <= image.shape[1] and size[1] <= image.shape[0]
    mode = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    image = cv2.resize(image, size, interpolation=mode)
  return image


def resize_labels(labels, height: int, width: int):
  """Takes the nearest label, pixel centres at half-integers; (h, w) uint8."""
  return cv2.resize(
    labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT
  )


def _positions_tf1(source: int, target: int):
  """Source positions of target pixels, in float32 as TensorFlow 1 does it."""
  scale = np.float32(source) / np.float32(target)
  return np.arange(target, dtype=np.float32) * scale, scale


def resize_nearest_tf1(image, height: int, width: int):
  """`tf.compat.v1.image.resize_nearest_neighbor` for (h, w, ...)."""
  rows, columns = (
    np.minimum(_positions_tf1(source, target)[0].astype(int), source - 1)
    for source, target in zip(image.shape[:2], (height, width), strict=True)
  )
  return image[rows[:, None], columns]


def resize_bilinear_tf1(image, height: int, width: int):
  """`tf.compat.v1.image.resize_bilinear` for (h, w) or (h, w, c).

  Returns:
    float32 at (height, width); equal to TensorFlow's within rounding (1e-6
    of the largest value).
  """
  weights = []
  for source, target in zip(image.shape[:2], (height, width), strict=True):
    position, _ = _positions_tf1(source, target)
    low = np.minimum(np.floor(position).astype(int), source - 1)
    high = np.minimum(low + 1, source - 1)
    weights.append((low, high, position - low.astype(np.float32)))
  (top, bottom, down), (left, right, across) = weights
  tail = (1,) * (image.ndim - 2)
  across = across.reshape((width, *tail))
  down = down.reshape((height, 1, *tail))

  def interpolate_row(rows):
    row = image[rows].astype(np.float32)
    return row[:, left] + (row[:, right] - row[:, left]) * across

  upper = interpolate_row(top)
  return upper + (interpolate_row(bottom) - upper) * down


def resize_area_tf1(image, height: int, width: int):
  """`tf.compat.v1.image.resize_area` for (h, w) float32.

  Every target pixel is the mean over its box of the source, with the pixels
  at the rim of the box weighted by the part that lies inside.
  """
  matrices = []
  for source, target in zip(image.shape[:2], (height, width), strict=True):
    start, scale = _positions_tf1(source, target)
    end = np.arange(1, target + 1, dtype=np.float32) * scale
    pixel = np.arange(source, dtype=np.float32)
    overlap = np.minimum(pixel + 1, end[:, None]) - np.maximum(
      pixel, start[:, None]
    )
    matrices.append(np.clip(overlap, 0, 1) / scale)
  rows, columns = matrices
  return rows @ image.astype(np.float32) @ columns.T
