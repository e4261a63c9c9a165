"""WS /live of a real server, asked by the project's own client."""

import asyncio
import contextlib
import gc
import signal
import struct
import time

import entry_points
import fetched_models
import live_videos
import numpy as np
import pytest
from server_process import free_port, serving

from input_pipeline.synthetic import render_pair
from viton_jax.errors import NoAnswer
from viton_jax.io import images
from viton_jax.live import engine, keys
from viton_jax.live.remote import Remote
from viton_jax.live.wearers import There
from viton_jax.perception.parsing import parsers
from viton_jax.perception.pose.estimator import Person, PoseEstimator

pytest.importorskip('starlette', reason='starlette is of the extra [serve]')
from starlette.datastructures import Headers  # noqa: E402
from starlette.websockets import WebSocket, WebSocketState  # noqa: E402

from viton_jax.server import live, models  # noqa: E402
from viton_jax.server.service import Service  # noqa: E402
from viton_jax.server.settings import Settings  # noqa: E402

pytest.importorskip('websockets', reason='websockets is of the extra [live]')
from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

pytestmark = pytest.mark.slow
_FRAMES = 400


@pytest.fixture(scope='module')
def server(tmp_path_factory):
  folder = tmp_path_factory.mktemp('live_server')
  gallery = folder / 'garments'
  gallery.mkdir()
  (gallery / 'red.png').write_bytes(live_videos.garment(6))
  models = fetched_models.folder('blazepose')
  options = ('--garments', gallery, '--max_batch', 1, '--max_live', 2)
  with serving(folder, *options, '--models_dir', models) as running:
    yield running


def address(server) -> str:
  return f'ws://127.0.0.1:{server.port}/live'


def red_share(picture: np.ndarray) -> float:
  pixels = picture.astype(int)
  return float((pixels[..., 0] > pixels[..., 1:].max(-1) + 60).mean())


def dressed(remote: Remote, frames) -> np.ndarray:
  """The first picture with a garment."""
  for i in range(_FRAMES):
    pictures = remote.step(frames[i % len(frames)], ('try-on',))
    if remote.garment:
      return pictures['try-on']
  raise AssertionError(remote.message)


def test_sessions_wear_their_own_garments(server):
  frames = live_videos.frames()
  first, second = (Remote(address(server)) for _ in range(2))
  with contextlib.closing(first), contextlib.closing(second):
    first.say({'garment': 'red'})  # Of the gallery.
    second.wear(live_videos.garment(2))  # Its own, light blue.
    one, other = dressed(first, frames), dressed(second, frames)
    assert red_share(one) > 0.1 > 0.05 > red_share(other)
    assert first.garment != second.garment
    # A third one has no place, and is told so.
    with contextlib.closing(Remote(address(server))) as third:
      with pytest.raises(NoAnswer, match='2 live try-ons are open'):
        for _ in range(20):
          third.step(frames[0], ('try-on',))
    # A wish that cannot be met changes nothing.
    first.say({'garment': 'none'})
    for frame in frames:
      picture = first.step(frame, ('try-on',))['try-on']
    assert 'no garment of this name' in first.problem
    assert red_share(picture) > 0.1
    first.wear(b'no picture')
    picture = first.step(frames[-1], ('try-on',))['try-on']
    assert 'the garment' in first.problem and red_share(picture) > 0.1
    # All views at once; and nobody in view.
    wearer = There(first)
    views = ('input', 'pose', 'segmentation', 'try-on', 'attached', 'garment')
    made = wearer.step(frames[0], views)
    assert tuple(sorted(made)) == tuple(sorted(views))
    assert {x.shape for x in made.values()} == {frames[0].shape}
    for _ in range(3):
      first.step(live_videos.empty_frame(), views)
    assert first.message == 'nobody is in view' and not first.garment
  metric = 'viton_frames_total'
  assert server.metric(metric, what='shown') > 10
  assert server.metric(metric, what='in') >= server.metric(metric, what='shown')


def test_a_session_that_has_ended_is_not_kept():
  """Nor are its frames, though nobody looks for what holds itself."""
  pair = render_pair(0, 1, 256)
  parser = parsers.choose_parser('grabcut', None)
  pose = PoseEstimator('drawn', lambda photos: [[Person(pair.keypoints)]])
  service = Service(Settings(), load=None)
  service.models = models.Models(
    None, pose, parser, live=keys.Models(pose, parser)
  )
  service.state = 'ready'
  frame = b'\0' * 8 + images.encode_jpeg(pair.person)
  sent: list[dict] = []

  async def receive():
    if len(sent) == 0 and not come:
      come.append('text')
      return {'type': 'websocket.receive', 'text': '{}'}
    if len(come) < 3:
      come.append('frame')
      return {'type': 'websocket.receive', 'bytes': frame}
    while not sent:
      await asyncio.sleep(0.01)
    return {'type': 'websocket.disconnect', 'code': 1000}

  async def send(message):
    sent.append(message)

  async def scenario():
    scope = {'type': 'websocket', 'headers': []}
    socket = WebSocket(scope, receive, send)
    socket.client_state = socket.application_state = WebSocketState.CONNECTED
    await asyncio.wait_for(live._serve(socket, service, Headers()), 60)

  come: list[str] = []
  gc.collect()
  gc.disable()
  try:
    asyncio.run(scenario())
    for _ in range(100):  # Its threads end meanwhile.
      left = [x for x in gc.get_objects() if isinstance(x, engine.Live)]
      if not left:
        break
      del left[:]
      time.sleep(0.05)
    else:
      raise AssertionError('a session is kept')
  finally:
    gc.enable()
  assert any('bytes' in x for x in sent)


