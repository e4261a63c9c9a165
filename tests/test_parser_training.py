"""What the body parser is trained on, and its training."""

import dataclasses
import itertools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from input_pipeline.synthetic.outfits import mirror_labels, render_outfit
from input_pipeline.synthetic.retexture import retexture
from viton_jax import train_parser
from viton_jax.errors import InputError
from viton_jax.labels import L_ELBOW, L_WRIST, NOSE, R_ELBOW, R_WRIST
from viton_jax.perception.parsing.body_classes import NUM_CLASSES
from viton_jax.training import body_parser
from viton_jax.training.body_parser import ParserSettings
from viton_jax.training.parser_samples import make_sample


@pytest.fixture(scope='module')
def drawn():
  return [render_outfit(3, index) for index in range(1, 13)]


def test_outfits_are_a_function_of_seed_and_index(drawn):
  again, other = render_outfit(3, 5), render_outfit(4, 5)
  for field in dataclasses.fields(again):
    mine = getattr(drawn[4], field.name)
    np.testing.assert_array_equal(getattr(again, field.name), mine)
    assert (getattr(other, field.name) != mine).any()


def test_outfits_have_what_pairs_lack(drawn):
  labels = np.stack([x.labels for x in drawn])
  pieces = np.stack([x.pieces for x in drawn])
  assert set(np.unique(labels)) >= {0, 2, 5, 9, 10, 12, 13, 14, 15, 16, 18, 19}
  assert set(np.unique(labels)) <= set(range(20)) - {7, 11}
  assert {7, 11, 20, 21} & set(np.unique(pieces))
  # A bag is background, an ornament what lies below it.
  assert not labels[pieces == 20].any()


def test_joints_of_outfits_lie_on_the_right_side(drawn):
  hits = []
  for picture in drawn:
    joints = np.rint(picture.keypoints).astype(int)
    h, w = picture.labels.shape
    for elbow, wrist, arm in ((R_ELBOW, R_WRIST, 15), (L_ELBOW, L_WRIST, 14)):
      x, y = (joints[wrist, :2] * 3 + joints[elbow, :2]) // 4
      if 0 <= x < w and 0 <= y < h:
        hits.append(picture.labels[y, x] in (arm, 5))
  assert np.mean(hits) > 0.85


def test_mirrored_labels_exchange_left_and_right():
  table = mirror_labels(np.arange(20, dtype=np.uint8))
  assert table[[5, 14, 15, 16, 17, 18, 19]].tolist() == [
    *(5, 15, 14, 17, 16, 19, 18)
  ]
  assert (mirror_labels(table) == np.arange(20)).all()


def test_colours_change_and_shapes_stay(drawn):
  picture = drawn[0]
  rng = np.random.default_rng(0)
  first, second = (retexture(picture.rgb, picture.pieces, rng) for _ in '12')
  assert first.dtype == np.float32 and 0 <= first.min() <= first.max() <= 1
  changed = np.abs(first - second).mean(axis=2)
  pieces = [picture.pieces == piece for piece in np.unique(picture.pieces)]
  # One in ten pieces of cloth keeps what was drawn.
  assert np.mean([changed[where].mean() > 0.01 for where in pieces]) > 0.6
  # Within a piece the drawing's light and shade stay.
  face = picture.pieces == 13
  drawn_grey = picture.rgb.mean(axis=2)[face]
  alike = np.corrcoef(first.mean(axis=2)[face], drawn_grey)[0, 1]
  assert alike > 0.8


def test_samples(drawn):
  samples = [make_sample(drawn, 0, index) for index in range(40)]
  again = make_sample(drawn, 0, 7)
  np.testing.assert_array_equal(again.image, samples[7].image)
  np.testing.assert_array_equal(again.keypoints, samples[7].keypoints)
  with_mask = [x for x in samples if x.mask is not None]
  assert 10 < len(with_mask) < 35
  for sample in samples:
    assert not sample.labels[~sample.inside].any()
    assert not sample.image[~sample.inside].any()
    x, y, seen = sample.keypoints.T
    assert not sample.keypoints[seen == 0].any()
    inside = (x > -60) & (x < 252) & (y > -80) & (y < 336)
    assert inside[seen > 0].all()
  for sample in with_mask:
    person = sample.labels > 0
    assert sample.mask[person].mean() > sample.mask[~person].mean() + 0.3
  noses = []
  for sample in samples:
    x, y, seen = np.rint(sample.keypoints[NOSE]).astype(int)
    if seen and 0 <= x < 192 and 0 <= y < 256:
      noses.append(sample.labels[y, x] in (2, 4, 13))
  assert len(noses) > 15 and np.mean(noses) > 0.8


def test_the_loss_of_a_known_answer(monkeypatch):
  """Logits that are all alike cost log(classes), whatever the weights."""
  zeros = jnp.zeros((1, 8, 8, NUM_CLASSES))
  monkeypatch.setattr(
    body_parser.BodyParser, 'apply', lambda *_: zeros, raising=True
  )
  classes = np.random.default_rng(0).integers(0, NUM_CLASSES, (1, 16, 16))
  loss = body_parser.parser_loss(
    {},
    jnp.zeros((1, 16, 16, 5)),
    jnp.zeros((1, 18, 3)),
    classes=jnp.asarray(classes),
    inside=jnp.ones((1, 16, 16), bool),
  )
  np.testing.assert_allclose(loss, np.log(NUM_CLASSES), rtol=1e-5)


# Optax multiplies by counts of steps, which strict promotion refuses.
@pytest.mark.slow
@jax.numpy_dtype_promotion('standard')
def test_training_goes_on_where_it_stopped(tmp_path, monkeypatch):
  settings = ParserSettings(people=4, steps=4, small_steps=4, batch=2)
  monkeypatch.setattr(body_parser, '_SAVE_EVERY', 2)
  whole = body_parser.train(tmp_path / 'whole', settings, workers=1)
  batches = body_parser._batches

  def two_batches(*arguments, **more):
    yield from itertools.islice(batches(*arguments, **more), 2)

  with monkeypatch.context() as patch:
    patch.setattr(body_parser, '_batches', two_batches)
    body_parser.train(tmp_path / 'parts', settings, workers=1)
  parts = body_parser.train(tmp_path / 'parts', settings, workers=1)
  first, second = load_file(whole), load_file(parts)
  assert first.keys() == second.keys()
  for name, value in first.items():
    assert value.dtype == np.float16
    np.testing.assert_array_equal(second[name], value)
  with pytest.raises(InputError, match='holds a training with.*--workdir'):
    body_parser.train(
      tmp_path / 'parts', dataclasses.replace(settings, steps=9), workers=1
    )
  saved = json.loads((tmp_path / 'parts' / 'settings.json').read_text())
  assert saved == dataclasses.asdict(settings)


@pytest.mark.parametrize(
  'flag, words',
  [
    ('--people=0', '--people is 0; give at least 1'),
    ('--learning_rate=5', '--learning_rate is 5.0; give a number between'),
    ('--seed=-1', '--seed is -1; give 0'),
  ],
)
def test_bad_flags_end_in_a_sentence(tmp_path, monkeypatch, flag, words):
  arguments = ['train_parser', '--workdir', str(tmp_path / 'w'), flag]
  monkeypatch.setattr(sys, 'argv', arguments)
  with pytest.raises(InputError, match=words):
    train_parser.main()
  assert not (tmp_path / 'w').exists()
