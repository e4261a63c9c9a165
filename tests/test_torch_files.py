"""PyTorch's files without PyTorch: sound, torn and malicious ones."""

import io
import pickle
import sys
import zipfile

import numpy as np
import pytest
import torch_writer
from torch_writer import Call, Module, Named, View

from viton_jax.errors import InputError
from viton_jax.io import torch_files


def tensors():
  rng = np.random.default_rng(0)
  return {
    'a.weight': rng.normal(size=(2, 3, 1, 2)).astype(np.float32),
    'a.half': rng.normal(size=5).astype(np.float16),
    'a.count': np.array(7, np.int64),
    'b.empty': np.zeros((0, 3), np.float64),
  }


def write(tmp_path, data: bytes):
  path = tmp_path / 'net.pth'
  path.write_bytes(data)
  return path


def assert_same(found, expected):
  assert list(found) == list(expected)
  for name, values in expected.items():
    assert found[name].dtype == values.dtype
    np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize('container', ['archive', 'legacy'])
@pytest.mark.parametrize('wrapped', [False, True])
def test_state_dicts(tmp_path, container, wrapped):
  content = torch_writer.ordered(tensors())
  if wrapped:
    content = {'state_dict': content, 'epoch': 3, 'names': ['x']}
  path = write(tmp_path, getattr(torch_writer, container)(content))
  expected = tensors()
  if wrapped:
    expected = {f'state_dict.{k}': v for k, v in expected.items()}
  assert_same(torch_files.read(path), expected)
  some = torch_files.read(path, wanted=lambda name: name.endswith('half'))
  assert [x.rpartition('.')[2] for x in some] == ['half']
  assert 'torch' not in sys.modules


@pytest.mark.parametrize('container', ['archive', 'legacy'])
def test_views_and_parameters(tmp_path, container):
  storage = np.arange(24, dtype=np.float32)
  content = {
    'transposed': View(storage, 2, (3, 2), (1, 6)),
    'broadcast': View(np.float32([5]), 0, (1, 1, 1), (7, 3, 1)),
    'parameter': Call(
      Named('torch._utils', '_rebuild_parameter'),
      (View(storage, 0, (2,), (1,)), True, None),
    ),
    'old': torch_writer.Old(View(storage, 4, (2, 2), (2, 1))),
  }
  path = write(tmp_path, getattr(torch_writer, container)(content))
  assert_same(
    torch_files.read(path),
    {
      'transposed': np.float32([[2, 8], [3, 9], [4, 10]]),
      'broadcast': np.float32([[[5]]]),
      'parameter': np.float32([0, 1]),
      'old': np.float32([[4, 5], [6, 7]]),
    },
  )


def test_torchscript(tmp_path):
  made = tensors()
  inner = Module({'weight': made['a.weight'], 'training': False})
  content = Module({'layers': Module({'conv': inner}), 'half': made['a.half']})
  path = write(tmp_path, torch_writer.archive(content))
  assert_same(
    torch_files.read(path),
    {'layers.conv.weight': made['a.weight'], 'half': made['a.half']},
  )


HOSTILE = {
  'code': (Call(Named('os', 'system'), ('true',)), 'refers to os.system'),
  'builtin': (Call(Named('builtins', 'eval'), ('1',)), 'builtins.eval'),
  'torch itself': (Call(Named('torch', 'load'), ('x',)), 'torch.load'),
  'beyond': (View(np.zeros(4, np.float32), 2, (3,), (1,)), r'shape \(3,\)'),
  'huge': (View(np.zeros(4, np.float32), 0, (1 << 40,), (0,)), 'storage of 4'),
  'old': (
    torch_writer.Old(View(np.zeros(4, np.float32), 2, (3,), (1,))),
    r'shape \(3,\)',
  ),
  'negative': (View(np.zeros(4, np.float32), -1, (2,), (1,)), 'that is none'),
  'strides': (View(np.zeros(4, np.float32), 0, (2,), (1, 1)), 'that is none'),
}


