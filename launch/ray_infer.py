"""Tries garments on for a list of pairs, on all machines of a Ray cluster.

  python launch/ray_infer.py --address auto --actors 8 --gpus 1 --cpus 16 \\
      --data_dir DATA --pairs million.txt --checkpoint W1 \\
      --refine_checkpoint W2 --out_dir RESULTS --results_only --output tfrecord

The flags behind those of Ray are those of `python -m viton_jax.infer`, and so
are pictures, manifest and page. The list is cut into parts; each actor holds
the networks and does one part after the other. An actor that is lost with its
machine starts on another, which goes on with its part. The same command goes on
where it stopped. Folders must be seen under the same path from every machine.

It needs the extra [scale] (pip install 'viton_jax[scale]'). docs/serving.md
says when it is worth it; docs/scale.md has the ways without Ray.

Exit codes: as those of `python -m viton_jax.infer`.
"""

import argparse
import dataclasses
import pathlib
from typing import Any

import jax

from viton_jax import errors
from viton_jax.errors import InputError
from viton_jax.job_folders import shards
from viton_jax.jobs import flags, run
from viton_jax.runtime import ray_cluster
from viton_jax.runtime.progress import progress

_PARTS = 4  # For each actor, so that none waits long for the slowest.
_TRIES = 3  # A part is given to another actor so often where one is lost.


def parse_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog='python launch/ray_infer.py',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument_group('Ray').add_argument
  add('--actors', type=int, default=2, help='default: %(default)s')
  add('--cpus', type=int, default=1, help='of an actor (default: %(default)s)')
  add('--gpus', type=float, default=0.0, help='of an actor (default: 0)')
  add(
    '--parts',
    type=int,
    help=f'of the list (default: {_PARTS} for each actor); the same again when '
    'a job goes on while another of its commands still runs',
  )
  add(
    '--address',
    help="of a Ray cluster, 'auto' for the one that this machine belongs to "
    '(default: $RAY_ADDRESS, else one is started here and ends with this '
    'command)',
  )
  flags.add_arguments(parser)
  return parser.parse_args()


def check(given: argparse.Namespace) -> None:
  """Raises InputError where a flag is wrong, or belongs to `infer` alone."""
  for name, low in (('actors', 1), ('cpus', 1), ('gpus', 0), ('parts', 1)):
    value = getattr(given, name)
    if value is not None and not low <= value <= 1 << 16:
      raise InputError(f'--{name} {value:g} is not in {low} to {1 << 16}.')
  for name in ('shard', 'merge'):
    if getattr(given, name):
      raise InputError(
        f'--{name} is for `python -m viton_jax.infer`; Ray deals the parts out '
        'by itself and merges them, so leave it out.'
      )
  if given.layout == flags.PHOTOS:
    raise InputError(
      '--layout photos is for one process; make the data set first with '
      '`python -m viton_jax.perceive`, which takes --shard, and give it here '
      'as --layout viton'
    )


def options_of(given: argparse.Namespace) -> run.Options:
  """Those of the job, with paths as they are seen from other folders."""
  names = {x.name for x in dataclasses.fields(run.Options)}
  options = run.Options(**{k: v for k, v in vars(given).items() if k in names})
  if options.workers is None:  # The cores of an actor are not the machine's.
    options = dataclasses.replace(
      options, workers=given.cpus if given.cpus > 1 else 0
    )
  paths = {
    name: str(pathlib.Path(path).absolute())
    for name in ('out_dir', 'data_dir', 'checkpoint', 'refine_checkpoint')
    if (path := getattr(options, name))
  }
  if options.pairs and options.data_dir:
    file, colon, rest = options.pairs.partition(':')
    if not pathlib.Path(options.data_dir, file).exists():
      paths['pairs'] = str(pathlib.Path(file).absolute()) + colon + rest
  return dataclasses.replace(options, **paths)


class Actor:
  """Holds the networks of a job and does its parts.

  Args:
    options: of the job.
  """

  def __init__(self, options: run.Options):
    self._options = options
    self._do: Any = None

  def do(self, part: shards.Shard) -> tuple[int, str]:
    """Does a part; the exit code and, with bad input, the sentence."""
    try:
      self._do = self._do or run.open_job(run.plan(self._options))
      return self._do(part), ''
    except InputError as error:
      return errors.EXIT_BAD_INPUT, str(error)


def do_parts(given: argparse.Namespace, options: run.Options) -> None:
  """Has all parts done.

  Raises:
    InputError: an actor says so, or it was lost with every try.
  """
  cpus = given.actors * given.cpus
  ray_cluster.connect(ray_cluster.address_of(given.address), cpus=cpus)
  # After that, which sets what Ray reads when it is imported.
  import ray  # pyright: ignore[reportMissingImports]
  from ray.util import ActorPool  # pyright: ignore[reportMissingImports]

  remote = ray.remote(Actor).options(
    num_cpus=given.cpus,
    num_gpus=given.gpus,
    max_restarts=-1,
    max_task_retries=_TRIES,
  )
  errors.clean_up_on_sigterm()  # Ray has put a handler of its own in place.
  pool = ActorPool([remote.remote(options) for _ in range(given.actors)])
  count = given.parts or _PARTS * given.actors
  parts = [shards.Shard(i, count) for i in range(count)]
  bar = progress(count, 'try on', unit='part')
  try:
    for code, sentence in pool.map_unordered(
      lambda actor, part: actor.do.remote(part), parts
    ):
      if code == errors.EXIT_BAD_INPUT:
        raise InputError(sentence)
      bar.update(1)
  except ray.exceptions.RayActorError as error:
    raise InputError(
      f'an actor was lost {_TRIES + 1} times with the same part, perhaps for '
      'lack of memory; give the same command with a smaller --batch_size to go '
      'on'
    ) from error
  finally:
    bar.close()
    ray.shutdown()


def main() -> int:
  given = parse_arguments()
  check(given)
  options = options_of(given)
  jax.config.update('jax_platforms', 'cpu')  # The GPUs are the actors'.
  if options.dry_run:
    return run.run(options)
  run.check(options)
  run.plan(options)  # What is wrong with the files is said before Ray starts.
  do_parts(given, options)
  return run.merge(options)


if __name__ == '__main__':
  errors.run(main)
