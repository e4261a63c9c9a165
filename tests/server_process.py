"""A real server in a process of its own, and a small client of it."""

from collections.abc import Iterator
import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import secrets
import signal
import socket
import subprocess
import threading
import time

import entry_points

_START_S = 300  # Warm-up on a busy machine.


@dataclasses.dataclass(frozen=True)
class Answer:
  status: int
  headers: dict[str, str]
  body: bytes

  def json(self):
    return json.loads(self.body)

  @property
  def lines(self) -> list:
    return [json.loads(x) for x in self.body.splitlines()]


@dataclasses.dataclass
class Server:
  """A running server.

  Attributes:
    process: of the command; its worker is a child.
    port: on 127.0.0.1.
    log: file of its JSON lines.
  """

  process: subprocess.Popen
  port: int
  log: pathlib.Path

  def request(
    self, method: str, path: str, body=None, *, headers=None, timeout=120
  ) -> Answer:
    """One request; `body` is bytes, or a dict that becomes a form."""
    headers = dict(headers or {})
    if isinstance(body, dict):
      body, headers['Content-Type'] = form(body)
    connection = http.client.HTTPConnection(
      '127.0.0.1', self.port, timeout=timeout
    )
    with contextlib.closing(connection):
      connection.request(method, path, body, headers)
      response = connection.getresponse()
      names = {k.lower(): v for k, v in response.getheaders()}
      return Answer(response.status, names, response.read())

  def get(self, path: str, **options) -> Answer:
    return self.request('GET', path, **options)

  def post(self, path: str, body, **options) -> Answer:
    return self.request('POST', path, body, **options)

  def wait_until(self, path: str, seconds: float = _START_S) -> float:
    """Seconds until `path` answers 200."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
      with contextlib.suppress(OSError, http.client.HTTPException):
        if self.get(path, timeout=5).status == 200:
          return time.monotonic() - begin
      if self.process.poll() is not None:
        break
      time.sleep(0.03)
    raise AssertionError(self.log.read_text()[-4000:])

  def metric(self, name: str, **labels) -> float:
    """A value of /metrics; 0 where it is not there."""
    found = 0.0
    for line in self.get('/metrics').body.decode().splitlines():
      start, _, value = line.rpartition(' ')
      key, _, rest = start.partition('{')
      if key == name and all(f'{k}="{v}"' in rest for k, v in labels.items()):
        found += float(value)
    return found

  @property
  def worker(self) -> int:
    """The process id of the worker."""
    pid = self.process.pid
    children = pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text()
    return int(children.split()[0])


def form(fields: dict[str, str | bytes]) -> tuple[bytes, str]:
  """A form of texts (str) and files (bytes): the body and its type."""
  boundary = secrets.token_hex(12)
  parts = []
  for name, value in fields.items():
    kind = f'; filename="{name}.bin"' if isinstance(value, bytes) else ''
    head = f'Content-Disposition: form-data; name="{name}"{kind}'
    data = value if isinstance(value, bytes) else value.encode()
    parts.append(f'--{boundary}\r\n{head}\r\n\r\n'.encode() + data + b'\r\n')
  body = b''.join(parts) + f'--{boundary}--\r\n'.encode()
  return body, f'multipart/form-data; boundary={boundary}'


def free_port() -> int:
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]


@contextlib.contextmanager
def serving(
  folder: pathlib.Path,
  *arguments,
  module: str = 'viton_jax.serve',
  ready=True,
  **variables: str,
) -> Iterator[Server]:
  """A server with these options; it has ended when the context has.

  Args:
    folder: for its log and its models, of which there are none.
    arguments: of the command.
    module: the command.
    ready: whether to wait for the warm-up, or until it listens.
    variables: more of the environment.
  """
  if module == 'viton_jax.serve' and '--checkpoint' not in arguments:
    arguments = ('--paste_only', *arguments)  # Warm sooner.
  port, log = free_port(), folder / f'serve_{secrets.token_hex(4)}.log'
  with log.open('wb') as file:
    process = subprocess.Popen(
      entry_points.command(
        module,
        *('--port', port, '--models_dir', folder / 'no_models', *arguments),
      ),
      cwd=entry_points.ROOT,
      env=entry_points.environment()
      | {'PYTHONPATH': str(entry_points.ROOT)}
      | variables,
      stdout=file,
      stderr=subprocess.STDOUT,
    )
  server = Server(process, port, log)
  try:
    server.wait_until('/healthz/ready' if ready else '/healthz/live')
    yield server
  finally:
    if process.poll() is None:
      process.send_signal(signal.SIGTERM)
      try:
        process.wait(40)
      except subprocess.TimeoutExpired:
        os.kill(server.worker, signal.SIGKILL)
        process.kill()
        process.wait()


def together(count: int, work) -> list:
  """Calls `work(i)` in so many threads at once; the results in order."""
  results = [None] * count

  def run(i):
    results[i] = work(i)

  threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  return results
