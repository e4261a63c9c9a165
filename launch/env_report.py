#!/usr/bin/env python3
"""Shows what a job would run on: versions, devices, memory, variables.

  python launch/env_report.py
  launch/local.sh --processes 2 -- python launch/env_report.py

Works before anything is installed and then says what is missing. Training and
batch inference print the same lines when they start.
"""

import argparse
import pathlib
import sys

# Run from a fresh clone, nothing need be installed.
_ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_ROOT))

from viton_jax import errors  # noqa: E402
from viton_jax.runtime import environment  # noqa: E402


def main() -> int:
  argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  ).parse_args()
  started = None
  if 'jax' not in environment.missing():
    from viton_jax.runtime import distributed

    started = distributed.initialize()
  # In one piece, so that lines of several processes do not mix.
  print('\n'.join(filter(None, [started, environment.report()])), flush=True)
  missing = environment.missing()
  if missing:
    raise errors.InputError(
      f'{", ".join(missing)} missing; type: {sys.executable} -m pip install '
      f'--editable {_ROOT}'
    )
  return errors.EXIT_OK


if __name__ == '__main__':
  errors.run(main)
