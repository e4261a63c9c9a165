"""Debian's Chromium, driven by playwright; with a camera of a file."""

from collections.abc import Iterator
import contextlib
import importlib.resources
import os
import pathlib
import shutil

import numpy as np
from playwright.sync_api import Page, sync_playwright
import pytest

from input_pipeline.synthetic import render_pair
from viton_jax.io import images

CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
# In continuous integration it must be there: .ci/run installs it.
needs_chromium = pytest.mark.skipif(
  not CHROMIUM and 'CI' not in os.environ,
  reason='Chromium is missing; type: apt-get install chromium',
)


def write_camera(path: pathlib.Path, *, frames: int = 30) -> np.ndarray:
  """Writes a video of a drawn person who sways; returns its first frame."""
  person = render_pair(5, 1, 480).person
  first, data = None, []
  for i in range(frames):
    shift = round(12 * np.sin(2 * np.pi * i / frames))
    frame = np.roll(
      np.pad(person, ((0, 0), (140, 140), (0, 0)), 'edge'), shift, 1
    )
    first = frame if first is None else first
    data.append(images.encode_jpeg(np.ascontiguousarray(frame), quality=90))
  path.write_bytes(b''.join(data))  # Motion JPEG: one after the other.
  return first


@contextlib.contextmanager
def browser(camera: pathlib.Path) -> Iterator:
  arguments = [
    *('--no-sandbox', '--disable-gpu'),
    '--use-fake-device-for-media-stream',
    '--use-fake-ui-for-media-stream',
    f'--use-file-for-fake-video-capture={camera}',
    '--host-resolver-rules=MAP shop.example 127.0.0.1',
  ]
  with sync_playwright() as playwright:
    opened = playwright.chromium.launch(
      executable_path=CHROMIUM, args=arguments
    )
    yield opened
    opened.close()


class Watch:
  """What a page must not do: say errors, ask other addresses."""

  def __init__(self, page: Page, origin: str):
    self.errors, self.strangers = [], []
    page.on('pageerror', lambda error: self.errors.append(str(error)))
    page.on(
      'console',
      lambda message: (
        self.errors.append(message.text) if message.type == 'error' else None
      ),
    )
    page.on(
      'request',
      lambda request: (
        None
        if request.url.startswith((origin, 'blob:' + origin))
        else self.strangers.append(request.url)
      ),
    )


def serious_violations(page: Page) -> list[str]:
  """What axe-core finds that keeps people from using the page."""
  folder = importlib.resources.files('axe_playwright_python')
  page.evaluate((folder / 'axe.min.js').read_text())
  found = page.evaluate('() => axe.run()')
  assert len(found['passes']) > 15
  return [
    f'{x["id"]}: {x["nodes"][0]["html"]}'
    for x in found['violations']
    if x['impact'] in ('serious', 'critical')
  ]
