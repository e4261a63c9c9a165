"""Command line: python -m input_pipeline.synthetic --help."""

import argparse
import time

from input_pipeline.synthetic.dataset import write_dataset
from input_pipeline.synthetic.styles import STYLES
from viton_jax.errors import InputError, run

DESCRIPTION = """\
Draws people and garments and writes them in the raw VITON layout: photos,
poses, segmentations, pair lists, and the true image of every test try-on.

Use it to try the whole system, and to measure it where the right answer is
known, without any downloaded data.
"""
EXAMPLE = """\
example:
  python -m input_pipeline.synthetic --out_dir data/synthetic \\
      --num_pairs 2000 --num_test_pairs 200 --seed 0

An interrupted run goes on when the same command is given again.
"""


class _Parser(argparse.ArgumentParser):
  """Reports bad arguments as one sentence, like every other bad input."""

  def error(self, message):
    raise InputError(f'{message}; see --help.')


def _parser():
  parser = _Parser(
    prog='python -m input_pipeline.synthetic',
    description=DESCRIPTION,
    epilog=EXAMPLE,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add('--out_dir', required=True, help='new or empty folder to write')
  add(
    '--num_pairs',
    type=int,
    required=True,
    help='training pairs: a person and the garment they wear',
  )
  add(
    '--num_test_pairs',
    type=int,
    default=0,
    help='test persons, each with the garment of another and the true '
    'image of it; 0 (default) or at least 2',
  )
  add(
    '--exchange',
    action='store_true',
    help='every training person in the garment of another as well, with the '
    'true image: what networks are to do, which real photos never show',
  )
  add(
    '--seed',
    type=int,
    default=0,
    help='same seed, same files, bit for bit (default 0)',
  )
  add(
    '--height',
    type=int,
    default=512,
    help='height of the images in pixels, from 64 (default 512); the '
    'width is 3/4 of it',
  )
  add(
    '--style',
    choices=tuple(STYLES),
    default='plain',
    help='plain (default): clean drawings on light paper, tops alone; photo: '
    'light from any side, folds, rooms and streets behind, many cuts of '
    'garment, people of every age and size',
  )
  add(
    '--workers',
    type=int,
    default=None,
    help='processes (default: one for each CPU core)',
  )
  return parser


def main():
  args = _parser().parse_args()
  start = time.perf_counter()
  done = write_dataset(
    args.out_dir,
    args.num_pairs,
    num_test_pairs=args.num_test_pairs,
    exchange=args.exchange,
    seed=args.seed,
    height=args.height,
    style=args.style,
    workers=args.workers,
    progress=True,
  )
  seconds = time.perf_counter() - start
  rate = done['drawn'] / seconds
  trained = args.num_pairs * (2 if args.exchange else 1)
  print(
    f'wrote {trained} training and {args.num_test_pairs} test pairs at '
    f'{round(args.height * 3 / 4)} x {args.height} to {args.out_dir}'
  )
  print(
    f'drew {done["drawn"]} images in {seconds:.1f} s ({rate:.1f} a second), '
    f'{done["kept"]} were there already'
  )


if __name__ == '__main__':
  run(main)
