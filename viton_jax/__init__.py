"""viton_jax: image-based virtual try-on in JAX and Flax.

  result = viton_jax.try_on('me.jpg', 'shirt.jpg', method='paste')

Rooms are loaded when they are first used: `viton_jax.geometry`, `.models`,
`.perception`, `.convert`, `.try_on`.
"""

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from viton_jax.try_on import TryOnResult as TryOnResult
  from viton_jax.try_on import try_on as try_on

__version__ = '0.1.0'

# TensorFlow only decodes and feeds data here. Left alone it greets every
# command with lines about an option that does not concern that.
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

_ROOMS = ('convert', 'geometry', 'models', 'perception', 'try_on')


def __getattr__(name: str):
  if name in _ROOMS:
    # The module try_on can be called: it is the function of that name.
    return importlib.import_module(f'{__name__}.{name}')
  if name == 'TryOnResult':
    return importlib.import_module(f'{__name__}.try_on').TryOnResult
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
