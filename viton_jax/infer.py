"""Tries garments on: a list of pairs in, pictures and a page to look at out.

  python -m viton_jax.infer --data_dir DATA --layout viton \\
      --pairs viton_test_pairs.txt --checkpoint W1 --refine_checkpoint W2 \\
      --out_dir RESULTS

RESULTS/index.html shows every step of every pair, RESULTS/sheet.png the first
few at a glance; RESULTS/results/ holds the pictures alone;
RESULTS/manifest.jsonl has a line with the status of each pair.

A million pairs overnight: leave the steps out, write records, and give each
task of an array its own part; the last to end merges the manifests.

  python -m viton_jax.infer ... --results_only --output tfrecord --shard 3/16
  python -m viton_jax.infer --merge --out_dir RESULTS

Bare photos, without anybody's preprocessing: people in PHOTOS/people, garments
in PHOTOS/garments; --pairs is a .csv or .tsv of two columns then.

  python -m viton_jax.infer --layout photos --data_dir PHOTOS \\
      --out_dir RESULTS

The same command goes on where it stopped, whatever stopped it, also with
another number of shards: every pair is written exactly once. docs/inference.md
tells more.

Exit codes: 0 all pairs are dressed; 2 bad input or a full disk; 3 done, but
some pairs failed and the manifest says why; 130 stopped by a signal.
"""

import argparse
import dataclasses
import functools
import os
import pathlib

import jax

from viton_jax import errors
from viton_jax.errors import InputError
from viton_jax.job_folders import shards
from viton_jax.jobs import flags, perceive, photo_list, run
from viton_jax.photo import data_set
from viton_jax.runtime import distributed, stopping


def parse_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog='python -m viton_jax.infer',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  flags.add_arguments(parser)
  return parser.parse_args()


def perceive_photos(
  options: run.Options, settings: data_set.Settings
) -> tuple[run.Options, int]:
  """Makes a data set of photos.

  Returns:
    (the options with the data set in place of the photos, an exit code: 3
    where photos were refused).

  Raises:
    InputError: an option, a folder or a model is wrong, or there are several
      processes.
  """
  run.check(options)
  shard = shards.find(options.shard, os.environ)
  if shard.count * jax.process_count() > 1:
    raise InputError(
      '--layout photos is for one process; make the data set first with '
      '`python -m viton_jax.perceive`, which takes --shard, and give it here '
      'as --layout viton'
    )
  photos_dir = pathlib.Path(options.data_dir or '')
  photos = photo_list.gather(
    photos_dir / 'people', photos_dir / 'garments', test_pairs=options.pairs
  )
  print(data_set.describe_models(settings))
  data = dataclasses.replace(
    options, layout='viton', data_dir=str(settings.out_dir), pairs=None
  )
  if options.dry_run:
    print(
      f'{len(photos.items)} photos and {len(photos.test)} pairs; dry run: '
      'nothing was written'
    )
    return data, errors.EXIT_OK
  code = perceive.run(
    photos,
    settings.out_dir,
    functools.partial(data_set.Perceiver, settings),
    settings=settings.of_job,
    shard=shard,
    workers=options.workers,
  )
  return data, code


def main() -> int:
  arguments = vars(parse_arguments())
  models = {name: arguments.pop(name) for name in flags.OF_MODELS}
  options = run.Options(**arguments)
  if options.merge:
    return run.merge(options)
  distributed.initialize()
  code = errors.EXIT_OK
  if options.layout == flags.PHOTOS:
    perceived = pathlib.Path(options.out_dir) / 'perceived'
    options, code = perceive_photos(
      options, data_set.Settings(out_dir=perceived, **models)
    )
    if options.dry_run:
      return code
  elif any(models.values()):
    given = ', '.join(f'--{x}' for x in models if models[x])
    raise InputError(f'{given}: only --layout photos takes models')
  with stopping.leaving_at_once():
    return run.run(options) or code


if __name__ == '__main__':
  errors.run(main)
