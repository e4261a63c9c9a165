"""The live try-on's window under Xvfb, and its recordings."""

from collections.abc import Callable
import contextlib
import os
import pathlib
import shutil
import struct
import subprocess
import time

import entry_points
import fetched_models
import live_videos
import numpy as np
import pytest

from viton_jax.errors import InputError
from viton_jax.live import remote, wearers
from viton_jax.live.sources import Source
from viton_jax.live.views import VIEWS
from viton_jax.live.window import Controls, press

pytestmark = pytest.mark.slow
_WAIT_S = 240  # A busy machine compiles meanwhile.


def needs(*programs: str):
  missing = [x for x in programs if not shutil.which(x)]
  # In continuous integration they must be there: .ci/run installs them.
  return pytest.mark.skipif(
    bool(missing) and 'CI' not in os.environ,
    reason=f'missing: {", ".join(missing)}; install them with apt-get',
  )


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp('live')
  shirts = path / 'shirts'
  shirts.mkdir()
  # Light blue, red, red, light blue: of the keys a, s, d, f.
  for name, index in (('a', 2), ('b', 6), ('c', 6), ('d', 2)):
    (shirts / f'{name}.png').write_bytes(live_videos.garment(index))
  live_videos.write_video(path / 'short.mp4', periods=3)
  live_videos.write_video(path / 'long.mp4', periods=400)
  return path


def frames_of(video: pathlib.Path) -> int:
  found = subprocess.run(
    [
      *('ffprobe', '-v', 'error', '-count_frames', '-select_streams', 'v:0'),
      *('-show_entries', 'stream=nb_read_frames', '-of', 'csv=p=0'),
      str(video),
    ],
    capture_output=True,
    text=True,
    check=True,
  )
  return int(found.stdout.strip().rstrip(','))


@needs('ffprobe')
def test_a_video_is_written_whole_without_a_window(folder, tmp_path):
  models = fetched_models.folder('blazepose')
  done = entry_points.run(
    'viton_jax.live',
    *('--source', folder / 'short.mp4', '--garment', folder / 'shirts'),
    *('--headless', '--record', tmp_path, '--models_dir', models),
    '--paste_only',
  )
  (video,) = tmp_path.glob('*/*')
  assert video.name == 'try-on.mp4'
  assert frames_of(video) == 36
  assert '36 frames in' in done.stdout and '34 with the garment' in done.stdout


def test_wrong_options_end_in_a_sentence(tmp_path):
  said = entry_points.fails(
    'viton_jax.live', '--headless', '--garment', tmp_path
  )
  assert 'say --record DIR' in said
  with pytest.raises(InputError, match='no such file; give a camera'):
    Source(str(tmp_path / 'none.mp4'))
  (tmp_path / 'text.mp4').write_text('no video')
  with pytest.raises(InputError, match='text.mp4: no picture comes'):
    Source(str(tmp_path / 'text.mp4'))
  with pytest.raises(InputError, match='there is no photo'):
    wearers.read_garments([tmp_path])
  with pytest.raises(InputError, match='give an address like'):
    remote.address_of('ftp://x')
  assert remote.address_of('a:80/') == 'ws://a:80/live'
  assert remote.address_of('https://a/b') == 'wss://a/b/live'


def test_keys_of_the_demo():
  now = Controls()
  for key in 'sprc':
    now = press(now, key, 2)
  now = press(now, 'space', 2)
  assert now == Controls(1, False, True, True, True, False)
  assert press(now, 'f', 2) == now  # There is no fourth garment.
  assert press(now, 'x', 2) == now
  assert press(now, 'escape', 2).quit and press(now, 'q', 2).quit


@contextlib.contextmanager
def xvfb(folder: pathlib.Path):
  read, write = os.pipe()
  process = subprocess.Popen(
    [
      *('Xvfb', '-displayfd', str(write), '-screen', '0', '1000x900x24'),
      *('-fbdir', str(folder), '-nolisten', 'tcp'),
    ],
    pass_fds=(write,),
    stderr=subprocess.DEVNULL,
  )
  os.close(write)
  with os.fdopen(read) as pipe:
    display = f':{pipe.readline().strip()}'
  try:
    yield display
  finally:
    process.terminate()
    process.wait(20)


def screen(folder: pathlib.Path) -> np.ndarray:
  """(h, w, 3) uint8, what Xvfb shows: its file is an X window dump."""
  data = (folder / 'Xvfb_screen0').read_bytes()
  head = struct.unpack_from('>20I', data)
  width, height, line, colours = head[4], head[5], head[12], head[19]
  start = head[0] + 12 * colours
  rows = np.frombuffer(data, np.uint8, line * height, start)
  return rows.reshape(height, line)[:, : 4 * width].reshape(height, width, 4)[
    ..., 2::-1
  ]


