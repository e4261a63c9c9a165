"""From raw folders to records: goldens, failures, kill and resume."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import preprocess_goldens
import pytest
import scipy.io

from input_pipeline import batches, prepare, sample
from input_pipeline.layouts import open_layout
from input_pipeline.preparing import parts
from input_pipeline.synthetic.dataset import write_dataset
from viton_jax.errors import InputError
from viton_jax.io import images

GOLDENS = pathlib.Path(__file__).parent / 'goldens'
PAIRS = 'viton_train_pairs.txt'


@pytest.fixture
def data_dir(tmp_path):
  shutil.copytree(GOLDENS / 'raw_seed0', tmp_path / 'data')
  return tmp_path / 'data'


def run(data_dir, out_dir, **options):
  options = {'workers': 0, 'validation_fraction': 0.0, **options}
  return prepare.prepare('viton', data_dir, out_dir=out_dir, **options)


def manifest(out_dir):
  lines = (out_dir / 'manifest.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


def record_files(out_dir):
  return {
    path.name: path.read_bytes()
    for path in out_dir.glob('try_on/*/*/*tfrecord*')
  }


def test_goldens_through_prepare_and_batches(data_dir, tmp_path, capsys):
  out_dir = tmp_path / 'records'
  assert run(data_dir, out_dir, fidelity='original') == 0
  assert '4 ok (4 train, 0 validation), 0 failed' in capsys.readouterr().out
  (batch,) = batches.eval_batches(out_dir, split='train', batch_size=4)
  seen = preprocess_goldens.check(batch, head_atol=1.5 / 255, images_atol=None)
  assert seen == {0, 1, 2, 3}
  assert not (out_dir / 'parts').exists()
  assert not (out_dir / 'downloads').exists()


@pytest.fixture(scope='module')
def synthetic_pair(tmp_path_factory):
  """One pair with a plain garment, in the raw layout."""
  data_dir = tmp_path_factory.mktemp('plain')
  for folder in ('women_top', 'segment', 'pose'):
    (data_dir / folder).mkdir()
  garment = np.full((256, 192, 3), 255, np.uint8)
  garment[60:200, 40:150] = 120, 40, 30
  person = np.full((320, 240, 3), 200, np.uint8)
  person[100:260, 60:180] = 120, 40, 30
  for name, image in (('000000_0', person), ('000000_1', garment)):
    path = data_dir / 'women_top' / f'{name}.jpg'
    path.write_bytes(images.encode_jpeg(image))
  segment = np.zeros((641, 641))
  segment[120:360, 200:520] = 5  # Stored transposed, at twice the size.
  segment[180:300, 40:190] = 13
  scipy.io.savemat(data_dir / 'segment/000000_0.mat', {'segment': segment})
  write_pose(data_dir, joints=(1, 2, 5))
  (data_dir / PAIRS).write_text('000000_0.jpg 000000_1.jpg\n')
  return data_dir


def write_pose(data_dir, *, joints):
  subset = np.full((1, 20), -1.0)
  subset[0, list(joints)] = 0
  scipy.io.savemat(
    data_dir / 'pose/000000_0.mat',
    {'candidate': np.array([[120, 110, 0.9, 0]]), 'subset': subset},
  )


def test_control_points_are_fitted(synthetic_pair, tmp_path):
  out_dir = tmp_path / 'records'
  assert run(synthetic_pair, out_dir) == 0
  (batch,) = batches.eval_batches(out_dir, split='train', batch_size=1)
  points = batch['control_points'][0]
  assert points.shape == (100, 2) and np.isfinite(points).all()
  # A rectangle to a rectangle: the person's garment region, x 60..180 of 240
  # and y 100..260 of 320, comes from x 40..150 of 192 and y 60..200 of 256.
  grid = np.linspace(-1, 1, 10)
  want_x = np.interp(grid, [-0.5, 0.5], [-0.58, 0.56])
  inside = abs(grid) < 0.45
  got = points.reshape(10, 10, 2)[inside][:, inside]
  np.testing.assert_allclose(
    got[..., 0], np.tile(want_x[inside], (len(got), 1)), atol=0.12
  )
  assert batch['garment_mask'][0].mean() == pytest.approx(
    140 * 110 / (256 * 192), rel=0.05
  )


@pytest.fixture(scope='module')
def exchanged(tmp_path_factory):
  """Two drawn persons in each other's garments, with the truth."""
  folder = tmp_path_factory.mktemp('exchanged')
  write_dataset(folder, 2, exchange=True, seed=5, height=256, workers=1)
  lines = (folder / 'viton_train_pairs.txt').read_text().splitlines(True)
  (folder / 'exchanged.txt').write_text(''.join(lines[2:]))
  return open_layout('viton', folder, 'exchanged.txt')


