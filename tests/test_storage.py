"""Files are whole or not there; a torn manifest loses one line at most."""

import errno
import json
import os
import pathlib
import subprocess
import sys

import entry_points
import pytest

from viton_jax.errors import InputError
from viton_jax.io import storage


def test_write_file_replaces_and_leaves_nothing_behind(tmp_path):
  path = tmp_path / 'a.bin'
  storage.write_file(path, b'one')
  storage.write_file(path, b'two')
  assert path.read_bytes() == b'two'
  assert [x.name for x in tmp_path.iterdir()] == ['a.bin']


def names(path):
  return [line['name'] for _, line in storage.read_lines(path)]


def test_manifest_goes_on_after_a_torn_line(tmp_path):
  path = tmp_path / 'manifest.jsonl'
  first = storage.Manifest(path)
  first.add({'name': 'a'}, {'name': 'b' * 100_000})
  first.close()
  with path.open('a') as file:
    file.write('{"name": "c", "sta')
  assert names(path) == ['a', 'b' * 100_000]

  second = storage.Manifest(path)
  second.add({'name': 'd'})
  second.close()
  text = path.read_text().splitlines()
  assert [json.loads(x)['name'] for x in text] == names(path)
  assert names(path) == ['a', 'b' * 100_000, 'd']
  offsets = [offset for offset, _ in storage.read_lines(path)]
  with path.open('rb') as file:
    file.seek(offsets[2])
    assert json.loads(file.readline()) == {'name': 'd'}


@pytest.mark.parametrize(
  'text, kept',
  [
    (b'', b''),
    (b'x', b''),
    (b'\n', b'\n'),
    (b'one\ntwo', b'one\n'),
    (b'one\n' + b'x' * 65536, b'one\n'),
    (b'x' * 65535 + b'\n', b'x' * 65535 + b'\n'),
    (b'x' * 65536 + b'\ny', b'x' * 65536 + b'\n'),
    (b'x' * 200_000, b''),
  ],
)
def test_torn_lines_are_cut_wherever_they_begin(text, kept, tmp_path):
  path = tmp_path / 'lines'
  path.write_bytes(text)
  storage.cut_torn_line(path)
  assert path.read_bytes() == kept


def test_a_full_disk_leaves_manifest_and_file_whole(tmp_path, monkeypatch):
  manifest = storage.Manifest(tmp_path / 'manifest.jsonl')
  manifest.add({'name': 'a'})

  class Full:
    """The disk has room for ten more bytes."""

    def __init__(self, file):
      self.file = file

    def __getattr__(self, name):
      return getattr(self.file, name)

    def __enter__(self):
      return self

    def __exit__(self, *error):
      self.file.close()

    def write(self, data):
      return self.file.write(data[:10])

  manifest._file = Full(manifest._file)
  with pytest.raises(OSError, match='No space left'):
    manifest.add({'name': 'b'}, {'name': 'c'})
  assert manifest.path.read_text() == '{"name": "a"}\n'
  manifest.close()

  path = tmp_path / 'picture.png'
  storage.write_file(path, b'old')

  def full(self, data):
    with self.open('wb') as file:
      file.write(data[:2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(pathlib.Path, 'write_bytes', full)
  with pytest.raises(OSError, match='No space left'):
    storage.write_file(path, b'new')
  assert path.read_bytes() == b'old'
  assert sorted(x.name for x in tmp_path.iterdir()) == [
    'manifest.jsonl',
    'picture.png',
  ]


def test_a_lock_is_held_by_one_process_and_ends_with_it(tmp_path):
  path = tmp_path / 'a.lock'
  assert storage.holder(path) is None
  code = (
    'import pathlib, sys, time; from viton_jax.io import storage\n'
    'lock = storage.Lock(pathlib.Path(sys.argv[1]))\n'
    'print("mine", flush=True); time.sleep(600)'
  )
  with subprocess.Popen(
    [sys.executable, '-c', code, path],
    stdout=subprocess.PIPE,
    cwd=entry_points.ROOT,
  ) as other:
    assert other.stdout.readline() == b'mine\n'
    assert f'process {other.pid} on ' in storage.holder(path)
    with pytest.raises(BlockingIOError):
      storage.Lock(path)
    other.kill()
  assert storage.holder(path) is None
  with storage.Lock(path) as lock:
    assert lock.held and f'process {os.getpid()} ' in storage.holder(path)
  assert storage.holder(path) is None


def test_partial_folders_are_cleared_and_are_one_processs_own(tmp_path):
  target = tmp_path / 'made'
  left = tmp_path / '.made.partial'
  (left / 'work').mkdir(parents=True)
  (left / 'work' / 'half').write_text('of a killed process')
  with storage.partial_folder(target) as work:
    assert not list(work.iterdir())
    with (
      pytest.raises(InputError, match=r'is writing .*made; wait for it'),
      storage.partial_folder(target),
    ):
      pass
    work.rename(target)
  assert [x.name for x in tmp_path.iterdir()] == ['made']


def test_a_write_that_fails_names_its_file(tmp_path):
  def write():
    raise OSError(errno.ENOSPC, 'No space left on device')

  with (
    pytest.raises(OSError, match='a.json') as raised,
    storage.partial_file(tmp_path / 'a.json'),
  ):
    write()
  assert raised.value.filename == str(tmp_path / 'a.json')
  assert not list(tmp_path.iterdir())
