"""Makes a data set of photos: people and garments in, VITON's layout out.

  python -m viton_jax.perceive --people people --garments garments \\
      --out_dir data
  python -m viton_jax.perceive --pairs worn.csv --test_pairs wanted.csv \\
      --out_dir data --overlays 50

Finds joints, labels and garment masks, and writes what `prepare`, `train` and
`infer` read as --layout viton: women_top/, pose/, segment/, garment_mask/,
viton_train_pairs.txt and viton_test_pairs.txt.

Who wears what is told by the names (people/anna.jpg wears garments/anna.jpg),
or by --pairs: a table with two columns, the person's photo and the garment's.
--photos DIR means DIR/people and DIR/garments. Files that are no photos,
photos of nobody and garments that are not found are refused; manifest.jsonl
says why.

The same command goes on where it stopped, whatever stopped it, also with
another number of shards. Joints need a pose model: `python -m
viton_jax.perception fetch blazepose` brings one.

Exit codes: 0 all photos are in; 2 bad input or a full disk; 3 done, but some
photos were refused; 130 stopped by a signal.
"""

import argparse
import functools
import os
import pathlib

from viton_jax import errors
from viton_jax.errors import InputError
from viton_jax.job_folders import shards
from viton_jax.jobs import perceive, photo_list
from viton_jax.photo import data_set


def parse_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog='python -m viton_jax.perceive',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add('--out_dir', required=True, help='folder for the data set')

  add = parser.add_argument_group('which photos').add_argument
  add('--photos', help='folder with people/ and garments/')
  add('--people', help='folder with photos of people')
  add('--garments', help='folder with photos of garments')
  add(
    '--pairs',
    help='.csv or .tsv: people and the garments that they wear; names in '
    '--people and --garments, or paths from the table',
  )
  add(
    '--test_pairs',
    help='the same for what is to be tried on (default: everybody in the '
    'garment of the next one, and each garment at least once)',
  )

  add = parser.add_argument_group('how').add_argument
  add(
    '--height',
    type=int,
    default=1024,
    help='of the files, in pixels, at most (default: %(default)s)',
  )
  add(
    '--overlays',
    type=int,
    default=0,
    metavar='N',
    help='write pictures of joints, labels and masks of the first N numbers',
  )
  add('--pose', help='pose model (default: the first of `perception list`)')
  add('--parse', help='parser, or grabcut (default: likewise)')
  add(
    '--models_dir',
    help="folder of models' files (default: $VITON_JAX_MODELS, or "
    '~/.cache/viton_jax/models)',
  )

  add = parser.add_argument_group('many processes').add_argument
  add(
    '--shard',
    metavar='I/N',
    help='do part I of N, 0 <= I < N (default: the place in a SLURM array, '
    'else all)',
  )
  add(
    '--workers',
    type=int,
    help='processes (default: one a core; on an accelerator 0, and batches)',
  )
  return parser.parse_args()


def main() -> int:
  arguments = parse_arguments()
  for name, least in (('height', 256), ('overlays', 0), ('workers', 0)):
    value = getattr(arguments, name)
    if value is not None and value < least:
      raise InputError(f'--{name} is {value}; give at least {least}')
  shard = shards.find(arguments.shard, os.environ)
  people, garments = (
    pathlib.Path(x) if x else None
    for x in (arguments.people, arguments.garments)
  )
  if arguments.photos:
    if people or garments:
      raise InputError(
        '--photos goes without --people and --garments: it names both folders'
      )
    folder = pathlib.Path(arguments.photos)
    people, garments = folder / 'people', folder / 'garments'
  photos = photo_list.gather(
    people, garments, pairs=arguments.pairs, test_pairs=arguments.test_pairs
  )
  settings = data_set.Settings(
    out_dir=pathlib.Path(arguments.out_dir),
    height=arguments.height,
    overlays=arguments.overlays,
    pose=arguments.pose,
    parse=arguments.parse,
    models_dir=arguments.models_dir,
  )
  print(data_set.describe_models(settings))
  return perceive.run(
    photos,
    settings.out_dir,
    functools.partial(data_set.Perceiver, settings),
    settings=settings.of_job,
    shard=shard,
    workers=arguments.workers,
  )


if __name__ == '__main__':
  errors.run(main)
