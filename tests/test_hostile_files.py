"""Files from strangers: pickles, bombs, no regular files, damage of all kinds.

Each of these once ended in a crash, a hang, gigabytes, or silently in other
content. tests/fuzz/ is what found most of them.
"""

import io
import json
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import zipfile

import h5py
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
import scipy.io
import skimage.data

from input_pipeline.formats import packed, record_files
from input_pipeline.layouts import any_file, pairs, poses
from input_pipeline.preparing import parts
from viton_jax import errors
from viton_jax.errors import InputError
from viton_jax.io import (
  files,
  finite,
  hdf5,
  images,
  matlab,
  npz,
  photos,
  storage,
  structured,
  tfrecords,
)
from viton_jax.job_folders import job_files, shards
from viton_jax.perception.runners import frozen_graph, graphdef
from viton_jax.serving import artifact

FUZZ = pathlib.Path(__file__).parent / 'fuzz'


# ------------------------------------------------------------- what was found


def test_what_once_broke_a_reader_is_refused():
  """In a process of its own: some of these ended theirs."""
  found = sorted((FUZZ / 'corpus').iterdir())
  done = subprocess.run(
    [sys.executable, FUZZ / 'run.py', '--file', *found],
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )
  assert done.returncode == 0, done.stdout + done.stderr[-2000:]
  assert done.stdout.count(': refused: ') == len(found) > 10


@pytest.mark.slow
def test_fuzzing_finds_nothing():
  done = subprocess.run(
    [*(sys.executable, FUZZ / 'run.py'), '--minutes', '0.5', '--seed', '7'],
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )
  assert done.returncode == 0, done.stdout[-3000:]
  tried = int(done.stdout.splitlines()[-1].split()[0])
  assert tried > 200


json_values = st.recursive(
  st.none()
  | st.booleans()
  | st.integers()
  | st.floats()
  | st.text()
  | st.just('pose_keypoints'),
  lambda inner: (
    st.lists(inner, max_size=60)
    | st.dictionaries(
      st.sampled_from(['people', 'pose_keypoints', 'keypoints', 'x']), inner
    )
  ),
  max_leaves=80,
)


