"""Trains the body parser that comes with the project, on drawn people alone.

  python -m viton_jax.train_parser --workdir W

The same command in the same folder goes on where it stopped. The weights are
in W/body_parser.safetensors after every 100 steps.
"""

import argparse
import pathlib

from input_pipeline.synthetic.styles import STYLES
from viton_jax import errors
from viton_jax.errors import InputError
from viton_jax.runtime import environment
from viton_jax.training import body_parser
from viton_jax.training.body_parser import ParserSettings


def parse_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog='python -m viton_jax.train_parser',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add('--workdir', required=True, type=pathlib.Path, help='folder to write')
  add('--seed', type=int, default=ParserSettings.seed, help='of everything')
  add(
    '--people',
    type=int,
    default=ParserSettings.people,
    help='how many people are drawn (default: %(default)s, 1 GB on disk)',
  )
  add('--steps', type=int, default=ParserSettings.steps, help='of training')
  add(
    '--small_steps',
    type=int,
    default=ParserSettings.small_steps,
    help='the first of them, at half the size (default: %(default)s)',
  )
  add('--batch', type=int, default=ParserSettings.batch, help='samples a step')
  add(
    '--learning_rate',
    type=float,
    default=ParserSettings.learning_rate,
    help='the highest of the schedule',
  )
  add(
    '--style',
    choices=tuple(STYLES),
    default=ParserSettings.style,
    help='of drawing (default: %(default)s); every sample has other colours',
  )
  add(
    '--workers',
    type=int,
    default=max(1, environment.cores() // 2),
    help='processes that draw (default: %(default)s)',
  )
  return parser.parse_args()


def main() -> None:
  arguments = parse_arguments()
  for name in ('people', 'steps', 'batch', 'workers'):
    if getattr(arguments, name) < 1:
      raise InputError(
        f'--{name} is {getattr(arguments, name)}; give at least 1'
      )
  if arguments.seed < 0:
    raise InputError(f'--seed is {arguments.seed}; give 0 or more')
  if not 0 < arguments.learning_rate < 1:
    raise InputError(
      f'--learning_rate is {arguments.learning_rate}; give a number between '
      '0 and 1'
    )
  settings = ParserSettings(
    seed=arguments.seed,
    people=arguments.people,
    steps=arguments.steps,
    small_steps=arguments.small_steps,
    batch=arguments.batch,
    learning_rate=arguments.learning_rate,
    style=arguments.style,
  )
  path = body_parser.train(
    arguments.workdir, settings, workers=arguments.workers
  )
  print(f'{path}: weights after {settings.steps} steps')


if __name__ == '__main__':
  errors.run(main)
