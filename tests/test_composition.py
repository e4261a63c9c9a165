"""Composition of a try-on: its parts against SciPy, all on drawn people."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from input_pipeline.sample import working_example
from input_pipeline.synthetic import styles
from input_pipeline.synthetic.pairs import render_pair
from viton_jax import composition, labels, predictions
from viton_jax.composition import (
  blurring,
  body,
  cells,
  layers,
  regions,
  sleeves,
)

SIZE = (256, 192)
CELL = 4


@pytest.fixture
def rng() -> np.random.Generator:
  return np.random.default_rng(11)


@pytest.fixture
def blobs(rng) -> np.ndarray:
  """(4, 256, 192) bool: random parts and holes of whole cells."""
  noise = rng.random((4, SIZE[0] // CELL, SIZE[1] // CELL))
  smooth = ndimage.gaussian_filter(noise, (0, 2, 2))
  return np.kron(smooth > 0.5, np.ones((1, CELL, CELL))) > 0


@pytest.fixture(scope='module')
def pairs():
  """Drawn people in what they never wore, with the truth: arrays of 6 pairs."""
  rows = []
  for person in range(1, 7):
    worn = render_pair(31, person, SIZE[0])
    new = render_pair(31, person, SIZE[0], garment_index=person + 20)
    sample = dataclasses.replace(
      worn.sample(f'person {person}', 'garment'),
      garment=new.garment,
      garment_mask=new.garment_mask,
    )
    example = working_example(
      sample, height=SIZE[0], width=SIZE[1], fidelity='fixed'
    )
    rows.append(
      {k: v for k, v in example.items() if isinstance(v, np.ndarray)}
      | {'truth': new.person, 'truth_parse': new.parse}
    )
  return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def regions_of(pairs, mask) -> composition.Regions:
  return jax.tree.map(
    np.asarray,
    composition.find_regions(
      pairs['parse'],
      pairs['keypoints'],
      mask=mask.astype(np.float32),
      garment_mask=pairs['garment_mask'],
    ),
  )


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  return (a & b).sum((1, 2)) / np.maximum((a | b).sum((1, 2)), 1)


# ------------------------------------------------------------ parts of masks
def test_main_parts(blobs):
  expected = []
  for blob in blobs:
    parts, _ = ndimage.label(blob, np.ones((3, 3)))
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    expected.append((areas >= 0.1 * areas.max())[parts] & blob)
  assert any((e != b).any() for e, b in zip(expected, blobs, strict=True))
  np.testing.assert_array_equal(cells.main_parts(jnp.asarray(blobs)), expected)


def test_main_parts_of_nothing():
  assert not cells.main_parts(jnp.zeros((1, *SIZE), bool)).any()


def test_without_holes_fills_what_is_enclosed():
  region = np.zeros((1, *SIZE), bool)
  region[0, 40:200, 40:150] = True
  region[0, 80:120, 60:100] = False  # A hole.
  region[0, 150:200, 120:150] = False  # A bay, open to the side.
  filled = np.asarray(cells.without_holes(jnp.asarray(region)))[0]
  assert filled[80:120, 60:100].all()
  assert not filled[156:194, 126:].any()
  assert not (filled & ~ndimage.binary_fill_holes(region[0])).any()
  # A hole that shows a hand stays, another does not.
  region[0, 140:160, 60:80] = False
  hand = np.zeros_like(region)
  hand[0, 90:98, 70:80] = True
  filled = cells.without_holes(jnp.asarray(region), but=jnp.asarray(hand))
  filled = np.asarray(filled)[0]
  assert filled[140:160, 60:80].all() and not filled[88:112, 68:92].any()


def test_distance_is_euclidean(blobs):
  small = blobs[:, ::CELL, ::CELL]
  expected = [ndimage.distance_transform_edt(x) for x in small]
  np.testing.assert_allclose(
    sleeves.distance_inside(jnp.asarray(small)), expected, rtol=1e-6
  )


# ---------------------------------------------------------------- filling
def test_inner_is_a_garment_without_its_outline(blobs):
  expected = [
    ndimage.binary_erosion(x, np.ones((3, 3)), border_value=1) for x in blobs
  ]
  np.testing.assert_array_equal(
    composition.inner(blobs.astype(np.uint8)), expected
  )


def test_pull_push_keeps_what_is_known_and_stays_within_it(rng):
  values = rng.random((2, 50, 37, 3)).astype(np.float32)
  known = rng.random((2, 50, 37, 1)) < 0.05
  filled = np.asarray(
    layers.pull_push(jnp.asarray(values), jnp.asarray(known, jnp.float32))
  )
  kept = np.broadcast_to(known, values.shape)
  np.testing.assert_allclose(filled[kept], values[kept], atol=1e-6)
  for image, inside, result in zip(values, known[..., 0], filled, strict=True):
    low, high = image[inside].min(0), image[inside].max(0)
    assert (result >= low - 1e-5).all()
    assert (result <= high + 1e-5).all()


def test_pull_push_continues_the_nearest():
  values = np.zeros((1, 64, 64, 1), np.float32)
  values[:, :, 32:] = 1.0
  known = np.zeros((1, 64, 64, 1), np.float32)
  known[:, :, :8] = known[:, :, -8:] = 1.0
  filled = layers.pull_push(jnp.asarray(values), jnp.asarray(known))
  filled = np.asarray(filled)[0, 32, :, 0]
  assert (np.diff(filled) >= -1e-6).all()
  assert filled[12] < 0.2
  assert filled[52] > 0.8


def test_pull_push_without_anything_known():
  values = jnp.ones((1, 8, 8, 3))
  assert not layers.pull_push(values, jnp.zeros((1, 8, 8, 1))).any()


def test_blur_against_scipy(rng):
  image = rng.random((2, 40, 30, 2)).astype(np.float32)
  expected = ndimage.gaussian_filter(
    image, (0, 2, 2, 0), mode='nearest', truncate=3.0
  )
  blurred = blurring.blur(jnp.asarray(image), 2.0)
  np.testing.assert_allclose(blurred, expected, atol=1e-5)


# ------------------------------------------------------------- arms and sleeves
@pytest.mark.parametrize('style', ['plain', 'photo'])
def test_sleeves_of_drawn_garments(style):
  """Their ends tell none, short and long apart."""
  ends = {'none': [], 'short': [], 'long': []}
  for index in range(1, 41):
    made = styles.style_of(style).make_garment(77, index, height=SIZE[0])
    mask = render_pair(77, index, SIZE[0], style=style).garment_mask
    area = sleeves.sleeve_area(mask[None].astype(np.uint8))
    ends[made.sleeves].append(float(sleeves.sleeve_end(area)[0]))
  assert min(map(len, ends.values())) >= 3
  assert max(ends['none']) < 0.3 < min(ends['short'])
  right = [x < 1.1 for x in ends['short']] + [x > 1.1 for x in ends['long']]
  assert np.mean(right) >= (0.95 if style == 'plain' else 0.85)


def test_without_a_garment_there_are_no_sleeves():
  assert sleeves.sleeve_area(np.zeros((1, *SIZE), np.uint8))[0] == 0
  assert np.isfinite(sleeves.sleeve_area(np.ones((1, *SIZE), np.uint8))[0])


def test_sleeves_follow_the_garment_and_not_the_mask(pairs):
  """Predicted masks take after the old garment."""
  true = pairs['truth_parse'] == labels.GARMENT_LABEL
  arms = [
    body.arm_of(jnp.asarray(pairs['keypoints']), SIZE, x) for x in body.ARMS
  ]
  near = np.logical_or(*(np.asarray(x.distance) < 0.08 for x in arms))
  for wrong in (true | near, true & ~near):
    assert iou(regions_of(pairs, wrong).garment, true).mean() > 0.9


def test_what_a_high_collar_hid_is_skin():
  keypoints = np.zeros((1, 18, 3), np.float32)
  for joint, place in (
    (labels.NOSE, (30, 10)),
    (labels.NECK, (30, 40)),
    (labels.R_SHOULDER, (15, 42)),
    (labels.L_SHOULDER, (45, 42)),
    (labels.R_HIP, (22, 100)),
    (labels.L_HIP, (38, 100)),
  ):
    keypoints[:, joint] = *place, 1
  chest = np.asarray(body.torso_of(jnp.asarray(keypoints), (120, 60)).chest)[0]
  assert chest[20:55, 27:34].all()  # From the chin down.
  assert not chest[20:28, :15].any() and not chest[70:].any()


def test_a_high_collar_covers_the_throat_but_not_the_chin():
  joints = np.zeros((18, 3), np.float32)
  joints[labels.NECK], joints[labels.NOSE] = (96, 80, 1), (96, 40, 1)
  joints[labels.R_SHOULDER] = 66, 82, 1
  joints[labels.L_SHOULDER] = 126, 82, 1
  joints[labels.R_HIP], joints[labels.L_HIP] = (76, 180, 1), (116, 180, 1)
  parse = np.zeros((1, *SIZE), np.uint8)
  parse[0, 80:180, 66:126] = labels.GARMENT_LABEL
  parse[0, 30:80, 84:108] = labels.FACE  # The neck as well.
  parse[0, 60:90, 84:88] = 2  # Hair hangs before it.
  mask = (np.arange(SIZE[0]) > 50)[None, :, None] & (parse > 0)
  found = {}
  nothing = np.zeros((1, *SIZE), np.uint8)
  for knows, beneath in ((False, None), (True, nothing)):
    regions_found = composition.find_regions(
      parse,
      joints[None],
      mask=mask.astype(np.float32),
      garment_mask=np.ones((1, *SIZE), np.uint8),
      beneath=beneath,
    )
    found[knows] = np.asarray(regions_found.garment)[0]
  head = parse[0] == labels.FACE
  assert found[True][62:78, 90:104].all() and not found[False][head].any()
  assert not found[True][:54].any() and not found[True][parse[0] == 2].any()


def test_position_along_an_arm():
  keypoints = np.zeros((1, 18, 3), np.float32)
  keypoints[0, labels.NECK] = 100, 50, 1
  for joint, x in ((8, 80), (11, 120)):
    keypoints[0, joint] = x, 150, 1  # A torso of 100 pixels.
  shoulder, elbow, wrist = body.ARMS[0]
  for joint, (x, y) in {
    shoulder: (60, 60),
    elbow: (60, 110),
    wrist: (60, 160),
  }.items():
    keypoints[0, joint] = x, y, 1
  arm = body.arm_of(jnp.asarray(keypoints), SIZE, body.ARMS[0])
  assert arm.along[0, 60, 60] == pytest.approx(0.0)
  assert arm.along[0, 85, 60] == pytest.approx(0.5)
  assert arm.along[0, 135, 63] == pytest.approx(1.5)
  assert arm.distance[0, 135, 63] == pytest.approx(0.03, abs=1e-4)
  keypoints[0, elbow] = 0
  arm = body.arm_of(jnp.asarray(keypoints), SIZE, body.ARMS[0])
  assert np.isinf(arm.distance).all()


# ------------------------------------------------------------------ regions
def test_elbows_out_of_sight_are_guessed():
  joints = np.zeros((18, 3), np.float32)
  joints[labels.NECK] = 96, 60, 1
  joints[labels.R_SHOULDER] = 66, 62, 1
  joints[labels.L_SHOULDER] = 126, 62, 1
  joints[labels.R_HIP], joints[labels.L_HIP] = (76, 160, 1), (116, 160, 1)
  joints[labels.L_ELBOW] = 145, 110, 1
  keypoints = jnp.asarray(joints)[None].repeat(3, 0)
  # Of the second the wrist is seen, of the third nothing of the arm.
  keypoints = keypoints.at[1, labels.R_WRIST].set(jnp.asarray([40, 140, 1.0]))
  upper = np.zeros((3, *SIZE), bool)
  upper[:2, 70:150, 66:126] = True  # The trunk says nothing.
  upper[:2, 55:75, :66] = True  # An arm that leaves the picture to the left.
  torso = body.torso_of(keypoints, SIZE)
  found = np.asarray(body.with_elbows(keypoints, jnp.asarray(upper), torso))
  changed = (found != np.asarray(keypoints)).any(-1)
  assert set(np.argwhere(changed)[:, 0]) == {0, 1}
  assert (np.argwhere(changed)[:, 1] == labels.R_ELBOW).all()
  x, y, seen = found[0, labels.R_ELBOW]
  assert seen > 0 and abs(x - (66 - 59)) < 3 and abs(y - 64) < 6
  np.testing.assert_allclose(found[1, labels.R_ELBOW, :2], (53, 101))


def test_the_true_mask_gives_the_true_region(pairs):
  true = pairs['truth_parse'] == labels.GARMENT_LABEL
  found = regions_of(pairs, true).garment
  assert iou(found, true).min() > 0.9
  assert iou(found, true).mean() > 0.95


def test_a_bad_mask_gets_better(pairs, rng):
  """Islands, holes, and arms that the mask covers."""
  true = pairs['truth_parse'] == labels.GARMENT_LABEL
  arms = np.isin(pairs['truth_parse'], (14, 15))
  bad = true.copy()
  bad[:, 20:26, 10:16] = True
  rows, columns = np.nonzero(true[0])
  middle = int(np.median(rows)), int(np.median(columns))
  bad[:, middle[0] - 8 : middle[0] + 8, middle[1] - 8 : middle[1] + 8] = False
  bad |= arms & (rng.random(arms.shape) < 0.4)
  before, after = iou(bad, true), iou(regions_of(pairs, bad).garment, true)
  assert after.mean() > before.mean() + 0.05
  assert after.min() > before.min()


def test_head_and_bare_arms_stay_before_the_garment(pairs):
  everywhere = np.ones(pairs['parse'].shape, bool)
  found = regions_of(pairs, everywhere)
  head = np.isin(pairs['parse'], labels.HEAD_LABELS)
  assert not (found.garment & head).any()
  assert not (found.hidden & head).any()


def test_what_is_free_beside_a_garment_is_not_below_it():
  garment = np.zeros((1, 64, 48), bool)
  garment[0, 10:40, 15:30] = True
  garment[0, 10:44, 20:25] = True  # A hem that is no straight line.
  found = np.asarray(regions._below(jnp.asarray(garment)))[0]
  assert found[40:, 15:20].all() and found[44:].all()
  assert not found[:40, 15:30].any()
  # A sliver between it and an arm is beside it down to the hem.
  assert not found[:40, 30:33].any() and not found[:40, 12:15].any()
  assert found[44:, 30:33].all()


def test_borders_lose_their_steps():
  """Of a slanted edge: nearer to its exact coverage, and as sharp."""
  rows, columns = np.mgrid[:256, :192].astype(np.float32)
  exact = np.clip(columns - 60 - rows / 7 + 0.5, 0, 1)
  hard = np.float32(exact > 0.5)
  soft = np.asarray(layers._without_steps(jnp.asarray(hard[None, ..., None])))
  inner = np.s_[16:-16, 16:-16]
  apart = np.abs(columns - 60 - rows / 7)
  assert np.abs(np.diff(soft[0, ..., 0][inner].sum(1)) + 1 / 7).max() < 0.1
  assert np.abs(np.diff(hard[inner].sum(1)) + 1 / 7).max() > 0.8
  np.testing.assert_array_equal(soft[0, ..., 0][apart > 3], hard[apart > 3])


# ------------------------------------------------------------------ the whole
def test_only_what_changes_changes(pairs):
  """A perfect coarse image: the result is the photo away from the garments."""
  true = pairs['truth_parse'] == labels.GARMENT_LABEL
  norm = pairs['truth'].astype(np.float32) / 127.5 - 1
  grid = np.stack(
    np.meshgrid(np.linspace(-1, 1, 10), np.linspace(-1, 1, 10)), axis=-1
  )
  points = np.tile(grid.reshape(1, 100, 2), (len(true), 1, 1))
  output, made = jax.jit(predictions.compose_changes)(
    {**pairs, 'control_points': points.astype(np.float32)},
    {'warped': norm, 'alpha': jnp.zeros_like(norm[..., :1])},
    coarse=norm,
    mask=true[..., None].astype(np.float32),
  )
  levels = np.rint((np.asarray(output) + 1) * 127.5).astype(int)
  same = np.maximum(made.hidden, made.opacity)[..., 0] == 0
  assert same.mean() > 0.5
  np.testing.assert_array_equal(levels[same], pairs['person'][same])
  old = pairs['parse'] == labels.GARMENT_LABEL
  assert not (same & old).any()
  error = np.abs(levels - pairs['truth']).mean()
  unchanged = np.abs(pairs['person'].astype(int) - pairs['truth']).mean()
  assert error < 0.5 * unchanged


def test_whole_is_the_networks_image(rng):
  coarse, warped, person = jnp.asarray(
    rng.random((3, 2, 16, 12, 3)), jnp.float32
  )
  alpha = jnp.asarray(rng.random((2, 16, 12, 1)), jnp.float32)
  made = composition.compose(
    person, coarse, warped, layers=composition.whole(coarse, alpha)
  )
  np.testing.assert_allclose(
    made, coarse + alpha * (warped - coarse), atol=1e-6
  )


def test_a_batch_is_composed_pair_by_pair(pairs):
  true = pairs['truth_parse'] == labels.GARMENT_LABEL
  together = regions_of(pairs, true)
  for i in range(2):
    alone = regions_of({k: v[i : i + 1] for k, v in pairs.items()}, true[[i]])
    for name, region in vars(alone).items():
      np.testing.assert_array_equal(region[0], getattr(together, name)[i])
