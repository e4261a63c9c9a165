"""The live try-on: flow, smoothing, tracking, key frames and their carrying."""

import dataclasses

import fetched_models
import live_videos
import numpy as np
import pytest

from input_pipeline.synthetic import render_pair
from input_pipeline.synthetic.motion import render_motion
from viton_jax import networks
from viton_jax.errors import InputError
from viton_jax.live import engine, flow, keys, smoothing, step, tracking, views
from viton_jax.live.garments import Garments
from viton_jax.perception.parsing import parsers
from viton_jax.perception.pose import estimation
from viton_jax.perception.pose.estimator import Person, PoseEstimator
from viton_jax.photo import full_size
from viton_jax.photo.try_on import finish, prepare

_RED, _BLUE = 6, 2  # Garments.


# ------------------------------------------------------------------ functions
def test_flow_finds_a_shift_and_composes():
  rng = np.random.default_rng(0)
  texture = np.kron(rng.integers(0, 255, (40, 40)), np.ones((8, 8)))
  texture = texture.astype(np.uint8)
  shifts = (0, 3, 5)
  views_of = [texture[40:240, 40 + x : 240 + x] for x in shifts]
  views_of = [np.ascontiguousarray(x) for x in views_of]
  inner = slice(30, -30), slice(30, -30)
  first = flow.between(views_of[1], views_of[0])
  second = flow.between(views_of[2], views_of[1])
  still = flow.still(views_of[0].shape)
  found = (flow.carry(first, second) - still)[inner]
  np.testing.assert_allclose(np.median(found[..., 0]), 5, atol=0.3)
  np.testing.assert_allclose(np.median(found[..., 1]), 0, atol=0.3)
  assert flow.residual(views_of[1], views_of[0], first) < 6
  other = np.ascontiguousarray(texture[::-1, ::-1][40:240, 40:240])
  moved = flow.between(other, views_of[0])
  assert flow.residual(other, views_of[0], moved) > 15


def test_positions_enlarged_are_those_of_the_whole_frame():
  window = slice(30, 130), slice(20, 77)
  found = flow.enlarge(flow.still((64, 48)), (160, 120), window)
  y, x = np.mgrid[window]
  inner = found[2:-2, 2:-2]
  np.testing.assert_allclose(
    inner[..., 0], x[2:-2, 2:-2], atol=0.04
  )  # cv2's steps
  np.testing.assert_allclose(
    inner[..., 1], y[2:-2, 2:-2], atol=0.04
  )  # cv2's steps


def test_smoothing_calms_noise_and_follows_motion():
  rng = np.random.default_rng(1)
  known = np.ones(1, bool)
  noisy, moving = None, None
  calm, late = [], []
  for i in range(60):
    at = np.array([[100.0, 50.0]]) + rng.normal(0, 2, (1, 2))
    noisy = smoothing.smooth(noisy, at, known, time=i / 15, unit=100)
    calm.append(noisy.values[0])
    there = np.array([[20.0 * i, 0.0]])  # 3 units a second.
    moving = smoothing.smooth(moving, there, known, time=i / 15, unit=100)
    late.append(there[0, 0] - moving.values[0, 0])
  assert np.std(calm[10:], axis=0).max() < 1.2
  assert 0 < late[-1] < 20  # Less than a frame behind.
  # A joint that was hidden starts where it comes back.
  gone = smoothing.smooth(moving, there, ~known, time=4.1, unit=100)
  back = smoothing.smooth(gone, np.zeros((1, 2)), known, time=4.2, unit=100)
  np.testing.assert_array_equal(back.values, np.zeros((1, 2)))


