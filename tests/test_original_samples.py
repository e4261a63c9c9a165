"""`prepare --from_records`: the original's records to ours."""

import dataclasses
import gzip
import json

import entry_points
import numpy as np
import original_writer
import preprocess_goldens
import pytest

from input_pipeline import batches, layouts, prepare
from input_pipeline.layouts import original_samples

pytestmark = pytest.mark.slow

GOLDENS = preprocess_goldens.GOLDENS


@pytest.fixture(scope='module')
def pairs(raw_dir):
  """Drawn people whose control points are the regular grid, moved."""
  layout = layouts.open_layout('viton', raw_dir)
  grid = np.stack(
    np.meshgrid(np.linspace(-1, 1, 10), np.linspace(-1, 1, 10)), axis=-1
  ).reshape(100, 2)
  points = (grid + 0.125).astype(np.float32)
  pairs = [
    dataclasses.replace(layout.load(i), control_points=points) for i in range(4)
  ]
  # At 192 pixels' width missing joints draw nothing, wider they do.
  pairs[0] = dataclasses.replace(
    pairs[0],
    person=pairs[0].person.repeat(2, axis=0).repeat(2, axis=1),
    parse=pairs[0].parse.repeat(2, axis=0).repeat(2, axis=1),
    keypoints=pairs[0].keypoints * np.float32([2, 2, 1]),
    truth=None,
    truth_parse=None,
  )
  assert (pairs[0].keypoints[:, 2] == 0).any()
  return pairs


def manifest(out_dir):
  text = (out_dir / 'manifest.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


def run(folder, out_dir, *more):
  return prepare.main(
    [
      *('--from_records', str(folder), '--out_dir', str(out_dir)),
      *('--workers', '0', '--validation_fraction', '0', *more),
    ]
  )


def test_goldens_go_through(tmp_path):
  folder, out_dir = tmp_path / 'theirs', tmp_path / 'ours'
  folder.mkdir()
  for path in (GOLDENS / 'tfrecord_seed0').glob('*.gz'):
    (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
  assert run(folder, out_dir, '--fidelity', 'original') == 0
  (batch,) = batches.eval_batches(out_dir, split='train', batch_size=4)
  seen = preprocess_goldens.check(batch, head_atol=1.5 / 255, images_atol=None)
  assert seen == {0, 1, 2, 3}
  assert {line['status'] for line in manifest(out_dir)} == {'ok'}


def test_samples_are_those_that_were_written(pairs, tmp_path):
  original_writer.write(pairs, tmp_path)
  for fidelity in ('original', 'fixed'):
    layout = original_samples.OriginalRecords(tmp_path, fidelity=fidelity)
    assert len(layout) == 4 and '4 records in 1 files' in layout.found
    for pair, got in zip(pairs, layout, strict=True):
      assert got.name == pair.name
      np.testing.assert_array_equal(got.parse, pair.parse)
      assert np.abs(got.person.astype(int) - pair.person).mean() < 4
      seen = pair.keypoints[:, 2] > 0
      # Within the pixel of 256 x 192 that the record tells.
      pixel = np.array(pair.person.shape[1::-1]) / (192, 256)
      error = np.abs(got.keypoints - pair.keypoints)[seen, :2]
      assert (error <= pixel / 2 + 1e-3).all()
      np.testing.assert_array_equal(
        original_writer.pose_map(got), original_writer.pose_map(pair)
      )
      if fidelity == 'fixed':
        np.testing.assert_array_equal(got.keypoints[:, 2] > 0, seen)
      if fidelity == 'original':
        np.testing.assert_allclose(
          got.control_points, pair.control_points, atol=1e-6
        )
      else:
        assert got.control_points is None  # Fitted anew.


def test_bad_records_are_in_the_manifest(pairs, tmp_path, capsys):
  def edit(number, features):
    if number == 1:
      features.pop('segment_map')
    if number == 2:
      features['pose_map'].bytes_list.value[0] = bytes(128 * 96 * 18)

  original_writer.write(pairs, tmp_path / 'theirs', edit=edit)
  out_dir = tmp_path / 'ours'
  assert run(tmp_path / 'theirs', out_dir) == 3
  lines = manifest(out_dir)
  assert [x['status'] for x in lines] == ['ok', 'failed', 'failed', 'ok']
  assert "record 1: the feature 'segment_map' is missing" in lines[1]['reason']
  assert 'pose_map has 221184 bytes' in lines[2]['reason']
  (batch,) = batches.eval_batches(out_dir, split='train', batch_size=2)
  assert batch['person'].shape == (2, 256, 192, 3)
  assert '2 ok (2 train, 0 validation), 2 failed' in capsys.readouterr().out


def test_refusals_leave_nothing(pairs, tmp_path):
  def fails(*arguments):
    out = ('--out_dir', tmp_path / 'out')
    return entry_points.fails('input_pipeline.prepare', *arguments, *out)

  folder = tmp_path / 'theirs'
  original_writer.write(pairs[:2], folder)
  path = folder / 'zalando-train-00000-of-00001'
  path.write_bytes(path.read_bytes()[:-100])
  assert 'the file ends inside record 1' in fails('--from_records', folder)
  assert 'there are no files' in fails('--from_records', tmp_path)
  original_writer.write(
    pairs[:2], folder, edit=lambda _, features: features.pop('image_id')
  )
  message = fails('--from_records', folder)
  assert "record 0: the feature 'image_id' is missing" in message
  assert not (tmp_path / 'out').exists()


def test_training_refuses_damaged_records(pairs, tmp_path):
  """In a sentence, whatever is wrong with the record."""
  for name, message in (
    ('tps_control_points', "'tps_control_points' is missing"),
    ('pose_map', 'pose_map has 3 bytes'),
  ):

    def edit(_, features, name=name):
      if name == 'pose_map':
        features[name].bytes_list.value[0] = b'123'
      else:
        features.pop(name)

    original_writer.write(pairs[:2], tmp_path / name, edit=edit)
    line = entry_points.fails(
      'viton_jax.train',
      *('--config', 'configs/stage1.py:smoke'),
      *('--workdir', tmp_path / f'w_{name}'),
      *('--config.data.dir', tmp_path / name),
      *('--config.data.format', 'original_records'),
      *('--config.fidelity', 'original', '--config.batch_size', 2),
    )
    assert message in line and 'record ' in line
    assert not list((tmp_path / f'w_{name}').glob('checkpoints/*'))
