"""Converts weights between TensorFlow 1, Orbax and safetensors.

  python -m viton_jax.convert --tf1_checkpoint model/stage1/model-15000 \\
      --out_dir W
  python -m viton_jax.convert --checkpoint W1 --to safetensors --out_dir W
  python -m viton_jax.convert --safetensors refinement.safetensors --out_dir W

Writes W/encoder_decoder and W/refinement, whichever are inside. Training
(--config.warm_start, --config.coarse_checkpoint) and try-on (--checkpoint,
--refine_checkpoint) read these folders, and W itself. With --to safetensors
each network is one file, which they read too and which needs no library of
ours.

A TensorFlow saver's file may hold one network or both; the variables' names say
which. Kernels keep TensorFlow's shapes, so nothing is transposed and nothing is
lost. Published weights have fidelity 'original'.
"""

import argparse
import os
import pathlib
import time

from flax import traverse_util

from viton_jax import checkpoints, errors
from viton_jax.checkpoints import Checkpoint, safetensors_files
from viton_jax.checkpoints.tensorflow1 import (
  read_tf1,
  read_tf1_checkpoint,
  tf1_names,
)
from viton_jax.errors import InputError
from viton_jax.io import storage

__all__ = ['read_tf1_checkpoint']


def parse_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog='python -m viton_jax.convert',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  source = parser.add_mutually_exclusive_group(required=True)
  add = source.add_argument
  add(
    '--tf1_checkpoint',
    metavar='PREFIX',
    help='TensorFlow 1 saver file: its prefix or its folder',
  )
  add('--checkpoint', metavar='WORKDIR', help='ours: workdir, or one step')
  add('--safetensors', metavar='FILE', help='what --to safetensors wrote')
  parser.add_argument('--out_dir', required=True, help='where results go')
  parser.add_argument(
    '--to',
    choices=('orbax', 'safetensors'),
    default='orbax',
    help='default: %(default)s',
  )
  parser.add_argument(
    '--half',
    action='store_true',
    help='with --to safetensors: kernels in 16 bits, half as large',
  )
  return parser.parse_args()


def main() -> int:
  arguments = parse_arguments()
  errors.clean_up_on_sigterm()
  begin = time.monotonic()
  if arguments.half and arguments.to != 'safetensors':
    raise InputError('--half: goes with --to safetensors alone.')
  if arguments.tf1_checkpoint:
    found = list(read_tf1(arguments.tf1_checkpoint).values())
  elif arguments.safetensors:
    found = [safetensors_files.read(arguments.safetensors)]
  else:
    path = arguments.checkpoint
    networks = checkpoints.contents(path) or [
      checkpoints.read_metadata(path)['network']
    ]
    found = [checkpoints.read(path, network) for network in networks]

  out_dir = pathlib.Path(arguments.out_dir)
  ending = '.safetensors' if arguments.to == 'safetensors' else ''
  if arguments.to == 'orbax':
    checkpoints.check_name(out_dir)
  targets = [out_dir / f'{one.network}{ending}' for one in found]
  for target in targets:  # All of them before anything is written.
    if target.exists():
      raise InputError(
        f'{target}: exists already; give another --out_dir, or remove it.'
      )
  try:
    with storage.partial_folder(targets[0]) as partial:
      for one, target in zip(found, targets, strict=True):
        print_table(one, from_tf1=bool(arguments.tf1_checkpoint))
        if arguments.to == 'safetensors':
          safetensors_files.write(
            one, partial / target.name, half=arguments.half
          )
        else:
          checkpoints.write(one, partial / target.name)
      for target in targets:
        os.replace(partial / target.name, target)
  except OSError as error:
    raise InputError(
      f'{out_dir}: cannot be written ({error.strerror or error}); give '
      'another --out_dir.'
    ) from error
  for one, target in zip(found, targets, strict=True):
    print(
      f'{one.network}: {one.features} features, fidelity {one.fidelity}, '
      f'step {one.step} -> {target}'
    )
  print(f'done in {time.monotonic() - begin:.1f} s')
  return errors.EXIT_OK


def print_table(checkpoint: Checkpoint, *, from_tf1: bool) -> None:
  """Each variable: what it was called, its shape, where it goes."""
  sources = {}
  if from_tf1:
    sources = {
      '/'.join(place): name
      for name, place in tf1_names(checkpoint.network).items()
    }
  flat = traverse_util.flatten_dict(checkpoint.variables, sep='/')
  print(f'{checkpoint.path}: {checkpoint.network}')
  total = 0
  for place, value in sorted(flat.items()):
    name = sources.get(place, place)
    print(f'  {name:46} {str(value.shape):18} -> {place}')
    total += value.size if place.startswith('params/') else 0
  print(f'  {len(flat)} variables, {total:,} parameters')


if __name__ == '__main__':
  errors.run(main)
