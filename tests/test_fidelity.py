"""The released code's results from converted weights, through the commands.

Whatever is compared here went TensorFlow checkpoint -> `convert` -> disk ->
`checkpoints.read`.
"""

import functools
import json
import shutil

import cv2
import entry_points
import jax
import jax.numpy as jnp
import network_goldens as goldens
import numpy as np
import pytest
from test_convert import save_tf1, tf1_values

from viton_jax import (
  checkpoints,
  convert,
  engine,
  errors,
  geometry,
  inspect,
  networks,
  predictions,
)
from viton_jax.checkpoints import tensorflow1
from viton_jax.geometry import contour, prediction
from viton_jax.models import EncoderDecoder, Refinement, compose

pytestmark = pytest.mark.slow

RAW = goldens.FOLDER / 'raw_seed0'


@pytest.fixture(scope='module')
def converted(tmp_path_factory):
  """What `convert` makes of the golden checkpoint: a folder."""
  out_dir = tmp_path_factory.mktemp('converted') / 'w'
  entry_points.run(
    'viton_jax.convert',
    *('--tf1_checkpoint', goldens.CHECKPOINT, '--out_dir', out_dir),
  )
  return out_dir


def test_networks_equal_the_released_code(converted):
  one = checkpoints.read(converted, 'encoder_decoder')
  model = EncoderDecoder(features=one.features)
  mask, coarse = jax.jit(model.apply)(one.variables, goldens.batch()['inputs'])
  np.testing.assert_allclose(
    np.concatenate([mask, coarse], axis=-1)[:, ::4, ::4],
    goldens.arrays('stage1_ngf8_seed0')['infer_output_every4'],
    rtol=0,
    atol=1e-5,
  )
  theirs = goldens.arrays('stage2_ngf8_seed0')
  np.testing.assert_allclose(
    coarse[:, ::4, ::4],
    theirs['infer_gen_image_outputs_every4'],
    rtol=0,
    atol=1e-5,
  )
  # On the warped garment that the released code had.
  two = checkpoints.read(converted, 'refinement')
  warped = jnp.asarray(theirs['infer_stn_image_outputs'])
  region = (goldens.batch()['parse'] == 5)[..., None].astype(np.float32)
  alpha = region * jax.jit(Refinement(features=two.features).apply)(
    two.variables, warped, coarse
  )
  for ours, name in (
    (alpha, 'infer_select_mask_every4'),
    (compose(alpha, warped, coarse), 'infer_image_outputs_every4'),
  ):
    np.testing.assert_allclose(
      ours[:, ::4, ::4], theirs[name], rtol=0, atol=1e-5
    )


def test_warp_and_composition_equal_the_released_code(converted):
  """From photo and control points on, with our own warp."""
  one, two = (checkpoints.read(converted, x) for x in checkpoints.NETWORKS[:2])
  batch, theirs = goldens.batch(), goldens.arrays('stage2_ngf8_seed0')
  model = EncoderDecoder(features=one.features)
  _, coarse = jax.jit(model.apply)(one.variables, batch['inputs'])
  refine = functools.partial(
    predictions.predict_refined,
    model=Refinement(features=two.features),
    fidelity='original',
  )
  ours = jax.jit(refine)(
    two.variables,
    batch,
    batch['control_points'],
    (batch['parse'] == 5)[..., None].astype(np.float32),
    coarse,
  )
  for name, step, golden in (
    ('warped', 1, 'infer_stn_image_outputs'),
    ('alpha', 4, 'infer_select_mask_every4'),
    ('output', 4, 'infer_image_outputs_every4'),
  ):
    error = np.abs(np.asarray(ours[name])[:, ::step, ::step] - theirs[golden])
    assert error.mean() < 1e-4 and error.max() < 1e-2


