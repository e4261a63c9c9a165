"""The page at / and /docs: files of the package, from memory."""

import hashlib
from importlib import resources

from fastapi import FastAPI, Request, Response

_KINDS = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}


def add_routes(app: FastAPI) -> None:
  """A route for each file; no path is made of what a client sends."""
  folder = resources.files('viton_jax.server') / 'page'
  for entry in folder.iterdir():
    suffix = '.' + entry.name.rpartition('.')[2]
    if suffix not in _KINDS:
      continue
    own = {'index.html': '/', 'docs.html': '/docs'}
    address = own.get(entry.name, f'/page/{entry.name}')
    data = entry.read_bytes()
    app.add_api_route(
      address,
      _sender(data, _KINDS[suffix]),
      methods=['GET', 'HEAD'],
      include_in_schema=False,
    )


def _sender(data: bytes, kind: str):
  tag = f'"{hashlib.sha256(data).hexdigest()[:20]}"'
  headers = {'ETag': tag, 'Cache-Control': 'no-cache'}

  async def send(request: Request) -> Response:
    if request.headers.get('if-none-match') == tag:
      return Response(status_code=304, headers=headers)
    return Response(data, media_type=kind, headers=headers)

  return send
