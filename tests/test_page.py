"""The page in a real Chromium, against a real server without networks."""

import base64
import io
import json

from browser import (
  Watch,
  browser,
  needs_chromium,
  serious_violations,
  write_camera,
)
import cv2
import numpy as np
from PIL import Image
import pytest
from server_process import serving

from input_pipeline.synthetic import render_pair
import viton_jax
from viton_jax.io import images
from viton_jax.perception import openpose_json

pytestmark = [pytest.mark.slow, needs_chromium]
PHONE = {'width': 360, 'height': 780}
DESKTOP = {'width': 1280, 'height': 900}


@pytest.fixture(scope='module')
def pair():
  return render_pair(5, 1, 320)


@pytest.fixture(scope='module')
def shirt():
  return render_pair(5, 2, 320).garment


@pytest.fixture(scope='module')
def server(tmp_path_factory, pair, shirt):
  folder = tmp_path_factory.mktemp('page')
  gallery, people = folder / 'garments', folder / 'people'
  gallery.mkdir()
  people.mkdir()
  (gallery / 'shirt.png').write_bytes(images.encode_png(shirt))
  (people / 'anna.png').write_bytes(images.encode_png(pair.person))
  (people / 'anna.labels.png').write_bytes(images.encode_png(pair.parse))
  (people / 'anna.json').write_text(json.dumps(openpose_json([pair.keypoints])))
  options = ('--garments', gallery, '--samples', people)
  with serving(folder, *options) as running:
    yield running


@pytest.fixture(scope='module')
def camera(tmp_path_factory):
  path = tmp_path_factory.mktemp('camera') / 'camera.mjpeg'
  return path, write_camera(path)


@pytest.fixture(scope='module')
def chromium(camera):
  with browser(camera[0]) as opened:
    yield opened


def open_page(chromium, server, *, viewport, host='localhost', **options):
  context = chromium.new_context(viewport=viewport, **options)
  context.set_default_timeout(30_000)
  page = context.new_page()
  origin = f'http://{host}:{server.port}'
  watch = Watch(page, origin)
  page.goto(f'{origin}/')
  page.wait_for_selector('.state.ready')
  page.wait_for_selector('#garment .thumbs button')
  return page, watch


@pytest.fixture
def page(chromium, server):
  page, watch = open_page(
    chromium, server, viewport=DESKTOP, permissions=['camera']
  )
  yield page
  page.context.close()
  assert not watch.strangers
  # A refusal is an answer with a status that Chromium tells in the console.
  assert not [x for x in watch.errors if 'status of 4' not in x]


def dress(page):
  page.click('#person .thumbs button')
  page.click('#garment .thumbs button')
  page.wait_for_selector('#try:enabled')
  page.click('#try')
  page.wait_for_selector('.wipe:visible')


def shown(page, selector):
  """The pixels of a canvas, (h, w, 3)."""
  text = page.evaluate(
    '(s) => document.querySelector(s).toDataURL("image/png")', selector
  )
  data = base64.b64decode(text.partition(',')[2])
  return cv2.imdecode(np.frombuffer(data, np.uint8), 1)[..., ::-1]


def download(page) -> np.ndarray:
  with page.expect_download() as started:
    page.click('#download')
  name = started.value.path()
  assert started.value.suggested_filename == 'try-on.png'
  return cv2.imread(str(name))[..., ::-1]


def upload(page, card, data, name='me.jpg', kind='image/jpeg'):
  page.set_input_files(
    f'{card} .row input[type=file]',
    {'name': name, 'mimeType': kind, 'buffer': data},
  )


# ---------------------------------------------------------------- from a to z
def test_two_clicks_give_the_picture_of_the_command(page, pair, shirt):
  dress(page)
  expected = viton_jax.try_on(
    pair.person,
    shirt,
    method='paste',
    pose=pair.keypoints.round(4),
    parse=pair.parse,
  )
  np.testing.assert_array_equal(download(page), expected.picture)
  names = page.locator('.strip span').all_inner_texts()
  assert names == list(expected.steps)
  page.click('.notes summary')
  assert 'garment mask:' in page.inner_text('.notes ul')
  # The wipe, by the keyboard.
  line = page.locator('.wipe .line')
  before = line.bounding_box()['x']
  page.focus('.wipe input')
  for _ in range(10):
    page.keyboard.press('ArrowRight')
  assert line.bounding_box()['x'] > before + 5
  page.click('.strip button >> nth=2')
  assert page.is_visible('#large img')
  page.keyboard.press('Escape')
  assert not page.is_visible('#large img')
  after = page.get_attribute('.wipe .after', 'src')
  page.click('#attach-toggle')
  page.wait_for_selector('#attach-toggle[aria-pressed=true]')
  assert page.get_attribute('.wipe .after', 'src') != after
  assert serious_violations(page) == []


