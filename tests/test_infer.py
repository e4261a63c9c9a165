"""The batch job as a command: pictures, page, manifest, resuming, refusing."""

import html.parser
import json
import re
import shutil

import cv2
import entry_points
import numpy as np
import pytest

from viton_jax import metrics

pytestmark = pytest.mark.slow

PAIRS = 4


def arguments(raw_dir, networks, out_dir, *more):
  return (
    *('--layout', 'viton', '--data_dir', raw_dir),
    *('--checkpoint', networks[0], '--refine_checkpoint', networks[1]),
    *('--out_dir', out_dir, '--batch_size', 3, *more),
  )


def manifest(out_dir):
  text = (out_dir / 'manifest.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope='module')
def dressed(raw_dir, networks, tmp_path_factory):
  out_dir = tmp_path_factory.mktemp('infer') / 'results'
  done = entry_points.run(
    'viton_jax.infer', *arguments(raw_dir, networks, out_dir)
  )
  return out_dir, done.stdout


def test_every_pair_becomes_a_picture(dressed):
  out_dir, log = dressed
  lines = manifest(out_dir)
  assert len(lines) == PAIRS and all(line['status'] == 'ok' for line in lines)
  for line in lines:
    picture = cv2.imread(str(out_dir / 'results' / f'{line["name"]}.png'))
    assert picture.shape == (128, 64, 3) and picture.std() > 5
  assert f'{PAIRS} pairs dressed, 0 failed' in log
  assert 'images/s; ' in log and 'idle' in log
  assert str(out_dir / 'index.html') in log
  assert not list(out_dir.rglob('*.partial'))
  height, width, _ = cv2.imread(str(out_dir / 'sheet.png')).shape
  assert height > PAIRS * 128 and width > 5 * 64


class _Page(html.parser.HTMLParser):
  sources = ()

  def handle_starttag(self, tag, attrs):
    assert tag != 'script'
    if tag == 'img':
      self.sources += (dict(attrs)['src'],)


def test_page_shows_every_step_from_disk(dressed):
  out_dir, _ = dressed
  page = _Page()
  text = (out_dir / 'index.html').read_text()
  page.feed(text)
  assert len(page.sources) == PAIRS * 10  # Truth is known for drawn people.
  assert all((out_dir / source).is_file() for source in page.sources)
  assert 'http' not in text


def test_metrics_are_those_of_the_images(dressed):
  """Recomputes the result's L1 from the files on disk."""
  out_dir, log = dressed
  lines = manifest(out_dir)
  for line in lines:
    result = cv2.imread(str(out_dir / 'results' / f'{line["name"]}.png'))
    truth = cv2.imread(str(out_dir / 'steps' / f'{line["name"]}_truth.jpg'))
    l1 = np.abs(result.astype(float) - truth.astype(float)).mean()
    # The truth on disk went through JPEG.
    assert line['metrics']['result']['l1'] == pytest.approx(l1, abs=1.0)
  mean = json.loads((out_dir / 'metrics.json').read_text())['mean']
  expected = np.mean([x['metrics']['coarse']['garment_ssim'] for x in lines])
  assert mean['coarse']['garment_ssim'] == pytest.approx(expected)
  for method in metrics.METHODS:
    assert re.search(rf'^{method} +\d', log, re.MULTILINE)


def test_manifests_of_earlier_versions_have_figures(
  raw_dir, networks, dressed, tmp_path
):
  out_dir = tmp_path / 'earlier'
  shutil.copytree(dressed[0], out_dir)
  expected = (out_dir / 'metrics.json').read_bytes()
  (out_dir / 'metrics.json').unlink()
  path = out_dir / 'manifest.jsonl'
  text = path.read_text()
  assert text.count('"metrics"') == PAIRS
  path.write_text(text.replace('"metrics"', '"figures"'))
  entry_points.run('viton_jax.infer', '--merge', '--out_dir', out_dir)
  assert (out_dir / 'metrics.json').read_bytes() == expected


def test_both_networks_in_one_folder(raw_dir, networks, dressed, tmp_path):
  """As the demo leaves them, in stage1/ and stage2/."""
  for stage, workdir in zip(('stage1', 'stage2'), networks, strict=True):
    shutil.copytree(workdir, tmp_path / 'demo' / stage)
  out_dir = tmp_path / 'out'
  entry_points.run(
    'viton_jax.infer',
    *('--layout', 'viton', '--data_dir', raw_dir),
    *('--checkpoint', tmp_path / 'demo', '--out_dir', out_dir),
    *('--batch_size', 3, '--results_only'),
  )
  found = entry_points.run('viton_jax.inspect', tmp_path / 'demo').stdout
  assert 'network     encoder_decoder' in found
  assert 'network     refinement' in found
  for line in manifest(out_dir):
    file = f'results/{line["name"]}.png'
    assert (out_dir / file).read_bytes() == (dressed[0] / file).read_bytes()


def test_goes_on_where_it_stopped(raw_dir, networks, dressed, tmp_path):
  out_dir = tmp_path / 'again'
  shutil.copytree(dressed[0], out_dir)
  names = [line['name'] for line in manifest(out_dir)]
  (out_dir / 'results' / f'{names[1]}.png').unlink()
  path = out_dir / 'manifest.jsonl'
  path.write_text(path.read_text()[:-20])  # A kill in the middle of a line.
  kept = out_dir / 'results' / f'{names[0]}.png'
  before = kept.stat().st_mtime_ns
  done = entry_points.run(
    'viton_jax.infer', *arguments(raw_dir, networks, out_dir)
  )
  assert '2 pairs are done already, 2 to go' in done.stdout
  assert kept.stat().st_mtime_ns == before
  for name in names:
    file = f'results/{name}.png'
    assert (out_dir / file).read_bytes() == (dressed[0] / file).read_bytes()


def test_one_bad_pair_does_not_stop_the_others(raw_dir, networks, tmp_path):
  data = tmp_path / 'raw'
  shutil.copytree(raw_dir, data)
  pairs = (data / 'viton_test_pairs.txt').read_text().splitlines()
  person = data / 'women_top' / pairs[0].split()[0]
  person.write_bytes(person.read_bytes()[:2000])
  (data / 'women_top' / pairs[1].split()[1]).unlink()
  out_dir = tmp_path / 'out'
  entry_points.run(
    'viton_jax.infer', *arguments(data, networks, out_dir), expect=3
  )
  lines = {line['name']: line for line in manifest(out_dir)}
  failed = {n: x for n, x in lines.items() if x['status'] == 'failed'}
  assert len(lines) == PAIRS and len(failed) == 2
  reasons = ' '.join(line['reason'] for line in failed.values())
  assert 'truncated' in reasons and str(person) in reasons
  assert pairs[1].split()[1] in reasons
  # Mended input: the failed ones are tried again.
  shutil.copytree(raw_dir, data, dirs_exist_ok=True)
  entry_points.run('viton_jax.infer', *arguments(data, networks, out_dir))


def test_bad_input(raw_dir, networks, dressed, tmp_path):
  def fails(*more, use=networks, data=raw_dir, to=tmp_path / 'new'):
    return entry_points.fails(
      'viton_jax.infer', *arguments(data, use, to, *more)
    )

  assert 'wanted' in fails(use=networks[::-1])
  message = fails(use=(tmp_path, networks[1]))
  assert 'no checkpoint found' in message and '--checkpoint' in message
  message = entry_points.fails(
    'viton_jax.infer',
    *('--data_dir', raw_dir, '--checkpoint', networks[0]),
    *('--out_dir', tmp_path / 'new'),
  )
  assert 'no refinement network' in message
  assert '--refine_checkpoint' in message
  # Before the data are opened.
  message = fails(use=(networks[0], tmp_path), data=tmp_path / 'missing_data')
  assert 'error: --refine_checkpoint' in message
  assert 'nowhere.txt' in fails('--pairs', 'nowhere.txt')
  bad = tmp_path / 'bad.txt'
  bad.write_text('only_one_name.jpg\n')
  message = fails('--pairs', bad)
  assert 'bad.txt' in message and 'line 1' in message
  assert 'missing_data' in fails(data=tmp_path / 'missing_data')
  message = fails(use=(networks[0], networks[1]), data=tmp_path, to=dressed[0])
  assert 'such folder' in message
  other = tmp_path / 'other'
  shutil.copytree(networks[0], other)
  message = fails(use=(other, networks[1]), to=dressed[0])
  assert 'begun with checkpoint' in message


def test_a_dry_run_checks_and_writes_nothing(raw_dir, networks, tmp_path):
  out_dir = tmp_path / 'new'
  given = arguments(raw_dir, networks, out_dir, '--dry_run')
  done = entry_points.run('viton_jax.infer', *given)
  assert '4 of 4 pairs, 4 to do, as png' in done.stdout
  assert not out_dir.exists()


def test_a_dry_run_compares_with_the_job_of_the_folder(
  raw_dir, networks, dressed
):
  given = arguments(raw_dir, networks, dressed[0], '--dry_run')
  done = entry_points.run('viton_jax.infer', *given)
  assert '4 of 4 pairs, 0 to do' in done.stdout
  line = entry_points.fails('viton_jax.infer', *given, '--dtype', 'bfloat16')
  assert 'begun with dtype = float32, not bfloat16' in line
