"""Where compiled programs stay, so that the next run need not compile them."""

import os
import pathlib

import jax


def use(setting: str) -> str:
  """Sets JAX's cache of compiled programs.

  Args:
    setting: a folder; 'off'; or 'auto': JAX_COMPILATION_CACHE_DIR if it is set,
      else a folder in the user's cache. Not so on processors: what was compiled
      for one may crash on another, and home folders are shared.

  Returns:
    one line that says what was chosen.
  """
  given = os.environ.get('JAX_COMPILATION_CACHE_DIR')
  if setting == 'off':
    jax.config.update('jax_enable_compilation_cache', False)
    return 'compiled programs are not kept'
  if setting != 'auto':
    folder = pathlib.Path(setting).expanduser().absolute()
  elif given:
    return f'compiled programs are kept in {given}'
  elif jax.default_backend() == 'cpu':
    return 'compiled programs are not kept (--config.compile_cache=FOLDER)'
  else:
    base = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    folder = pathlib.Path(base).expanduser() / 'viton_jax' / 'compiled'
  jax.config.update('jax_compilation_cache_dir', str(folder))
  return f'compiled programs are kept in {folder}'