@pytest.mark.parametrize('fidelity', ['fixed', 'original'])
def test_networks_learn_the_truth_of_exchanged_pairs(exchanged, fidelity):
  size = {'height': 128, 'width': 128}
  pair = exchanged.load(0)
  learned = parts.prepare_sample(pair, **size, fidelity=fidelity, seed=0)
  seen = sample.working_example(pair, **size, fidelity=fidelity)
  worn = dataclasses.replace(
    pair, person=pair.truth, parse=pair.truth_parse, truth=None
  )
  true = parts.prepare_sample(worn, **size, fidelity=fidelity, seed=0)

  # What the networks see is of the photo ...
  for name in ('head_mask', 'body', 'keypoints', 'garment', 'garment_mask'):
    np.testing.assert_array_equal(learned[name], seen[name], err_msg=name)
  head = seen['head_mask'] > 0
  assert head.any()
  np.testing.assert_array_equal(learned['person'][head], seen['person'][head])
  # ... what they are to make is of the other garment.
  np.testing.assert_array_equal(learned['parse'], true['parse'])
  np.testing.assert_array_equal(learned['person'][~head], true['person'][~head])
  np.testing.assert_array_equal(
    learned['control_points'], true['control_points']
  )
  assert (learned['parse'] != seen['parse']).any()
  assert (learned['person'] != seen['person']).any()


def test_a_person_without_shoulders_fails(synthetic_pair, tmp_path):
  data_dir = tmp_path / 'data'
  shutil.copytree(synthetic_pair, data_dir)
  write_pose(data_dir, joints=(0, 8))
  with pytest.raises(
    InputError, match='none of the 1 pairs .* neither the neck nor a shoulder'
  ):
    run(data_dir, tmp_path / 'records')
  assert manifest(tmp_path / 'records')[0]['status'] == 'failed'
  # One shoulder is enough.
  write_pose(data_dir, joints=(5,))
  assert run(data_dir, tmp_path / 'records2') == 0


@pytest.mark.parametrize(
  'fidelity, side', [('fixed', 0), ('original', 0), ('original', 20)]
)
def test_a_garment_too_small_to_match_fails(
  synthetic_pair, tmp_path, fidelity, side
):
  data_dir = tmp_path / 'data'
  shutil.copytree(synthetic_pair, data_dir)
  garment = np.full((256, 192, 3), 255, np.uint8)
  garment[100 : 100 + side, 50 : 50 + side] = 9
  path = data_dir / 'women_top/000000_1.jpg'
  path.write_bytes(images.encode_png(garment))
  out_dir = tmp_path / 'records'
  with pytest.raises(InputError, match='none of the 1 pairs'):
    run(data_dir, out_dir, fidelity=fidelity)
  reason = manifest(out_dir)[0]['reason']
  assert reason.startswith('000000_0.jpg 000000_1.jpg: ')
  assert ('boundary points' if side else 'no garment') in reason


def test_bad_pairs_do_not_stop_the_others(data_dir, tmp_path, capsys):
  cut = data_dir / 'women_top/000001_1.jpg'
  cut.write_bytes(cut.read_bytes()[:3000])
  (data_dir / 'segment/000002_0.mat').unlink()
  out_dir = tmp_path / 'records'
  assert run(data_dir, out_dir, fidelity='original') == 3
  output = capsys.readouterr().out
  assert '2 ok (2 train, 0 validation), 2 failed' in output
  assert 'failed: ' in output and '000001_1.jpg: the file is trunc' in output
  lines = manifest(out_dir)
  assert [line['status'] for line in lines] == ['ok', 'failed', 'failed', 'ok']
  assert lines[1]['person_id'] == '000001_0.jpg'
  assert '000001_1.jpg: the file is truncated' in lines[1]['reason']
  assert '000002_0.mat: the label map is missing' in lines[2]['reason']
  assert 'reason' not in lines[0]
  (batch,) = batches.eval_batches(out_dir, split='train', batch_size=2)
  assert batch['person_id'].tolist() == [b'000000_0.jpg', b'000003_0.jpg']


