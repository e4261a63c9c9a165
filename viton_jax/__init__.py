"""Image-based virtual try-on in JAX and Flax.

  result = viton_jax.try_on('me.jpg', 'shirt.jpg', method='paste')
  result.picture  # (h, w, 3) uint8 RGB

What is public is loaded when it is first used, so that importing one part does
not import what the others need.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING

from viton_jax import startup

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

if sys.argv[:1] == ['-m']:  # What Python puts there while it looks for X.
  startup.end_by_interrupt()
  startup.check_interpreter()
  startup.check_shadows()


def __getattr__(name: str):
  if name in ('TryOnResult', 'try_on'):
    return getattr(importlib.import_module(f'{__name__}.photo.try_on'), name)
  if name in __all__:
    return importlib.import_module(f'{__name__}.{name}')
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
  return sorted(__all__ + ['__version__'])