@settings(
  max_examples=300,
  deadline=None,
  derandomize=True,
  suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(json_values)
def test_any_json_is_a_pose_or_refused(value):
  data = json.dumps(value).encode('utf-8', 'surrogatepass')
  try:
    people, _ = any_file.decode_people(data, 'pose.json', (256, 192))
  except InputError as error:
    assert '\n' not in str(error) and 'pose.json' in str(error)
  else:
    assert all(x.shape == (18, 3) and np.isfinite(x).all() for x in people)


# -------------------------------------------------------------------- pickles


class Reduced:
  def __init__(self, *values):
    self.values = values

  def __reduce__(self):
    return self.values


@pytest.mark.parametrize(
  'value, message',
  [
    ({(1, 2): 3}, 'the key'),
    ({2**61 - 1: 3}, 'the key'),
    ({'x' * 300: 3}, 'the key'),
    ({'a': {1, 2}}, 'operation|refers to'),
    ({'a': np.array([object()])}, "type 'O8'"),
    ({'a': np.array(['text'])}, 'the type'),
    ({'a': np.zeros(2, [('x', 'f4')])}, 'the type'),
    ({'a': Reduced(np.dtype, ('V8',))}, "type 'V8'"),
    ({'a': Reduced(bytearray, (10**10,))}, 'bytearray'),
    ({'a': np.ndarray}, 'holds'),
  ],
)
@pytest.mark.parametrize('protocol', [2, 4])
def test_pickles_hold_arrays_of_numbers_alone(
  tmp_path, value, message, protocol
):
  path = tmp_path / 'pose.pkl'
  path.write_bytes(pickle.dumps(value, protocol))
  with pytest.raises(InputError, match=message):
    poses.read_pose_pickle(path)


def test_a_pickle_that_shares_without_end_is_refused(tmp_path):
  """2^60 numbers in 300 bytes."""
  value = [1.0, 1.0]
  for _ in range(60):
    value = [value, value]
  path = tmp_path / 'pose.pkl'
  path.write_bytes(pickle.dumps({'candidate': value, 'subset': value}, 4))
  with pytest.raises(InputError, match='nested deeper'):
    poses.read_pose_pickle(path)


def test_a_state_cannot_be_given_twice_or_to_others(tmp_path):
  path = tmp_path / 'pose.pkl'
  for bad in (b'\x80\x02}K\x01b.', b'\x80\x02K\x01}b.', b'\x80\x02]}b.'):
    path.write_bytes(bad)
    with pytest.raises(InputError, match='gives a state'):
      poses.read_pose_pickle(path)


# ------------------------------------------------------- what is no usable file


def unusual_files(tmp_path):
  os.mkfifo(tmp_path / 'fifo')
  with (tmp_path / 'sparse').open('wb') as file:
    file.truncate(20 << 30)
  (tmp_path / 'folder').mkdir()
  return [
    (tmp_path / 'fifo', 'a pipe'),
    (tmp_path / 'sparse', 'above the limit'),
    (tmp_path / 'folder', 'a folder'),
    (pathlib.Path('/dev/zero'), 'a device'),
    (tmp_path / 'missing', 'No such file'),
    (tmp_path / ('x' * 300), 'too long'),
    (pathlib.Path('nul\0'), 'null'),
  ]


@pytest.mark.parametrize(
  'read',
  [
    files.read,
    photos.read_photo,
    poses.read_pose_pickle,
    matlab.read,
    npz.read,
    structured.read_object,
    structured.read_toml,
    pairs.read_pairs,
  ],
)
def test_only_regular_files_of_a_usable_size_are_read(tmp_path, read):
  for path, message in unusual_files(tmp_path):
    with pytest.raises(InputError, match=message) as error:
      read(path)
    assert len(str(error.value)) < 700 and '\n' not in str(error.value)


def test_deep_json_and_huge_numbers_are_refused():
  good = {'a': [1, -(2**63), 1.5, float('nan')], 'b': None}
  assert str(structured.parse_json(json.dumps(good))) == str(good)
  deep = '[' * 33 + ']' * 33
  for bad in (
    '[' * 10**5,
    deep,
    f'{{"a": {deep}}}',
    '1' * 5000,
    str(2**63),
    '1e999',
    '-1e999',
    b'\xff',
    '',
    '{"a": 1} x',
  ):
    with pytest.raises(structured.BadStructure):
      structured.parse_json(bad)
  assert structured.parse_json('[' * 32 + ']' * 32)


@pytest.mark.parametrize(
  'text', ['a = ' + '[' * 9999, f'a = {"[" * 40}{"]" * 40}']
)
def test_deep_toml_is_refused(tmp_path, text):
  path = tmp_path / 'a.toml'
  path.write_text(text)
  with pytest.raises(InputError, match='not a TOML file'):
    structured.read_toml(path)


# ---------------------------------------------------------------------- bombs


def test_npz_of_zeros_is_refused_before_it_is_read(tmp_path):
  path = tmp_path / 'a.npz'
  header = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    header, {'descr': '<f4', 'fortran_order': False, 'shape': (1 << 31,)}
  )
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
    file.writestr('a.npy', header.getvalue() + bytes(1 << 20))
  with pytest.raises(InputError, match='above the limits'):
    npz.read(path)


def test_mat_that_inflates_without_end_is_refused(tmp_path, monkeypatch):
  path = tmp_path / 'a.mat'
  scipy.io.savemat(
    path, {'segment': np.zeros((1000, 1000))}, do_compression=True
  )
  assert path.stat().st_size < 1 << 16
  assert matlab.read(path)['segment'].shape == (1000, 1000)
  monkeypatch.setattr(matlab, 'MAX_BYTES', 1 << 20)
  with pytest.raises(InputError, match='inflates to more than'):
    matlab.read(path)


@pytest.mark.parametrize('compressed', [False, True])
def test_arrays_of_mat_files_are_those_that_scipy_reads(tmp_path, compressed):
  rng = np.random.default_rng(0)
  values = {
    name: (rng.random((3, 4, 2)) * 99).astype(name)
    for name in ('f8', 'f4', 'i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'i8', 'u8')
  }
  values |= {'b': rng.random((2, 2)) > 0.5, 'row': np.arange(3.0)}
  path = tmp_path / 'a.mat'
  scipy.io.savemat(path, values | {'t': 'text'}, do_compression=compressed)
  found, due = matlab.read(path), scipy.io.loadmat(path)
  assert found.keys() == values.keys()
  for name, value in found.items():
    np.testing.assert_array_equal(value, due[name])
    assert value.dtype == due[name].dtype


def test_a_picture_of_another_size_than_it_says_is_refused():
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (48, 64, 3), np.uint8)
  data = images.encode_png(image)
  with pytest.raises(InputError, match='damaged'):
    images.decode(data, 'a.png', -1, size=(48, 63))
  assert images.decode(data, 'a.png', -1, size=(48, 64)).shape == (48, 64, 3)


