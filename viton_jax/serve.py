"""Serves try-ons over HTTP: a REST server and a page for a browser.

  python -m viton_jax.serve --garments shirts
      then open http://127.0.0.1:8000
  python -m viton_jax.serve --paste_only
      without networks: garments are bent onto the ones that are worn

From a program:

  curl -F person=@me.jpg -F garment=@shirt.jpg \\
      http://127.0.0.1:8000/try_on -o result.png

It needs the extra [serve] (pip install 'viton_jax[serve]'). docs/server.md says
what else it can do, and how to let others in.
"""

import argparse
import functools

from viton_jax import errors
from viton_jax.server import options

_PACKAGES = ('fastapi', 'granian', 'prometheus_client', 'python_multipart')


def parse_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog='python -m viton_jax.serve',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  options.add_arguments(parser)
  return parser.parse_args()


def main() -> int:
  given = parse_arguments()
  options.require(_PACKAGES, 'serve')
  options.check(given)
  # After the check: Granian and FastAPI are of an extra.
  from viton_jax.server import app, process

  return process.serve(
    functools.partial(app.create_app, options.settings_of(given)),
    host=given.host,
    port=given.port,
    tls=(given.tls_cert, given.tls_key) if given.tls_cert else None,
  )


if __name__ == '__main__':
  errors.run(main)
