"""Trains one of the two networks.

  python -m viton_jax.train --config stage1 --workdir W1 \\
      --config.data.dir RECORDS --config.vgg imagenet-vgg-verydeep-19.mat
  python -m viton_jax.train --config stage2 --workdir W2 \\
      --config.data.dir RECORDS --config.coarse_checkpoint W1 --config.vgg ...

RECORDS is what `python -m input_pipeline.prepare` wrote. --config takes a
Python file, or the name of a config that comes along: stage1, stage2, demo.
Any field of the config can be set with --config.NAME=VALUE
(configs/defaults.py explains them). --dry_run checks all of it and writes
nothing.

The same command in the same workdir goes on where it stopped, to the bit. On
several machines, or with several processes on one, every process runs the same
command; see docs/training.md.

Exit codes: 0 done, or stopped by a signal and saved; 2 bad input; 4 the loss is
not finite; 5 another process of the job is lost.
"""

import sys

from absl import app, flags, logging
from ml_collections import config_flags

from viton_jax import errors
from viton_jax.runtime import distributed, environment, stopping
from viton_jax.training import config, loop
from viton_jax.training.clock import say

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'Training config: a file, or stage1, stage2, demo:stage1.'
)
_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Where checkpoints, logs and samples go.'
)
_DRY_RUN = flags.DEFINE_bool(
  'dry_run', False, 'Check everything, say what would be done, write nothing.'
)


def parse_flags(argv: list[str]) -> list[str]:
  """Parses flags; what is wrong with them ends as one sentence."""
  try:
    # ml_collections looks up overrides in sys.argv, not in what it is given.
    sys.argv[:] = argv = config.translate_flags(argv)
    return flags.FLAGS(argv)
  except errors.InputError as error:
    message = str(error)
  except flags.Error as error:
    message = f'{errors.shown(error)} (see --help)'
  # A config file is a program: it may raise anything, or exit.
  except (Exception, SystemExit) as error:
    if isinstance(error, SystemExit) and not config.is_of_file(error, argv[1:]):
      raise
    message = (
      f'--config cannot be read ({type(error).__name__}: '
      f'{errors.shown(error)}); mend the file, or see --help'
    )
  print(f'error: {message}', file=sys.stderr)
  sys.exit(errors.EXIT_BAD_INPUT)


def main(argv: list[str]) -> None:
  del argv
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)  # Orbax says a lot.

  workdir = _WORKDIR.value
  assert workdir is not None  # Required, see below.

  def run():
    distributed.initialize()
    say(environment.report())
    with stopping.leaving_at_once():
      loop.train_and_evaluate(_CONFIG.value, workdir, dry_run=_DRY_RUN.value)

  errors.run(run)


if __name__ == '__main__':
  flags.mark_flags_as_required(['config', 'workdir'])
  app.run(main, flags_parser=parse_flags)
