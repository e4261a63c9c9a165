"""Where compiled programs stay, so that the next run need not compile them."""

import hashlib
import os
import pathlib
import platform

import jax

_WORTH_KEEPING_SECONDS = 0.2  # Of compiling; JAX's own 1 s leaves much out.


def use(setting: str) -> str:
  """Sets JAX's cache of compiled programs.

  Args:
    setting: a folder; 'off'; or 'auto': JAX_COMPILATION_CACHE_DIR if it is set,
      else a folder in the user's cache. Processors have one for each kind:
      what was compiled for one may crash on another, and home folders are
      shared.

  Returns:
    one line that says what was chosen.
  """
  jax.config.update(
    'jax_persistent_cache_min_compile_time_secs', _WORTH_KEEPING_SECONDS
  )
  given = os.environ.get('JAX_COMPILATION_CACHE_DIR')
  if setting == 'off':
    jax.config.update('jax_enable_compilation_cache', False)
    return 'compiled programs are not kept'
  if setting != 'auto':
    folder = pathlib.Path(setting).expanduser().absolute()
  elif given:
    return f'compiled programs are kept in {given}'
  else:
    base = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    folder = pathlib.Path(base).expanduser() / 'viton_jax' / 'compiled'
    if jax.default_backend() == 'cpu':
      folder /= _processor()
  jax.config.update('jax_compilation_cache_dir', str(folder))
  return f'compiled programs are kept in {folder}'


def _processor() -> str:
  """A name for this kind of processor, by all that it can do."""
  try:
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
    kind = sorted(
      {
        line
        for line in lines
        if line.startswith(('model name', 'flags', 'Features', 'CPU part'))
      }
    )
  except OSError:  # Not Linux.
    kind = [platform.machine(), platform.processor()]
  return 'cpu-' + hashlib.sha256('\n'.join(kind).encode()).hexdigest()[:16]
