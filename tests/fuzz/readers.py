"""Every reader of files from outside, with a sound file of its kind.

A reader is a function of a path; it gives something to compare where damage
must not go unnoticed, else None.
"""

from collections.abc import Callable
import dataclasses
import functools
import io
import json
import pathlib
import pickle
import zlib

import cv2
import folders
import numpy as np
import scipy.io
import torch_writer

from input_pipeline.formats import original_records, packed, record_files
from input_pipeline.layouts import any_file, label_maps, pairs, viton
from input_pipeline.layouts import files as layout_files
from input_pipeline.preparing import parts
from viton_jax.checkpoints import safetensors_files
from viton_jax.errors import InputError
from viton_jax.io import images, npz, photos, tfrecords, torch_files
from viton_jax.job_folders import job_files
from viton_jax.jobs import photo_list
from viton_jax.labels import LABEL_SETS
from viton_jax.metrics import weights
from viton_jax.perception.runners import graphdef, tflite_file
from viton_jax.perception.specs import read_spec
from viton_jax.server import access
from viton_jax.serving import artifact

_TESTS = pathlib.Path(__file__).parents[1]
_GOLDENS = _TESTS / 'goldens'
_FRAME = (256, 192)
_RAW = _GOLDENS / 'raw_seed0'
_TF1_DATA = 'model-6000.data-00000-of-00001'


@dataclasses.dataclass(frozen=True)
class Reader:
  """What is tried.

  Attributes:
    suffix: of the file's name.
    sound: gives the bytes of a sound file.
    read: path -> content, or None.
    whole: whether other content than the sound file's must be refused; of a
      set, members that the sound file has not.
  """

  suffix: str
  sound: Callable[[], bytes]
  read: Callable[[pathlib.Path], object]
  whole: bool = False


def _photo() -> np.ndarray:
  rng = np.random.default_rng(0)
  small = rng.integers(0, 256, (16, 12, 3), np.uint8)
  return cv2.resize(small, (96, 128), interpolation=cv2.INTER_CUBIC)


def _pose() -> dict:
  candidate = np.column_stack(
    [np.linspace(20, 150, 18), np.linspace(20, 240, 18), np.ones(18)]
  )
  subset = np.full((1, 20), 18.0)
  subset[0, :18] = np.arange(18)
  return {'candidate': candidate, 'subset': subset}


def _openpose() -> bytes:
  numbers = np.column_stack([_pose()['candidate']]).ravel().tolist()
  return json.dumps({'people': [{'pose_keypoints_2d': numbers}]}).encode()


def _mat(values: dict) -> bytes:
  buffer = io.BytesIO()
  scipy.io.savemat(buffer, values, do_compression=True)
  return buffer.getvalue()


def _npz() -> bytes:
  buffer = io.BytesIO()
  np.savez(buffer, a=np.arange(64.0), manifest='[]', b=np.zeros((4, 4), 'u1'))
  return buffer.getvalue()


def _records() -> bytes:
  rng = np.random.default_rng(1)
  return b''.join(
    tfrecords.frame(rng.bytes(int(size))) for size in (10, 200, 3000)
  )


def _all_records(path):
  index = record_files.index_records([path])
  with index.open() as reader:
    # Whole records may be missing: that is told by their number.
    return frozenset(reader.read(i) for i in range(len(index)))


def _label_png() -> bytes:
  labels = np.random.default_rng(2).integers(0, 20, (128, 96), np.uint8)
  return images.encode_png(labels)


@functools.cache
def _packed_header() -> bytes:
  header = packed.plan(
    'train',
    {'train': 1},
    height=64,
    width=64,
    fidelity='fixed',
    id_bytes=(5, 5),
  )
  text = json.dumps(dataclasses.asdict(header)).encode()
  data = packed._MAGIC + len(text).to_bytes(8, 'little') + text
  return data.ljust(header.num_bytes, b'\0')


def _graph() -> bytes:
  def field(number, content):
    return tfrecords._field(number, content)

  shape = field(2, field(2, tfrecords._varint(1 << 3) + tfrecords._varint(4)))
  tensor = b'\x08\x01' + shape + field(4, np.ones(4, '<f4').tobytes())
  attribute = field(1, b'value') + field(2, field(8, tensor))
  const = field(1, b'c') + field(2, b'Const') + field(5, attribute)
  relu = field(1, b'r') + field(2, b'Relu') + field(3, b'c')
  return field(1, const) + field(1, relu)


