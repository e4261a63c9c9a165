"""The body parser: network, weights, frame, labels of people and photos."""

import hashlib

import drawn_labels
import jax
import jax.numpy as jnp
import numpy as np
import photograph
import pytest
import skimage.data

from viton_jax.errors import InputError
from viton_jax.labels import (
  L_EYE,
  L_SHOULDER,
  NECK,
  NOSE,
  R_EYE,
  R_SHOULDER,
)
from viton_jax.models.body_parser import BodyParser, joint_maps
from viton_jax.perception import parse_person
from viton_jax.perception.parsing import (
  body_classes,
  body_colours,
  body_network,
)
from viton_jax.perception.parsing.body_frame import frame_person, head_height
from viton_jax.perception.parsing.body_network import label_body

# Labels taken together, and the overlap that a working parser exceeds.
FLOORS = {
  'background': ([0], 0.97),
  'hair': ([1, 2], 0.75),
  'face': ([4, 13], 0.80),
  'upper clothes': ([5], 0.90),
  'arms': ([14, 15], 0.75),
  'trousers or skirt': ([9, 12], 0.88),
}


# ------------------------------------------------------------------ network
def test_the_network_labels_each_photo_alone():
  network = BodyParser(body_classes.NUM_CLASSES)
  rng = np.random.default_rng(0)
  pixels = jnp.asarray(rng.normal(size=(4, 64, 32, 5)), jnp.float32)
  points = jnp.asarray(rng.uniform(0, 60, (4, 18, 3)), jnp.float32)
  variables = body_network.load_weights()
  assert set(variables) == {'params'}
  apply = jax.jit(network.apply)
  first = apply(variables, pixels[:3], points[:3])
  assert first.shape == (3, 32, 16, 13) and first.dtype == jnp.float32
  second = apply(variables, pixels[1:], points[1:])
  np.testing.assert_allclose(first[1:], second[:2], atol=1e-3)
  # The joints are looked at.
  other = apply(variables, pixels[:3], points[1:])
  assert float(jnp.abs(other - first).max()) > 1e-2


def test_joint_maps_by_hand():
  points = jnp.array([[[9.5, 21.5, 1.0], [9.5, 21.5, 0.0]]])
  maps = np.asarray(joint_maps(points, (8, 6)))
  assert maps.shape == (1, 8, 6, 2) and not maps[..., 1].any()
  # Pixel 9.5 is the middle of cell 2, pixel 21.5 that of cell 5.
  assert maps[0, 5, 2, 0] == maps.max() == 1
  np.testing.assert_allclose(maps[0, 5, 3, 0], np.exp(-0.5 / 1.5**2), rtol=1e-5)


# ------------------------------------------------------------------ weights
def test_the_weights_are_those_of_the_code():
  data = body_network.WEIGHTS.read_bytes()
  assert len(data) <= 4e6
  assert hashlib.sha256(data).hexdigest() == body_network.WEIGHTS_SHA256
  variables = body_network.load_weights()
  abstract = jax.eval_shape(
    BodyParser(body_classes.NUM_CLASSES).init,
    jax.random.key(0),
    jnp.zeros((1, 256, 192, 5)),
    jnp.zeros((1, 18, 3)),
  )
  shapes = jax.tree.map(lambda x: x.shape, dict(variables))
  assert shapes == jax.tree.map(lambda x: x.shape, dict(abstract))
  card = (body_network.WEIGHTS.parent / 'README.md').read_text()
  assert body_network.WEIGHTS_SHA256 in card and 'Apache-2.0' in card


