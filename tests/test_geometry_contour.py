"""Garment masks from photos, contours, sampling, and the picture maker."""

import cv2
import numpy as np
import pytest

from input_pipeline.garment_masks import garment_mask
from viton_jax import show_match
from viton_jax.errors import InputError
from viton_jax.geometry import MatchingError, contour, fit_control_points

_SHIRT = np.int32(
  [
    [150, 120],
    [240, 90],
    [300, 110],
    [360, 90],
    [450, 120],
    [560, 300],
    [490, 350],
    [440, 280],
    [440, 640],
    [160, 640],
    [160, 280],
    [110, 350],
    [40, 300],
  ]
)


def _shirt(colour, *, background=255, quality=80, shading=6):
  """A garment photo, 760 x 600, through JPEG, and its true mask."""
  truth = np.zeros((760, 600), np.uint8)
  cv2.fillPoly(truth, [_SHIRT], 1)
  photo = np.full((760, 600, 3), background, np.float32)
  folds = shading * np.sin(np.arange(600) / 25)[None, :, None]
  photo = np.where(truth[..., None] > 0, np.float32(colour) + folds, photo)
  photo = np.uint8(np.clip(photo, 0, 255))
  code = cv2.imencode('.jpg', photo, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
  return cv2.imdecode(code, cv2.IMREAD_COLOR), truth > 0


def _iou(a, b):
  return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize(
  'colour',
  [
    (40, 60, 120),
    (255, 0, 0),
    (255, 255, 0),
    (244, 244, 244),
    (0, 0, 0),
  ],
)
@pytest.mark.parametrize('quality', [60, 95])
def test_garments_of_any_colour(colour, quality):
  """Red (255, 0, 0) and near-white cloth, where the original's test fails."""
  photo, truth = _shirt(colour, quality=quality)
  assert _iou(garment_mask(photo), truth) > 0.97


def test_grey_background():
  photo, truth = _shirt((120, 40, 60), background=236)
  assert _iou(garment_mask(photo), truth) > 0.97


def test_original_mask():
  """Every channel differs from 255; holes filled; 3 x 3 median."""
  photo = np.full((20, 20, 3), 255, np.uint8)
  photo[4:16, 4:16] = 100
  photo[8:10, 8:10, 0] = 255
  photo[2, 2] = 0
  mask = garment_mask(photo, fidelity='original')
  expected = np.zeros((20, 20), bool)
  expected[4:16, 4:16] = True
  for y, x in ((4, 4), (4, 15), (15, 4), (15, 15)):
    expected[y, x] = False  # The median rounds corners off.
  np.testing.assert_array_equal(mask, expected)
  red = np.full((20, 20, 3), 255, np.uint8)
  red[4:16, 4:16, 1:] = 0
  with pytest.raises(InputError, match='no garment'):
    garment_mask(red, fidelity='original')
  assert garment_mask(red).sum() > 100


def test_two_parts_stay_and_specks_go():
  photo = np.full((400, 300, 3), 255, np.uint8)
  photo[50:180, 60:240] = 90
  photo[220:350, 60:240] = 90
  photo[10:14, 10:14] = 0
  mask = garment_mask(photo)
  count = cv2.connectedComponents(mask.astype(np.uint8))[0] - 1
  assert count == 2 and not mask[:20].any()


@pytest.mark.parametrize(
  'photo, word',
  [
    (np.full((50, 40, 3), 255, np.uint8), 'no garment'),
    (np.zeros((50, 40), np.uint8), 'uint8'),
    (np.zeros((50, 40, 3), np.float32), 'float32'),
  ],
)
def test_bad_photos(photo, word):
  with pytest.raises(InputError, match=word):
    garment_mask(photo)


def test_bad_fidelity():
  with pytest.raises(InputError, match='fidelity'):
    garment_mask(np.zeros((9, 9, 3), np.uint8), fidelity='exact')


def test_traced_circle_is_a_circle():
  """Sub-pixel: a soft disc's contour lies on its radius."""
  y, x = np.mgrid[:80, :90]
  radius = np.hypot(x - 40.3, y - 37.8)
  disc = np.clip(25.4 - radius + 0.5, 0, 1).astype(np.float32)
  disc = cv2.GaussianBlur(disc, (0, 0), 0.8)
  (points,) = contour.trace(disc)
  found = np.hypot(points[:, 0] - 40.3, points[:, 1] - 37.8)
  assert np.abs(found - 25.4).max() < 0.1
  spread, tangents = contour.spread([points], 60)
  gaps = np.hypot(*np.diff(np.vstack([spread, spread[:1]]), axis=0).T)
  assert gaps.std() < 0.02 * gaps.mean()
  outward = np.arctan2(spread[:, 1] - 37.8, spread[:, 0] - 40.3)
  turn = np.mod(tangents - outward, 2 * np.pi)
  np.testing.assert_allclose(turn, turn[0], atol=0.05)
  assert np.abs(np.cos(turn[0])) < 0.05


def test_holes_run_the_other_way():
  ring = np.zeros((60, 60), np.float32)
  cv2.circle(ring, (30, 30), 25, 1.0, -1)
  cv2.circle(ring, (30, 30), 12, 0.0, -1)
  outer, hole = contour.trace(cv2.GaussianBlur(ring, (0, 0), 0.8))
  areas = [
    np.sum(c[:, 0] * np.roll(c[:, 1], -1) - np.roll(c[:, 0], -1) * c[:, 1])
    for c in (outer, hole)
  ]
  assert areas[0] * areas[1] < 0
  points, _ = contour.spread([outer, hole], 90)
  assert len(points) == 90


def test_original_boundary_of_a_square():
  mask = np.zeros((8, 8))
  mask[2:5, 3:6] = 1
  points, tangents = contour.boundary_original(mask)
  # One-based: the square covers x 4..6, y 3..5, with 3 crossings a side.
  assert len(points) == 12
  assert {3.5, 6.5} <= set(points[:, 0]) and {2.5, 5.5} <= set(points[:, 1])
  top = points[:, 1] == 2.5
  # The mask grows downwards there: gradient pi / 2, tangent pi, at corners
  # an eighth of a turn off.
  assert np.isclose(tangents[top], np.pi).any()


def test_original_sampling_drops_the_closest():
  points = np.array([[0, 0], [10, 0], [10.1, 0], [20, 0], [30, 0.0]])
  keep = contour.sample_original(points, 4, rng=np.random.default_rng(0))
  assert len(keep) == 4 and len({1, 2} & set(keep.tolist())) == 1


def test_original_sampling_equals_plain_loops():
  points = np.random.default_rng(5).uniform(0, 50, (150, 2))
  keep = contour.sample_original(points, 60, rng=np.random.default_rng(9))
  left = list(np.random.default_rng(9).permutation(150))
  while len(left) > 60:
    chosen = points[left]
    squared = np.sum((chosen[:, None] - chosen[None]) ** 2, axis=-1)
    np.fill_diagonal(squared, np.inf)
    left.pop(int(squared.min(axis=0).argmin()))
  np.testing.assert_array_equal(keep, left)


def test_torso_ignores_sleeves():
  mask = np.zeros((100, 80), bool)
  mask[20:90, 30:50] = True
  mask[20:30, 5:75] = True
  mask[30:70, 5:12] = True
  assert contour.torso(mask) == (20.0, 39.5, 89.5)


def _write(path, mask):
  cv2.imwrite(str(path), np.uint8(mask) * 255)
  return str(path)


def test_show_draws_a_match(tmp_path):
  shirt = _shirt((40, 60, 120))
  person = np.roll(shirt[1], (20, -15), (0, 1))
  out = tmp_path / 'match.png'
  show_match.main(
    [
      '--garment_mask',
      _write(tmp_path / 'a.png', shirt[1]),
      '--person_mask',
      _write(tmp_path / 'b.png', person),
      '--out',
      str(out),
    ]
  )
  picture = cv2.imread(str(out))
  assert picture.shape == (680, 2400, 3) and picture.std() > 10


def test_show_tells_why_a_pair_fails(tmp_path):
  empty = _write(tmp_path / 'a.png', np.zeros((128, 96)))
  out = tmp_path / 'match.png'
  with pytest.raises(MatchingError, match='empty'):
    show_match.main(
      ['--garment_mask', empty, '--person_mask', empty, '--out', str(out)]
    )
  assert out.exists()
  for place in ('..', '/', str(tmp_path)):
    with pytest.raises(InputError, match='give --out a name that ends in'):
      show_match.main(
        ['--garment_mask', empty, '--person_mask', empty, '--out', place]
      )
  with pytest.raises(InputError, match='nowhere.png'):
    show_match.main(
      [
        '--garment_mask',
        str(tmp_path / 'nowhere.png'),
        '--person_mask',
        empty,
        '--out',
        str(out),
      ]
    )


def test_garment_cut_by_the_picture():
  """What the border cuts is left out; the rest still fits."""
  _, truth = _shirt((0, 0, 0))
  person = np.roll(truth, 180, axis=0)
  person[:180] = False
  result = fit_control_points(truth, person)
  where = (result.points_norm + 1) / 2 * (599, 759)
  grid = np.stack(
    np.meshgrid(np.linspace(0, 599, 10), np.linspace(0, 759, 10)), -1
  ).reshape(-1, 2)
  inside = (grid[:, 0] > 170) & (grid[:, 0] < 430) & (grid[:, 1] > 330)
  error = np.abs(where - grid + (0, 180))[inside]
  # Nothing holds the cloth where the picture ends: about a matching pixel.
  assert error.max() < 9
  assert np.median(error) < 2
