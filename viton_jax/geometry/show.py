"""The first version's name of `python -m viton_jax.show_match`."""

import runpy

if __name__ == '__main__':
  runpy.run_module('viton_jax.show_match', run_name='__main__')
