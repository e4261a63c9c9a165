"""The persistent cache of compiled programs."""

import hashlib
import os
import pathlib
import platform

import jax

from viton_jax.errors import InputError
from viton_jax.io import files

_MIN_COMPILE_SECONDS = 0.2  # JAX's default of 1 s leaves many programs out.


def use(setting: str) -> str:
  """Sets JAX's cache of compiled programs.

  Args:
    setting: a folder; 'off'; or 'auto': JAX_COMPILATION_CACHE_DIR if it is set,
      else a folder in the user's cache, one for each model of CPU: a program
      compiled for one may crash on another, and home folders are shared.

  Returns:
    One line that says where programs are kept.
  """
  jax.config.update(
    'jax_persistent_cache_min_compile_time_secs', _MIN_COMPILE_SECONDS
  )
  from_environment = os.environ.get('JAX_COMPILATION_CACHE_DIR')
  if setting == 'off':
    jax.config.update('jax_enable_compilation_cache', False)
    return 'compiled programs are not kept'
  if setting != 'auto':
    folder = files.home(setting).absolute()
  elif from_environment:
    return f'compiled programs are kept in {from_environment}'
  else:
    base = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    try:
      folder = files.home(base) / 'viton_jax' / 'compiled'
    except InputError:  # A container's user may have no home.
      jax.config.update('jax_enable_compilation_cache', False)
      return 'compiled programs are not kept: this user has no home folder'
    if jax.default_backend() == 'cpu':
      folder /= _cpu_hash()
  jax.config.update('jax_compilation_cache_dir', str(folder))
  return f'compiled programs are kept in {folder}'


def _cpu_hash() -> str:
  """Hash of the CPU's model and flags, as a folder name."""
  try:
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
    model = sorted(
      {
        line
        for line in lines
        if line.startswith(('model name', 'flags', 'Features', 'CPU part'))
      }
    )
  except OSError:  # Not Linux.
    model = [platform.machine(), platform.processor()]
  return 'cpu-' + hashlib.sha256('\n'.join(model).encode()).hexdigest()[:16]
