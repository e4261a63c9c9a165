"""Resizing, byte for byte as Pillow to version 12, and as torch and TensorFlow.

The digests are of what Pillow 9.5, 11.3 and 12.0 give, which are equal.
"""

import zlib

import jax
import metric_goldens as goldens
import numpy as np
import pytest

from viton_jax.metrics import resize

# (height, width) before and after; CRC-32 for bilinear, bicubic, lanczos.
CASES = [
  ((256, 192), (128, 128), (3938565808, 1197257740, 404860726)),
  ((256, 192), (299, 299), (1489199780, 1042080085, 52345111)),
  ((512, 384), (299, 299), (322001294, 610217004, 3222985388)),
  ((512, 384), (256, 192), (3857644843, 1735670639, 2909686328)),
  ((1024, 768), (512, 384), (2889350407, 2060007165, 44639006)),
  ((97, 61), (31, 200), (1584526296, 2717805703, 2383008711)),
  ((48, 64), (299, 17), (1112911940, 1962800428, 1140676148)),
]
_BIG = (299, 299)


@pytest.mark.parametrize('filter', ['bilinear', 'bicubic', 'lanczos'])
@pytest.mark.parametrize('seed', range(len(CASES)))
def test_no_byte_differs_from_pillow_12(seed, filter):
  old, new, digests = CASES[seed]
  rng = np.random.default_rng(seed)
  image = rng.integers(0, 256, (*old, 3), dtype=np.uint8)
  found = np.asarray(resize.pillow(image[None], new, filter=filter))
  assert found.dtype == np.uint8 and found.shape == (1, *new, 3)
  expected = digests[('bilinear', 'bicubic', 'lanczos').index(filter)]
  assert zlib.crc32(found.tobytes()) == expected


def test_the_same_size_is_the_same_image():
  image, _ = goldens.pairs('small')
  for filter in ('bilinear', 'bicubic', 'lanczos'):
    found = resize.pillow(image, (64, 48), filter=filter)
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize('tag', ['truth_0', 'truth_0_doubled'])
@pytest.mark.parametrize(
  'name, function',
  [
    ('tf1_bilinear_299', resize.tf1_bilinear),
    (
      'torchmetrics_antialias_299',
      lambda x, size: resize.half_pixel_bilinear(x, size, antialias=True),
    ),
    ('pytorch_fid_299', resize.half_pixel_bilinear),
    ('clean_299', resize.pillow_float),
  ],
)
def test_resizing_in_floats(name, function, tag):
  image = goldens.pairs('full')[1][:1]
  if tag.endswith('doubled'):
    image = np.kron(image, np.ones((1, 2, 2, 1), np.uint8))
  found = jax.jit(lambda x: function(x, _BIG))(image)[0, ::21, ::21]
  expected = goldens.arrays()[f'resize/{name}/{tag}_every_21st']
  # Float32 of values to 255, a few roundings.
  np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_grey_levels_are_those_of_pil():
  _, true = goldens.pairs('small')
  np.testing.assert_array_equal(
    resize.to_grey(true[:1])[0], goldens.arrays()['grey/pil_L_small_truth_0']
  )