def test_the_same_person_is_kept_where_another_is_larger():
  pair = render_pair(5, 1, 320)
  person = Person(pair.keypoints)
  other = pair.keypoints.copy()
  other[:, :2] = other[:, :2] * 1.5 + 300
  near = pair.keypoints.copy()
  near[:, :2] += 4
  pose = PoseEstimator('both', lambda x: [[Person(other), Person(near)]])
  found = tracking.next_of(pose, pair.person, person)
  np.testing.assert_array_equal(found.keypoints, near)
  alone = PoseEstimator('other', lambda x: [[Person(other)]])
  assert tracking.next_of(alone, pair.person, person) is None
  assert tracking.nearest([person, Person(other)], None) is person
  to_other = tracking.neck_of(Person(other))
  chosen = tracking.nearest([person, Person(other)], to_other)
  np.testing.assert_array_equal(chosen.keypoints, other)


def test_drawn_people_move_and_come_back():
  frames = list(render_motion(5, 1, 128, frames=4))
  assert frames[0][0].shape == (128, 96, 3)
  assert all(
    np.abs(a[0].astype(int) - b[0]).mean() > 1
    for a, b in zip(frames[:-1], frames[1:], strict=True)
  )
  again = next(render_motion(5, 1, 128, frames=4))
  np.testing.assert_array_equal(frames[0][0], again[0])


# ----------------------------------------------------------------- key frames
@pytest.mark.slow
@pytest.mark.parametrize('method', ['viton', 'paste'])
def test_a_key_frame_is_the_try_on_of_a_photo(method, request):
  pair, other = (render_pair(5, i, live_videos.HEIGHT) for i in (1, 2))
  tried = photo_networks = None
  if method == 'viton':
    stages = request.getfixturevalue('networks')
    tried = networks.load_halves(*stages, composing='whole')
    photo_networks = networks.load(*stages)
  nobody = PoseEstimator('none', lambda photos: [[] for _ in photos])
  parser = parsers.Parser('none', lambda *x: pair.parse)
  found = keys.Models(nobody, parser, tried)
  garment = Garments().get(live_videos.garment(2))
  garment = dataclasses.replace(
    garment,
    photo=other.garment,
    mask=other.garment_mask,
    spread=full_size.spread_garment(other.garment, other.garment_mask),
  )
  state = step.State(number=1, grey=flow.reduce(pair.person))
  state = step.seen(state, Person(pair.keypoints), time=0.0)
  waiting, job = step.begin_key(state, pair.person, parse=True)
  job = dataclasses.replace(job, labels=pair.parse)
  state = step.accept(waiting, keys.make_key(job, garment, found))
  picture, opacity = step.picture(state, pair.person)
  ready = prepare(
    pair.person,
    other.garment,
    opacity=None,
    names=('person', 'garment'),
    size=found.size,
    pose=pair.keypoints,
    parse=pair.parse,
    garment_mask=other.garment_mask,
  )
  composed = (
    full_size.compose(ready.sample, photo_networks)
    if photo_networks
    else full_size.paste(ready.sample)
  )
  expected = finish(ready, composed).picture.astype(int)
  apart = np.abs(picture - expected).max(-1)
  inside = opacity == 1
  assert inside.mean() > 0.05
  # Other interpolation: of a pattern's edges, and of masks' borders.
  assert apart[inside].mean() < 6
  assert (apart > 60).mean() < 0.02
  unchanged = (picture == pair.person).all(-1)
  assert unchanged[(expected == pair.person).all(-1)].mean() > 0.97


# --------------------------------------------------------------------- engine
@pytest.fixture(scope='module')
def models():
  folder = fetched_models.folder('blazepose')
  return keys.Models(
    estimation.choose_pose('blazepose', folder),
    parsers.choose_parser(parsers.BODY_PARSER),
  )


@pytest.fixture(scope='module')
def garments():
  known = Garments()
  return {i: known.get(live_videos.garment(i)) for i in (_RED, _BLUE)}


@pytest.fixture(scope='module')
def video():
  return live_videos.frames()


def red_share(shown: engine.Shown) -> float:
  """Of the garment's pixels."""
  inside = shown.opacity > 0.9
  pixels = shown.picture[inside].astype(int)
  return float((pixels[:, 0] > pixels[:, 2] + 60).mean())


