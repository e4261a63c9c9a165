"""Parsing without a network: drawn people with known labels, a photograph."""

import cv2
import drawn_labels
import numpy as np
import photograph
import pytest
import scipy.stats
import skimage.data

from viton_jax.errors import InputError
from viton_jax.labels import (
  L_EYE,
  L_HIP,
  L_SHOULDER,
  NECK,
  NOSE,
  R_EYE,
  R_HIP,
  R_SHOULDER,
)
from viton_jax.perception.parsing import body, colours
from viton_jax.perception.parsing.grabcut import parse_person_grabcut

# Labels taken together, and the overlap that a working parser exceeds.
FLOORS = {
  'background': ([0], 0.98),
  'hair': ([1, 2], 0.80),
  'face': ([4, 13], 0.88),
  'upper clothes': ([5], 0.94),
  'arms': ([14, 15], 0.82),
  'trousers or skirt': ([9, 12], 0.92),
}


@pytest.fixture(scope='module')
def people():
  return drawn_labels.people(parse_person_grabcut)


@pytest.mark.parametrize('name', FLOORS)
def test_labels_of_drawn_people(people, name):
  labels, floor = FLOORS[name]
  drawn_labels.check_floor(*people, labels=labels, floor=floor)


def test_left_is_the_persons_left(people):
  drawn_labels.check_left_and_right(*people)


@pytest.fixture(scope='module')
def astronaut():
  photo = skimage.data.astronaut()
  joints = photograph.keypoints()
  # Those are in a crop of the photograph.
  joints[joints[:, 2] > 0, 0] += 24
  return photo, joints, parse_person_grabcut(photo, joints)


def test_a_photograph(astronaut):
  photo, joints, labels = astronaut
  assert labels.shape == photo.shape[:2] and labels.dtype == np.uint8
  nose = np.rint(joints[NOSE, :2]).astype(int)
  around = labels[nose[1] - 12 : nose[1] + 13, nose[0] - 12 : nose[0] + 13]
  assert (around == 13).all()
  # Hair above the forehead; the orange suit on the chest and in the lap.
  assert (labels[30:45, 210:240] == 2).mean() > 0.95
  assert (labels[340:400, 130:170] == 5).all()
  assert (labels[440:480, 60:140] == 5).mean() > 0.95
  # The flag, the paper, the rocket and the far corner of the helmet.
  for corner in (labels[:40, :40], labels[:60, -60:], labels[60:250, 400:470]):
    assert not corner.any()
  # Of the picture's orange most is suit.
  red, green, blue = (photo[..., k].astype(int) for k in range(3))
  orange = (red > 150) & (red - green > 60) & (red - blue > 60)
  orange[:230] = False
  orange[:, :80] = False  # The flag's stripes are red.
  assert (labels[orange] == 5).mean() > 0.9


def test_the_same_photo_gives_the_same_labels(people):
  pairs, found = people
  cv2.setRNGSeed(12345)
  np.random.default_rng(0).random(3)
  again = parse_person_grabcut(pairs[0].person, pairs[0].keypoints)
  np.testing.assert_array_equal(again, found[0])


@pytest.mark.parametrize('height,width', [(96, 72), (701, 333), (900, 1400)])
def test_any_size(people, height, width):
  photo, true, joints = drawn_labels.resized(people[0][1], height, width)
  labels = parse_person_grabcut(photo, joints)
  assert labels.shape == (height, width)
  assert drawn_labels.overlap(labels, true, [5]) > 0.8
  assert drawn_labels.overlap(labels, true, [0]) > 0.9


def test_from_behind(people):
  pair = people[0][0]
  joints = pair.keypoints.copy()
  joints[[NOSE, R_EYE, L_EYE]] = 0
  # The face becomes hair.
  photo = pair.person.copy()
  face = np.isin(pair.parse, (4, 13))
  rows = np.nonzero(face)[0]
  face[int(0.25 * rows.min() + 0.75 * rows.max()) :] = False
  hair = pair.person[pair.parse == 2]
  chosen = np.random.default_rng(0).integers(len(hair), size=face.sum())
  photo[face] = hair[chosen]
  true = np.where(face, 2, pair.parse)
  labels = parse_person_grabcut(photo, joints)
  assert drawn_labels.overlap(labels, true, [1, 2]) > 0.8
  assert drawn_labels.overlap(labels, true, [5]) > 0.9