def test_finished_folders(data_dir, tmp_path, capsys):
  out_dir = tmp_path / 'records'
  assert run(data_dir, out_dir, fidelity='original') == 0
  files = record_files(out_dir)
  assert run(data_dir, out_dir, fidelity='original') == 0
  assert 'nothing to do' in capsys.readouterr().out
  for options, message in (
    ({'height': 320}, 'height = 256, not 320'),
    ({'fidelity': 'fixed'}, 'fidelity = original, not fixed'),
    ({'seed': 1}, 'seed = 0, not 1'),
    ({'pairs': 'short.txt'}, 'pairs = 4, sha256 .*, not 3, sha256'),
  ):
    lines = (data_dir / PAIRS).read_text().splitlines()
    (data_dir / 'short.txt').write_text('\n'.join(lines[:3]))
    with pytest.raises(InputError, match=f'was prepared with {message}'):
      run(data_dir, out_dir, **{'fidelity': 'original', **options})
  assert record_files(out_dir) == files
  (out_dir / 'prepare.json').write_text('{')
  with pytest.raises(
    InputError, match='prepare.json: this is not a usable JSON'
  ):
    run(data_dir, out_dir, fidelity='original')


def test_bad_settings(data_dir, tmp_path):
  for options, message in (
    ({'height': 250}, 'height 250 is not a multiple of 64, .* use 192 or'),
    ({'width': 96}, 'width 96 is not a multiple of 64'),
    ({'fidelity': 'same'}, "fidelity is 'same'; it must be"),
    ({'validation_fraction': 1.0}, 'validation_fraction 1.0 is not in'),
    ({'pairs': 'none.txt'}, 'none.txt: the pair list cannot be read'),
    ({'workers': -1}, 'workers -1 is neg'),
  ):
    with pytest.raises(InputError, match=message):
      run(data_dir, tmp_path / 'records', **options)
  assert not (tmp_path / 'records').exists()
  (tmp_path / 'file').write_text('')
  with pytest.raises(InputError, match='file: cannot be written'):
    run(data_dir, tmp_path / 'file')


def test_validation_persons():
  persons = [f'{i:06d}_0.jpg' for i in range(100)]

  def choose(names, fraction, seed=0):
    return prepare.validation_persons(names, fraction, seed=seed)

  chosen = choose(persons, 0.1)
  assert len(chosen) == 10
  # By hash: neither order nor repetition matters, and names stay when the
  # list grows a little.
  assert choose([*persons[::-1], *persons], 0.1) == chosen
  assert choose(persons, 0.1, seed=1) != chosen
  assert choose(persons[:50], 1.0) < set(persons[:50])
  assert choose(persons, 0.0) == frozenset()
  assert len(choose(persons[:2], 0.001)) == 1
  assert choose(persons[:1] * 2, 0.5) == frozenset()


def test_validation_holds_out_persons(data_dir, tmp_path):
  # Every person twice, so that pairs of one person could be torn apart.
  lines = (data_dir / PAIRS).read_text()
  (data_dir / 'twice.txt').write_text(lines + lines)
  out_dir = tmp_path / 'records'
  run(
    data_dir,
    out_dir,
    pairs='twice.txt',
    fidelity='original',
    validation_fraction=0.25,
  )
  assert batches.read_info(out_dir).num_examples == {
    'train': 6,
    'validation': 2,
  }
  sets = [
    {
      person
      for batch in batches.eval_batches(out_dir, split=split, batch_size=2)
      for person in batch['person_id']
    }
    for split in ('train', 'validation')
  ]
  assert len(sets[1]) == 1 and not sets[0] & sets[1]


def children(pid):
  tasks = pathlib.Path(f'/proc/{pid}/task').glob('*/children')
  return {int(child) for task in tasks for child in task.read_text().split()}


def wait_for(condition):
  end = time.monotonic() + 300
  while not condition():
    assert time.monotonic() < end, 'waited in vain'
    time.sleep(0.02)


