"""The page's live view in Chromium, whose camera is a video of a drawn person.

  python -m benchmarks.live_page [--seconds 60] [--checkpoint W]

One tab: pictures shown a second, and milliseconds from the camera's frame to
its picture on the page; how long another garment takes to be seen; how soon
pictures come as before when the server stood still for half a second. Then two
tabs at once. Server, browser and camera share the machine's cores.

Needs the extras `serve` and `dev`, Chromium, and joints' model
(`python -m viton_jax.perception fetch blazepose`).
"""

import argparse
import contextlib
import os
import pathlib
import signal
import sys
import tempfile
import time

import numpy as np

# Modules of tests import one another as pytest lets them.
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'tests'))

from benchmarks import timing  # noqa: E402
from input_pipeline.synthetic.motion import render_motion  # noqa: E402
from tests.browser import browser  # noqa: E402
from tests.live_videos import garment  # noqa: E402
from tests.server_process import serving  # noqa: E402
from viton_jax import errors  # noqa: E402
from viton_jax.io import images  # noqa: E402
from viton_jax.perception import model_files  # noqa: E402

_FRAMES = 90
_SETTLE_S = 5  # Until the first key frames are there.
_STALL_S = 0.5
# When a frame was taken from the camera, and when its picture was shown.
_RECORD = """
  window.taken = [];
  window.pictures = [];
  const encode = HTMLCanvasElement.prototype.toBlob;
  HTMLCanvasElement.prototype.toBlob = function (...more) {
    window.taken.push(performance.now());
    return encode.apply(this, more);
  };
  addEventListener('DOMContentLoaded', () => {
    const box = document.querySelector('#live');
    new MutationObserver(() => {
      // The page has taken the next frame before it is told of this picture.
      window.pictures.push([
        performance.now(), window.taken.at(-2), box.dataset.garment]);
    }).observe(box, {attributeFilter: ['data-shown']});
  });
"""


def write_camera(path: pathlib.Path) -> None:
  """Motion JPEG of 640 x 480: somebody who sways and moves the arms."""
  data = []
  for frame, _ in render_motion(5, 1, 480, frames=_FRAMES):
    side = (640 - frame.shape[1]) // 2
    rest = 640 - frame.shape[1] - side
    wide = np.pad(frame, ((0, 0), (side, rest), (0, 0)), 'edge')
    data.append(images.encode_jpeg(np.ascontiguousarray(wide), quality=90))
  path.write_bytes(b''.join(data))


def open_tab(chromium, server):
  """A page that is live with the gallery's first garment."""
  context = chromium.new_context(viewport={'width': 1280, 'height': 900})
  context.set_default_timeout(120_000)
  page = context.new_page()
  origin = f'http://localhost:{server.port}'
  context.grant_permissions(['camera'], origin=origin)
  page.add_init_script(_RECORD)
  page.goto(f'{origin}/')
  page.wait_for_selector('.state.ready')
  page.click('#garment .thumbs button')
  page.wait_for_selector('#go-live:enabled')
  page.click('#go-live')
  page.wait_for_function(
    "() => document.querySelector('#live').dataset.garment"
  )
  page.wait_for_timeout(1000 * _SETTLE_S)
  return page


def watch(page, seconds: float) -> np.ndarray:
  """(n, 2): when pictures were shown, and how old their frames were; ms."""
  page.evaluate('window.pictures.length = 0')
  page.wait_for_timeout(1000 * seconds)
  return shown(page)


def shown(page) -> np.ndarray:
  """(n, 2) as `watch` gives it, of the pictures since it began."""
  rows = page.evaluate('window.pictures.map((x) => [x[0], x[1]])')
  found = np.array(rows, float).reshape(-1, 2)
  return np.stack([found[:, 0], found[:, 0] - found[:, 1]], axis=1)


def said(pictures: np.ndarray, seconds: float) -> str:
  """Pictures a second and quantiles of their age."""
  if not len(pictures):
    return 'no picture'
  half, most, longest = np.quantile(pictures[:, 1], (0.5, 0.95, 1))
  return (
    f'{len(pictures) / seconds:.1f} pictures/s, latency p50 {half:.0f}, p95 '
    f'{most:.0f}, longest {longest:.0f} ms'
  )


def change_of_garment_ms(page) -> float:
  """From the click to the first picture that shows the other garment."""
  before = page.get_attribute('#live', 'data-garment')
  page.evaluate('window.pictures.length = 0')
  page.evaluate(
    """() => {
      window.clicked = performance.now();
      document.querySelector(
        '#garment .thumbs button:not([aria-pressed=true])').click();
    }"""
  )
  page.wait_for_function(
    'x => window.pictures.some((y) => y[2] && y[2] !== x)', arg=before
  )
  return page.evaluate(
    """x => window.pictures.find((y) => y[2] && y[2] !== x)[0]
       - window.clicked""",
    before,
  )


def recovery_ms(page, server, usual_ms: float) -> float:
  """From when a server goes on to the first picture as fresh as `usual_ms`."""
  page.evaluate('window.pictures.length = 0')
  os.kill(server.worker, signal.SIGSTOP)
  time.sleep(_STALL_S)
  os.kill(server.worker, signal.SIGCONT)
  begin = page.evaluate('performance.now()')
  page.wait_for_timeout(3000)
  after = [x for x in shown(page) if x[0] >= begin and x[1] <= usual_ms]
  return after[0][0] - begin if after else float('inf')


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add('--seconds', type=float, default=60)
  add('--checkpoint', help='default: the networks that come along')
  options = parser.parse_args()
  with contextlib.ExitStack() as stack:
    folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    gallery = folder / 'garments'
    gallery.mkdir()
    for name, index in (('blue', 2), ('red', 6)):
      (gallery / f'{name}.png').write_bytes(garment(index))
    write_camera(folder / 'camera.mjpeg')
    more = ('--checkpoint', options.checkpoint) if options.checkpoint else ()
    more += ('--models_dir', model_files.models_folder())
    server = stack.enter_context(
      serving(folder, '--garments', gallery, '--max_batch', 1, *more)
    )
    chromium = stack.enter_context(browser(folder / 'camera.mjpeg'))
    print(timing.device())
    page = open_tab(chromium, server)
    pictures = watch(page, options.seconds)
    print(f'one tab, {options.seconds:g} s: {said(pictures, options.seconds)}')
    changes = [change_of_garment_ms(page) for _ in range(10)]
    print(
      f'another garment: p50 {np.median(changes):.0f}, longest '
      f'{max(changes):.0f} ms'
    )
    usual = float(np.quantile(pictures[:, 1], 0.95))
    stalls = [recovery_ms(page, server, usual) for _ in range(5)]
    print(
      f'after {_STALL_S:g} s without the server: as before within '
      f'{max(stalls):.0f} ms'
    )
    pages = [page, open_tab(chromium, server)]
    for one in pages:
      one.evaluate('window.pictures.length = 0')
    page.wait_for_timeout(1000 * options.seconds)
    for number, one in enumerate(pages, 1):
      print(f'tab {number} of 2: {said(shown(one), options.seconds)}')


if __name__ == '__main__':
  errors.run(main)
