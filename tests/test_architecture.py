"""Which part imports which: the contracts in pyproject.toml hold, and bite."""

import re
import shutil
import subprocess
import sys
import tomllib

import entry_points
import pytest

PACKAGES = ('configs', 'input_pipeline', 'viton_jax')


def lint_imports(folder) -> dict[str, bool]:
  """Each contract's first word -> whether it is kept."""
  done = subprocess.run(
    [
      *(sys.executable, '-c'),
      'from importlinter.cli import lint_imports_command as run; run()',
      '--no-cache',
    ],
    cwd=folder,
    capture_output=True,
    text=True,
    check=False,
  )
  found = re.findall(r'^(\S+).* (KEPT|BROKEN)', done.stdout, re.MULTILINE)
  contracts = {name.rstrip(':'): state == 'KEPT' for name, state in found}
  assert contracts, done.stdout + done.stderr
  assert all(contracts.values()) == (done.returncode == 0)
  return contracts


def test_contracts_hold():
  assert set(lint_imports(entry_points.ROOT).values()) == {True}


@pytest.mark.parametrize(
  'module, line, contract',
  [
    ('viton_jax/geometry/tps.py', 'from viton_jax.io import images', 'arrays'),
    ('viton_jax/losses.py', 'import input_pipeline.sample', 'layers'),
    ('viton_jax/engine.py', 'import viton_jax.training.stages', 'layers'),
    ('viton_jax/jobs/report.py', 'import viton_jax.photo.framing', 'layers'),
    ('viton_jax/export.py', 'import viton_jax.infer', 'entry'),
    ('viton_jax/jobs/report.py', 'import viton_jax.infer', 'entry'),
    ('viton_jax/photo/inputs.py', 'import viton_jax.server.app', 'layers'),
    ('viton_jax/jobs/report.py', 'import tensorflow', 'TensorFlow'),
    ('viton_jax/labels.py', 'import viton_jax.errors', None),
    ('viton_jax/io/images.py', 'import viton_jax.io.photos', 'no'),
  ],
)
def test_contracts_bite(module, line, contract, tmp_path):
  for package in PACKAGES:
    shutil.copytree(entry_points.ROOT / package, tmp_path / package)
  shutil.copy(entry_points.ROOT / 'pyproject.toml', tmp_path)
  with (tmp_path / module).open('a') as file:
    file.write(f'\n{line}\n')
  contracts = lint_imports(tmp_path)
  broken = {name for name, kept in contracts.items() if not kept}
  assert contract in broken if contract else not broken


@pytest.mark.parametrize(
  'modules, absent',
  [
    ('viton_jax', 'numpy jax absl'),
    (
      'viton_jax.representation viton_jax.models viton_jax.losses '
      'viton_jax.metrics',
      'cv2 tensorflow orbax ml_collections',
    ),
    # Fitting without a device: nothing but NumPy, SciPy and JAX.
    ('viton_jax.geometry', 'cv2 tensorflow flax orbax ml_collections'),
    # An exported try-on runs where only JAX is installed.
    (
      'viton_jax.serving.artifact',
      'cv2 tensorflow flax optax orbax ml_collections absl',
    ),
    ('input_pipeline.formats.packed', 'tensorflow flax'),
    # A server listens before it imports what computes.
    (
      'viton_jax.server.app viton_jax.server.process',
      'jax scipy tensorflow flax orbax',
    ),
    # What it computes with needs no TensorFlow.
    ('viton_jax.server.models', 'tensorflow tensorflow_datasets'),
  ],
)
def test_a_fresh_process_loads_only_what_it_needs(modules, absent):
  program = (
    f'import sys, {", ".join(modules.split())}\n'
    f'print(*sorted(set({absent.split()}) & set(sys.modules)))'
  )
  done = subprocess.run(
    [sys.executable, '-c', program],
    cwd=entry_points.ROOT,
    env=entry_points.environment(),
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stdout.split() == []


def test_every_part_has_a_layer():
  text = (entry_points.ROOT / 'pyproject.toml').read_text()
  (layers, *_) = tomllib.loads(text)['tool']['importlinter']['contracts']
  listed = {x for row in layers['layers'] for x in re.findall(r'[\w.]+', row)}
  parts = {
    f'viton_jax.{x.stem}'
    for x in (entry_points.ROOT / 'viton_jax').iterdir()
    if x.suffix == '.py' or (x / '__init__.py').is_file()
  }
  assert parts - {'viton_jax.__init__'} <= listed
