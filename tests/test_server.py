"""The server as clients see it: a real process, real sockets, no networks."""

import contextlib
import http.client
import io
import json
import os
import pathlib
import platform
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import cv2
import entry_points
import kserve_client
import numpy as np
from PIL import Image
import pytest
from server_process import form, free_port, serving, together

from input_pipeline.synthetic import render_pair
import viton_jax
from viton_jax import networks as viton_networks
from viton_jax.errors import InputError, NoAnswer
from viton_jax.io import images
from viton_jax.perception import openpose_json, remote


@pytest.fixture(scope='module')
def pair():
  return render_pair(5, 1, 256)


@pytest.fixture(scope='module')
def shirt():
  """Another garment than the one that is worn: its photo."""
  return render_pair(5, 2, 256).garment


@pytest.fixture(scope='module')
def fields(pair, shirt):
  """A whole request, with joints and labels, so that no model is needed."""
  return {
    'person': images.encode_png(pair.person),
    'garment': images.encode_png(shirt),
    'pose': json.dumps(openpose_json([pair.keypoints])),
    'parse': images.encode_png(pair.parse),
  }


@pytest.fixture(scope='module')
def gallery(tmp_path_factory, shirt):
  folder = tmp_path_factory.mktemp('gallery')
  (folder / 'shirt.png').write_bytes(images.encode_png(shirt))
  (folder / 'Not A Name.png').write_bytes(images.encode_png(shirt))
  return folder


@pytest.fixture(scope='module')
def temporary(tmp_path_factory):
  """Where the server would write what it does not keep."""
  return tmp_path_factory.mktemp('temporary')


@pytest.fixture(scope='module')
def server(tmp_path_factory, gallery, temporary):
  folder = tmp_path_factory.mktemp('server')
  options = ('--garments', gallery)
  with serving(folder, *options, TMPDIR=str(temporary)) as running:
    yield running


@pytest.fixture(scope='module')
def expected(pair, shirt):
  """What the command makes of the same request."""
  return viton_jax.try_on(
    pair.person,
    shirt,
    method='paste',
    # As the JSON file has them.
    pose=pair.keypoints.round(4),
    parse=pair.parse,
  )


def problem(answer, status, *, about=None):
  """The sentence of an RFC 9457 answer."""
  assert answer.status == status, answer.body[:500]
  assert answer.headers['content-type'] == 'application/problem+json'
  body = answer.json()
  assert body['status'] == status and body['title'] and body['type']
  assert body['instance'].endswith(answer.headers['x-request-id'])
  assert body.get('about') == about
  assert 'Traceback' not in body['detail'] and '\n' not in body['detail']
  return body['detail']


def decoded(answer):
  assert answer.status == 200, answer.body[:500]
  pixels = cv2.imdecode(np.frombuffer(answer.body, np.uint8), -1)
  return pixels[..., ::-1] if pixels.ndim == 3 else pixels


# --------------------------------------------------------------- the picture
def test_the_picture_is_the_commands_to_the_byte(server, fields, expected):
  answer = server.post('/try_on', fields)
  assert answer.headers['content-type'] == 'image/png'
  assert answer.body == images.encode_png(expected.picture)


def test_all_steps_and_the_progress(server, fields, expected):
  asked = {'Accept': 'application/x-ndjson'}
  answer = server.post('/try_on', fields, headers=asked)
  *stages, last = answer.lines
  assert answer.status == 200 and {'stage', 'place'} == set(stages[0])
  result = last['result']
  assert list(result['steps']) == list(expected.steps)
  assert result['notes'][1].startswith('joints: given, OpenPose JSON')
  asked = {'Accept': 'application/json'}
  same = server.post('/try_on', fields, headers=asked).json()
  assert same == result
  box = expected.box
  assert same['box'] == [box.left, box.top, box.width, box.height]


