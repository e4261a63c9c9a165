"""Serves try-ons from several processes or machines, by Ray Serve.

  python launch/ray_serve.py --replicas 2 --garments shirts
      two replicas on this machine; then open http://127.0.0.1:8000
  python launch/ray_serve.py --address auto --replicas 2 --max_replicas 8 \\
      --gpus 1 --host 0.0.0.0 --api_keys keys.txt
      on the Ray cluster that this machine belongs to, two to eight replicas
      by what is asked of them, each with a GPU of its own

Each replica is the app of `python -m viton_jax.serve`, with its batches, limits
and queue; Ray spreads the requests, starts replicas again that are lost, and
more of them under load. Sessions lie in one process that all replicas ask, so
any replica serves any session. Folders (--garments, --checkpoint, --record) and
the file of keys must be seen under the same path from every machine.

It needs the extra [scale] (pip install 'viton_jax[scale]'). docs/serving.md
says when it is worth it. SIGTERM or Ctrl-C ends it: what has begun is finished.
"""

import argparse
import asyncio
import dataclasses
import logging.config
import re
import signal
import threading
from typing import Any

from viton_jax import errors
from viton_jax.errors import InputError
from viton_jax.runtime import ray_cluster
from viton_jax.server import options
from viton_jax.server.settings import Settings

_PACKAGES = ('ray', 'fastapi', 'prometheus_client', 'python_multipart')
_APP = 'viton'
_SESSIONS = 'viton_sessions'
_STARTS = 3  # Of a replica that fails to, before all is given up.
# Beside the requests that may wait: health, metrics, the page's files, and
# those that the replica itself turns away.
_MORE_REQUESTS = 16


def parse_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog='python launch/ray_serve.py',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument_group('replicas').add_argument
  add('--replicas', type=int, default=2, help='at least (default: %(default)s)')
  add(
    '--max_replicas',
    type=int,
    help='at most, by the load: one more where a replica has more than a batch '
    'to do, one less after ten quiet minutes (default: always --replicas)',
  )
  add('--cpus', type=float, default=1.0, help='of a replica (default: 1)')
  add('--gpus', type=float, default=0.0, help='of a replica (default: 0)')
  add(
    '--address',
    help="of a Ray cluster, 'auto' for the one that this machine belongs to "
    '(default: $RAY_ADDRESS, else one is started here and ends with this '
    'command)',
  )
  options.add_arguments(parser)
  return parser.parse_args()


def check(given: argparse.Namespace) -> None:
  options.require(_PACKAGES, 'scale')
  options.check(given)
  most = given.max_replicas or given.replicas
  if not 1 <= given.replicas <= most <= 1024:
    raise InputError(
      f'--replicas is {given.replicas} and --max_replicas {most}; give numbers '
      'from 1 to 1024, the second not below the first'
    )
  for name, low in (('cpus', 0.1), ('gpus', 0.0)):
    if not low <= getattr(given, name) <= 1024:
      raise InputError(
        f'--{name} is {getattr(given, name):g}; give a number from {low:g} to '
        '1024'
      )


def check_networks(settings: Settings) -> None:
  """Raises InputError where they cannot be read, before anything starts."""
  # Here, because it takes seconds, which refusals of flags do without.
  import jax

  from viton_jax import checkpoints

  jax.config.update('jax_platforms', 'cpu')  # The GPUs are the replicas'.
  checkpoints.read_pair(settings.checkpoint, settings.refine_checkpoint)


class SharedSessions:
  """The `Store` of a replica: asks the process that has all sessions.

  Args:
    ttl_s: see `server.sessions.Sessions`.
  """

  def __init__(self, ttl_s: float):
    import ray  # pyright: ignore[reportMissingImports]

    self.ttl_s = ttl_s
    self._ray = ray
    self._actor: Any = ray.get_actor(_SESSIONS, namespace=ray_cluster.NAMESPACE)

  async def _ask(self, method: str, *arguments: Any) -> Any:
    from viton_jax.server.problems import Problem

    try:
      return await getattr(self._actor, method).remote(*arguments)
    except self._ray.exceptions.RayTaskError as error:
      raise error.cause from None  # A `Problem`, as it was raised there.
    except self._ray.exceptions.RayActorError:
      raise Problem(
        503,
        'the sessions are lost with the machine that had them; make a new one '
        'with POST /sessions in some seconds',
        about='session',
        reason='sessions',
        headers={'Retry-After': '5'},
      ) from None

  async def create(self, owner: bytes) -> str:
    return await self._ask('create', owner)

  async def garment(self, name: str, owner: bytes) -> Any:
    return await self._ask('garment', name, owner)

  async def choose(self, name: str, owner: bytes, garment: Any) -> None:
    await self._ask('choose', name, owner, garment)

  async def delete(self, name: str, owner: bytes) -> None:
    await self._ask('delete', name, owner)

  async def count(self) -> int:
    return await self._ask('count')


