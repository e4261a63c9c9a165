"""Serves this folder with the headers that threads in a browser need.

  python serve.py [PORT]

`python -m http.server` does as well, with one thread.
"""

import functools
import http.server
import pathlib
import sys


class Handler(http.server.SimpleHTTPRequestHandler):
  """Files alone; the page shares its memory with its own threads."""

  def end_headers(self):
    self.send_header('Cross-Origin-Opener-Policy', 'same-origin')
    self.send_header('Cross-Origin-Embedder-Policy', 'require-corp')
    super().end_headers()


if __name__ == '__main__':
  port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
  folder = pathlib.Path(__file__).parent
  handler = functools.partial(Handler, directory=folder)
  server = http.server.ThreadingHTTPServer(('127.0.0.1', port), handler)
  print(f'http://localhost:{server.server_address[1]}', flush=True)
  server.serve_forever()
