"""CP-VTON on the same data for the same time: a peer to be compared with.

  python -m benchmarks.cp_vton train --data_dir RECORDS --workdir W --minutes 12
  python -m benchmarks.cp_vton try_on --workdir W --data_dir RAW \\
      --layout viton --pairs LIST --out_dir R
  python -m viton_jax.evaluate --results R --out_dir E
  python -m viton_jax.evaluate --results R --method whole --out_dir E_WHOLE

`train` gives the first part of the time to the geometric matching module, which
warps the garment, and the rest to the try-on module, which draws the person in
it. Batches and person representation are ours; both networks together have
about as many parameters as ours with 16 features, and it prints how many.
`benchmarks.cp_vton_networks` says what differs from the paper.

`try_on` writes what `python -m viton_jax.infer` writes. Its `whole` is
CP-VTON's own picture, as published. Its `result` is composed as ours: the photo
stays where nothing changes (docs/composition.md). CP-VTON predicts no garment
region; its composition mask, which says where the warped garment shows, is
taken for it. Its own picture, and not the rendered person, is taken for the
coarse image: what is rendered below the warped garment was never compared with
anything. `--composition whole` makes CP-VTON's own picture the result, too.

Needs PyTorch: `pip install -e '.[bench]'`.
"""

import argparse
import importlib.util
import sys

from input_pipeline.layouts import LAYOUTS
from viton_jax import choices, errors
from viton_jax.choices import Composition
from viton_jax.errors import InputError


def parse_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog='python -m benchmarks.cp_vton',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  commands = parser.add_subparsers(dest='command', required=True)
  one = commands.add_parser('train', help='train both networks')
  add = one.add_argument
  add('--data_dir', required=True, help='records that prepare made')
  add('--workdir', required=True, help='where the networks go')
  add('--minutes', required=True, type=float, help='for both together')
  add(
    '--gmm_share',
    default=0.4,
    type=float,
    help="the matching's share of the time (default: %(default)s)",
  )
  add('--seed', default=0, type=int, help='of batches and initial weights')
  add('--batch_size', default=8, type=int, help='default: %(default)s')
  add(
    '--learning_rate',
    default=1e-3,
    type=float,
    help="of the first half; the paper's 1e-4 is for 200,000 steps a network "
    '(default: %(default)s, as configs/demo.py has it)',
  )

  two = commands.add_parser('try_on', help='dress a list of pairs')
  add = two.add_argument
  add('--workdir', required=True, help='of `train`')
  add('--data_dir', required=True, help='data set folder')
  add('--layout', default='viton', choices=LAYOUTS, help='of the data set')
  add('--pairs', help='pair list (default: the test list of the layout)')
  add('--out_dir', required=True, help='where pictures and page go')
  add(
    '--composition',
    default='changes',
    choices=choices.values_of(Composition),
    help="'whole': CP-VTON's own picture is the result, too (default: "
    '%(default)s)',
  )
  return parser.parse_args()


def main() -> int:
  arguments = parse_arguments()
  if importlib.util.find_spec('torch') is None:
    raise InputError(
      f'{sys.executable} has no PyTorch, which this benchmark compares with; '
      "type: pip install -e '.[bench]'"
    )
  from benchmarks import cp_vton_jobs as jobs  # PyTorch is optional.

  command = jobs.train if arguments.command == 'train' else jobs.try_on
  return command(arguments)


if __name__ == '__main__':
  errors.run(main)
