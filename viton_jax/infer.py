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

from input_pipeline.layouts import LAYOUTS
from viton_jax import choices, errors
from viton_jax.errors import InputError
from viton_jax.job_folders import shards
from viton_jax.jobs import perceive, photo_list, run, writers
from viton_jax.photo import data_set
from viton_jax.runtime import distributed, stopping

PHOTOS = 'photos'
_OF_MODELS = ('pose', 'parse', 'models_dir')


def parse_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog='python -m viton_jax.infer',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add('--out_dir', required=True, help='where pictures and page go')

  add = parser.add_argument_group('what to try on').add_argument
  add('--data_dir', help='data set folder')
  add(
    '--layout',
    default='viton',
    choices=(*LAYOUTS, PHOTOS),
    help="of the data set; 'photos' finds joints, labels and garment masks "
    'first, as `python -m viton_jax.perceive` does, and keeps them in '
    'OUT_DIR/perceived (default: %(default)s)',
  )
  add(
    '--pairs',
    help='pair list: a file of data_dir, or a path (default: the test list '
    "of the layout); with ':paired' after it, all in their own garments",
  )

  add = parser.add_argument_group('with --layout photos').add_argument
  add('--pose', help='pose model (default: the first of `perception list`)')
  add('--parse', help='parser, or grabcut (default: likewise)')
  add(
    '--models_dir',
    help="folder of models' files (default: $VITON_JAX_MODELS, or "
    '~/.cache/viton_jax/models)',
  )

  add = parser.add_argument_group('the networks').add_argument
  add(
    '--checkpoint',
    help="a folder with both networks (the demo's, or what "
    '`python -m viton_jax.convert` or `export` wrote), or stage 1: its '
    'workdir, one step of it, or a .safetensors file; averaged parameters are '
    'taken where training kept them (default: the networks that come with '
    'viton_jax)',
  )
  add('--refine_checkpoint', help='stage 2, where it lies elsewhere')
  add(
    '--dtype',
    default='float32',
    choices=('float32', 'bfloat16'),
    help='of the convolutions; bfloat16 is faster on accelerators and within '
    'a grey level or two (default: %(default)s)',
  )
  add(
    '--composition',
    choices=choices.values_of(choices.Composition),
    help="'changes': the photo stays where nothing changes; 'whole': VITON's "
    "own image (default: whole for fidelity 'original', else changes)",
  )
  add(
    '--matching',
    default='auto',
    choices=choices.values_of(choices.Matching),
    help=choices.MATCHING_HELP,
  )
  add(
    '--batch_size',
    type=int,
    help='over all devices of this process, rounded up to a multiple of '
    'them (default: 8 a device on CPUs, else 32)',
  )
  add(
    '--png_round_trip',
    action='store_true',
    help="stretch stage 1's pictures to 8 bits before stage 2 sees them, as "
    "the original's scripts did (docs/fidelity.md)",
  )

  add = parser.add_argument_group('what to write').add_argument
  add(
    '--output',
    default='png',
    choices=(*writers.FORMATS, writers.TFRECORD),
    help='a picture file for each try-on, or TFRecord files of '
    'tf.train.Example (default: %(default)s)',
  )
  add(
    '--quality',
    type=int,
    help='1 to 100, of jpeg (95) and webp (90); png loses nothing',
  )
  add(
    '--record_format',
    default='png',
    choices=writers.FORMATS,
    help='how pictures are encoded in TFRecords (default: %(default)s)',
  )
  add(
    '--records_per_file',
    type=int,
    default=1000,
    help='in a TFRecord file; what a kill can cost (default: %(default)s)',
  )
  add(
    '--results_only',
    action='store_true',
    help='write the try-on pictures alone, without the steps to them',
  )
  add(
    '--step_format',
    default='jpeg',
    choices=choices.values_of(choices.StepFormat),
    help='of the steps; png to evaluate them (default: %(default)s)',
  )
  add(
    '--page_pairs',
    type=int,
    default=500,
    help='pairs that index.html shows (default: %(default)s)',
  )

  add = parser.add_argument_group('many processes').add_argument
  add(
    '--shard',
    metavar='I/N',
    help='do part I of N of the list, 0 <= I < N (default: the place in a '
    'SLURM array, else all; several processes of one job share it)',
  )
  add(
    '--merge',
    action='store_true',
    help='gather the manifests of all shards and say what is missing; needs '
    '--out_dir alone, may be done at any time and again',
  )
  add(
    '--workers',
    type=int,
    help='processes that read pairs and match masks; 0: threads (default: '
    f'one a core from {run.PROCESSES_FROM} pairs on, else 0)',
  )
  add(
    '--dry_run',
    action='store_true',
    help='check networks, pairs and folder, say what would be done, and write '
    'nothing',
  )
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
  models = {name: arguments.pop(name) for name in _OF_MODELS}
  options = run.Options(**arguments)
  if options.merge:
    return run.merge(options)
  distributed.initialize()
  code = errors.EXIT_OK
  if options.layout == PHOTOS:
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
