"""Input that nobody here drew: a photograph, and the goldens' raw pairs."""

import json

import cv2
import entry_points
import numpy as np
import photograph
import pytest

from input_pipeline.layouts import open_layout

pytestmark = pytest.mark.slow


def infer(data_dir, networks, out_dir, *, pairs, expect=0):
  """Runs the batch job; returns the manifest's lines."""
  entry_points.run(
    'viton_jax.infer',
    *('--layout', 'viton', '--data_dir', data_dir, '--pairs', pairs),
    *('--checkpoint', networks[0], '--refine_checkpoint', networks[1]),
    *('--out_dir', out_dir, '--batch_size', 3),
    expect=expect,
  )
  text = (out_dir / 'manifest.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


def test_astronaut_is_read_and_dressed(raw_dir, networks, tmp_path):
  garments = sorted((raw_dir / 'women_top').glob('*_1.jpg'))[:2]
  pairs = photograph.write_layout(tmp_path / 'data', garments)
  sample = open_layout('viton', tmp_path / 'data', pairs.name).load(0)
  expected = photograph.keypoints()
  np.testing.assert_allclose(sample.keypoints, expected, atol=1e-4)
  # What anybody sees in the photograph: face, suit, sky and flag behind.
  for x, y, label in ((198, 130, 13), (180, 330, 5), (330, 60, 0), (20, 60, 0)):
    assert sample.parse[y, x] == label
  lines = infer(tmp_path / 'data', networks, tmp_path / 'out', pairs=pairs.name)
  assert [line['status'] for line in lines] == ['ok', 'ok']
  pictures = [
    cv2.imread(str(tmp_path / 'out' / 'results' / f'{line["name"]}.png'))
    for line in lines
  ]
  # Another garment gives another picture.
  assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 1


def test_golden_raw_pairs_of_noise_say_why_they_cannot_be_dressed(
  networks, tmp_path
):
  """Portrait, landscape, missing joints: all read, none with a garment in it.

  In fidelity 'original' they have control points: tests/test_prepare.py.
  """
  raw = entry_points.ROOT / 'tests' / 'goldens' / 'raw_seed0'
  lines = infer(
    raw, networks, tmp_path / 'out', pairs='viton_train_pairs.txt', expect=3
  )
  assert [line['status'] for line in lines] == ['failed'] * 4
  for line in lines:
    assert 'touches all four borders' in line['reason']