def deployment_of(settings: Settings, given: argparse.Namespace) -> Any:
  """The app as a deployment of Ray Serve, bound."""
  from ray import serve  # pyright: ignore[reportMissingImports]

  from viton_jax.server import process

  if given.max_replicas:
    scale: dict[str, Any] = {
      'num_replicas': 'auto',
      'autoscaling_config': {
        'min_replicas': given.replicas,
        'initial_replicas': given.replicas,
        'max_replicas': given.max_replicas,
        'target_ongoing_requests': settings.max_batch,
        'upscale_delay_s': 10,
        'downscale_delay_s': 600,
      },
    }
  else:
    scale = {'num_replicas': given.replicas}

  def build():
    """Runs in the replica."""
    from viton_jax.server import app, logs, process

    process.tune()
    logging.config.dictConfig(logs.CONFIG)
    made = app.create_app(
      settings,
      sessions=SharedSessions(settings.session_ttl_s),
      failed=lambda error: setattr(made.state, 'failure', error),
    )
    return made

  class Replica:
    """One server; Ray sends it requests once its first check has passed."""

    async def check_health(self) -> None:
      # `app` is what `serve.ingress` adds.
      state = self.app.state  # pyright: ignore[reportAttributeAccessIssue]
      service = state.service
      while service.state == 'starting':
        await asyncio.sleep(0.1)
      if service.state == 'failed':
        raise state.failure
      if not service.ready:
        raise RuntimeError('the last call of the device failed')

  deployed = serve.deployment(
    name='try_on',
    ray_actor_options={'num_cpus': given.cpus, 'num_gpus': given.gpus},
    # More than the replica takes, so that it is the replica that refuses, with
    # a sentence and the seconds after which to come again.
    max_ongoing_requests=settings.max_queue
    + settings.max_live
    + _MORE_REQUESTS,
    max_queued_requests=4 * settings.max_queue,
    health_check_period_s=2,
    health_check_timeout_s=10,  # Of all checks but the first.
    graceful_shutdown_timeout_s=process.DRAIN_S,
    max_constructor_retry_count=_STARTS,
    # The app has a log of its own.
    logging_config={'enable_access_log': False},
    **scale,
  )
  return deployed(serve.ingress(build)(Replica)).bind()


def start(given: argparse.Namespace, settings: Settings) -> None:
  """Starts everything; returns when all replicas are warm.

  Raises:
    InputError: the cluster does not answer, the address is taken, or a replica
      cannot read the networks.
  """
  # Here, because they need the extra [scale].
  from viton_jax.server import process
  from viton_jax.server.sessions import Sessions

  address = ray_cluster.address_of(given.address)
  if not address:
    process.check_free(given.host, given.port)
  most = given.max_replicas or given.replicas
  ray_cluster.connect(address, cpus=most * given.cpus + 1)
  # After the above, which sets what Ray reads when it is imported.
  import ray  # pyright: ignore[reportMissingImports]
  from ray import serve  # pyright: ignore[reportMissingImports]

  ray.remote(Sessions).options(
    name=_SESSIONS,
    lifetime='detached',
    get_if_exists=True,
    max_restarts=-1,  # Without the sessions that it had.
    num_cpus=0,
  ).remote(ttl_s=settings.session_ttl_s, limit=settings.max_sessions)
  tls = {}
  if given.tls_cert:
    tls = {
      'ssl_certfile': str(given.tls_cert),
      'ssl_keyfile': str(given.tls_key),
    }
  serve.start(http_options={'host': given.host, 'port': given.port, **tls})
  try:
    serve.run(deployment_of(settings, given), name=_APP, route_prefix='/')
  except RuntimeError as error:
    status = serve.status().applications.get(_APP)
    said = '\n'.join(x.message for x in status.deployments.values())
    if found := re.search(r'InputError: (.+)', said):
      raise InputError(found[1]) from error
    raise RuntimeError(f'the replicas do not start: {said}') from error


def stop() -> None:
  """Lets the replicas finish what they have begun, and ends them."""
  import ray  # pyright: ignore[reportMissingImports]
  from ray import serve  # pyright: ignore[reportMissingImports]

  serve.delete(_APP)
  ray.kill(ray.get_actor(_SESSIONS, namespace=ray_cluster.NAMESPACE))
  serve.shutdown()
  ray.shutdown()


def main() -> int:
  given = parse_arguments()
  check(given)
  errors.clean_up_on_sigterm()
  # Ray's server, uvicorn, is one of those.
  settings = dataclasses.replace(
    options.settings_of(given), refuse_after_body=True
  )
  if not settings.paste_only:
    check_networks(settings)
  end = threading.Event()
  print(
    f'starting {given.replicas} replicas; /healthz/ready tells when the first '
    'is there',
    flush=True,
  )
  start(given, settings)
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: end.set())
  print(
    f'ready at {"https" if given.tls_cert else "http"}://{given.host}:'
    f'{given.port}',
    flush=True,
  )
  end.wait()
  stop()
  return errors.EXIT_OK


if __name__ == '__main__':
  errors.run(main)