def test_damaged_weights_are_refused(tmp_path, monkeypatch):
  data = body_network.WEIGHTS.read_bytes()
  (tmp_path / 'half').write_bytes(data[: len(data) // 2])
  with pytest.raises(InputError, match='half: cannot be read as safetensors'):
    body_network.load_weights(tmp_path / 'half')
  with pytest.raises(InputError, match='none: the parser cannot be read'):
    body_network.load_weights(tmp_path / 'none')
  (tmp_path / 'other').write_bytes(data + b'0')
  monkeypatch.setattr(body_network, 'WEIGHTS', tmp_path / 'other')
  with pytest.raises(InputError, match='SHA-256.*install viton_jax again'):
    body_network.load_weights(tmp_path / 'other')


# -------------------------------------------------------------------- frame
def test_the_frame_maps_joints_as_it_maps_pixels():
  image = np.zeros((300, 500), np.uint8)
  joints = np.zeros((18, 3), np.float32)
  places = {NOSE: (250, 80), NECK: (250, 120), R_SHOULDER: (210, 120)}
  places[L_SHOULDER] = (290, 121)
  for joint, (x, y) in places.items():
    joints[joint] = x, y, 1
    image[y - 2 : y + 3, x - 2 : x + 3] = 255
  frame = frame_person(joints, image.shape)
  cut = frame.cut(image)
  assert cut.shape == (256, 192)
  points = frame.points(joints)
  for joint in places:
    x, y = np.rint(points[joint, :2]).astype(int)
    assert cut[y, x] > 200
  assert head_height(joints) == pytest.approx(80 / 1.34, rel=0.01)
  assert head_height(np.zeros((18, 3))) is None


def test_large_photos_are_reduced_without_skipping_pixels():
  # One row in eight is white; sampled pixel by pixel, bands would show.
  image = np.zeros((2048, 1536), np.uint8)
  image[::8] = 255
  cut = frame_person(None, image.shape).cut(image)
  assert np.abs(cut.astype(int) - 255 / 8).max() < 12


def test_a_frame_beyond_the_photo_is_centred():
  frame = frame_person(None, (100, 400))
  assert (frame.left, frame.scale) == (0, 192 / 400)
  assert frame.top == pytest.approx((100 - 400 * 4 / 3) / 2)


# ------------------------------------------------------------------- labels
def test_each_lip_label_has_its_class():
  table = body_classes.class_of_label()
  labels = np.array(body_classes.CLASS_LABELS)
  assert (table[labels] == np.arange(len(labels))).all()
  found = {k: labels[table[k]] for k in (1, 3, 4, 7, 8, 11)}
  assert found == {1: 2, 3: 0, 4: 13, 7: 5, 8: 0, 11: 5}


@pytest.fixture(scope='module')
def people():
  return drawn_labels.people(label_body)


@pytest.mark.parametrize('name', FLOORS)
def test_labels_of_drawn_people(people, name):
  labels, floor = FLOORS[name]
  drawn_labels.check_floor(*people, labels=labels, floor=floor)


def test_left_is_the_persons_left(people):
  drawn_labels.check_left_and_right(*people)


def test_a_mask_helps_and_no_joints_are_needed(people):
  pair = people[0][1]
  mask = (pair.parse > 0).astype(np.float32)
  masked = label_body(pair.person, pair.keypoints, mask)
  assert drawn_labels.overlap(masked, pair.parse, [0]) > 0.97
  alone = parse_person(pair.person, model='body_parser')
  assert drawn_labels.overlap(alone, pair.parse, [5]) > 0.7
  # Joints that are all missing are none.
  nothing = label_body(pair.person, np.zeros((18, 3)))
  np.testing.assert_array_equal(nothing, alone)


def test_missing_joints(people):
  pair = people[0][2]
  joints = pair.keypoints.copy()
  joints[[4, 7, 8, 11]] = 0  # Wrists and hips.
  labels = label_body(pair.person, joints)
  assert drawn_labels.overlap(labels, pair.parse, [5]) > 0.85
  joints[2:] = 0
  labels = label_body(pair.person, joints)
  assert drawn_labels.overlap(labels, pair.parse, [0]) > 0.9


def test_a_photo_that_ends_at_the_forehead(people):
  """Where its border is repeated no hat grows out of the head."""
  pair = people[0][0]
  brow = int(pair.keypoints[[R_EYE, L_EYE], 1].mean()) - 6
  photo = np.ascontiguousarray(pair.person[brow:])
  joints = pair.keypoints - np.float32([0, brow, 0])
  joints[pair.keypoints[:, 2] == 0] = 0
  joints[joints[:, 1] < 0] = 0
  high = np.pad(photo, ((60, 0), (0, 0), (0, 0)), mode='edge')
  moved = joints + np.float32([0, 60, 0]) * (joints[:, 2:] > 0)
  labels = label_body(high, moved)
  assert not labels[:60].any()
  # The rows below are labelled as without them.
  np.testing.assert_array_equal(labels[60:], label_body(photo, joints))
  assert drawn_labels.overlap(labels[60:], pair.parse[brow:], [5]) > 0.85


@pytest.mark.parametrize('height,width', [(96, 72), (701, 333), (900, 1400)])
def test_any_size(people, height, width):
  photo, true, joints = drawn_labels.resized(people[0][1], height, width)
  labels = label_body(photo, joints)
  assert labels.shape == (height, width) and labels.dtype == np.uint8
  assert drawn_labels.overlap(labels, true, [5]) > 0.8
  assert drawn_labels.overlap(labels, true, [0]) > 0.9


def test_a_photograph():
  photo = skimage.data.astronaut()
  joints = photograph.keypoints()
  # Those are in a crop of the photograph.
  joints[joints[:, 2] > 0, 0] += 24
  labels = label_body(photo, joints)
  nose = np.rint(joints[NOSE, :2]).astype(int)
  around = labels[nose[1] - 12 : nose[1] + 13, nose[0] - 12 : nose[0] + 13]
  assert (around == 13).all()
  # The crown is hair or, blonde as it is, at least part of the head.
  assert np.isin(labels[30:45, 210:240], (2, 13)).mean() > 0.9
  assert (labels[340:400, 130:170] == 5).mean() > 0.7


def test_what_cannot_be_parsed(people):
  pair = people[0][0]
  with pytest.raises(InputError, match='no upper clothes.*--parse FILE'):
    label_body(np.full((200, 150, 3), 240, np.uint8))
  with pytest.raises(InputError, match='18 rows of finite.*--pose FILE'):
    label_body(pair.person, np.full((18, 3), np.nan))
  with pytest.raises(InputError, match=r'18 rows.*\(17, 3\)'):
    label_body(pair.person, np.ones((17, 3)))
  far = pair.keypoints + np.float32([5000, 0, 0])
  with pytest.raises(InputError, match='outside the photo of 240 x 320'):
    label_body(pair.person, far)
  with pytest.raises(InputError, match=r'shape \(5, 5\).*\(320, 240\)'):
    label_body(pair.person, pair.keypoints, np.ones((5, 5), np.float32))


def test_nothing_crashes():
  """Whatever the joints, there are labels or a reason why there are none."""
  rng = np.random.default_rng(7)
  for _ in range(30):
    h, w = rng.integers(16, 100, 2)
    image = rng.integers(0, 256, (h, w, 3)).astype(np.uint8)
    joints = rng.uniform(-20, 120, (18, 3))
    joints[:, 2] = rng.random(18) < rng.uniform(0, 1)
    try:
      labels = label_body(image, joints * joints[:, 2:])
    except InputError as error:
      assert '--parse' in str(error)
    else:
      assert labels.shape == (h, w) and (labels == 5).any()


def test_colours_move_a_hem_to_where_they_change():
  """A network that puts a hem too high gives way to the colours."""
  top, lower, background = (
    body_classes.CLASS_LABELS.index(x) for x in (5, 9, 0)
  )
  image = np.full((64, 48, 3), 240, np.uint8)
  image[4:40, 12:36] = 200, 40, 40
  image[40:60, 12:36] = 40, 60, 160
  shares = np.full((64, 48, body_classes.NUM_CLASSES), 1e-3, np.float32)
  shares[..., background] = 0.9
  shares[4:60, 12:36, background] = 1e-3
  shares[4:34, 12:36, top] = 0.9  # The hem is at 40.
  shares[34:40, 12:36, top] = 0.3
  shares[34:60, 12:36, lower] = 0.65
  shares /= shares.sum(axis=-1, keepdims=True)
  weighed = body_colours.weigh_colours(shares, image)
  np.testing.assert_allclose(weighed.sum(axis=-1), 1, atol=1e-4)
  found = weighed.argmax(axis=-1)
  assert (found[34:40, 12:36] == top).all()
  assert (found[40:60, 12:36] == lower).all()
  assert (found[:, :12] == background).all()


def test_colours_leave_kinds_of_skin_to_the_network():
  rng = np.random.default_rng(0)
  shares = rng.dirichlet(np.ones(body_classes.NUM_CLASSES), (32, 24))
  image = rng.integers(0, 256, (32, 24, 3)).astype(np.uint8)
  weighed = body_colours.weigh_colours(shares.astype(np.float32), image)
  left, right = (body_classes.CLASS_LABELS.index(x) for x in (14, 15))
  np.testing.assert_allclose(
    weighed[..., left] * shares[..., right],
    weighed[..., right] * shares[..., left],
    atol=1e-5,
  )