def test_the_newest_frame_goes_first(server):
  """Frames that wait are thrown away for newer ones."""
  data = images.encode_jpeg(live_videos.frames(1)[0])
  with connect(address(server)) as socket:
    socket.send('{}')
    for i in range(200):
      socket.send(struct.pack('!II', i, 0) + data)
    numbers = []
    while not numbers or numbers[-1] < 199:
      answer = socket.recv(timeout=60)
      if isinstance(answer, bytes):
        numbers.append(struct.unpack_from('!I', answer)[0])
  assert numbers == sorted(numbers) and len(numbers) < 200
  assert server.metric('viton_frames_total', what='dropped') > 0


@pytest.mark.parametrize(
  ('message', 'sentence'),
  [
    ('[]', 'must be a JSON object'),
    ('{"garments": 1}', 'is not known here'),
    ('{"views": []}', 'views must be a list'),
    ('{"views": ["all"]}', 'views must be a list'),
    ('{"person": [2, 0]}', 'person must be [x, y]'),
    ('{"session": "x"}', 'no such session'),
    (b'12345678no jpeg', 'first message must be a text'),
  ],
)
def test_what_is_wrong_is_said_and_ends(server, message, sentence):
  with connect(address(server)) as socket:
    socket.send(message)
    said = socket.recv(timeout=30)
    assert isinstance(said, str)
    assert np.any(
      [part in said for part in (sentence, sentence.replace('\\\\', ''))]
    )
    with pytest.raises(ConnectionClosed):
      socket.recv(timeout=30)


def test_frames_that_are_none_end_it(server):
  for frame in (b'12345678GIF89a', b'12345678\xff\xd8broken', b'1' * 2_000_000):
    with connect(address(server)) as socket:
      socket.send('{}')
      socket.send(frame)
      said = socket.recv(timeout=30)
      assert isinstance(said, str) and 'problem' in said
      with pytest.raises(ConnectionClosed):
        socket.recv(timeout=30)


def test_pages_of_other_origins_are_refused(server):
  with pytest.raises(InvalidStatus) as refused:
    with connect(address(server), origin='http://evil.example'):
      pass
  assert refused.value.response.status_code == 403
  with connect(address(server), origin=f'http://127.0.0.1:{server.port}'):
    pass


def test_viton_server_does_the_work_of_the_command(
  server, tmp_path, monkeypatch
):
  # Long enough for the first picture of a busy server.
  count = live_videos.write_video(tmp_path / 'v.mp4', periods=8)
  (tmp_path / 'shirt.png').write_bytes(live_videos.garment(6))
  command = (
    *('viton_jax.live', '--source', tmp_path / 'v.mp4', '--headless'),
    *('--garment', tmp_path / 'shirt.png', '--record', tmp_path / 'out'),
    # Nothing is computed here: these are not there.
    *('--models_dir', tmp_path / 'none', '--checkpoint', tmp_path / 'none'),
  )
  shown = server.metric('viton_frames_total', what='shown')
  monkeypatch.setenv('VITON_SERVER', f'127.0.0.1:{server.port}')
  said = entry_points.run(*command).stdout
  assert f'{count} frames' in said and ', 0 with the garment' not in said
  now = server.metric('viton_frames_total', what='shown')
  assert now >= shown + count
  assert len(list((tmp_path / 'out').glob('*/try-on.mp4'))) == 1
  monkeypatch.setenv('VITON_SERVER', f'127.0.0.1:{free_port()}')
  assert 'unset VITON_SERVER' in entry_points.fails(*command)
  monkeypatch.setenv('VITON_SERVER', 'ftp://x')
  assert "VITON_SERVER is 'ftp://x'" in entry_points.fails(*command)


def test_keys_are_asked_for_and_sockets_closed_at_the_end(tmp_path):
  file = tmp_path / 'keys'
  file.write_text('0123456789abcdef\n')
  models = fetched_models.folder('blazepose')
  options = ('--api_keys', file, '--max_batch', 1, '--models_dir', models)
  with serving(tmp_path, *options) as server:
    with contextlib.closing(Remote(address(server))) as nobody:
      with pytest.raises(NoAnswer, match='needs a key'):
        for _ in range(20):
          nobody.step(live_videos.frames(1)[0], ('try-on',))
    frames = live_videos.frames()
    remote = Remote(address(server), '0123456789abcdef')
    remote.wear(live_videos.garment(6))
    assert red_share(dressed(remote, frames)) > 0.1
    begin = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    with pytest.raises(NoAnswer):
      for _ in range(_FRAMES):
        remote.step(frames[0], ('try-on',))
    assert server.process.wait(40) == 0
    assert time.monotonic() - begin < 21
