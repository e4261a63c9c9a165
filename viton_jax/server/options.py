"""The options that every way of serving has, as flags of a command."""

import argparse
from collections.abc import Iterable
import importlib.util
import ipaddress
import pathlib
import sys

from viton_jax import choices
from viton_jax.errors import InputError
from viton_jax.server.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
  add = parser.add_argument_group('what it computes with').add_argument
  add(
    '--checkpoint',
    help="trained networks: the demo's folder, a folder that "
    '`python -m viton_jax.convert` or `export` wrote, or stage 1 (default: '
    'the networks that come with viton_jax)',
  )
  add('--refine_checkpoint', help='stage 2, where it lies elsewhere')
  add(
    '--paste_only',
    action='store_true',
    help='no networks: garments are bent onto the ones that are worn',
  )
  add(
    '--matching',
    default='auto',
    choices=choices.values_of(choices.Matching),
    help=choices.MATCHING_HELP,
  )
  add('--pose_model', help='a pose model; default: the first that is found')
  add('--parser', help="a parser's model, or grabcut; default: the first found")
  add(
    '--models_dir',
    help="folder of models' files (default: "
    '$VITON_JAX_MODELS, or ~/.cache/viton_jax/models)',
  )
  add(
    '--garments',
    type=pathlib.Path,
    metavar='DIR',
    help='gallery: photos named NAME.png, .jpg or .webp; NAME of a-z 0-9 _ -',
  )
  add(
    '--samples',
    type=pathlib.Path,
    metavar='DIR',
    help='people to try the page with: NAME.png, NAME.json (joints) and '
    'NAME.labels.png',
  )
  add(
    '--record',
    type=pathlib.Path,
    metavar='DIR',
    help='write each result there (default: nothing is written)',
  )
  add = parser.add_argument_group('where, and for whom').add_argument
  add('--host', default='127.0.0.1', help='address (default: %(default)s)')
  add('--port', type=int, default=8000, help='default: %(default)s')
  add(
    '--api_keys',
    type=pathlib.Path,
    metavar='FILE',
    help='one key a line; who has none of them is refused',
  )
  add(
    '--no_auth',
    action='store_true',
    help='let everybody in who reaches --host, without keys',
  )
  add('--tls_cert', type=pathlib.Path, help='certificate (PEM), for https')
  add('--tls_key', type=pathlib.Path, help='its private key (PEM)')
  add('--root_path', default='', help="a proxy's prefix, such as /try-on")
  add(
    '--trusted_proxy',
    action='append',
    default=[],
    metavar='ADDRESS',
    help='whose X-Forwarded-For is believed; may be repeated',
  )
  add = parser.add_argument_group('limits').add_argument
  add('--max_batch', type=int, default=8, help='pairs (default: %(default)s)')
  add(
    '--batch_delay_ms',
    type=float,
    default=5.0,
    help='how long an idle device waits for more (default: %(default)s)',
  )
  add(
    '--timeout_ms',
    type=int,
    default=30_000,
    help='of requests without X-Timeout-Ms (default: %(default)s)',
  )
  add(
    '--rate_per_minute',
    type=float,
    default=0.0,
    help='requests of one client; 0: any number (default)',
  )
  add(
    '--max_live',
    type=int,
    default=4,
    help='live try-ons at the same time; 0: none (default: %(default)s)',
  )


def require(packages: Iterable[str], extra: str) -> None:
  """Raises InputError where a package is missing, naming the extra."""
  missing = [x for x in packages if importlib.util.find_spec(x) is None]
  if missing:
    raise InputError(
      f'the server needs {", ".join(missing)}; type: {sys.executable} -m pip '
      f"install 'viton_jax[{extra}]'"
    )


def check(options: argparse.Namespace) -> None:
  """Raises InputError where they cannot be served; makes --record's folder."""
  if not 0 < options.port < 65536:
    raise InputError(f'--port is {options.port}; give one from 1 to 65535')
  if options.max_batch < 1 or options.max_batch & (options.max_batch - 1):
    raise InputError(
      f'--max_batch is {options.max_batch}; give a power of two, such as 8'
    )
  for name in ('batch_delay_ms', 'rate_per_minute'):
    if not 0 <= getattr(options, name) < 1e6:
      raise InputError(
        f'--{name} is {getattr(options, name):g}; give a number from 0'
      )
  if not 0 <= options.max_live <= 64:
    raise InputError(
      f'--max_live is {options.max_live}; give a number from 0 to 64'
    )
  if not 1 <= options.timeout_ms <= 600_000:
    raise InputError(
      f'--timeout_ms is {options.timeout_ms}; give one from 1 to 600000'
    )
  if not _is_loopback(options.host) and not (
    options.api_keys or options.no_auth
  ):
    raise InputError(
      f'--host {options.host} can be reached from other machines; give '
      '--api_keys FILE, or --no_auth if everybody there may use it'
    )
  if options.paste_only and (options.checkpoint or options.refine_checkpoint):
    raise InputError(
      '--paste_only goes without networks; leave one of them out'
    )
  for name in ('checkpoint', 'refine_checkpoint'):
    path = getattr(options, name)
    if path and not pathlib.Path(path).exists():
      raise InputError(f'{path}: there is no such --{name}; check the name')
  for name in ('garments', 'samples'):
    path = getattr(options, name)
    if path and not path.is_dir():
      raise InputError(
        f'{path}: --{name} is no folder; make it, or give another'
      )
  if bool(options.tls_cert) != bool(options.tls_key):
    raise InputError('give both --tls_cert and --tls_key, or neither')
  for path in filter(None, (options.tls_cert, options.tls_key)):
    if not path.is_file():
      raise InputError(f'{path}: there is no such file; give a PEM file')
  prefix = options.root_path
  if prefix and (not prefix.startswith('/') or prefix.endswith('/')):
    raise InputError(
      f"--root_path is '{prefix}'; give one like /try-on, without a slash at "
      'the end'
    )
  if options.record:
    try:
      options.record.mkdir(parents=True, exist_ok=True)
    except OSError as error:
      raise InputError(
        f'{options.record}: --record cannot be made ({error.strerror}); give '
        'another folder'
      ) from error


def _is_loopback(host: str) -> bool:
  if host == 'localhost':
    return True
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return False


def settings_of(options: argparse.Namespace) -> Settings:
  """What the app reads of them.

  Raises:
    InputError: the file of keys is not usable.
  """
  # Here, because it needs the extra [serve], for which commands look first.
  from viton_jax.server import access

  return Settings(
    checkpoint=options.checkpoint,
    refine_checkpoint=options.refine_checkpoint,
    paste_only=options.paste_only,
    matching=options.matching,
    pose_model=options.pose_model,
    parser=options.parser,
    models_dir=options.models_dir,
    garments=options.garments,
    samples=options.samples,
    record=options.record,
    keys=access.read_keys(options.api_keys) if options.api_keys else (),
    max_batch=options.max_batch,
    batch_delay_s=options.batch_delay_ms / 1e3,
    timeout_s=options.timeout_ms / 1e3,
    rate_per_minute=options.rate_per_minute,
    max_live=options.max_live,
    root_path=options.root_path,
    trusted_proxies=tuple(options.trusted_proxy),
  )