def test_everything_by_the_keyboard(page):
  def tab_to(selector):
    for _ in range(60):
      if page.evaluate('(s) => document.activeElement.matches(s)', selector):
        return
      page.keyboard.press('Tab')
    raise AssertionError(f'{selector} cannot be reached')

  tab_to('#person .thumbs button')
  page.keyboard.press('Enter')
  page.wait_for_selector('#person .more:visible')
  tab_to('#garment .thumbs button')
  page.keyboard.press('Space')
  page.wait_for_selector('#try:enabled')
  tab_to('#try')
  page.keyboard.press('Enter')
  page.wait_for_selector('.wipe:visible')
  tab_to('#download')


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_a_phone_has_room_for_it(chromium, server, scheme):
  page, watch = open_page(
    chromium, server, viewport=PHONE, color_scheme=scheme, has_touch=True
  )
  dress(page)
  assert page.evaluate('() => document.documentElement.scrollWidth') <= 360
  page.tap('#garment [data-do=brush]')
  page.wait_for_selector('#brush[open]')
  assert page.locator('#brush').bounding_box()['width'] <= 360
  assert serious_violations(page) == []
  assert not watch.errors and not watch.strangers
  page.context.close()


# -------------------------------------------------------------------- photos
def test_photos_stand_upright(page, pair):
  turns = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
  }
  for orientation, turn in turns.items():
    photo = Image.fromarray(pair.person)
    photo = photo if turn is None else photo.transpose(turn)
    exif, data = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    photo.save(data, 'JPEG', exif=exif, quality=95, subsampling=0)
    upload(page, '#person', data.getvalue())
    page.wait_for_selector('#person .more:visible')
    pixels = shown(page, '#person .zone canvas')
    assert pixels.shape == pair.person.shape, orientation
    assert np.abs(pixels.astype(int) - pair.person).mean() < 4, orientation
    page.click('#person [data-do=clear]')


def test_large_photos_are_shrunk_and_cut_outs_stay_cut_out(page, shirt):
  sent = []
  page.on('request', lambda r: sent.append(r.post_data_buffer or b''))
  large = np.kron(shirt, np.ones((10, 10, 1), np.uint8))
  upload(page, '#garment', images.encode_jpeg(large), 'g.jpg')
  page.wait_for_selector('#garment .more:visible')
  assert max(shown(page, '#garment .zone canvas').shape) == 2048
  opacity = np.where(shirt.min(-1) < 250, 255, 0).astype(np.uint8)
  cut_out = images.encode_png(np.dstack([shirt, opacity]))
  upload(page, '#garment', cut_out, 'g.png', 'image/png')
  page.click('#person .thumbs button')
  page.wait_for_selector('#try:enabled')
  page.click('#try')
  page.wait_for_selector('.wipe:visible')
  page.click('.notes summary')
  assert "the photo's own transparency" in page.inner_text('.notes ul')
  # The names of files stay in the browser.
  assert not [x for x in sent if b'g.png' in x or b'g.jpg' in x]


def test_the_camera_counts_down(page, camera):
  page.click('#person [data-do=camera]')
  page.wait_for_selector('#camera [data-do=take]:enabled')
  page.click('#camera [data-do=take]')
  page.wait_for_selector('#camera .count:has-text("3")')
  page.wait_for_selector('#camera .count:has-text("1")')
  page.wait_for_selector('#person .more:visible')
  assert not page.is_visible('#camera')
  pixels = shown(page, '#person .zone canvas')
  # The whole picture, of any moment, and brighter: the video's range differs.
  assert pixels.shape == camera[1].shape
  likeness = [
    np.corrcoef(np.roll(pixels, shift, 1).ravel(), camera[1].ravel())[0, 1]
    for shift in range(-26, 27, 2)
  ]
  assert max(likeness) > 0.97


def test_an_insecure_origin_says_what_to_do(chromium, server):
  page, watch = open_page(
    chromium, server, viewport=DESKTOP, host='shop.example'
  )
  page.click('#person [data-do=camera]')
  sentence = page.inner_text('#person .error')
  assert 'needs https or localhost' in sentence
  dress(page)  # Uploads go on.
  assert not watch.errors and not watch.strangers
  page.context.close()