def coded_part(data):
  """Where a JPEG's coded part begins."""
  scan = data.index(b'\xff\xda')
  return scan + 2 + int.from_bytes(data[scan + 2 : scan + 4])


def saved(image, **options):
  buffer = io.BytesIO()
  PIL.Image.fromarray(image).save(buffer, 'JPEG', **options)
  return buffer.getvalue()


@pytest.mark.parametrize(
  'options', [{}, {'progressive': True}, {'restart_marker_rows': 1}]
)
def test_jpegs_whose_coded_part_is_cut_are_refused(options):
  """With an end marker behind it, which the scan of the file looks for."""
  data = saved(skimage.data.astronaut(), **options)
  start = coded_part(data)
  for part in (0.02, 0.5, 0.97):
    end = start + int(part * (len(data) - start))
    for read in (images.decode_image, photos.decode_photo):
      with pytest.raises(InputError, match='a.jpg: the image data are dam'):
        read(data[:end] + b'\xff\xd9', 'a.jpg')
  middle = (start + len(data)) // 2
  with pytest.raises(InputError, match='a.jpg: the image data are damaged'):
    photos.decode_photo(data[:middle] + data[middle + 2000 :], 'a.jpg')


def test_bytes_that_lose_no_pixel_are_no_damage():
  photo = skimage.data.astronaut()
  data = saved(photo)
  want = photos.decode_photo(data, 'a')[0]
  thumbnail = b'Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0' + saved(photo[:64, :64])
  segment = b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2) + thumbnail
  for whole in (
    data + bytes(999),  # Phones append what they like,
    data + saved(photo[::2]),  # a second picture, say,
    data[:2] + segment + data[2:],  # or a small one before all.
    data[:-2] + b'\0' + data[-2:],
    saved(photo, restart_marker_rows=3),
    saved(photo, progressive=True),
  ):
    np.testing.assert_array_equal(photos.decode_photo(whole, 'a')[0], want)


def test_a_jpeg_of_rare_chroma_is_read_by_opencv():
  """Three by two luma samples for one of chroma, which simplejpeg refuses."""
  data = bytearray(saved(np.full((32, 32, 3), 90, np.uint8), subsampling=2))
  at = data.index(b'\xff\xc0')
  assert data[at + 11] == 0x22
  data[at + 11] = 0x32
  pixels, _ = photos.decode_photo(bytes(data), 'a')
  # It is of another layout now, so only the first blocks are sound.
  assert pixels.shape == (32, 32, 3) and (pixels[:8, :8] == 90).all()


def webp_parts():
  rng = np.random.default_rng(0)
  small = rng.integers(0, 256, (6, 8, 3), np.uint8)
  return images.encode_webp(np.kron(small, np.ones((8, 8, 1), np.uint8)))


def test_webps_whose_parts_do_not_fit_are_refused():
  data = webp_parts()
  assert photos.decode_photo(data, 'a')[0].shape == (48, 64, 3)
  canvas = (99).to_bytes(3, 'little')
  extended = b'VP8X' + struct.pack('<I', 10) + bytes(4) + canvas * 2
  for bad in (
    data[:4] + struct.pack('<I', len(data) - 20) + data[8:],
    data[:4]
    + struct.pack('<I', len(data) - 8 + 18)
    + b'WEBP'
    + extended
    + data[12:],
    data[:23] + b'xxx' + data[26:],
  ):
    with pytest.raises(InputError, match='WebP file is truncated or damaged'):
      photos.decode_photo(bad, 'a')


def test_a_graph_cannot_ask_for_more_than_its_size():
  field, varint = tfrecords._field, tfrecords._varint
  shape = field(2, field(2, varint(1 << 3) + varint(2**28)))
  tensor = b'\x08\x01' + shape + field(5, np.ones(1, '<f4').tobytes())
  attribute = field(1, b'value') + field(2, field(8, tensor))
  node = field(1, b'c') + field(2, b'Const') + field(5, attribute)
  with pytest.raises(graphdef.GraphError, match='impossible shape'):
    graphdef.read_graph(field(1, node))