@pytest.mark.parametrize('container', ['archive', 'legacy'])
@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_content_is_refused(tmp_path, name, container):
  content, message = HOSTILE[name]
  path = write(tmp_path, getattr(torch_writer, container)({'x': content}))
  with pytest.raises(InputError, match=message) as error:
    torch_files.read(path, remedy='get it from the moon')
  assert str(error.value).startswith(f'{path}: ')
  assert str(error.value).endswith('; get it from the moon')
  assert '\n' not in str(error.value)


def test_one_storage_under_names_without_end(tmp_path):
  """99 tensors of 256 kB out of one, and so on with more."""
  data = torch_writer.archive({'a': np.zeros(1 << 16, np.float32)})
  with zipfile.ZipFile(io.BytesIO(data)) as archive:
    members = {x: archive.read(x) for x in archive.namelist()}
  body = members['model/data.pkl']
  # PROTO 2, EMPTY_DICT, BINPUT 0, 'a', BINPUT 1, the tensor, SETITEM, STOP.
  assert body[:5] == b'\x80\x02}q\x00' and body.endswith(b's.')
  tensor = body[body.index(b'q\x01') + 2 : -2]
  # The tensor goes into place 254 of the memo, and from there into a dict.
  names = (b'X\x04\x00\x00\x00%04dh\xfe' % i for i in range(99))
  members['model/data.pkl'] = (
    b'\x80\x02' + tensor + b'q\xfe0}(' + b''.join(names) + b'u.'
  )
  path = tmp_path / 'net.pth'
  with zipfile.ZipFile(path, 'w') as archive:
    for name, member in members.items():
      archive.writestr(name, member)
  with pytest.raises(InputError, match='more than it has room for'):
    torch_files.read(path)
  one = torch_files.read(path, wanted=lambda name: name == '0007')
  assert one['0007'].shape == (1 << 16,)


def test_dicts_in_dicts_without_end(tmp_path):
  """2^40 names in a file of some hundred bytes."""
  value = {'x': 1}
  for _ in range(40):
    value = {'a': value, 'b': value}
  path = write(tmp_path, torch_writer.archive(value))
  with pytest.raises(InputError, match='holds more, or nested deeper'):
    torch_files.read(path)


@pytest.mark.parametrize('container', ['archive', 'legacy'])
def test_torn_files_are_refused(tmp_path, container):
  data = getattr(torch_writer, container)(torch_writer.ordered(tensors()))
  for size in [*range(0, len(data) - 1, 37), len(data) - 1]:
    path = write(tmp_path, data[:size])
    with pytest.raises(InputError, match='net.pth: cannot be read') as error:
      torch_files.read(path)
    assert '\n' not in str(error.value)


def test_a_damaged_archive_is_noticed(tmp_path):
  values = np.arange(100, dtype=np.float32)
  data = torch_writer.archive({'a': values})
  place = data.index(values.tobytes())
  path = write(tmp_path, data[:place] + b'\x01' + data[place + 1 :])
  with pytest.raises(InputError, match='BadZipFile'):
    torch_files.read(path)


def test_a_compressed_archive_is_no_file_of_torch(tmp_path):
  data = torch_writer.archive(
    {'a': np.zeros(1 << 20, np.float32)}, compression=zipfile.ZIP_DEFLATED
  )
  assert len(data) < 1 << 16
  with pytest.raises(InputError, match='is compressed'):
    torch_files.read(write(tmp_path, data))


def test_other_kinds_of_files_are_refused(tmp_path):
  zip_path = tmp_path / 'other.zip'
  with zipfile.ZipFile(zip_path, 'w') as file:
    file.writestr('readme', 'x')
  for data, message in (
    (b'', 'none of its kinds'),
    (b'not weights at all', 'none of its kinds'),
    (pickle.dumps({'a': 1}, 2), 'none of its kinds'),
    (zip_path.read_bytes(), 'without PyTorch in it'),
  ):
    with pytest.raises(InputError, match=message):
      torch_files.read(write(tmp_path, data))
  with pytest.raises(InputError, match='No such file'):
    torch_files.read(tmp_path / 'missing.pth')
  with pytest.raises(InputError, match='a folder'):
    torch_files.read(tmp_path)