@pytest.mark.slow
def test_kill_and_resume(synthetic_pair, tmp_path, monkeypatch, capsys):
  data_dir = tmp_path / 'data'
  shutil.copytree(synthetic_pair, data_dir)
  for path in data_dir.glob('*/000000_*'):  # A second person.
    shutil.copy(path, path.with_name(path.name.replace('00_', '01_')))
  lines = '000000_0.jpg 000000_1.jpg\n000001_0.jpg 000001_1.jpg\n'
  (data_dir / 'long.txt').write_text(lines * 64)  # 128 pairs, 8 parts.
  out_dir = tmp_path / 'killed'
  command = [
      sys.executable, '-m', 'input_pipeline.prepare',
      '--data_dir', str(data_dir), '--out_dir', str(out_dir),
      '--pairs', 'long.txt', '--workers', '2',
      '--validation_fraction', '0.25',
  ]  # fmt: skip
  process = subprocess.Popen(
    command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
  )
  found = out_dir / 'parts'
  wait_for(lambda: len(list(found.glob('*.npz'))) >= 2)
  workers = children(process.pid)
  assert len(workers) >= 2
  process.send_signal(signal.SIGKILL)
  assert process.wait() == -signal.SIGKILL
  # Workers must not outlive it.
  wait_for(
    lambda: not any(os.path.exists(f'/proc/{pid}/fd/0') for pid in workers)
  )
  done = {int(path.stem) for path in found.glob('*.npz')}
  assert 2 <= len(done) < 8
  with pytest.raises(InputError, match='prepare has not finished'):
    batches.read_info(out_dir)

  redone = []
  run_chunks = parts._run_chunks

  def recorded(work, numbers, **options):
    redone.extend(numbers)
    return run_chunks(work, numbers, **options)

  monkeypatch.setattr(parts, '_run_chunks', recorded)
  options = {'pairs': 'long.txt', 'validation_fraction': 0.25, 'workers': 2}
  assert run(data_dir, out_dir, **options) == 0
  assert f'{16 * len(done)} of 128 pairs were done' in capsys.readouterr().out
  assert sorted(redone) == sorted(set(range(8)) - done)

  monkeypatch.undo()
  assert run(data_dir, tmp_path / 'whole', **options) == 0
  files = record_files(out_dir)
  assert len(files) == 2
  assert files == record_files(tmp_path / 'whole')
  assert manifest(out_dir) == manifest(tmp_path / 'whole')


def test_command_line(data_dir, tmp_path):
  command = [sys.executable, '-m', 'input_pipeline.prepare']
  shown = subprocess.run(
    [*command, '--help'], capture_output=True, text=True, check=True
  )
  assert 'python -m input_pipeline.prepare --layout viton' in shown.stdout
  bad = subprocess.run(
    [*command, '--data_dir', str(tmp_path / 'none'), '--out_dir', 'x'],
    capture_output=True,
    text=True,
    check=False,
  )
  assert bad.returncode == 2
  assert bad.stderr.startswith('error: ') and 'no such folder' in bad.stderr
  assert bad.stderr.count('\n') == 1


def test_dry_run_prints_the_plan_and_writes_nothing(data_dir, tmp_path, capsys):
  out_dir = tmp_path / 'deep' / 'records'
  before = sorted(tmp_path.rglob('*'))
  options = {
    'height': 128,
    'width': 64,
    'fidelity': 'original',
    'dry_run': True,
  }
  for fmt in ('records', 'packed'):
    assert run(data_dir, out_dir, fmt=fmt, **options) == 0
    said = capsys.readouterr().out
    assert f'would write {fmt} of 4 pairs, 64 x 128 pixels' in said
    assert '4 pairs to prepare, 0 done' in said and 'GB free' in said
  assert sorted(tmp_path.rglob('*')) == before
  # A real run needs about what was said.
  assert run(data_dir, out_dir, **(options | {'dry_run': False})) == 0
  size = sum(len(data) for data in record_files(out_dir).values())
  run(data_dir, tmp_path / 'other', **options)
  needed = float(capsys.readouterr().out.split('about ')[1].split(' GB')[0])
  assert size / 1e9 < needed + 0.0005 and needed < 4 * size / 1e9 + 0.0005
  before = sorted(tmp_path.rglob('*'))
  with pytest.raises(InputError, match='was prepared with height = 128'):
    run(data_dir, out_dir, **(options | {'height': 256}))
  (data_dir / PAIRS).write_text('gone_0.jpg gone_1.jpg\n')
  with pytest.raises(InputError, match='gone_0'):
    run(data_dir, tmp_path / 'third', **options)
  assert sorted(tmp_path.rglob('*')) == before


def test_dry_run_refuses_a_full_disk(data_dir, tmp_path, monkeypatch):
  usage = shutil._ntuple_diskusage(10**9, 10**9, 10**4)
  monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage)
  with pytest.raises(InputError, match='less free than is needed'):
    run(data_dir, tmp_path / 'out', fidelity='original', dry_run=True)
