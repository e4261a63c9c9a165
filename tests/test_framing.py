"""Frames around people, worked out by hand, and pasting back."""

import numpy as np
import pytest

from viton_jax.errors import InputError
from viton_jax.photo import framing
from viton_jax.photo.framing import Box

FRAME = (900, 1200)


def joints(**at):
  """A person from the front, shoulders 100 pixels wide, with hips."""
  points = {
      0: (600, 240), 1: (600, 300), 2: (550, 305), 5: (650, 305),
      8: (570, 470), 11: (630, 470), 14: (590, 230), 15: (610, 230),
  } | {int(k[1:]): v for k, v in at.items()}  # fmt: skip
  keypoints = np.zeros((18, 3), np.float32)
  for joint, point in points.items():
    if point:
      keypoints[joint] = *point, 0.9
  return keypoints


def test_box_follows_torso_or_shoulders_whichever_asks_for_more():
  # Neck to hips 170 px are 0.427 of the height; the neck lies at 0.35 of it.
  box = framing.upper_body(joints(), FRAME, 0.75)
  assert abs(box.height - 170 / 0.427) <= 1
  assert abs(box.width / box.height - 0.75) < 0.005
  assert abs(300 - box.top - 0.35 * box.height) <= 1
  assert abs(box.left + box.width / 2 - 600) <= 1
  wide = framing.upper_body(joints(j2=(500, 305), j5=(700, 305)), FRAME, 0.75)
  assert abs(wide.height - 200 / 0.258) <= 1
  no_hips = framing.upper_body(joints(j8=None, j11=None), FRAME, 0.75)
  assert abs(no_hips.height - 100 / 0.258) <= 1


def test_box_gives_way_to_the_photo_a_little_only():
  free = framing.upper_body(joints(), (900, 1200), 0.75)
  bottom = free.top + free.height
  near = framing.upper_body(joints(), (bottom - 10, 1200), 0.75)
  assert near.top == pytest.approx(free.top - 10, abs=1)
  far = framing.upper_body(joints(), (bottom - 100, 1200), 0.75)
  assert free.top - far.top == pytest.approx(0.06 * free.height, abs=1)


def test_a_photo_that_is_framed_already_is_taken_whole():
  keypoints = joints()
  # As the data set has it: neck at 0.35, torso 0.43 of a picture of 3 : 4.
  keypoints[:, :2] = (keypoints[:, :2] - (600, 300)) * 0.427 * 400 / 170
  keypoints[:, :2] += (150, 140)
  assert framing.upper_body(keypoints, (400, 300), 0.75) == Box(0, 0, 300, 400)
  assert framing.upper_body(keypoints, (400, 420), 0.75).width < 420


def test_cut_repeats_the_border_or_zero():
  image = np.arange(12, dtype=np.uint8).reshape(3, 4)
  box = Box(-1, 1, 4, 4)
  np.testing.assert_array_equal(
    framing.cut(image, box, fill='zero'),
    [[0, 4, 5, 6], [0, 8, 9, 10], [0, 0, 0, 0], [0, 0, 0, 0]],
  )
  np.testing.assert_array_equal(
    framing.cut(image, box, fill='edge'),
    [[4, 4, 5, 6], [8, 8, 9, 10], [8, 8, 9, 10], [8, 8, 9, 10]],
  )


def test_pasting_changes_no_pixel_where_the_weight_is_nought():
  photo = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
  box = Box(-10, 20, 50, 60)
  crop = np.full((60, 50, 3), 200, np.uint8)
  weight = np.zeros((60, 50), np.float32)
  weight[5:15, 20:30] = 1  # The box ends far enough away.
  weight[15:20, 20:30] = 0.5
  result = framing.paste_back(photo, crop, weight, box)
  expected = photo.copy()
  expected[25:35, 10:20] = 200
  half = expected[35:40, 10:20].astype(float)
  expected[35:40, 10:20] = np.rint(half + (200 - half) / 2)
  np.testing.assert_array_equal(result, expected)


def test_people_are_chosen_by_number():
  people = [joints(), joints()]
  assert framing.choose_person(people, 1, 'me.jpg') is people[1]
  with pytest.raises(InputError, match='me.jpg: nobody was found.*--pose'):
    framing.choose_person([], 0, 'me.jpg')
  with pytest.raises(InputError, match='person_index is 2.*are 0 to 1'):
    framing.choose_person(people, 2, 'me.jpg')


@pytest.mark.parametrize(
  ('keypoints', 'frame', 'said'),
  [
    (joints(j1=None), FRAME, 'the neck cannot be seen'),
    (joints(j1=None, j5=None), FRAME, 'neck and the left shoulder'),
    (
      joints(j0=None, j14=None, j15=None, j2=(650, 305), j5=(550, 305)),
      FRAME,
      'from behind',
    ),
    (joints(j8=None, j11=None), (350, 1200), 'ends 47 pixels below'),
  ],
)
def test_who_cannot_be_dressed_is_told_why(keypoints, frame, said):
  with pytest.raises(InputError, match=f'me.jpg: .*{said}.*--pose FILE'):
    framing.check_view(keypoints, frame, 'me.jpg')


def test_who_can_be_dressed_is_let_through():
  framing.check_view(joints(), FRAME, 'me.jpg')
  # From the side, or with crossed shoulders but a face: not from behind.
  framing.check_view(joints(j2=(620, 305), j5=(600, 305)), FRAME, 'me.jpg')


def test_a_change_fades_out_where_the_frame_cuts_the_photo():
  photo = np.zeros((600, 700, 3), np.uint8)
  box = Box(100, -50, 300, 500)
  result = framing.paste_back(
    photo,
    np.full((500, 300, 3), 200, np.uint8),
    np.ones((500, 300), np.float32),
    box,
  )
  assert (result[0, 150:350] == 200).all()  # The photo's own border is hard.
  row = result[200, 95:115, 0].astype(int)
  assert (np.diff(row) >= 0).all() and row[0] == 0 and row[-1] == 200
  assert np.diff(row).max() < 120