def _graphdef(path):
  try:
    graphdef.read_graph(path.read_bytes())
  except graphdef.GraphError as error:
    raise InputError(f'{path}: {error}') from error


def _tflite(path):
  try:
    tflite_file.read_network(path.read_bytes())
  except graphdef.GraphError as error:
    raise InputError(f'{path}: {error}') from error


def _manifest_of_infer() -> bytes:
  lines = (
    {'name': 'a_b', 'status': 'ok', 'file': 'results/a_b.png'},
    {'name': 'c_d', 'status': 'failed', 'reason': 'no'},
    {'name': 'e_f', 'status': 'ok', 'metrics': {'output': {'l1': 1.0}}},
  )
  return b''.join(json.dumps(line).encode() + b'\n' for line in lines)


def _job_folder(path, name):
  there = path.with_suffix('.folder')
  there.mkdir(exist_ok=True)
  (there / name).write_bytes(path.read_bytes())
  return there


def _settings(path):
  job_files.read_settings(_job_folder(path, 'settings.json'))


def _exported_manifest() -> bytes:
  spec = {
    'shape': ['b', 64, 64], 'dtype': 'uint8', 'range': [0, 1], 'what': 'it',
  }  # fmt: skip
  names = ('person', 'garment_mask', 'head_mask')
  programs = {
    name: {'file': f'{name}.stablehlo', 'weights': 'w.safetensors',
           'inputs': ['person']}
    for name in ('coarse', 'refine')
  }  # fmt: skip
  places = ('coarse.stablehlo', 'refine.stablehlo', 'w.safetensors')
  return json.dumps(
    {
      'format': artifact.FORMAT,
      'format_version': 2,
      'height': 64,
      'width': 64,
      'fidelity': 'fixed',
      'platforms': ['cpu'],
      'inputs': {name: spec for name in names},
      'from_parse': spec | {'head_labels': [1, 2], 'replaces': ['head_mask']},
      'programs': programs,
      'versions': {'jax': '0'},
      'files': {name: {'sha256': '0' * 64, 'bytes': 1} for name in places},
    }
  ).encode()


def _exported(path):
  there = _job_folder(path, artifact.MANIFEST)
  artifact.load(there)


def _read_label(path):
  label_maps.read_label_map(path, LABEL_SETS['lip'], shape=(128, 96))


def _golden(place: str) -> Callable[[], bytes]:
  return (_GOLDENS / place).read_bytes


def _image(encode: Callable) -> Callable[[], bytes]:
  return lambda: encode(_photo())


def _joints(path):
  any_file.read_people(path, _FRAME, person='a')


def _original_record() -> bytes:
  features = {
    'image_id': b'000001_0.jpg',
    'product_image_id': b'000001_1.jpg',
    'image': images.encode_jpeg(_photo()),
    'product_image': images.encode_jpeg(_photo()),
    'height': 128,
    'width': 96,
    'pose_map': bytes(256 * 192 * 18),
    'segment_map': bytes(128 * 96),
    'tps_control_points': np.linspace(0, 1, 200, dtype=np.float32),
  }
  return tfrecords.encode_example(features)


def _original(path):
  original_records.read_record(path.read_bytes(), str(path), fidelity='fixed')


def _whole_part(path):
  if not parts.is_whole(path):
    raise InputError(f'{path}: is no whole part')


def _tensors() -> dict[str, np.ndarray]:
  rng = np.random.default_rng(0)
  return {
    'features.0.weight': rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
    'features.0.bias': np.zeros(4, np.float16),
  }


