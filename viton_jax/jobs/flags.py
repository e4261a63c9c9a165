"""The flags of a batch-inference job, see `jobs.run.Options`."""

import argparse

from input_pipeline.layouts import LAYOUTS
from viton_jax import choices
from viton_jax.jobs import run, writers

PHOTOS = 'photos'
OF_MODELS = ('pose', 'parse', 'models_dir')


def add_arguments(parser: argparse.ArgumentParser) -> None:
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
