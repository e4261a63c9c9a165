"""The server under Ray Serve: two replicas, sessions of both, one killed."""

import contextlib
import json
import os
import pathlib
import signal
import threading
import time

import entry_points
import pytest
from server_process import Server, free_port, serving, together

from input_pipeline.synthetic import render_pair
import viton_jax
from viton_jax.io import images
from viton_jax.perception import openpose_json

pytest.importorskip('ray', reason='ray is of the extra [scale]')
pytestmark = pytest.mark.slow
_CLIENTS = 4
_BACK_S = 120  # 20 s beside nothing else than these clients.
_OPTIONS = ('--paste_only', '--replicas', 2, '--max_live', 0)


@pytest.fixture(scope='module')
def server(tmp_path_factory):
  folder = tmp_path_factory.mktemp('ray_serve')
  with serving(folder, *_OPTIONS, module='launch.ray_serve') as running:
    while 'ready at' not in running.log.read_text():  # Both of them.
      time.sleep(0.1)
    yield running


@pytest.fixture(scope='module')
def pair():
  return render_pair(5, 1, 128)


@pytest.fixture(scope='module')
def shirts():
  """Two garments' photos."""
  return [render_pair(5, i, 128).garment for i in (2, 3)]


@pytest.fixture(scope='module')
def person(pair):
  return {
    'person': images.encode_png(pair.person),
    'pose': json.dumps(openpose_json([pair.keypoints])),
    'parse': images.encode_png(pair.parse),
  }


@pytest.fixture(scope='module')
def expected(pair, shirts):
  """What the command makes of them, as files."""
  return [
    images.encode_png(
      viton_jax.try_on(
        pair.person,
        shirt,
        method='paste',
        pose=pair.keypoints.round(4),
        parse=pair.parse,
      ).picture
    )
    for shirt in shirts
  ]


def replicas(server: Server) -> list[int]:
  """Process ids of the server's replicas."""
  parents = {}
  for path in pathlib.Path('/proc').glob('[0-9]*'):
    with contextlib.suppress(OSError, ProcessLookupError):
      # Behind the name, which is in brackets: state, parent.
      fields = (path / 'stat').read_text().rpartition(')')[2].split()
      title = (path / 'cmdline').read_bytes()
      parents[int(path.name)] = int(fields[1]), title
  found = []
  for pid, (_, title) in parents.items():
    above = pid
    while above in parents and above != server.process.pid:
      above = parents[above][0]
    if above == server.process.pid and title.startswith(b'ray::ServeReplica'):
      found.append(pid)
  return found


def answering(server: Server) -> set[float]:
  """Start times of the replicas that answer."""
  name = 'process_start_time_seconds'
  return {server.metric(name) for _ in range(16)}


def test_both_replicas_know_every_session(server, person, shirts, expected):
  assert len(answering(server)) == 2
  sessions = []
  for shirt in shirts:
    made = server.post('/sessions', b'')
    assert made.status == 201
    name = made.json()['session']
    chosen = {'garment': images.encode_png(shirt)}
    path = f'/sessions/{name}/garment'
    assert server.request('PUT', path, chosen).status == 200
    sessions.append(name)

  def dressed(i):
    return server.post('/try_on', person | {'session': sessions[i % 2]})

  for i, answer in enumerate(together(8, dressed)):
    assert answer.status == 200 and answer.body == expected[i % 2]
  assert {server.metric('viton_sessions') for _ in range(8)} == {2}
  gone = server.request('DELETE', f'/sessions/{sessions[0]}')
  assert gone.status == 204
  for answer in [dressed(0) for _ in range(4)]:
    assert answer.status == 404 and 'POST /sessions' in answer.json()['detail']
  assert dressed(1).status == 200


def test_refusals_come_through(server, person):
  answer = server.post('/try_on', person)
  assert answer.status == 400 and answer.json()['about'] == 'garment'
  large = server.post('/try_on', b'x' * (17 << 20))
  assert large.status == 413 and 'MiB' in large.json()['detail']
  evil = {'Origin': 'http://evil.example'}
  assert server.post('/try_on', person, headers=evil).status == 403


def test_a_killed_replica_costs_what_it_had_in_flight(server, person, shirts):
  fields = person | {'garment': images.encode_png(shirts[0])}
  before = replicas(server)
  assert len(before) == 2
  end = threading.Event()
  sent = []

  def client(_):
    while not end.is_set():
      begin = time.monotonic()
      answer = server.post('/try_on', fields)
      sent.append((begin, answer.status))

  def kill():
    time.sleep(2)
    os.kill(before[0], signal.SIGKILL)
    killed.append(time.monotonic())
    while len(set(replicas(server)) - {before[0]}) < 2 or (
      len(answering(server)) < 2
    ):
      assert time.monotonic() - killed[0] < _BACK_S
      time.sleep(0.2)
    killed.append(time.monotonic())
    time.sleep(2)
    end.set()

  killed: list[float] = []
  together(_CLIENTS + 1, lambda i: kill() if i == _CLIENTS else client(i))
  lost = [begin for begin, status in sent if status != 200]
  # A request that begins after the kill may still be sent to the replica, in
  # the moment until Ray has noticed.
  assert len(lost) <= _CLIENTS and max(lost, default=0) < killed[0] + 1
  late = [x for x, status in sent if x > killed[1] and status == 200]
  assert len(late) >= _CLIENTS
  back = killed[1] - killed[0]
  print(f'{len(lost)} of {len(sent)} lost; both are back after {back:.1f} s')


def test_the_end_waits_for_what_has_begun(server, person, shirts):
  """The last one: the server has ended then."""
  fields = person | {'garment': images.encode_png(shirts[0])}

  def one(i):
    if i < 4:
      return server.post('/try_on', fields).status
    while server.metric('viton_in_work') < 1:
      time.sleep(0.01)
    time.sleep(0.1)
    server.process.send_signal(signal.SIGTERM)
    return server.process.wait(40)

  assert together(5, one) == [200] * 4 + [0]


@pytest.mark.parametrize(
  ('options', 'said'),
  [
    (('--replicas', 0), '--replicas is 0'),
    (('--replicas', 3, '--max_replicas', 2), '--max_replicas 2; give'),
    (('--cpus', 0), '--cpus is 0'),
    (('--checkpoint', 'nowhere'), 'nowhere: there is no such --checkpoint'),
    (('--address', '127.0.0.1:1'), '--address 127.0.0.1:1: no Ray cluster'),
  ],
)
def test_the_command_refuses_in_one_sentence(options, said):
  assert said in entry_points.fails('launch.ray_serve', *options)


def test_networks_that_cannot_be_read_end_it(tmp_path):
  (tmp_path / 'encoder_decoder.safetensors').write_bytes(b'none')
  sentence = entry_points.fails(
    *('launch.ray_serve', '--port', free_port(), '--replicas', 1),
    *('--checkpoint', tmp_path),
  )
  assert 'encoder_decoder.safetensors' in sentence