# -------------------------------------------------------------------- records


@pytest.fixture
def records(tmp_path):
  path = tmp_path / 'a.tfrecord'
  rng = np.random.default_rng(0)
  path.write_bytes(b''.join(tfrecords.frame(rng.bytes(99)) for _ in range(3)))
  return path


def read_records(path):
  index = record_files.index_records([path])
  with index.open() as reader:
    return [reader.read(i) for i in range(len(index))]


def test_every_damaged_byte_of_a_record_is_found(records):
  data = records.read_bytes()
  assert len(read_records(records)) == 3
  for place in range(0, len(data), 5):
    changed = bytearray(data)
    changed[place] ^= 16
    records.write_bytes(changed)
    with pytest.raises(InputError, match='a.tfrecord.*record [012]'):
      read_records(records)
  records.write_bytes(bytes(len(data)))
  with pytest.raises(InputError, match='record 0 has a damaged length'):
    read_records(records)


def test_headers_of_packed_files_must_be_the_planned_ones(tmp_path):
  header = packed.plan(
    'train', {'train': 1}, height=64, width=64, fidelity='fixed',
    id_bytes=(3, 3),
  )  # fmt: skip
  path = tmp_path / 'train.packed'

  def write(change):
    values = json.loads(json.dumps(packed.dataclasses.asdict(header)))
    change(values)
    text = json.dumps(values).encode()
    data = packed._MAGIC + len(text).to_bytes(8, 'little') + text
    path.write_bytes(data.ljust(header.num_bytes, b'\0'))

  write(lambda _: None)
  assert packed.read_header(path) == header

  def set_field(name, value, number=0):
    return lambda values: values['fields'][number].update({name: value})

  for change in (
    set_field('dtype', '|O'),
    set_field('dtype', '<f8'),
    set_field('shape', [1, 64, 64, 4]),
    set_field('shape', [1, 64, 64, 3.0]),
    set_field('offset', 0),
    set_field('offset', -4096),
    set_field('name', 'x'),
    lambda values: values.update(height=10**9),
    lambda values: values.update(num_examples={'train': -1}),
    lambda values: values.update(fidelity='x'),
    lambda values: values.update(split=5),
    lambda values: values.pop('fields'),
    lambda values: values['fields'].pop(),
    lambda values: values.update(fields=5),
  ):
    write(change)
    with pytest.raises(InputError, match='header is damaged'):
      packed.read_header(path)


def test_a_damaged_part_is_not_whole(tmp_path):
  path = tmp_path / '000000.npz'
  line = {'person_id': 'a', 'garment_id': 'b', 'status': 'failed'}
  np.savez(path, manifest=json.dumps([line]), x=np.arange(100))
  data = path.read_bytes()
  assert parts.is_whole(path)
  for bad in (data[:-9], data[:200] + b'?' + data[201:], b'', data[:40]):
    path.write_bytes(bad)
    assert not parts.is_whole(path)


# ------------------------------------------------------------ other small files


def test_damaged_lines_of_a_manifest_count_for_nothing(tmp_path):
  path = tmp_path / 'manifest.jsonl'
  good = [
    {'name': 'a', 'status': 'ok', 'file': 'results/a.png'},
    {'name': 'b', 'status': 'failed', 'reason': 'no'},
  ]
  bad = [
    {'name': 5, 'status': 'ok'},
    {'status': 'ok'},
    {'name': 'c', 'status': 'failed'},
    {'name': 'c', 'status': 'ok', 'file': '../../etc/passwd'},
    {'name': 'c', 'status': 'ok', 'file': '/etc/passwd'},
    {'name': 'c', 'status': 'ok', 'metrics': 5},
    {'name': 'c', 'status': 'ok', 'metrics': {'output': {'l1': 'x'}}},
    {'name': 'c', 'status': ['ok']},
  ]
  lines = [json.dumps(x) for x in (*bad, *good)]
  lines[3:3] = ['[' * 9999, '{"name": "c", "status": "ok", "n": 1e999}', '\0']
  path.write_text('\n'.join(lines) + '\n')
  assert [line for _, line in job_files.read_lines(path)] == good
  assert len(list(storage.read_lines(path))) == len(good) + len(bad)