def test_jpeg_where_it_is_asked_for(server, fields, expected):
  answer = server.post('/try_on', fields, headers={'Accept': 'image/jpeg'})
  assert answer.headers['content-type'] == 'image/jpeg'
  worst = np.abs(decoded(answer).astype(int) - expected.picture)
  assert worst.mean() < 3
  sentence = problem(
    server.post('/try_on', fields, headers={'Accept': 'text/css'}), 406
  )
  assert 'image/png' in sentence


@pytest.mark.parametrize('orientation', [3, 6, 8])
def test_a_turned_photo_is_dressed_upright(server, fields, pair, orientation):
  exif = Image.Exif()
  exif[0x0112] = orientation
  exif[0x010E] = 'somebody at home'
  turns = {3: 2, 6: 1, 8: 3}[orientation]
  stored = Image.fromarray(np.rot90(pair.person, turns).copy())
  data = io.BytesIO()
  stored.save(data, 'PNG', exif=exif)
  answer = server.post('/try_on', fields | {'person': data.getvalue()})
  assert answer.body == server.post('/try_on', fields).body
  assert b'somebody' not in answer.body and b'eXIf' not in answer.body


def test_the_garment_by_name_and_the_demos_field(server, fields, expected):
  renamed = {('files' if k == 'person' else k): v for k, v in fields.items()}
  answer = server.post('/try_on', renamed | {'garment': 'shirt'})
  assert answer.body == images.encode_png(expected.picture)


