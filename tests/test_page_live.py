"""The page's live view in a real Chromium, whose camera is a file."""

from browser import Watch, browser, needs_chromium, serious_violations
import fetched_models
import live_videos
import numpy as np
import pytest
from server_process import serving
from test_page import DESKTOP, PHONE, shown

from viton_jax.io import images

pytestmark = [pytest.mark.slow, needs_chromium]
_WAIT_MS = 240_000


@pytest.fixture(scope='module')
def server(tmp_path_factory):
  folder = tmp_path_factory.mktemp('page_live')
  gallery = folder / 'garments'
  gallery.mkdir()
  for name, index in (('blue', 2), ('red', 6)):
    (gallery / f'{name}.png').write_bytes(live_videos.garment(index))
  models = fetched_models.folder('blazepose')
  options = ('--garments', gallery, '--max_batch', 1, '--models_dir', models)
  with serving(folder, *options) as running:
    yield running


@pytest.fixture(scope='module')
def chromium(tmp_path_factory):
  camera = tmp_path_factory.mktemp('camera') / 'camera.mjpeg'
  frames = live_videos.frames()
  # People walk slowly.
  data = [images.encode_jpeg(x, quality=90) for x in np.repeat(frames, 3, 0)]
  camera.write_bytes(b''.join(data))
  with browser(camera) as opened:
    yield opened


def open_page(chromium, server, viewport, host='localhost'):
  context = chromium.new_context(viewport=viewport)
  context.set_default_timeout(_WAIT_MS)
  page = context.new_page()
  origin = f'http://{host}:{server.port}'
  if host == 'localhost':
    context.grant_permissions(['camera'], origin=origin)
  watch = Watch(page, origin)
  page.goto(f'{origin}/')
  page.wait_for_selector('.state.ready')
  page.click('#garment .thumbs button')
  page.wait_for_selector('#go-live:enabled')
  return page, watch


def red_share(page) -> float:
  pixels = shown(page, 'figure[data-view="try-on"] canvas').astype(int)
  return float((pixels[..., 0] > pixels[..., 1:].max(-1) + 60).mean())


@pytest.mark.parametrize('viewport', [DESKTOP, PHONE])
def test_live_with_a_change_of_garment_and_six_views(
  chromium, server, viewport
):
  page, watch = open_page(chromium, server, viewport)
  page.click('#go-live')
  page.wait_for_function(
    "() => document.querySelector('#live').dataset.garment"
  )
  page.wait_for_function(
    "() => document.querySelector('#live').dataset.shown > 20"
  )
  assert not page.inner_text('#live .said')
  assert red_share(page) < 0.05
  before = page.get_attribute('#live', 'data-garment')
  page.click('#garment .thumbs button >> nth=1')
  page.wait_for_function(
    'x => document.querySelector("#live").dataset.garment !== x', arg=before
  )
  count = int(page.get_attribute('#live', 'data-shown'))
  page.wait_for_function(
    'n => document.querySelector("#live").dataset.shown > n', arg=count + 3
  )
  assert red_share(page) > 0.05
  page.wait_for_function(
    "() => document.querySelector('#live .rate').innerText.includes('second')"
  )
  for name in ('input', 'pose', 'segmentation', 'attached', 'garment'):
    page.click(f'.choices button:text-is("{name}")')
  page.wait_for_function(
    'n => document.querySelector("#live").dataset.shown > n', arg=count + 12
  )
  seen = {
    shown(page, f'figure:nth-child({i}) canvas').tobytes() for i in range(1, 7)
  }
  assert len(seen) == 6
  assert (
    page.evaluate('document.documentElement.scrollWidth') <= (viewport['width'])
  )
  assert serious_violations(page) == []
  page.click('#live [data-do=pause]')
  page.wait_for_timeout(1000)
  count = page.get_attribute('#live', 'data-shown')
  page.wait_for_timeout(1500)
  assert page.get_attribute('#live', 'data-shown') == count
  page.click('#live [data-do=stop]')
  page.wait_for_selector('#live', state='hidden')
  assert page.is_visible('#stage')
  assert not watch.errors and not watch.strangers
  page.context.close()


def test_a_garment_of_ones_own_is_worn_live(chromium, server):
  page, watch = open_page(chromium, server, DESKTOP)
  page.set_input_files(
    '#garment .row input[type=file]',
    {
      'name': 'mine.png',
      'mimeType': 'image/png',
      'buffer': live_videos.garment(6),
    },
  )
  page.wait_for_function(
    "() => !document.querySelector('#garment .thumbs [aria-pressed=true]')"
  )
  page.click('#go-live')
  page.wait_for_function(
    "() => document.querySelector('#live').dataset.garment"
  )
  page.wait_for_function(
    "() => document.querySelector('#live').dataset.shown > 5"
  )
  assert red_share(page) > 0.05
  assert not watch.errors
  page.context.close()


def test_an_insecure_address_says_what_to_do(chromium, server):
  page, _ = open_page(chromium, server, DESKTOP, host='shop.example')
  page.click('#go-live')
  page.wait_for_selector('#live .error:visible')
  assert 'needs https or localhost' in page.inner_text('#live .error')
  page.context.close()