def test_half_a_person(people):
  """A photo that ends above the hips has no trousers."""
  pair = people[0][0]
  end = int(pair.keypoints[[R_HIP, L_HIP], 1].min()) - 45
  joints = pair.keypoints.copy()
  joints[joints[:, 1] > end] = 0
  labels = parse_person_grabcut(pair.person[:end], joints)
  assert not np.isin(labels, (9, 12, 16, 17)).any()
  assert drawn_labels.overlap(labels, pair.parse[:end], [5]) > 0.9


def test_too_few_joints(people):
  pair = people[0][0]
  joints = pair.keypoints.copy()
  joints[[NECK, L_SHOULDER]] = 0
  with pytest.raises(InputError, match='neither the neck.*--parse.*--pose'):
    parse_person_grabcut(pair.person, joints)
  with pytest.raises(InputError, match='one spot'):
    parse_person_grabcut(pair.person, np.ones((18, 3)))
  with pytest.raises(InputError, match='18 rows of finite'):
    parse_person_grabcut(pair.person, np.full((18, 3), np.nan))
  far = pair.keypoints + np.float32([5000, 0, 0])
  with pytest.raises(InputError, match='outside the photo of 240 x 320'):
    parse_person_grabcut(pair.person, far)


def test_nothing_crashes():
  """Whatever the joints, there are labels or a reason why there are none."""
  rng = np.random.default_rng(7)
  labelled = refused = 0
  for _ in range(60):
    h, w = rng.integers(16, 100, 2)
    image = rng.integers(0, 256, (h, w, 3)).astype(np.uint8)
    joints = rng.uniform(-20, 120, (18, 3))
    joints[:, 2] = rng.random(18) < rng.uniform(0.2, 1)
    try:
      labels = parse_person_grabcut(image, joints * joints[:, 2:])
      assert labels.shape == (h, w) and (labels == 5).any()
      labelled += 1
    except InputError as error:
      assert '--parse' in str(error)
      refused += 1
  assert labelled > 5 and refused > 5


@pytest.mark.parametrize(
  'shape,dtype',
  [
    ((32, 32), np.uint8),
    ((32, 32, 4), np.uint8),
    ((32, 32, 3), np.float32),
  ],
)
def test_unusable_images(shape, dtype):
  with pytest.raises(InputError, match='uint8 of shape'):
    parse_person_grabcut(np.zeros(shape, dtype), np.ones((18, 3)))


def test_measures_worked_out_by_hand():
  joints = np.zeros((18, 3))
  joints[R_SHOULDER] = 33, 50, 1
  joints[L_SHOULDER] = 167, 50, 1
  found = body.measure(joints)
  # 134 pixels between the shoulders are 100 a head; upright, hips below.
  assert found.unit == pytest.approx(100)
  np.testing.assert_allclose(found.neck, (100, 50))
  np.testing.assert_allclose(found.down, (0, 1), atol=1e-12)
  np.testing.assert_allclose(found.hips, [(64, 270), (136, 270)])
  assert not found.hips_seen and not found.face_seen
  # With the neck alone the other shoulder is its mirror image.
  joints[L_SHOULDER] = 0
  joints[NECK] = 100, 50, 1
  found = body.measure(joints)
  np.testing.assert_allclose(found.shoulders, [(33, 50), (167, 50)])
  # Seen from behind, right and left change places.
  joints[R_SHOULDER], joints[L_SHOULDER] = (167, 50, 1), (33, 50, 1)
  found = body.measure(joints)
  np.testing.assert_allclose(found.hips, [(136, 270), (64, 270)])


def test_a_mixture_of_one_is_a_gaussian():
  rng = np.random.default_rng(3)
  samples = rng.normal((60, 10, 20), (3, 2, 1), (500, 3)).astype(np.float32)
  model = colours.Colours(samples, 1)
  ((weight, mean, spread),) = model.parts
  assert weight == 1
  np.testing.assert_allclose(mean, samples.mean(axis=0), atol=1e-3)
  at = rng.normal((60, 10, 20), 10, (50, 3)).astype(np.float32)
  expected = -scipy.stats.multivariate_normal(mean, spread).logpdf(at)
  constant = 1.5 * np.log(2 * np.pi)
  np.testing.assert_allclose(model.cost(at), expected - constant, rtol=1e-4)
