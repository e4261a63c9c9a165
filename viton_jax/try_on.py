"""Two photos in, one picture out: a person, wearing the garment of another.

  python -m viton_jax.try_on --person me.jpg --garment shirt.jpg \\
      --out result.png
  python -m viton_jax.try_on --person me.jpg --garment shirt.jpg \\
      --out result.png --method paste --show_steps

--method viton (default) takes the networks that come with viton_jax, or yours
(--checkpoint). paste needs none: it bends the garment onto the one that the
person wears. Both need the person's joints: from
a pose model (`python -m viton_jax.perception list` shows where to get one), or
from a file (--pose). docs/own_photos.md says more.

In Python:

  import viton_jax
  result = viton_jax.try_on('me.jpg', 'shirt.jpg')
  result.picture  # (h, w, 3) uint8 RGB, as large as me.jpg
"""

import argparse
import pathlib
import time

from viton_jax import choices, errors, labels
from viton_jax.photo.output import check_output, steps_sheet, write_image
from viton_jax.photo.try_on import METHODS, try_on
from viton_jax.runtime import compile_cache


def parse_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog='python -m viton_jax.try_on',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add('--person', required=True, help='photo of a person, from the front')
  add(
    '--garment',
    required=True,
    help='photo of a garment on a light background, or a cut-out PNG',
  )
  add(
    '--out',
    default='result.png',
    help='PNG or JPEG file to write (default: %(default)s)',
  )
  add('--method', choices=METHODS, default='viton', help='default: %(default)s')
  add(
    '--checkpoint',
    help="trained networks: the demo's folder, a folder that "
    '`python -m viton_jax.convert` or `export` wrote, or stage 1 (default: '
    'the networks that come with viton_jax)',
  )
  add('--refine_checkpoint', help='stage 2, where it lies elsewhere')
  add(
    '--composition',
    choices=choices.values_of(choices.Composition),
    help="'changes': the photo stays where nothing changes; 'whole': all of "
    "the frame is the networks' image (default: whole for fidelity "
    "'original', else changes)",
  )
  add(
    '--matching',
    default='auto',
    choices=choices.values_of(choices.Matching),
    help=choices.MATCHING_HELP,
  )
  add(
    '--pose',
    help='joints: a file (OpenPose JSON, VITON .mat ...), or a pose model',
  )
  add(
    '--parse',
    help="labels: a PNG or .mat file for the photo, a parser model, 'grabcut', "
    "or (default) a parser of yours if there is one, else the project's own",
  )
  add(
    '--labels',
    choices=tuple(labels.LABEL_SETS),
    default='lip',
    help='what the numbers of --parse mean (default: %(default)s)',
  )
  add('--garment_mask', help='picture that is white where the garment is')
  add(
    '--person_index',
    type=int,
    default=0,
    help='which of several people, 0 the largest (default)',
  )
  add(
    '--models_dir',
    help="folder of models' files (default: "
    '$VITON_JAX_MODELS, or ~/.cache/viton_jax/models)',
  )
  add(
    '--show_steps',
    nargs='?',
    const='',
    metavar='FILE',
    help='also write one picture of every step (default: beside --out)',
  )
  return parser.parse_args()


def main() -> None:
  begin = time.perf_counter()
  arguments = parse_arguments()
  options = vars(arguments)
  out = pathlib.Path(options.pop('out'))
  show_steps = options.pop('show_steps')
  check_output(out)
  compile_cache.use('auto')
  result = try_on(**options, say=print)
  write_image(out, result.picture)
  written = [out]
  if show_steps is not None:
    sheet = pathlib.Path(show_steps or out.with_name(f'{out.stem}_steps.png'))
    write_image(sheet, steps_sheet(result.steps))
    written.append(sheet)
  height, width = result.picture.shape[:2]
  print(
    f'{width} x {height} pixels, of which {result.box.width} x '
    f'{result.box.height} around the upper body were dressed, in '
    f'{time.perf_counter() - begin:.1f} s; written: '
    + ', '.join(map(str, written))
  )


if __name__ == '__main__':
  errors.run(main)
