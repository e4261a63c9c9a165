"""The console commands: `viton-train` is `python -m viton_jax.train` and so on.

setup.py names them. The module is run, not imported, so that both ways parse
the same flags and end with the same exit codes.
"""

import runpy


def train() -> None:
  _run('train')


def infer() -> None:
  _run('infer')


def evaluate() -> None:
  _run('evaluate')


def try_on() -> None:
  _run('try_on')


def perceive() -> None:
  _run('perceive')


def serve() -> None:
  _run('serve')


def live() -> None:
  _run('live')


def export() -> None:
  _run('export')


def convert() -> None:
  _run('convert')


def inspect() -> None:
  _run('inspect')


def _run(module: str) -> None:
  # As __main__ in sys.modules: spawned workers and absl's flags look for it.
  runpy.run_module(f'viton_jax.{module}', run_name='__main__', alter_sys=True)
