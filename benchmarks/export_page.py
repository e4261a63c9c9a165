"""Seconds a picture of the page without a server, in Chromium on WebAssembly.

  python -m viton_jax.export --out_dir E --format web
  python -m benchmarks.export_page --export E [--pictures 5] [--screenshot FILE]

The example that lies beside the page is dressed again and again in one session;
the first picture includes what the browser compiles. Needs the extra `dev` and
Chromium.
"""

import argparse
import pathlib
import subprocess
import sys

# Modules of tests import one another as pytest lets them.
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'tests'))

from tests.browser import browser  # noqa: E402
from viton_jax import errors  # noqa: E402
from viton_jax.errors import InputError  # noqa: E402

_TIMEOUT_MS = 120_000


def _serve(folder: pathlib.Path) -> subprocess.Popen:
  script = folder / 'serve.py'
  if not script.is_file():
    raise InputError(
      f'--export {folder.parent} holds no web/serve.py; write it with python '
      '-m viton_jax.export --format web.'
    )
  return subprocess.Popen(
    [sys.executable, '-u', script, '0'],
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
  )


def _measure(page, count: int) -> list[float]:
  """Seconds of each picture, as the page says them."""
  page.wait_for_selector('#sample:enabled', timeout=_TIMEOUT_MS)
  seconds = []
  for _ in range(count):
    page.evaluate('delete document.body.dataset.seconds')
    page.click('#sample')
    page.wait_for_function('document.body.dataset.seconds', timeout=_TIMEOUT_MS)
    seconds.append(float(page.evaluate('document.body.dataset.seconds')))
  return seconds


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument('--export', type=pathlib.Path, required=True)
  parser.add_argument('--pictures', type=int, default=5)
  parser.add_argument('--screenshot', type=pathlib.Path)
  options = parser.parse_args()
  if options.pictures < 2:
    raise InputError(f'--pictures is {options.pictures}; give at least 2.')
  folder = options.export / 'web'
  size = sum(x.stat().st_size for x in folder.rglob('*') if x.is_file())
  with _serve(folder) as server:
    try:
      assert server.stdout is not None
      address = server.stdout.readline().strip()
      with browser(pathlib.Path('none')) as opened:
        page = opened.new_page(viewport={'width': 1280, 'height': 900})
        page.goto(address)
        first, *others = _measure(page, options.pictures)
        said = page.inner_text('#said')
        if options.screenshot:
          page.screenshot(path=options.screenshot, full_page=True)
    finally:
      server.terminate()
  print(f'folder {size / 1e6:.0f} MB; the page says: {said}')
  print(f'first picture {first:.2f} s, then', *(f'{x:.2f}' for x in others))


if __name__ == '__main__':
  errors.run(main)
