"""Measures try-ons: results and the truth in, figures with intervals out.

  python -m viton_jax.evaluate --results RESULTS --truth TRUTH \\
      --protocol hr-viton --out_dir EVALUATION

RESULTS is a folder of pictures, or what `python -m viton_jax.infer` wrote;
TRUTH a folder of the true pictures. Of such a job the data set is known, so
neither --truth nor --data_dir is needed:

  python -m viton_jax.evaluate --results RESULTS --out_dir EVALUATION

EVALUATION/report.html is to be looked at; metrics.json has each figure with its
95 % interval and the protocol's card, pairs.jsonl a line a pair.

A protocol says what 'SSIM' means: papers differ by protocol more than by
method. --list_protocols prints every parameter of each.

Two methods on the same pairs:

  python -m viton_jax.evaluate --results B --out_dir EVAL_B --compare EVAL_A

FID, KID and IS look through networks whose files you get yourself; what is
missing is left out, and is said. docs/evaluation.md tells more.

Many processes: give each --shard I/N and the same --out_dir; the last one
writes the report. The same command goes on where it stopped.

Exit codes: 0 done; 2 bad input or a full disk; 3 done, but some pictures could
not be read, or shards are missing; 130 stopped by a signal.
"""

import argparse

from input_pipeline.layouts import LAYOUTS
from viton_jax import errors
from viton_jax.evaluation import cards, pairing, protocols, run


def parse_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog='python -m viton_jax.evaluate',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add(
    '--list_protocols',
    action='store_true',
    help='print the protocols with all their parameters, and end',
  )
  add('--results', help='folder of pictures, or of a job of infer')
  add('--out_dir', help='where figures and report go')

  add = parser.add_argument_group('the truth').add_argument
  add('--truth', help='folder of true pictures, matched by name')
  add('--data_dir', help='or a data set that knows them')
  add('--layout', choices=LAYOUTS, help='of the data set (default: found out)')
  add(
    '--pairs',
    help="pair list, 'person.jpg garment.jpg' a line: results are called "
    "PERSON_GARMENT, true pictures PERSON (default: the job's list)",
  )

  add = parser.add_argument_group('what to measure').add_argument
  add(
    '--protocol',
    default='viton_jax',
    metavar='NAME',
    help=f'one of {", ".join(protocols.PROTOCOLS)} (default: %(default)s)',
  )
  add(
    '--figures',
    help="only these, with commas between them; 'all': those that take long "
    'too',
  )
  add(
    '--method',
    default='result',
    choices=pairing.METHODS,
    help="which pictures of infer's: the result; the warped garment pasted "
    "into the coarse image; the coarse image; VITON's own image (default: "
    '%(default)s)',
  )
  add(
    '--inception_weights',
    metavar='FILE',
    help="for FID, KID and IS: pytorch-fid's pt_inception-2015-12-05-"
    "6726825d.pth; for hr-viton's and acgpn's IS: torchvision's "
    'inception_v3_google-*.pth',
  )
  add(
    '--lpips_weights',
    metavar='FILE',
    nargs='+',
    default=(),
    help="networks of LPIPS; each name holds 'alex', 'vgg' or 'squeeze' "
    '(default: what `python -m viton_jax.perception fetch lpips` brought)',
  )
  add(
    '--fid_infinity',
    action='store_true',
    help='extrapolate FID to endlessly many pictures; takes a minute',
  )
  add(
    '--compare',
    metavar='EVALUATION',
    nargs='+',
    default=(),
    help='folders of other evaluations by the same protocol: differences on '
    'the same pairs, and all of them in one report',
  )

  add = parser.add_argument_group('how').add_argument
  add(
    '--batch_size',
    type=int,
    help='pairs that go to the device at a time; no figure depends on it',
  )
  add(
    '--shard',
    metavar='I/N',
    help='do part I of N of the list, 0 <= I < N (default: the place in a '
    'SLURM array, else all)',
  )
  add(
    '--merge',
    action='store_true',
    help='measure nothing, write figures and report of what is measured',
  )
  arguments = parser.parse_args()
  if not arguments.list_protocols:
    for name in ('results', 'out_dir'):
      if getattr(arguments, name) is None:
        parser.error(f'--{name} is missing')
  return arguments


def main() -> int:
  arguments = vars(parse_arguments())
  if arguments.pop('list_protocols'):
    print(cards.describe())
    return errors.EXIT_OK
  for name in ('lpips_weights', 'compare'):
    arguments[name] = tuple(arguments[name])
  return run.run(run.Options(**arguments))


if __name__ == '__main__':
  errors.run(main)
