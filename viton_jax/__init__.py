"""Image-based virtual try-on in JAX and Flax.

  result = viton_jax.try_on('me.jpg', 'shirt.jpg', method='paste')
  result.picture  # (h, w, 3) uint8 RGB

What is public is loaded when it is first used, so that importing one part does
not import what the others need.
"""

import importlib
import importlib.util
import os
import pathlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from viton_jax import convert as convert
  from viton_jax import geometry as geometry
  from viton_jax import models as models
  from viton_jax import perception as perception
  from viton_jax.photo.try_on import TryOnResult as TryOnResult
  from viton_jax.photo.try_on import try_on as try_on

__version__ = '0.1.0'
__all__ = [
  'TryOnResult',
  'convert',
  'geometry',
  'models',
  'perception',
  'try_on',
]

# TensorFlow only decodes and feeds data here. Left alone it greets every
# command with lines about an option that does not concern that.
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')


def _check_interpreter() -> None:
  """Ends `python -m viton_jax.X` in a Python that lacks what is required.

  Nothing else: a program that imports this package gets its ImportError.
  """
  if sys.argv[:1] != ['-m']:  # What Python puts there while it looks for X.
    return
  needed = ['cv2', 'flax', 'jax']
  if 'viton_jax.serving.artifact' in sys.orig_argv:
    needed = ['jax']  # Exported try-ons run where nothing else is installed.
  missing = [x for x in needed if importlib.util.find_spec(x) is None]
  if not missing:
    return
  root = pathlib.Path(__file__).resolve().parents[1]
  activate = root / '.venv' / 'bin' / 'activate'
  remedy = f'source {activate}'
  if not activate.is_file():
    venv = root / '.venv'
    remedy = (
      f'python3 -m venv {venv} && {venv}/bin/pip install --editable {root} && '
      + remedy
    )
  print(
    f'error: {sys.executable} has no {", ".join(missing)}: it is not the '
    f'Python that viton_jax is installed into; type: {remedy}',
    file=sys.stderr,
  )
  sys.exit(2)


def _check_shadows() -> None:
  """Ends `python -m viton_jax.X` where other modules hide packages of ours.

  Python looks in the working directory first, and projects that use Flax often
  have a folder configs/ there.
  """
  if sys.argv[:1] != ['-m']:
    return
  root = pathlib.Path(__file__).resolve().parents[1]
  for name in ('input_pipeline', 'configs'):
    ours = root / name / '__init__.py'
    spec = importlib.util.find_spec(name)
    if spec is None or not ours.is_file():
      continue
    # A folder without __init__.py has no origin.
    found = spec.origin or next(iter(spec.submodule_search_locations or ()), '')
    if pathlib.Path(found).resolve() == ours:
      continue
    print(
      f'error: {found} hides the package {name} that belongs to viton_jax; '
      'run the command in another directory, or rename the file or folder',
      file=sys.stderr,
    )
    sys.exit(2)


_check_interpreter()
_check_shadows()


def __getattr__(name: str):
  if name in ('TryOnResult', 'try_on'):
    return getattr(importlib.import_module(f'{__name__}.photo.try_on'), name)
  if name in __all__:
    return importlib.import_module(f'{__name__}.{name}')
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
  return sorted(__all__ + ['__version__'])