# ------------------------------------------------------------------- brushes
def paint(page, fro, to):
  box = page.locator('#brush .over').bounding_box()
  x0, y0, x1, y1 = (
    box['x'] + fro[0] * box['width'],
    box['y'] + fro[1] * box['height'],
    box['x'] + to[0] * box['width'],
    box['y'] + to[1] * box['height'],
  )
  page.mouse.move(x0, y0)
  page.mouse.down()
  page.mouse.move(x1, y1, steps=8)
  page.mouse.up()


def test_what_is_painted_as_worn_is_dressed(page, pair):
  dress(page)
  before = download(page)
  page.click('#person [data-do=brush]')
  page.wait_for_selector('#brush[open]')
  page.click('#brush [role=radio]:has-text("background")')
  paint(page, (0.3, 0.5), (0.7, 0.5))
  paint(page, (0.0, 0.0), (0.2, 0.0))
  page.click('#brush [data-do=undo]')
  page.click('#brush [data-do=use]')
  old = page.get_attribute('#download', 'href')
  page.click('#try')
  page.wait_for_selector(f'#download:not([href="{old}"]):visible')
  after = download(page)
  changed = np.abs(after.astype(int) - before).max(-1) > 10
  assert changed.mean() > 0.01
  # Where it was painted out the photo's own pixels are back.
  h, w = pair.parse.shape
  middle = (slice(h // 2 - 3, h // 2 + 3), slice(int(0.4 * w), int(0.6 * w)))
  np.testing.assert_array_equal(after[middle], pair.person[middle])
  assert (before[middle] != pair.person[middle]).any()


def test_a_garment_that_is_not_found_can_be_painted(page, shirt):
  noise = np.random.default_rng(0).integers(0, 255, shirt.shape, np.uint8)
  upload(
    page,
    '#garment',
    images.encode_png(noise),
    'noise.png',
    'image/png',
  )
  page.click('#person .thumbs button')
  page.wait_for_selector('#try:enabled')
  page.click('#try')
  page.wait_for_selector('#garment .error:visible')
  assert 'garment' in page.inner_text('#garment .error')
  assert not page.is_visible('#result .error')
  page.click('#garment [data-do=brush]')
  page.wait_for_selector('#brush[open]')
  assert page.is_visible('#brush .error')  # Why there is nothing yet.
  for y in (0.3, 0.4, 0.5, 0.6, 0.7):
    paint(page, (0.3, y), (0.7, y))
  # The brush moves by keys, too.
  page.focus('#brush .paint')
  page.keyboard.press('ArrowDown')
  page.keyboard.press('Space')
  page.click('#brush [data-do=use]')
  page.click('#try')
  page.wait_for_selector('.wipe:visible')
  page.click('.notes summary')
  assert 'garment mask: given' in page.inner_text('.notes ul')


# ------------------------------------------------------------------ refusals
def test_refusals_stand_beside_what_they_are_about(page):
  upload(page, '#person', b'no picture at all', 'me.png', 'image/png')
  page.wait_for_selector('#person .error:visible')
  assert 'save it as JPEG or PNG' in page.inner_text('#person .error')
  blank = images.encode_png(np.full((300, 300, 3), 200, np.uint8))
  upload(page, '#person', blank, 'me.png', 'image/png')
  page.click('#garment .thumbs button')
  page.wait_for_selector('#try:enabled')
  page.click('#try')
  page.wait_for_selector('#person .error:visible')
  assert '--pose FILE' in page.inner_text('#person .error')
  page.click('.options summary')
  page.set_input_files(
    '#pose',
    {'name': 'p.json', 'mimeType': 'application/json', 'buffer': b'{}'},
  )
  page.click('#try')
  page.wait_for_selector('#person .error:has-text("people")')


def test_a_key_is_asked_for_once(chromium, tmp_path):
  (tmp_path / 'keys').write_text('one-key-of-sixteen\n')
  with serving(tmp_path, '--api_keys', tmp_path / 'keys') as server:
    context = chromium.new_context(viewport=DESKTOP)
    page = context.new_page()
    page.goto(f'http://localhost:{server.port}/')
    page.wait_for_selector('#key[open]')
    page.fill('#key input', 'a-wrong-key-of-16')
    page.keyboard.press('Enter')
    page.wait_for_selector('#key[open]')
    page.fill('#key input', 'one-key-of-sixteen')
    page.keyboard.press('Enter')
    page.wait_for_selector('.state.ready')
    page.reload()
    page.wait_for_selector('.state.ready')
    page.wait_for_timeout(500)
    assert not page.is_visible('#key')
    context.close()


def test_the_page_for_developers(page, server):
  page.goto(f'http://localhost:{server.port}/docs')
  page.wait_for_selector('#routes section')
  assert '/try_on' in page.inner_text('#routes')
  assert serious_violations(page) == []
