"""NVIDIA Triton, from the wheel nvidia-pytriton in an environment of its own.

That wheel needs older packages than this project, so TRITON_VENV names a
virtual environment of it:

  python3.11 -m venv TRITON && TRITON/bin/pip install nvidia-pytriton
"""

from collections.abc import Iterator
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import sysconfig

import entry_points
from server_process import Server, free_port

VARIABLE = 'TRITON_VENV'
_START_S = 1200  # It compiles for every size of batch.


@contextlib.contextmanager
def serving(folder: pathlib.Path, repository: pathlib.Path) -> Iterator[Server]:
  """Triton with a model repository; it has ended when the context has.

  Args:
    folder: for its log and its Python backend.
    repository: what `export --format triton` wrote.
  """
  (site,) = pathlib.Path(os.environ[VARIABLE]).glob('lib/*/site-packages')
  wheel = site / 'pytriton' / 'tritonserver'
  backend = folder / 'backends' / 'python'
  shutil.copytree(wheel / 'backends' / 'python', backend)
  version = f'{sys.version_info.major}.{sys.version_info.minor}'
  stub = wheel / 'python_backend_stubs' / version / 'triton_python_backend_stub'
  shutil.copy(stub, backend)
  libraries = site / 'nvidia_pytriton.libs', sysconfig.get_config_var('LIBDIR')
  port, log = free_port(), folder / 'triton.log'
  options = {
    'model-repository': repository,
    'backend-directory': backend.parent,
    'http-address': '127.0.0.1',
    'http-port': port,
    'allow-grpc': 'false',
    'metrics-address': '127.0.0.1',
    'metrics-port': free_port(),
  }
  with log.open('wb') as file:
    process = subprocess.Popen(
      [
        wheel / 'bin' / 'tritonserver',
        *(f'--{name}={value}' for name, value in options.items()),
      ],
      env=entry_points.environment()
      | {
        'LD_LIBRARY_PATH': ':'.join(map(str, libraries)),
        # The model runs in Triton's own Python, with this one's packages.
        'PYTHONPATH': ':'.join([str(entry_points.ROOT), *sys.path[1:]]),
      },
      stdout=file,
      stderr=subprocess.STDOUT,
    )
  server = Server(process, port, log)
  try:
    server.wait_until('/v2/health/ready', _START_S)
    yield server
  finally:
    process.send_signal(signal.SIGTERM)
    try:
      process.wait(40)
    except subprocess.TimeoutExpired:
      process.kill()
      process.wait()
