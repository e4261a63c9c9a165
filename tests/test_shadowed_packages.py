"""Modules in the working directory with the names of packages of ours."""

import os
import subprocess
import sys

import entry_points
import pytest


@pytest.mark.parametrize(
  ('path', 'name'),
  [
    ('input_pipeline.py', 'input_pipeline'),
    ('input_pipeline/__init__.py', 'input_pipeline'),
    ('configs/__init__.py', 'configs'),
    ('configs.py', 'configs'),
  ],
)
@pytest.mark.parametrize('module', ['train', 'infer'])
def test_are_named_in_one_sentence(tmp_path, path, name, module):
  hiding = tmp_path / path
  hiding.parent.mkdir(exist_ok=True)
  hiding.write_text('')
  done = run(tmp_path, module)
  assert done.returncode == 2
  assert done.stderr.startswith(f'error: {hiding} hides the package {name} ')
  assert done.stderr.count('\n') == 1


def test_a_folder_without_init_hides_nothing(tmp_path):
  (tmp_path / 'configs').mkdir()
  (tmp_path / 'configs' / 'default.py').write_text('')
  done = run(tmp_path, 'train')
  assert not done.stderr
  assert '--workdir' in done.stdout  # absl's --help exits with 1.


def run(directory, module):
  """`python -m viton_jax.X --help`; an editable install adds to the path."""
  return subprocess.run(
    [sys.executable, '-m', f'viton_jax.{module}', '--help'],
    cwd=directory,
    env=entry_points.environment()
    | {'PYTHONPATH': os.fspath(entry_points.ROOT)},
    capture_output=True,
    text=True,
    check=False,
  )
