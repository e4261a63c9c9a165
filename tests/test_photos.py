"""Photos against Pillow, which wrote them and reads them in its own way."""

import io
import zlib

import numpy as np
from PIL import Image, ImageOps
import pytest

from viton_jax.errors import InputError
from viton_jax.io import photos


def picture(h=40, w=56):
  """Something smooth and without symmetry, so that JPEG keeps it."""
  y, x = np.mgrid[:h, :w]
  return np.stack([4 * x, 5 * y, 255 - 3 * x - y], -1).astype(np.uint8)


def encode(image, kind, **options):
  data = io.BytesIO()
  image.save(data, kind, **options)
  return data.getvalue()


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
def test_is_turned_upright(kind, orientation):
  exif = Image.Exif()
  exif[0x0112] = orientation
  options = {'quality': 98} if kind == 'JPEG' else {'lossless': True}
  data = encode(Image.fromarray(picture()), kind, exif=exif, **options)
  got, opacity = photos.decode_photo(data, 'a')
  expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
  expected = np.asarray(expected.convert('RGB'))
  assert opacity is None
  assert got.shape == expected.shape
  worst = np.abs(got.astype(int) - expected).max()
  assert worst <= (4 if kind == 'JPEG' else 0)


@pytest.mark.parametrize('kind', ['PNG', 'WEBP'])
def test_transparency_lies_before_white(kind):
  alpha = np.zeros((40, 56), np.uint8)
  alpha[10:30, 10:40], alpha[5:10] = 255, 100
  rgba = Image.fromarray(np.dstack([picture(), alpha]))
  # `exact` keeps WebP's colours below what cannot be seen.
  data = encode(
    rgba, kind, **({'lossless': True, 'exact': True} if kind == 'WEBP' else {})
  )
  got, opacity = photos.decode_photo(data, 'a')
  white = Image.new('RGBA', rgba.size, 'white')
  expected = np.asarray(Image.alpha_composite(white, rgba).convert('RGB'))
  np.testing.assert_array_equal(opacity, alpha)
  assert np.abs(got.astype(int) - expected).max() <= 1
  np.testing.assert_array_equal(
    photos.read_photo(np.dstack([picture(), alpha]))[0], got
  )


def test_grey_palette_and_grey_with_alpha():
  grey = picture()[..., 0]
  for image in (Image.fromarray(grey), Image.fromarray(grey).convert('P')):
    got, opacity = photos.decode_photo(encode(image, 'PNG'), 'a')
    np.testing.assert_array_equal(got, np.dstack([grey] * 3))
    assert opacity is None
  alpha = np.full_like(grey, 255)
  alpha[:20] = 0
  both = Image.merge('LA', [Image.fromarray(grey), Image.fromarray(alpha)])
  got, opacity = photos.decode_photo(encode(both, 'PNG'), 'a')
  np.testing.assert_array_equal(opacity, alpha)
  assert (got[:20] == 255).all()
  np.testing.assert_array_equal(got[20:], np.dstack([grey] * 3)[20:])


def test_sixteen_bits_are_rounded_to_eight():
  deep = (picture()[..., 0].astype(np.uint16) * 257 + 100).clip(max=65535)
  got, _ = photos.decode_photo(encode(Image.fromarray(deep), 'PNG'), 'a')
  np.testing.assert_array_equal(got[..., 0], np.rint(deep / 257))


def test_cmyk_jpeg_has_the_colours_that_pillow_sees():
  data = encode(Image.fromarray(picture()).convert('CMYK'), 'JPEG', quality=98)
  got, _ = photos.decode_photo(data, 'a')
  expected = np.asarray(Image.open(io.BytesIO(data)).convert('RGB'))
  assert np.abs(got.astype(int) - expected).mean() < 3


@pytest.mark.parametrize(
  ('data', 'said'),
  [
    (b'', 'is empty'),
    (b'hello', 'neither a JPEG nor a PNG'),
    (b'GIF89a' + bytes(20), 'GIF'),
    (b'\0\0\0\x18ftypheic' + bytes(20), 'HEIC'),
    (b'RIFF\0\1\0\0WEBPVP8 ' + bytes(20), 'truncated'),
  ],
)
def test_what_is_not_read_says_what_it_is(data, said):
  with pytest.raises(InputError, match=f'me.jpg: .*{said}'):
    photos.decode_photo(data, 'me.jpg')


