"""Files are whole or not there; a torn manifest loses one line at most."""

import json

from viton_jax import storage


def test_write_file_replaces_and_leaves_nothing_behind(tmp_path):
  path = tmp_path / 'a.bin'
  storage.write_file(path, b'one')
  storage.write_file(path, b'two')
  assert path.read_bytes() == b'two'
  assert [x.name for x in tmp_path.iterdir()] == ['a.bin']


def test_manifest_goes_on_after_a_torn_line(tmp_path):
  path = tmp_path / 'manifest.jsonl'
  first = storage.Manifest(path)
  first.add({'name': 'a'})
  first.add({'name': 'b'})
  first.close()
  with path.open('a') as file:
    file.write('{"name": "c", "sta')

  second = storage.Manifest(path)
  assert second.lines == [{'name': 'a'}, {'name': 'b'}]
  second.add({'name': 'c'})
  second.close()
  names = [json.loads(x)['name'] for x in path.read_text().splitlines()]
  assert names == ['a', 'b', 'c']