def test_try_on_has_the_original_composition_and_matching(converted):
  """What `try_on` puts together, against its parts called one by one."""
  raw = goldens.batch()
  garment = np.zeros((2, 256, 192), np.uint8)
  garment[:, 40:220, 50:140] = 1
  batch = {
    'person': raw['person'],
    'garment': raw['garment'],
    'head_mask': np.full((2, 256, 192), 255, np.uint8),
    'body': np.full((2, 16, 12), 0.5, np.float32),
    'keypoints': np.zeros((2, 18, 3), np.float32),
    'garment_mask': garment,
  }
  one, two = (checkpoints.read(converted, x) for x in checkpoints.NETWORKS[:2])
  model = EncoderDecoder(features=one.features)
  predict = functools.partial(
    predictions.predict_coarse, model=model, fidelity='original'
  )
  mask, coarse = jax.jit(predict)(one.variables, batch)
  mask = np.asarray(mask)
  assert mask.min() < -0.1  # Raw, or there is nothing to see.

  run = networks.load(converted)
  assert run.fidelity == 'original'
  plain = run(batch)
  points = geometry.regular_grid(10).astype(np.float32)  # None could match.
  assert all('region is empty' in reason for reason in plain.failures)
  refine = functools.partial(
    predictions.predict_refined,
    model=Refinement(features=two.features),
    fidelity='original',
  )
  refined = jax.jit(refine)(
    two.variables, batch, np.stack([points] * 2), mask, coarse
  )
  assert plain.alpha.min() < -0.01  # Alpha times the raw mask, as released.
  for name in ('alpha', 'output'):
    np.testing.assert_allclose(
      getattr(plain, name), refined[name], rtol=0, atol=1e-4
    )

  run = networks.load(converted, png_round_trip=True)
  stretched = run(batch)
  for picture in (stretched.mask, (stretched.coarse + 1) / 2):
    assert picture.min(axis=(1, 2, 3)).tolist() == [0, 0]
    assert picture.max(axis=(1, 2, 3)).tolist() == [1, 1]
    levels = picture * 255
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-3)
  assert np.abs(stretched.output - plain.output).max() > 0.05


def test_png_round_trip_is_that_of_imsave():
  images = np.linspace(-0.3, 0.9, 4 * 4 * 3, dtype=np.float32)
  images = np.stack([images, np.full(48, 0.25, np.float32)])
  got = engine.through_png(images.reshape(2, 4, 4, 3))
  want = np.linspace(0, 255, 48)
  assert np.abs(got[0].ravel() * 255 - want).max() <= 0.5 + 1e-4
  assert not got[1].any()  # Nothing to stretch: imsave writes black.


def test_soft_masks_shrink_as_in_matlab():
  """Inside as JAX's cubic resizing; at the borders the picture is mirrored."""
  values = np.random.default_rng(0).normal(size=(256, 192)).astype(np.float32)
  ours = contour.resize_cubic(values, (64, 48))
  inner = np.s_[3:-3, 3:-3]
  theirs = jax.image.resize(values, (64, 48), 'cubic')
  np.testing.assert_allclose(ours[inner], theirs[inner], atol=1e-5)
  mirrored = np.pad(values, 32, mode='symmetric')
  np.testing.assert_allclose(
    ours, contour.resize_cubic(mirrored, (80, 64))[8:-8, 8:-8], atol=1e-6
  )


def test_matching_is_that_of_test_time():
  """At 64 x 48, level 0.5 of the raw mask, integer grid points."""
  garment = np.zeros((256, 192), np.uint8)
  garment[40:220, 50:140] = 1
  y, x = np.mgrid[:256, :192]
  raw = np.tanh((60 - np.hypot(x - 96, (y - 128) / 1.4)) / 10)
  points, reason = prediction.match(
    garment, raw.astype(np.float32), fidelity='original'
  )
  assert reason is None
  on_grid = (points + 1) / 2 * (48, 64)
  np.testing.assert_allclose(on_grid, np.round(on_grid), atol=1e-4)