def test_attach_lays_the_garment_over_the_clothes(server, fields, pair, shirt):
  picture = decoded(server.post('/attach', fields))
  rows, columns = np.nonzero(pair.parse == 5)
  box = np.zeros(pair.parse.shape, bool)
  box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
  np.testing.assert_array_equal(picture[~box], pair.person[~box])
  changed = np.abs(picture.astype(int) - pair.person).max(-1) > 20
  assert 0.2 < changed[box].mean() < 0.95
  # In the middle of the box there are the garment's own colours.
  inner = picture[box].reshape(-1, 3)[:: max(box.sum() // 400, 1)]
  cloth = shirt[shirt.min(-1) < 250].reshape(-1, 1, 3).astype(int)
  near = np.abs(cloth[::37] - inner).max(-1).min(0) < 30
  assert near.mean() > 0.3


def test_labels_are_those_of_the_command(server, fields, tmp_path):
  answer = server.post(
    '/seg', {'person': fields['person'], 'pose': fields['pose']}
  )
  (tmp_path / 'me.png').write_bytes(fields['person'])
  (tmp_path / 'me.json').write_text(fields['pose'])
  entry_points.run(
    'viton_jax.perception',
    *('parse', '--image', tmp_path / 'me.png'),
    *('--pose', tmp_path / 'me.json', '--out', tmp_path / 'labels.png'),
  )
  assert answer.body == (tmp_path / 'labels.png').read_bytes()
  assert (decoded(answer) == 5).any()


def test_the_garments_mask(server, fields):
  mask = decoded(server.post('/garment_mask', {'garment': fields['garment']}))
  truth = render_pair(5, 2, 256).garment_mask
  assert set(np.unique(mask)) == {0, 255}
  assert ((mask > 0) == truth).mean() > 0.97
  # Sent back as the brush does it, it changes the picture.
  half = np.where(np.arange(mask.shape[0])[:, None] < 128, mask, 0)
  body = fields | {'garment_mask': images.encode_png(half.astype(np.uint8))}
  answer = server.post('/try_on', body)
  assert answer.status == 200
  assert answer.body != server.post('/try_on', fields).body


# ------------------------------------------------------------------ refusals
def test_refusals_say_what_and_which(server, fields, pair):
  def refused(status, about, **changes):
    body = {k: v for k, v in (fields | changes).items() if v is not None}
    return problem(server.post('/try_on', body), status, about=about)

  assert 'the person: ' in refused(422, 'person', person=b'hello')
  assert 'GIF' in refused(422, 'person', person=b'GIF89a' + bytes(40))
  assert 'HEIC' in refused(422, 'garment', garment=b'\0\0\0\x18ftypheic')
  assert 'missing' in refused(400, 'person', person=None)
  assert 'missing' in refused(400, 'garment', garment=None)
  assert 'no garment of this name' in refused(404, 'garment', garment='x/../y')
  assert 'not a usable JSON file' in refused(422, 'pose', pose='{')
  assert 'not a usable JSON file' in refused(
    422, 'pose', pose=b'\x80\x04}q\x00.'
  )
  assert 'both the same size' in refused(
    422, 'parse', parse=images.encode_png(pair.parse[:-2])
  )
  assert 'the garment mask marks none' in refused(
    422, 'garment_mask', garment_mask=images.encode_png(pair.parse * 0)
  )
  assert 'person_index is 3' in refused(422, 'person', person_index='3')
  assert 'whole number' in refused(400, 'person_index', person_index='-1')
  assert 'use one of' in refused(400, 'method', method='magic')
  assert 'needs trained networks' in refused(400, 'method', method='viton')
  assert 'no such session' in refused(
    404, 'session', garment=None, session='x' * 22
  )
  assert 'not known here' in refused(400, None, colour='red')
  nobody = {'pose_keypoints_2d': [0.0] * 54}
  assert 'nobody in it' in refused(
    422, 'pose', pose=json.dumps({'people': [nobody]})
  )


def test_without_a_pose_model_joints_are_asked_for(server, fields):
  body = {k: v for k, v in fields.items() if k != 'pose'}
  sentence = problem(server.post('/try_on', body), 422, about='person')
  assert '--pose FILE' in sentence
  problem(
    server.post('/pose', {'person': fields['person']}), 422, about='person'
  )


def test_too_large_and_too_many(server, fields):
  bomb = io.BytesIO()
  Image.new('L', (6000, 5000)).save(bomb, 'PNG')
  assert len(bomb.getvalue()) < 100_000
  sentence = problem(
    server.post('/try_on', fields | {'person': bomb.getvalue()}),
    422,
    about='person',
  )
  assert '24 megapixels' in sentence
  big = {'person': bytes(17 << 20)}
  assert '16 MiB' in problem(server.post('/pose', big), 413)
  five = {f'f{i}': b'x' for i in range(5)}
  assert 'form' in problem(server.post('/try_on', five), 400)
  thousand = {f'f{i}': 'x' for i in range(1000)}
  assert 'form' in problem(server.post('/try_on', thousand), 400)
  assert 'content type' in problem(
    server.post('/try_on', b'{}', headers={'Content-Type': 'text/json'}), 415
  )


def test_texts_are_shorter_than_photos(server, fields):
  kind = {'Content-Type': 'application/x-www-form-urlencoded'}
  begin = time.monotonic()
  answer = server.post('/try_on', b'&' * (16 << 20), headers=kind)
  assert 'above 1 MiB' in problem(answer, 413)
  assert time.monotonic() - begin < 2  # Its parser would take 4 s.
  pose = b'[' + b'[],' * 400_000 + b'0]'
  answer = server.post('/try_on', fields | {'pose': pose})
  assert 'above 1 MiB' in problem(answer, 413, about='pose')


def test_what_is_wrong_at_a_look_waits_for_nobody(server, fields, pair):
  joints = pair.keypoints * (4, 4, 1)
  slow = {
    'person': images.encode_png(cv2.resize(pair.person, None, fx=4, fy=4)),
    'pose': json.dumps(openpose_json([joints])),
  }
  bad = (
    (fields | {'pose': '[' * 400_000}, 'pose'),
    (fields | {'parse': fields['parse'][:-60]}, 'parse'),
    (fields | {'garment': fields['garment'][:-60]}, 'garment'),
  )

  def one(i):
    if i < 24:
      return server.post('/seg', slow).status
    begin = time.monotonic()
    while server.metric('viton_in_work') < 8:
      assert time.monotonic() - begin < 20
    for wrong, about in bad:
      problem(server.post('/try_on', wrong), 422, about=about)
    return server.metric('viton_queue_depth')

  *answers, waiting = together(25, one)
  assert answers == [200] * 24 and waiting > 0


def chunked(server, chunks, path='/try_on', kind='multipart/form-data'):
  """Sends a body without its length, some seconds a chunk; the answer."""
  with socket.create_connection(('127.0.0.1', server.port), 60) as connection:
    head = f'POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}'
    connection.sendall(f'{head}\r\nTransfer-Encoding: chunked\r\n\r\n'.encode())
    begin = time.monotonic()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
      for chunk, pause in chunks:
        connection.sendall(f'{len(chunk):x}\r\n'.encode() + chunk + b'\r\n')
        time.sleep(pause)
    got = connection.recv(65536).decode('latin-1')
    return got, time.monotonic() - begin


def test_a_body_without_a_length_is_limited_too(server):
  got, _ = chunked(server, [(bytes(1 << 20), 0)] * 18, kind='image/png')
  assert ' 413 ' in got.splitlines()[0]


def refused(connection, length, body=b''):
  """Begins a request of a page of another origin; its answer, by header."""
  connection.sendall(
    b'POST /try_on HTTP/1.1\r\nHost: x\r\nOrigin: http://y\r\n'
    b'Content-Type: image/png\r\nContent-Length: %d\r\n\r\n' % length + body
  )
  response = http.client.HTTPResponse(connection)
  response.begin()
  response.read()
  assert response.status == 403
  return response.headers


def test_who_is_turned_away_need_not_send_the_body_first(server):
  with socket.create_connection(('127.0.0.1', server.port), 60) as connection:
    begin = time.monotonic()
    # Two on one connection: what is sent of a body later is read.
    for _ in range(2):
      assert 'connection' not in refused(connection, 60_000, bytes(20_000))
      connection.sendall(bytes(40_000))
    assert time.monotonic() - begin < 1.5
  with socket.create_connection(('127.0.0.1', server.port), 60) as connection:
    assert refused(connection, 8 << 20)['connection'] == 'close'
    assert time.monotonic() - begin < 1.5


@pytest.mark.slow
def test_a_slow_body_ends_with_408(server):
  got, seconds = chunked(server, [(b'x', 0.5)] * 30, kind='image/png')
  assert ' 408 ' in got.splitlines()[0] and 9 < seconds < 20


def test_addresses_that_are_none(server):
  assert 'see /docs' in problem(server.get('/nothing'), 404)
  assert 'see /docs' in problem(server.get('/try_on'), 405)
  assert 'see /docs' in problem(server.post('/try_on/', b''), 404)
  # Spellings of a way out of the gallery, as they stand on the wire.
  for name in (
    *('../shirt', '..%2fshirt', '%2e%2e/%2e%2e/etc/passwd', '..\\shirt'),
    *('Not%20A%20Name', 'shirt.png', 'shirt%00', '%c0%ae%c0%ae/x', 'SHIRT'),
    *('....//....//etc/passwd', '/etc/passwd', 'shirt/../shirt', '.', '..'),
  ):
    for method in ('GET', 'PUT', 'DELETE'):
      answer = server.request(method, f'/garments/{name}', b'')
      assert answer.status in (404, 405, 415, 400), (method, name)


# ----------------------------------------------------- gallery and sessions
def test_garments_come_and_go(server, gallery, shirt):
  def names():
    return [x['name'] for x in server.get('/garments').json()['garments']]

  assert names() == ['shirt']
  exif = Image.Exif()
  exif[0x0112] = 6
  turned = io.BytesIO()
  Image.fromarray(np.rot90(shirt).copy()).save(turned, 'PNG', exif=exif)
  form_ = {'garment': turned.getvalue()}
  assert server.request('PUT', '/garments/new-1', form_).status == 201
  try:
    assert names() == ['new-1', 'shirt']
    kept = server.get('/garments/new-1')
    assert kept.headers['content-type'] == 'image/png'
    np.testing.assert_array_equal(decoded(kept), shirt)
    small = server.get('/garments/new-1?height=64')
    assert small.headers['content-type'] == 'image/jpeg'
    assert decoded(small).shape == (64, 48, 3)
    problem(server.get('/garments/new-1?height=9'), 400, about='height')
  finally:
    assert server.request('DELETE', '/garments/new-1').status == 204
  assert names() == ['shirt'] and not (gallery / 'new-1.png').exists()
  problem(server.request('DELETE', '/garments/new-1'), 404, about='garment')
  bad = server.request('PUT', '/garments/new-1', {'garment': b'GIF89a' * 9})
  problem(bad, 422)
  assert names() == ['shirt'] and len(list(gallery.iterdir())) == 2


def test_a_painted_mask_becomes_the_garments_transparency(server, shirt):
  mask = np.zeros(shirt.shape[:2], np.uint8)
  mask[40:200, 50:140] = 255
  body = {
    'garment': images.encode_png(shirt),
    'garment_mask': images.encode_png(mask),
  }
  assert server.request('PUT', '/garments/cut', body).status == 201
  found = decoded(server.post('/garment_mask', {'garment': 'cut'}))
  server.request('DELETE', '/garments/cut')
  np.testing.assert_array_equal(found, mask)


def test_a_session_remembers_its_garment_alone(server, fields, expected):
  one, two = (server.post('/sessions', b'').json()['session'] for _ in '12')
  assert one != two and re.fullmatch(r'[\w-]{22}', one)
  chosen = server.request(
    'PUT', f'/sessions/{one}/garment', {'garment': fields['garment']}
  )
  assert chosen.status == 200
  body = {k: v for k, v in fields.items() if k != 'garment'}
  answer = server.post('/try_on', body | {'session': one})
  assert answer.body == images.encode_png(expected.picture)
  sentence = problem(
    server.post('/try_on', body | {'session': two}), 400, about='garment'
  )
  assert 'garment is missing' in sentence
  assert server.request('DELETE', f'/sessions/{one}').status == 204
  problem(server.request('DELETE', f'/sessions/{one}'), 404, about='session')


# --------------------------------------------- deadlines, order, what is said
def test_a_deadline_that_has_passed(server, fields):
  def at(milliseconds):
    return server.post(
      '/try_on', fields, headers={'X-Timeout-Ms': milliseconds}
    )

  assert 'within 0.001 s' in problem(at('1'), 504)
  assert 'X-Timeout-Ms' in problem(at('soon'), 400)
  assert at('60000').status == 200


def test_a_client_that_leaves_is_taken_out(server, fields):
  left = server.metric('viton_rejections_total', reason='client left')
  body, kind = form(fields)
  for _ in range(3):
    with socket.create_connection(('127.0.0.1', server.port)) as connection:
      connection.sendall(
        b'POST /try_on HTTP/1.1\r\nHost: x\r\nContent-Type: '
        + f'{kind}\r\nContent-Length: {len(body)}\r\n\r\n'.encode()
        + body
      )
      time.sleep(0.02)
  # Both, in one reading: before the first has been let in, nothing is in work.
  for _ in range(300):
    now = server.metric('viton_rejections_total', reason='client left')
    if server.metric('viton_in_work') == 0 and now > left:
      return
    time.sleep(0.1)
  pytest.fail(server.get('/metrics').body.decode())


def test_many_at_once_are_all_right_or_told_to_wait(server, fields, expected):
  answers = together(60, lambda i: server.post('/try_on', fields))
  picture = images.encode_png(expected.picture)
  full = [x for x in answers if x.status == 503]
  assert all(x.body == picture for x in answers if x.status == 200)
  assert len(full) + sum(x.status == 200 for x in answers) == 60
  # 32 have a place; those that are rejected make room for nobody.
  assert 1 <= len(full) <= 28
  for answer in full:
    assert 'try again in' in problem(answer, 503)
    assert 1 <= int(answer.headers['retry-after']) <= 120
  assert server.metric('viton_rejections_total', reason='queue full') >= 1


def test_headers_request_ids_and_the_page(server):
  page = server.get('/', headers={'X-Request-Id': 'abc-1'})
  assert page.status == 200 and page.headers['x-request-id'] == 'abc-1'
  assert page.headers['content-type'].startswith('text/html')
  assert "default-src 'self'" in page.headers['content-security-policy']
  assert page.headers['x-content-type-options'] == 'nosniff'
  again = server.get('/', headers={'If-None-Match': page.headers['etag']})
  assert again.status == 304
  other = server.get('/info', headers={'X-Request-Id': 'a b\tc'})
  assert re.fullmatch(r'[\w-]{16}', other.headers['x-request-id'])
  assert other.headers['cache-control'] == 'no-store'
  assert 'access-control-allow-origin' not in other.headers
  assert other.json()['methods'] == ['paste'] and not other.json()['pose']
  schema = server.get('/openapi.json').json()
  assert {'/try_on', '/pose', '/seg', '/attach'} <= set(schema['paths'])


def test_pages_of_other_origins_are_refused(server, fields):
  headers = {'Origin': 'https://elsewhere.example'}
  answer = server.post('/try_on', fields, headers=headers)
  assert 'another origin' in problem(answer, 403)
  headers = {'Origin': f'http://127.0.0.1:{server.port}'}
  assert server.post('/try_on', fields, headers=headers).status == 200


def test_the_log_is_json_and_holds_nothing_of_anybody(server, fields):
  body, kind = form(fields)
  body = body.replace(b'person.bin', b'me_at_home.jpg')
  server.post('/try_on', body, headers={'Content-Type': kind})
  server.get('/garments/secret_name')
  time.sleep(0.3)  # A line is written after its answer.
  text = server.log.read_text()
  lines = [json.loads(x) for x in text.splitlines() if x.startswith('{')]
  requests = [x for x in lines if x['message'] == 'request']
  assert {'request_id', 'route', 'status', 'milliseconds'} <= set(requests[-1])
  assert requests[-1]['route'] == '/garments/{name}'
  assert 'secret_name' not in text and 'me_at_home' not in text
  assert '127.0.0.1' not in ''.join(map(str, requests))
  assert not [x for x in lines if x['message'] == 'defect'], text[-3000:]


def test_nothing_is_left_on_the_disk(server, fields, temporary):
  large = np.random.default_rng(0).integers(0, 255, (1200, 900, 3), np.uint8)
  body = fields | {'person': images.encode_png(large)}
  seen, done = [], threading.Event()

  def look():
    while not done.is_set():
      seen.extend(x.name for x in temporary.iterdir())
      for link in pathlib.Path(f'/proc/{server.worker}/fd').iterdir():
        with contextlib.suppress(OSError):
          seen.extend(x for x in [os.readlink(link)] if str(temporary) in x)

  thread = threading.Thread(target=look)
  thread.start()
  server.post('/try_on', body)
  done.set()
  thread.join()
  assert not seen


# -------------------------------------------------------------------- memory
_ARRAYS = """
import resource
import numpy as np
from viton_jax.server import memory
memory.tune()
np.ones(20 << 20, np.uint8)  # glibc would keep in its heaps what is smaller.
kept, arrays = [], []
for _ in range(20):
  arrays.append(np.ones(3 << 20, np.uint8))
  kept.append(bytes(2000))
def mib():
  with open('/proc/self/statm') as file:
    return int(file.read().split()[1]) * resource.getpagesize() >> 20
before = mib()
arrays.clear()
print(before - mib())
"""


def test_arrays_that_are_freed_leave_the_process():
  if platform.libc_ver()[0] != 'glibc':
    pytest.skip('it is the allocator of glibc that is tuned')
  done = subprocess.run(
    [sys.executable, '-c', _ARRAYS],
    cwd=entry_points.ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  assert int(done.stdout) >= 55  # Of 60 MiB.


# ------------------------------------------------------------ keys, processes
KEYS = '# of the shop\none-key-of-sixteen\nanother-key-of-more-than-16\n'


def test_keys_and_whose_a_session_is(tmp_path):
  (tmp_path / 'keys').write_text(KEYS)
  options = ('--api_keys', tmp_path / 'keys', '--rate_per_minute', 6)
  with serving(tmp_path, *options, '--host', '0.0.0.0', ready=False) as server:
    for path in ('/', '/docs', '/healthz/live'):
      assert server.get(path).status == 200, path
    for path in ('/metrics', '/garments', '/samples'):
      refused = server.get(path)
      assert 'Authorization' in problem(refused, 401, about='key')
      assert refused.headers['www-authenticate'] == 'Bearer'
    one = {'Authorization': 'Bearer one-key-of-sixteen'}
    two = {'X-Api-Key': 'another-key-of-more-than-16'}
    wrong = {'Authorization': 'Bearer one-key-of-sixtee'}
    assert server.get('/garments', headers=one).status == 200
    assert server.get('/garments', headers=two).status == 200
    problem(server.get('/garments', headers=wrong), 401, about='key')
    session = server.post('/sessions', b'', headers=one).json()['session']
    path = f'/sessions/{session}'
    problem(server.request('DELETE', path, headers=two), 404, about='session')
    assert server.request('DELETE', path, headers=one).status == 204
    # Not ready yet, and a client's own rate comes before that.
    codes = [server.post('/pose', b'', headers=one).status for _ in range(4)]
    assert codes[0] in (503, 415) and 429 in codes[1:]


@pytest.mark.parametrize(
  'options, said',
  [
    (['--host', '0.0.0.0'], '--host 0.0.0.0 can be reached.*--api_keys'),
    (['--max_batch', '6'], '--max_batch is 6; give a power of two'),
    (['--checkpoint', 'nowhere'], 'nowhere: there is no such --checkpoint'),
    (['--garments', 'nowhere'], 'nowhere: --garments is no folder'),
    (['--tls_cert', 'a.pem'], 'both --tls_cert and --tls_key'),
    (['--root_path', 'x/'], "--root_path is 'x/'"),
    (['--port', '0'], '--port is 0'),
    (['--api_keys', 'setup.cfg'], 'setup.cfg: the keys cannot be read'),
  ],
)
def test_the_command_refuses_in_one_sentence(options, said):
  assert re.search(said, entry_points.fails('viton_jax.serve', *options))


def test_a_model_that_cannot_be_read_ends_the_server(tmp_path):
  (tmp_path / 'pose.pb').write_bytes(b'no graph')
  sentence = entry_points.fails(
    *('viton_jax.serve', '--port', 1 + 40000 + (id(tmp_path) % 9999)),
    *('--pose_model', tmp_path / 'pose.pb'),
  )
  assert 'pose.pb' in sentence


def test_servers_that_the_environment_names(
  server, tmp_path, fields, monkeypatch
):
  address = f'127.0.0.1:{server.port}'
  body = {k: fields[k] for k in ('person', 'pose')}
  with serving(tmp_path, SEG_SERVER=address) as other:
    asked = server.metric('viton_requests_total', route='/seg', status='200')
    assert other.post('/seg', body).body == server.post('/seg', body).body
    now = server.metric('viton_requests_total', route='/seg', status='200')
    assert now == asked + 2
  # That one has no pose model; its sentence is passed on.
  monkeypatch.setenv('POSE_SERVER', f'http://{address}/')
  with pytest.raises(InputError, match='--pose FILE'):
    remote.pose_server().find(np.zeros((32, 32, 3), np.uint8))
  # Where nothing runs: the fault is not the client's.
  monkeypatch.setenv('SEG_SERVER', f'127.0.0.1:{free_port()}')
  parser = remote.seg_server()
  with pytest.raises(NoAnswer, match='does not answer .*unset SEG_SERVER'):
    parser.parse(np.zeros((32, 32, 3), np.uint8), None, None)
  monkeypatch.setenv('POSE_SERVER', 'ftp://x')
  with pytest.raises(InputError, match="POSE_SERVER is 'ftp://x'"):
    remote.pose_server()


@pytest.mark.slow
def test_it_listens_at_once_drains_and_comes_back(tmp_path, fields, expected):
  picture = images.encode_png(expected.picture)
  begin = time.monotonic()
  with serving(tmp_path, ready=False) as server:
    assert time.monotonic() - begin < 10  # 1 s where nothing else runs.
    answer = server.post('/try_on', fields)
    assert 'starting' in problem(answer, 503) and answer.headers['retry-after']
    problem(server.get('/healthz/ready'), 503)
    server.wait_until('/healthz/ready')
    maps = pathlib.Path(f'/proc/{server.worker}/maps').read_text()
    assert 'tensorflow' not in maps and 'jaxlib' in maps

    # Killed while it works: another worker answers.
    lost = server.worker
    os.kill(lost, signal.SIGKILL)
    assert server.wait_until('/healthz/live', 30) < 20
    assert server.worker != lost
    server.wait_until('/healthz/ready')

    # SIGTERM with 20 in flight: all of them are answered.
    stopping = []

    def one(i):
      if i == 20:
        while server.metric('viton_in_work') < 1:
          time.sleep(0.01)
        time.sleep(0.1)
        server.process.send_signal(signal.SIGTERM)
        stopping.append(time.monotonic())
        return None
      return server.post('/try_on', fields)

    answers = together(21, one)[:20]
    assert [x.status for x in answers] == [200] * 20
    assert all(x.body == picture for x in answers)
    assert server.process.wait(30) == 0
    assert time.monotonic() - stopping[0] < 22
    assert 'Traceback' not in server.log.read_text()


@pytest.mark.slow
def test_networks_alone_to_the_byte_and_in_batches(
  networks, tmp_path, fields, pair, shirt
):
  folder = tmp_path / 'demo'
  folder.mkdir()
  for stage in (1, 2):
    (folder / f'stage{stage}').symlink_to(networks[stage - 1])
  alone = viton_jax.try_on(
    pair.person,
    shirt,
    checkpoint=folder,
    pose=pair.keypoints.round(4),
    parse=pair.parse,
  ).picture
  with serving(tmp_path, '--checkpoint', folder) as server:
    answer = server.post('/try_on', fields)
    assert answer.body == images.encode_png(alone)
    paste = server.post('/try_on', fields | {'method': 'paste'})
    assert paste.status == 200 and paste.body != answer.body
    # A garment that cannot be matched spoils nobody's batch.
    bad = np.zeros(shirt.shape[:2], np.uint8)
    bad[100, 100] = 255
    spoiled = fields | {'garment_mask': images.encode_png(bad)}
    answers = together(
      16, lambda i: server.post('/try_on', spoiled if i == 5 else fields)
    )
    problem(answers.pop(5), 422, about='garment')
    for one in answers:
      assert np.abs(decoded(one).astype(int) - alone).max() <= 2
    batches = server.metric('viton_batch_size_count')
    pairs = server.metric('viton_batch_size_sum')
    assert pairs == 17 and batches < 17
    loaded = viton_networks.load(*networks)
    one = kserve_client.arrays(pair, shirt, loaded.size)
    kserve_client.check(server, one, kserve_client.dressed_by(loaded))
    # What is no JSON; Triton answers 500.
    problem(server.post(kserve_client.INFER, b'[[['), 422)
    long = b'[' + b'[],' * (2 << 20)
    assert '4 MiB' in problem(server.post(kserve_client.INFER, long), 413)
    assert server.metric('viton_compilations_total') == 0
    assert server.metric('viton_ready') == 1