def until(what: Callable[[], bool], process: subprocess.Popen) -> None:
  end = time.monotonic() + _WAIT_S
  while not what():
    assert process.poll() is None, 'the window has ended'
    assert time.monotonic() < end
    time.sleep(0.1)


@contextlib.contextmanager
def window(folder: pathlib.Path, record: pathlib.Path, display: str):
  """The command's process, and a function that presses a key."""
  pytest.importorskip('pygame', reason='pygame-ce is of the extra [live]')
  models = fetched_models.folder('blazepose')
  variables = entry_points.environment() | {
    'DISPLAY': display,
    'SDL_VIDEODRIVER': 'x11',
    'PYTHONPATH': str(entry_points.ROOT),
  }
  process = subprocess.Popen(
    entry_points.command(
      'viton_jax.live',
      *('--source', folder / 'long.mp4', '--garment', folder / 'shirts'),
      *('--record', record, '--models_dir', models, '--paste_only'),
    ),
    env=variables,
    cwd=entry_points.ROOT,
    stdout=subprocess.PIPE,
    text=True,
  )

  def key(name):
    subprocess.run(['xdotool', 'key', name], env=variables, check=True)

  try:
    yield process, key
  finally:
    process.kill()
    process.communicate()


@needs('Xvfb', 'xdotool', 'ffprobe')
def test_all_keys_and_six_views(folder, tmp_path):
  record, frame_buffer = tmp_path / 'kept', tmp_path / 'screen'
  frame_buffer.mkdir()
  with (
    xvfb(frame_buffer) as display,
    window(folder, record, display) as (process, key),
  ):

    def tile(name):
      row, column = divmod(VIEWS.index(name), 3)
      part = screen(frame_buffer)
      # Where the window is, without a window manager: at the upper left.
      return part[
        row * 426 + 26 : row * 426 + 426, column * 320 : column * 320 + 320
      ].astype(int)

    def red(name):
      pixels = tile(name)
      return float(
        ((pixels[..., 0] > 130) & (pixels[..., 1:] < 100).all(-1)).mean()
      )

    def told():
      return screen(frame_buffer)[852:878, :960].astype(int)

    def is_told():
      bar = told()
      return bool(
        ((bar[..., 0] > 200) & (bar[..., 1] < 110) & (bar[..., 2] < 110)).any()
      )

    # The first garment is light blue; the person's own shirt is dark blue.
    until(lambda: tile('garment').mean() > 150, process)
    until(lambda: np.abs(tile('try-on') - tile('input')).mean() > 4, process)
    for name in ('pose', 'segmentation', 'attached'):
      until(
        lambda name=name: np.abs(tile(name) - tile('input')).mean() > 2,
        process,
      )
    until(lambda: told().max() > 150, process)  # The keys, in words.
    key('s')  # The second garment is red.
    until(lambda: red('garment') > 0.05, process)
    until(lambda: red('try-on') > 0.03, process)
    for name, is_red in (('a', False), ('d', True), ('f', False)):
      key(name)
      until(lambda x=is_red: (red('garment') > 0.05) == x, process)
    key('c')
    until(lambda: len(list(record.glob('*/*.png'))) == 6, process)
    key('r')
    until(lambda: bool(list(record.glob('*/*.partial.mp4'))), process)
    time.sleep(2)
    key('r')
    until(lambda: bool(list(record.glob('*/try-on_0000.mp4'))), process)
    assert not list(record.glob('*/*.partial*'))
    until(lambda: not is_told(), process)  # RECORDING is gone.
    key('p')
    until(is_told, process)  # PAUSED, in red.
    still = tile('input')
    time.sleep(1)
    np.testing.assert_array_equal(tile('input'), still)
    key('p')
    until(lambda: not is_told(), process)
    key('space')
    until(is_told, process)  # ON CAPTURE, in red.
    key('space')
    key('q')
    out, _ = process.communicate(timeout=60)
  assert process.returncode == 0
  assert 'frames shown; written: ' in out
  (video,) = record.glob('*/*.mp4')
  assert frames_of(video) >= 0.95 * 2 * 15


@needs('Xvfb', 'xdotool')
def test_escape_ends_it_too(folder, tmp_path):
  frame_buffer = tmp_path / 'screen'
  frame_buffer.mkdir()
  with (
    xvfb(frame_buffer) as display,
    window(folder, tmp_path / 'kept', display) as (process, key),
  ):
    until(lambda: screen(frame_buffer).max() > 150, process)
    key('Escape')
    out, _ = process.communicate(timeout=60)
  assert process.returncode == 0 and 'frames shown' in out
  assert not (tmp_path / 'kept').exists()
