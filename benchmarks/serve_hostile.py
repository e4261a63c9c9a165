"""Requests that were made to hurt a server of photos."""

import io
import json
import pickle
import struct
import zlib

import numpy as np
from PIL import Image

Fields = dict[str, str | bytes]
_IMAGES = ('person', 'garment', 'parse')


def mutated(fields: Fields, rng: np.random.Generator) -> tuple[str, Fields]:
  """A name of what was done, and the fields of such a request."""
  kinds = (
    *(_flipped, _flipped, _flipped, _cut, _doubled, _bomb, _lying_size),
    *(_lying_exif, _polyglot, _pickled, _many_parts, _wrong_json, _deep_json),
    *(_other_kinds, _huge_numbers, _random, _second_header, _chunks),
  )
  kind = kinds[int(rng.integers(len(kinds)))]
  return kind.__name__, fields | kind(dict(fields), rng)


def _one(fields, rng):
  name = _IMAGES[int(rng.integers(len(_IMAGES)))]
  return name, bytearray(fields[name])


def _flipped(fields, rng):
  name, data = _one(fields, rng)
  for at in rng.integers(len(data), size=int(rng.integers(1, 40))):
    data[at] = int(rng.integers(256))
  return {name: bytes(data)}


def _cut(fields, rng):
  name, data = _one(fields, rng)
  return {name: bytes(data[: int(rng.integers(len(data)))])}


def _doubled(fields, rng):
  name, data = _one(fields, rng)
  at = int(rng.integers(len(data)))
  return {name: bytes(data[:at] + data[at // 2 :])}


def _bomb(fields, rng):
  del fields
  side = int(rng.integers(4900, 9000))
  row = zlib.compress(bytes(side + 1) * side, 9)
  return {'person': _png(side, side, row)}


def _png(width, height, data, kind=0):
  head = struct.pack('>IIBBBBB', width, height, 8, kind, 0, 0, 0)
  return b'\x89PNG\r\n\x1a\n' + b''.join(
    struct.pack('>I', len(body))
    + name
    + body
    + struct.pack('>I', zlib.crc32(name + body))
    for name, body in ((b'IHDR', head), (b'IDAT', data), (b'IEND', b''))
  )


def _lying_size(fields, rng):
  del fields
  width, height = (int(x) for x in rng.integers(1, 4800, size=2))
  data = zlib.compress(bytes(int(rng.integers(1, 5000))))
  return {'person': _png(width, height, data, int(rng.integers(8)))}


def _lying_exif(fields, rng):
  exif = b'Exif\0\0II*\0' + rng.integers(0, 256, 300, np.uint8).tobytes()
  data = fields['person']
  marker = b'\xff\xe1' + struct.pack('>H', len(exif) + 2)
  return {'person': data[:2] + marker + exif + data[2:]}


def _polyglot(fields, rng):
  starts = (
    b'GIF89a',
    b'%PDF-1.7\n',
    b'PK\3\4',
    b'<svg onload=alert(1)>',
    b'BM',
  )
  start = starts[int(rng.integers(len(starts)))]
  return {
    'garment': start + fields['garment'],
    'parse': fields['parse'] + start,
  }


class _Evil:
  def __reduce__(self):
    return print, ('a pickle was read',)


def _pickled(fields, rng):
  del fields
  data = pickle.dumps(_Evil(), protocol=int(rng.integers(6)))
  return {('pose', 'parse', 'person')[int(rng.integers(3))]: data}


def _many_parts(fields, rng):
  del fields
  text = bool(rng.integers(2))
  return {f'field{i}': 'x' if text else b'x' for i in range(1000)}


def _wrong_json(fields, rng):
  pose = json.loads(fields['pose'])
  numbers = pose['people'][0]['pose_keypoints_2d']
  for at in rng.integers(len(numbers), size=5):
    values = (1e308, -1e9, float('nan'), None, 'x', [1], 10**400, True)
    numbers[at] = values[int(rng.integers(len(values)))]
  return {'pose': json.dumps(pose)}


def _deep_json(fields, rng):
  del fields
  return {'pose': '[' * int(rng.integers(1000, 400_000))}


def _other_kinds(fields, rng):
  data = io.BytesIO()
  kinds = ('GIF', 'BMP', 'TIFF', 'WEBP', 'ICO', 'PPM')
  image = Image.open(io.BytesIO(fields['person']))
  image.save(data, kinds[int(rng.integers(len(kinds)))])
  content = bytearray(data.getvalue())
  if rng.integers(2):
    content[int(rng.integers(len(content)))] ^= 255
  return {'person': bytes(content)}


def _huge_numbers(fields, rng):
  del fields
  values = ('9' * 5000, '-1', '1e5', '0x1', ' ', '\u0661', '1' * 6, 'nan')
  return {'person_index': values[int(rng.integers(len(values)))]}


def _random(fields, rng):
  del fields
  return {'person': rng.integers(0, 256, 5000, np.uint8).tobytes()}


def _second_header(fields, rng):
  data = fields['person']
  at = data.index(b'\xff\xc0')
  size = struct.pack('>HH', *map(int, rng.integers(1, 65535, size=2)))
  frame = data[at : at + 5] + size + data[at + 9 : at + 19]
  return {'person': data[:at] + frame + data[at:]}


def _chunks(fields, rng):
  """A PNG of thousands of empty chunks."""
  del rng
  data = fields['parse']
  empty = b'\0\0\0\0tEXt' + struct.pack('>I', zlib.crc32(b'tEXt'))
  return {'parse': data[:33] + empty * 20_000 + data[33:]}