@pytest.mark.parametrize('kind', ['PNG', 'WEBP'])
def test_animated_pictures_are_refused(kind):
  frames = [Image.fromarray(picture() // k) for k in (1, 2, 3)]
  data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
  with pytest.raises(InputError, match='animated'):
    photos.decode_photo(data, 'a')


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
@pytest.mark.parametrize('lossless', [True, False])
def test_too_large_is_refused_by_the_header_alone(kind, lossless):
  options = {'lossless': lossless} if kind == 'WEBP' else {}
  data = encode(Image.fromarray(picture()), kind, **options)
  with pytest.raises(InputError, match='56 x 40 pixels is above the limit'):
    photos.decode_photo(data, 'a', max_pixels=2_000)


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
def test_a_cut_file_is_refused(kind):
  data = encode(Image.fromarray(picture()), kind)
  with pytest.raises(InputError, match='truncated|damaged'):
    photos.decode_photo(data[: len(data) * 3 // 4], 'a')


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'L', 'P', 'LA', '1', 'CMYK'])
def test_pillow_images_are_turned_upright(mode, orientation):
  image = Image.fromarray(picture())
  if mode == 'RGBA':
    image.putalpha(Image.fromarray(picture()[..., 0]))
  image = image.convert(mode)
  image.getexif()[0x0112] = orientation
  got, opacity = photos.read_photo(image, 'person')
  rgba = ImageOps.exif_transpose(image).convert('RGBA')
  white = Image.new('RGBA', rgba.size, 'white')
  expected = np.asarray(Image.alpha_composite(white, rgba).convert('RGB'))
  assert got.dtype == np.uint8 and got.shape == expected.shape
  assert np.abs(got.astype(int) - expected).max() <= 1
  if mode == 'RGBA':
    np.testing.assert_array_equal(opacity, np.asarray(rgba)[..., 3])
  else:
    assert opacity is None


def test_pillow_images_from_files(tmp_path):
  """Transparent palettes, 16 bits, and what is damaged, animated or huge."""
  grey = picture()[..., 0]
  palette = Image.fromarray(grey).convert('P')
  palette.save(tmp_path / 'p.png', transparency=int(grey[0, 0]))
  deep = Image.fromarray(grey.astype(np.uint16) * 257)
  deep.save(tmp_path / 'deep.png')
  for name in ('p.png', 'deep.png'):
    got, opacity = photos.read_photo(Image.open(tmp_path / name))
    want, want_opacity = photos.read_photo(tmp_path / name)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(opacity, want_opacity)
  data = encode(Image.fromarray(picture()), 'JPEG')
  cut = Image.open(io.BytesIO(data[: len(data) * 3 // 4]))
  with pytest.raises(InputError, match='the garment: .* damaged'):
    photos.read_photo(cut, 'garment')
  frames = [Image.fromarray(picture() // k) for k in (1, 2)]
  moving = encode(frames[0], 'GIF', save_all=True, append_images=frames[1:])
  with pytest.raises(InputError, match='animated'):
    photos.read_photo(Image.open(io.BytesIO(moving)))
  with pytest.raises(InputError, match='56 x 40 pixels is above the limit'):
    photos.read_photo(frames[0], max_pixels=2_000)
  with pytest.raises(InputError, match="mode 'F'"):
    photos.read_photo(frames[0].convert('F'))


def test_what_is_no_photo_is_refused_in_a_sentence():
  with pytest.raises(InputError, match='the person is a list; give a path'):
    photos.read_photo([[1, 2], [3, 4]], 'person')


def test_a_second_header_cannot_hide_a_large_size():
  """OpenCV would allocate the 32000 x 32000 pixels of the second one."""
  jpeg = encode(Image.fromarray(picture()), 'JPEG')
  at = jpeg.index(b'\xff\xc0')
  length = int.from_bytes(jpeg[at + 2 : at + 4])
  frame = jpeg[at : at + 2 + length]
  large = frame[:5] + (32000).to_bytes(2) * 2 + frame[9:]
  end = at + len(frame)
  for both in (frame + large, large + frame):
    with pytest.raises(InputError, match='damaged|above the limit'):
      photos.decode_photo(jpeg[:at] + both + jpeg[end:], 'a')
  png = encode(Image.fromarray(picture()), 'PNG')
  body = b'IHDR' + (32000).to_bytes(4) * 2 + png[24:29]
  second = (13).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)
  with pytest.raises(InputError, match='damaged'):
    photos.decode_photo(png[:33] + second + png[33:], 'a')


def test_arrays_and_missing_files(tmp_path):
  rgb = picture()
  np.testing.assert_array_equal(photos.read_photo(rgb)[0], rgb)
  with pytest.raises(InputError, match='float32'):
    photos.read_photo(rgb.astype(np.float32), 'garment')
  with pytest.raises(InputError, match='no.jpg: the garment cannot be read'):
    photos.read_photo(tmp_path / 'no.jpg', 'garment')