def test_from_a_viton_folder_to_pictures(raw_dir, tmp_path):
  """With portable files; what stage 2 reads makes a difference."""
  # Random weights see no garment, so let the mask be the body's shape: one
  # feature of the first layer is its mean, and the last reads only that.
  reader = tensorflow1._read_values(goldens.CHECKPOINT)
  first, last = (
    reader[f'generator/{name}/filter']
    for name in ('encoder_1/conv', 'decoder_1/deconv')
  )
  first[..., -1] = 0
  first[:, :, 3, -1] = 1 / 16
  last[:, :, 0] = 0
  last[:, :, 0, -1] = 1
  save_tf1(tmp_path / 'model-6000', reader)
  weights = tmp_path / 'weights'
  entry_points.run(
    'viton_jax.convert',
    *('--tf1_checkpoint', tmp_path / 'model-6000', '--out_dir', weights),
    *('--to', 'safetensors'),
  )
  # A pair that cannot be dressed: exit code 3 whatever the noise does.
  data_dir = tmp_path / 'raw'
  shutil.copytree(raw_dir, data_dir)
  person = (data_dir / 'viton_test_pairs.txt').read_text().split()[0]
  (data_dir / 'women_top' / person).unlink()
  pictures = []
  for more in ((), ('--png_round_trip',)):
    out_dir = tmp_path / f'out{len(more)}'
    entry_points.run(
      'viton_jax.infer',
      *('--data_dir', data_dir, '--out_dir', out_dir, '--batch_size', 4),
      *('--checkpoint', weights, '--refine_checkpoint', weights, *more),
      expect=3,
    )
    text = (out_dir / 'manifest.jsonl').read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert len(lines) == 4
    reasons = [x['reason'] for x in lines if x['status'] == 'failed']
    assert all(person in x or 'garment region' in x for x in reasons)
    files = sorted((out_dir / 'results').iterdir())
    assert len(files) == 4 - len(reasons) >= 1
    pictures.append(np.stack([cv2.imread(str(x)) for x in files]))
    assert pictures[-1].shape[1:] == (256, 192, 3)
  assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 1


def test_golden_folder_fails_honestly(converted, tmp_path):
  """Its photos are noise and its weights random: no outline anywhere."""
  done = entry_points.run(
    'viton_jax.infer',
    *('--data_dir', RAW, '--pairs', 'viton_train_pairs.txt'),
    *('--checkpoint', converted, '--refine_checkpoint', converted),
    *('--out_dir', tmp_path, '--batch_size', 4),
    expect=3,
  )
  assert '0 pairs dressed, 4 failed' in done.stdout
  for line in (tmp_path / 'manifest.jsonl').read_text().splitlines():
    assert 'garment mask' in json.loads(line)['reason']
  assert not list((tmp_path / 'results').iterdir())


def test_wrong_weights_are_refused(converted, tmp_path):
  """A stage where the other is wanted; weights of the original left as is."""
  flags = (
    *('--data_dir', RAW, '--pairs', 'viton_train_pairs.txt'),
    *('--out_dir', tmp_path / 'out', '--refine_checkpoint', converted),
  )
  message = entry_points.fails(
    'viton_jax.infer', *flags, '--checkpoint', converted / 'refinement'
  )
  assert 'holds a refinement where the encoder_decoder is wanted' in message
  model = tmp_path / 'model'
  shutil.copytree(goldens.CHECKPOINT.parent, model)
  message = entry_points.fails(
    'viton_jax.infer', *flags, '--checkpoint', model / 'model-6000'
  )
  assert 'convert it with `python -m viton_jax.convert`' in message
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
  'change, message',
  [
    ('another project', "none of VITON's networks"),
    ('one missing', 'encoder_decoder lacks generator/decoder_4/batchnorm'),
    ('mixed ngf', 'but the rest of the encoder_decoder wants'),
    ('truncated', 'cannot be read as a TensorFlow checkpoint'),
  ],
)
def test_bad_checkpoints_end_in_a_sentence(
  change, message, tmp_path, monkeypatch, capsys
):
  values = tf1_values(features=2)
  if change == 'another project':
    values = {'dense/kernel': np.zeros((2, 2), np.float32)}
  elif change == 'one missing':
    del values['generator/decoder_4/batchnorm/Variable_2']
  elif change == 'mixed ngf':
    name = 'generator/encoder_5/conv/filter'
    values[name] = tf1_values(features=4)[name]
  prefix = tmp_path / 'model' / 'model-1'
  save_tf1(prefix, values)
  if change == 'truncated':
    data = prefix.with_name('model-1.data-00000-of-00001')
    data.write_bytes(data.read_bytes()[:-5000])
  out_dir = tmp_path / 'out'
  arguments = ['--tf1_checkpoint', str(prefix), '--out_dir', str(out_dir)]
  for main, argv in ((convert.main, arguments), (inspect.main, [str(prefix)])):
    monkeypatch.setattr('sys.argv', ['command', *argv])
    with pytest.raises(SystemExit) as stop:
      errors.run(main)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f'error: {prefix}') and message in line
  assert not out_dir.exists()