@pytest.mark.parametrize(
  'values',
  [{'output': 'exe'}, {'folders': 10**9}, {'layout': 5}, {'pairs': []}],
)
def test_damaged_settings_of_a_job_are_refused(tmp_path, values):
  (tmp_path / 'settings.json').write_text(json.dumps(values))
  with pytest.raises(InputError, match='settings.json: is damaged'):
    job_files.read_settings(tmp_path)


@pytest.mark.parametrize('text', ['1/0', '', '0/', '9' * 99, f'1/{"9" * 40}'])
def test_shards_that_cannot_be(text):
  with pytest.raises(InputError, match='--shard') as error:
    shards.find(text, {})
  assert len(str(error.value)) < 400 and '0/0' not in str(error.value)


def test_a_list_without_a_name(tmp_path):
  with pytest.raises(InputError, match='names no list'):
    pairs.open_list(tmp_path / ':paired', pairs.garment_of_name)


def test_values_are_shown_short_and_in_one_line():
  nested = [1]
  for _ in range(100):
    nested = [nested, nested]
  for value in ('x' * 9999, 'a\nb\x1b[2J', nested, ValueError('y' * 999), b'z'):
    text = errors.shown(value)
    assert len(text) <= 200 and text.isprintable()


def test_sums_that_overflow_are_finite_and_names_are_told():
  large = np.full(1000, 3e38, np.float32)
  assert finite.first_not_finite([('a', large)]) is None
  bad = np.array([0, -np.inf, np.inf], np.float32)
  assert finite.first_not_finite([('a', large), ('b', bad)]) == 'b'
  assert finite.first_not_finite([('i', np.arange(3))]) is None


def test_exported_weights_that_are_not_finite_are_named(tmp_path):
  from safetensors.numpy import save

  data = save({'params/a/kernel': np.array([1, np.nan], np.float32)})
  with pytest.raises(InputError, match='params/a/kernel holds numbers'):
    artifact.read_weights(data, tmp_path / 'a')
  data = save({'a': np.ones(1), 'a/b': np.ones(1)})
  with pytest.raises(InputError, match='cannot be read as safetensors'):
    artifact.read_weights(data, tmp_path / 'a')


def test_an_operation_that_makes_too_much_is_refused():
  def function(weights, image):
    return jnp.tile(image * weights['a'], (4000, 4000, 1))

  image = jax.ShapeDtypeStruct((8, 8, 3), np.float32)
  weights = {'a': np.float32(1)}
  with pytest.raises(graphdef.GraphError, match='makes an array of'):
    frozen_graph.output_shapes(jax.jit(function), weights, image)
  assert frozen_graph.output_shapes(
    lambda weights, image: image * weights['a'], weights, image
  ) == [(8, 8, 3)]


def hdf5_file(path, fill):
  with h5py.File(path, 'w') as file:
    fill(file)
  return path


@pytest.mark.parametrize(
  'fill, said',
  [
    (
      lambda file: file.create_dataset('a', (1 << 34,), 'f4', fillvalue=0),
      'larger than the file can hold',
    ),
    (
      lambda file: file.create_dataset(
        'a', data=np.zeros(1 << 25, 'f4'), chunks=True, compression='gzip'
      ),
      'larger than the file can hold',
    ),
    (
      lambda file: file.create_dataset(
        'a', (4,), 'f4', external=[('/etc/hostname', 0, 16)]
      ),
      'no array of numbers in this file',
    ),
    (
      lambda file: file.create_dataset('a', data=[b'text']),
      'no array of numbers in this file',
    ),
  ],
  ids=['never written', 'zeros', 'of another file', 'text'],
)
def test_hdf5_arrays_that_are_not_what_they_say(tmp_path, fill, said):
  path = hdf5_file(tmp_path / 'a.h5', fill)
  with pytest.raises(InputError, match=f'a.h5: the HDF5 file .*{said}'):
    hdf5.read(path, lambda name: True)
  assert hdf5.read(path, lambda name: False) == {}


def test_hdf5_arrays_by_name(tmp_path):
  values, path = np.arange(6.0).reshape(2, 3), tmp_path / 'a.h5'
  with h5py.File(path, 'w') as file:
    file['x/y'], file['z'] = values, 1.0
  found = hdf5.read(path, lambda name: name.endswith('y'))
  np.testing.assert_array_equal(found.pop('x/y'), values)
  assert not found