@pytest.mark.slow
def test_a_video_is_dressed_and_all_else_stays(models, garments, video):
  live = engine.Live(models, garments[_RED], background=False)
  shown = [live.step(x, i / 15) for i, x in enumerate(video)]
  assert shown[0].message == engine.SEARCHING and not shown[0].garment
  dressed = [x for x in shown if x.garment]
  assert len(dressed) >= 6 and not dressed[-1].message
  for one in dressed:
    assert red_share(one) > 0.9
    # Beside the person the frame's own pixels stay, every one.
    np.testing.assert_array_equal(one.picture[:, :20], one.frame[:, :20])
    changed = (one.picture != one.frame).any(-1)
    assert 0.1 < changed.mean() < 0.5
  # Labels are carried between key frames.
  last = dressed[-1]
  labels = step.labels_of(last.state, last.frame.shape[:2])
  own = models.parser.parse(last.frame, last.state.person.keypoints, None)
  assert ((labels == 5) & (own == 5)).sum() > 0.8 * (own == 5).sum()
  pictures = [views.draw(x, last, garments[_RED]) for x in views.VIEWS]
  assert {x.shape for x in pictures} == {last.frame.shape}
  assert len({x.tobytes() for x in pictures}) == 6

  # Nobody is there any more: no garment, and a word on it, at once.
  gone = [live.step(live_videos.empty_frame(), 2 + i / 15) for i in range(3)]
  assert gone[2].message == engine.NOBODY
  assert not gone[2].garment
  np.testing.assert_array_equal(gone[2].picture, gone[2].frame)
  # And again, in another garment.
  live.wear(garments[_BLUE])
  for i, frame in enumerate(video * 2):
    back = live.step(frame, 3 + i / 15)
  assert back.garment == garments[_BLUE].name and red_share(back) < 0.1


@pytest.mark.slow
def test_a_key_frame_of_another_garment_is_never_shown(models, garments, video):
  live = engine.Live(models, garments[_RED])  # With its thread.
  engine.warm_up(models)
  try:
    wanted, names = garments[_RED].name, []
    for i in range(120):
      if i in (50, 70, 74, 78):
        chosen = _BLUE if i % 20 == 10 else _RED
        live.wear(garments[chosen])
        wanted = garments[chosen].name
      shown = live.step(video[i % len(video)])
      names.append(shown.garment)
      if shown.garment == garments[_RED].name:
        assert red_share(shown) > 0.5
      if shown.garment == garments[_BLUE].name:
        assert red_share(shown) < 0.5
    end = 0
    while live.step(video[0]).garment != wanted and end < 500:
      end += 1
    assert end < 500
    live.wear(None)
    shown = live.step(video[0])
    assert shown.message == engine.NO_GARMENT
    np.testing.assert_array_equal(shown.picture, shown.frame)
  finally:
    live.close()


@pytest.mark.slow
def test_who_cannot_be_dressed_is_told_why(models, garments, video):
  def refuse(image, keypoints, mask):
    raise InputError('no clothes here')

  parser = parsers.Parser('refuses', refuse, needs_keypoints=True)
  wrong = dataclasses.replace(models, parser=parser)
  live = engine.Live(wrong, garments[_RED], background=False)
  shown = [live.step(x, i / 15) for i, x in enumerate(video)]
  assert shown[-1].message == 'no clothes here' and not shown[-1].garment
  np.testing.assert_array_equal(shown[-1].picture, video[-1])


@pytest.mark.slow
def test_a_cut_and_another_size_begin_anew(models, garments, video):
  live = engine.Live(models, garments[_RED], background=False)
  for i, frame in enumerate(video):
    shown = live.step(frame, i / 15)
  assert shown.garment
  flipped = np.ascontiguousarray(255 - video[0][::-1])
  assert not live.step(flipped, 2.0).garment
  for i, frame in enumerate(video):
    shown = live.step(frame, 3 + i / 15)
  assert shown.garment
  half = np.ascontiguousarray(video[0][::2, ::2])
  assert not live.step(half, 5.0).garment
