"""Label maps from PNG files, brought to LIP-20.

A file may store label numbers as the indices of a palette (the colours are for
display only) or as grey levels; or, for LIP and CIHP, as LIP's colours in RGB.
"""

import pathlib
import struct
import zlib

import cv2
import numpy as np

from input_pipeline.layouts import files
from viton_jax.errors import InputError
from viton_jax.io import images
from viton_jax.labels import (
  DRESS_AND_COAT_LABELS,
  GARMENT_LABEL,
  LIP_COLOURS,
  NUM_LABELS,
  LabelSet,
)

# LIP_SSL's colour map is stored as fractions, which come out one lower.
_ROUNDED = ((254, 255), (169, 170), (220, 221))


def read_label_map(path: pathlib.Path, labels: LabelSet, *, shape):
  """Reads a label map.

  Args:
    path: a PNG file.
    labels: what its numbers mean.
    shape: (height, width) of the photo that it belongs to.

  Returns:
    (height, width) uint8 LIP-20 labels.

  Raises:
    InputError: no such file, not such a PNG, another size, or a label that
      the set does not have.
  """
  data = files.read_file(path, 'label map')
  return decode_label_map(data, str(path), labels, shape=shape)


def decode_label_map(data: bytes, path: str, labels: LabelSet, *, shape):
  """As `read_label_map`, from a file's bytes and its name."""
  size = images.check_image(data, path)
  if size != tuple(shape):
    raise InputError(
      f'{path}: the label map is {size[1]} x {size[0]} '
      f'pixels, its photo {shape[1]} x {shape[0]}; make both the same size '
      '(nearest neighbour for labels)'
    )
  indices = decode_indices(data, path, colours=labels.colours)
  table = np.zeros(256, np.uint8)
  table[: len(labels.to_lip)] = labels.to_lip
  wrong = indices >= len(labels.to_lip)
  if wrong.any():
    y, x = np.argwhere(wrong)[0]
    raise InputError(
      f'{path}: the label {indices[y, x]} at ({x}, {y}) is not of the set '
      f'{labels.name}, which goes from 0 to {len(labels.to_lip) - 1}; map '
      'the labels first, or check whether this is the layout of the data'
    )
  return table[indices]


def png_kind(data: bytes) -> str:
  """'palette indices', 'grey levels' or 'colours', of a PNG that was read."""
  return {0: 'grey levels', 2: 'colours'}.get(data[25], 'palette indices')


def settle_garment(parse):
  """Makes a top that is labelled as a dress or coat an upper garment.

  CP-VTON and VITON-HD take 5, 6 and 7 for the garment, because parsers mix
  them up; the original VITON takes 5 alone. Where 5 is less than a tenth of 6
  and 7 together, the top can only be those. All other maps stay as they are.

  Args:
    parse: (h, w) uint8 LIP-20 labels.

  Returns:
    (h, w) uint8: the same, or a copy with 5 for 6 and 7.
  """
  counts = np.bincount(parse.ravel(), minlength=NUM_LABELS)
  others = counts[list(DRESS_AND_COAT_LABELS)].sum()
  if counts[GARMENT_LABEL] * 10 >= others:
    return parse
  is_top = np.isin(parse, DRESS_AND_COAT_LABELS)
  return np.where(is_top, GARMENT_LABEL, parse).astype(np.uint8)


def decode_indices(data: bytes, name: str, *, colours: bool):
  """Decodes the numbers that a PNG stores: palette indices or grey levels.

  Args:
    data: the file.
    name: its name in error messages.
    colours: whether an RGB file with `LIP_COLOURS` is admitted.

  Returns:
    (h, w) uint8.

  Raises:
    InputError: not such a PNG, too large or damaged.
  """
  size = images.check_image(data, name)
  if data[12:16] != b'IHDR':
    raise InputError(
      f'{name}: label maps must be PNG files, because JPEG changes labels; '
      'write the labels again as PNG'
    )
  depth, kind = data[24], data[25]
  if kind == 2 and depth == 8 and colours:
    return _labels_of_colours(images.decode_image(data, name), name)
  if kind not in (0, 3) or depth > 8:
    raise InputError(
      f'{name}: this PNG has {depth} bits and colour type {kind}; labels '
      'must be palette indices or grey levels of 8 bits'
    )
  indices = images.decode(_as_grey(data), name, cv2.IMREAD_UNCHANGED, size=size)
  if indices.ndim != 2:
    raise InputError(
      f'{name}: the image data are damaged; copy or export the file again'
    )
  # Fewer than 8 bits are stretched to 0..255 on reading.
  return indices // (255 // (2**depth - 1))


def _as_grey(data: bytes) -> bytes:
  """Declares a palette PNG to be grey: decoders then give the indices."""
  kept, position = [data[:8]], 8
  while position < len(data):
    length, kind = struct.unpack_from('>I4s', data, position)
    body = data[position + 8 : position + 8 + length]
    position += length + 12
    if kind == b'IHDR':
      body = body[:9] + b'\x00' + body[10:]
    if kind in (b'IHDR', b'IDAT', b'IEND'):
      checksum = struct.pack('>I', zlib.crc32(kind + body))
      kept.append(struct.pack('>I', length) + kind + body + checksum)
  return b''.join(kept)


def _labels_of_colours(image, name: str):
  for written, meant in _ROUNDED:
    image = np.where(image == written, np.uint8(meant), image)
  codes = image.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
  palette = np.array(LIP_COLOURS) @ np.array([65536, 256, 1])
  order = np.argsort(palette)
  places = np.searchsorted(palette[order], codes).clip(max=len(palette) - 1)
  labels = order[places]
  wrong = palette[labels] != codes
  if wrong.any():
    y, x = np.argwhere(wrong)[0]
    raise InputError(
      f'{name}: the colour {tuple(image[y, x].tolist())} at ({x}, {y}) is '
      "not one of LIP's 20; write the label numbers themselves, as palette "
      'indices or grey levels'
    )
  return labels.astype(np.uint8)