READERS: dict[str, Reader] = {
  'pose.pkl': Reader('.pkl', lambda: pickle.dumps({'a': _pose()}, 2), _joints),
  'pose4.pkl': Reader('.pkl', lambda: pickle.dumps(_pose(), 5), _joints),
  'pose.mat': Reader('.mat', lambda: _mat(_pose()), _joints),
  'pose.json': Reader('.json', _openpose, _joints),
  'segment.mat': Reader(
    '.mat',
    _golden('raw_seed0/segment/000001_0.mat'),
    lambda path: (viton.read_segment(path, 128, 96), None)[1],
  ),
  'any.mat': Reader(
    '.mat',
    lambda: _mat({'x': np.zeros(3), 'y': 'text', 'z': np.eye(9)}),
    lambda path: layout_files.read_mat(path) and None,
  ),
  'photo.jpg': Reader('.jpg', _image(images.encode_jpeg), photos.read_photo),
  'photo.png': Reader('.png', _image(images.encode_png), photos.read_photo),
  'photo.webp': Reader('.webp', _image(images.encode_webp), photos.read_photo),
  'mask.png': Reader(
    '.png',
    _image(images.encode_png),
    lambda path: layout_files.read_mask(path, shape=(128, 96)),
  ),
  'labels.png': Reader('.png', _label_png, _read_label),
  'pairs.txt': Reader(
    '.txt', lambda: b'a.jpg b.jpg\nc.jpg d.jpg\n' * 9, pairs.read_pairs
  ),
  'list.csv': Reader(
    '.csv',
    lambda: b'person,garment\na.jpg,b.jpg\n"c,c.jpg",d.jpg\n',
    lambda path: photo_list.read_pairs(path, None, None),
  ),
  'data.packed': Reader('.packed', _packed_header, packed.read_header),
  'data.tfrecord': Reader('.tfrecord', _records, _all_records, whole=True),
  'original.record': Reader('.record', _original_record, _original),
  'net.safetensors': Reader(
    '.safetensors',
    lambda: (pathlib.Path(__file__).parent / 'sound.safetensors').read_bytes(),
    lambda path: _network(path),
    whole=True,
  ),
  'batch.npz': Reader('.npz', _npz, npz.read),
  'part.npz': Reader('.npz', _npz, _whole_part),
  'legacy.pth': Reader(
    '.pth',
    lambda: torch_writer.legacy(torch_writer.ordered(_tensors())),
    torch_files.read,
  ),
  'archive.pth': Reader(
    '.pth',
    lambda: torch_writer.archive(torch_writer.ordered(_tensors())),
    torch_files.read,
  ),
  'arrays.ckpt': Reader(
    '.ckpt',
    lambda: pickle.dumps({'a': {'b': np.zeros((2, 3), np.float32)}}, 3),
    lambda path: weights.read_lpips('alex', path),
  ),
  'spec.toml': Reader(
    '.toml',
    lambda: (
      pathlib.Path(graphdef.__file__).parents[1] / 'specs/rtmpose_m.toml'
    ).read_bytes(),
    read_spec,
  ),
  'graph.pb': Reader('.pb', _graph, _graphdef),
  'net.tflite': Reader('.tflite', lambda: _tflite_seed(), _tflite),
  'manifest.jsonl': Reader(
    '.jsonl',
    _manifest_of_infer,
    lambda path: list(job_files.read_lines(path)) and None,
  ),
  'settings.json': Reader(
    '.json',
    lambda: b'{"layout": "viton", "data_dir": "x", "output": "png"}',
    _settings,
  ),
  'exported.json': Reader('.json', _exported_manifest, _exported),
  'keys.txt': Reader(
    '.txt', lambda: b'0123456789abcdef0\n' * 3, access.read_keys
  ),
  'keras.h5': Reader('.h5', folders.keras, folders.read_keras),
  'exported.stablehlo': Reader(
    '.stablehlo', folders.program, folders.read_program
  ),
  **{
    f'tf1 {name}': Reader(
      '.tf1',
      functools.partial(folders.tf1_file, name),
      folders.tf1(name),
      whole=name != 'checkpoint',
    )
    for name in ('checkpoint', 'model-6000.index', _TF1_DATA)
  },
  **{
    f'orbax {name}': Reader(
      '.orbax',
      (folders.ORBAX / name).read_bytes,
      folders.orbax(name),
      whole=True,
    )
    for name in folders.orbax_names()
  },
}


def _network(path):
  one = safetensors_files.read(path)
  flat = {
    name: values.tobytes()
    for part, layers in one.variables.items()
    for layer, leaves in layers.items()
    for leaf, values in leaves.items()
    for name in [f'{part}/{layer}/{leaf}']
  }
  return zlib.crc32(repr(sorted(flat.items())).encode())


def _tflite_seed() -> bytes:
  return b'\x1c\0\0\0TFL3' + bytes(200)
