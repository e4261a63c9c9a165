"""Evaluations from pictures to a report: what they say, and what is refused."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import entry_points
import evaluations
import metric_goldens
import numpy as np
import pytest
import torch_writer

from viton_jax.errors import InputError
from viton_jax.evaluation import run
from viton_jax.evaluation.tables import read as read_table
from viton_jax.io import images
from viton_jax.metrics import dists

MODULE = 'viton_jax.evaluate'
FIGURES = ('value', 'low', 'high', 'n')


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
  folder = tmp_path_factory.mktemp('pictures')
  evaluations.write_pictures(folder / 'truth', 24)
  evaluations.write_pictures(folder / 'results', 24, noise=12)
  return folder


@pytest.fixture(scope='module')
def models(tmp_path_factory):
  """A folder of models: AlexNet with heads, and FID's Inception, seeded."""
  return evaluations.write_models(tmp_path_factory.mktemp('m') / 'models')


@pytest.fixture(autouse=True)
def no_models(monkeypatch, tmp_path):
  """What a user has fetched is not there."""
  monkeypatch.setenv('VITON_JAX_MODELS', str(tmp_path / 'none'))


def of(folder, **others):
  return {
    'results': str(folder / 'results'),
    'truth': str(folder / 'truth'),
    **others,
  }


def few(tmp_path):
  """Six pairs: each looks through Inception twice."""
  evaluations.write_pictures(tmp_path / 'truth', 6)
  evaluations.write_pictures(tmp_path / 'results', 6, noise=12)
  return tmp_path


def assert_same(ours, theirs):
  assert ours['figures'].keys() == theirs['figures'].keys()
  for name, row in ours['figures'].items():
    for key in FIGURES:
      assert row[key] == pytest.approx(
        theirs['figures'][name][key], rel=1e-9, abs=1e-9
      ), (name, key)


# ----------------------------------------------------------------- what it says


def test_shards_and_batches_change_nothing(pictures, tmp_path):
  whole = evaluations.evaluate(tmp_path / 'whole', **of(pictures))
  assert set(whole['figures']) == {'ssim', 'l1', 'psnr'}
  for count, batch in ((3, 1), (16, 5)):
    out_dir = tmp_path / str(count)
    for i in range(count):
      code = run.run(
        run.Options(
          out_dir=str(out_dir),
          shard=f'{i}/{count}',
          batch_size=batch,
          **of(pictures),
        )
      )
      assert code == 0
      assert (out_dir / 'metrics.json').exists() == (i == count - 1)
    assert_same(whole, evaluations.read(out_dir))
  # Again: everything is there, nothing is measured.
  again = evaluations.evaluate(tmp_path / 'whole', **of(pictures))
  assert_same(whole, again)
  merged = evaluations.evaluate(tmp_path / 'whole', **of(pictures), merge=True)
  assert_same(whole, merged)


def test_another_result_is_measured_again(pictures, tmp_path):
  results = evaluations.write_pictures(tmp_path / 'results', 24, noise=12)
  options = of(pictures) | {'results': str(results)}
  before = evaluations.evaluate(tmp_path / 'out', **options)
  (results / 'p01.png').write_bytes(
    (pictures / 'truth' / 'p01.png').read_bytes()
  )
  after = evaluations.evaluate(tmp_path / 'out', **options)
  assert after['figures']['l1']['value'] < before['figures']['l1']['value']
  fresh = evaluations.evaluate(tmp_path / 'fresh', **options)
  assert_same(after, fresh)


@pytest.mark.slow
def test_killed_and_resumed_with_every_network(models, tmp_path, monkeypatch):
  """FID, KID, IS and LPIPS too, of a job that SIGKILL ended."""
  monkeypatch.setenv('VITON_JAX_MODELS', str(models))
  networks = {
    'inception_weights': str(models / 'inception.pth'),
    'lpips_weights': (str(models / 'alexnet.pth'),),
  }
  pictures = few(tmp_path)
  whole = evaluations.evaluate(tmp_path / 'whole', **of(pictures), **networks)
  assert {'lpips', 'fid', 'kid', 'is'} <= set(whole['figures'])
  out_dir = tmp_path / 'killed'
  command = entry_points.command(
    MODULE,
    *('--results', pictures / 'results', '--truth', pictures / 'truth'),
    *('--out_dir', out_dir, '--batch_size', 1),
    *('--inception_weights', models / 'inception.pth'),
    *('--lpips_weights', models / 'alexnet.pth'),
  )
  environment = entry_points.environment()
  killed = subprocess.Popen(command, cwd=entry_points.ROOT, env=environment)
  manifest = out_dir / 'manifest-00000-of-00001.jsonl'
  deadline = time.monotonic() + 300
  while not manifest.exists() or manifest.read_text().count('\n') < 2:
    assert killed.poll() is None and time.monotonic() < deadline
    time.sleep(0.02)
  killed.send_signal(signal.SIGKILL)
  killed.wait()
  assert not (out_dir / 'metrics.json').exists()
  done = len(manifest.read_text().splitlines())
  assert done < 6
  resumed = subprocess.run(
    command, cwd=entry_points.ROOT, env=environment, capture_output=True,
    text=True, check=True,
  )  # fmt: skip
  assert re.search(r'\d+ are done already', resumed.stdout)
  # Devices of another process: the same program.
  assert_same(whole, evaluations.read(out_dir))


@pytest.mark.slow
def test_a_perfect_result_is_perfect(models, tmp_path, monkeypatch):
  monkeypatch.setenv('VITON_JAX_MODELS', str(models))
  pictures = few(tmp_path)
  found = evaluations.evaluate(
    tmp_path / 'out',
    results=str(pictures / 'truth'),
    truth=str(pictures / 'truth'),
    figures='ssim,lpips,l1,fid',
    inception_weights=str(models / 'inception.pth'),
    lpips_weights=(str(models / 'alexnet.pth'),),
  )
  values = {name: row['value'] for name, row in found['figures'].items()}
  assert values['ssim'] == pytest.approx(1, abs=1e-6)
  assert values['lpips'] == pytest.approx(0, abs=1e-12)
  assert values['l1'] == 0
  assert 0 <= values['fid'] <= 1e-6


@pytest.mark.slow
def test_lpips_inside_the_garment_is_reported(
  models, raw_dir, tmp_path, monkeypatch
):
  monkeypatch.setenv('VITON_JAX_MODELS', str(models))
  results = tmp_path / 'results'
  results.mkdir()
  true = sorted((raw_dir / 'truth').glob('*_1.png'))[:2]
  for path in true:
    (results / path.name).write_bytes(path.read_bytes())
  options = {
    'results': str(results),
    'data_dir': str(raw_dir),
    'figures': 'lpips',
    'lpips_weights': (str(models / 'alexnet.pth'),),
  }
  (pairs := tmp_path / 'pairs.txt').write_text(
    ''.join(f'{x.stem[:8]}.jpg {x.stem[9:]}.jpg\n' for x in true)
  )
  options['pairs'] = str(pairs)
  perfect = evaluations.evaluate(tmp_path / 'perfect', **options)['figures']
  assert perfect['garment_lpips']['n'] == 2
  assert perfect['garment_lpips']['value'] == pytest.approx(0, abs=1e-12)
  picture = images.decode_image(true[0].read_bytes(), 'true')
  (results / true[0].name).write_bytes(images.encode_png(picture // 2))
  dark = evaluations.evaluate(tmp_path / 'dark', **options)['figures']
  assert dark['garment_lpips']['value'] > 0.001


@pytest.fixture(scope='module')
def all_models(models):
  """And SqueezeNet, VGG16, DISTS' mixing and torchvision's Inception."""
  for net in ('squeeze', 'vgg'):
    metric_goldens.write_torchvision(models / f'{net}.pth', net)
  metric_goldens.write_heads(models / 'lpips_heads/squeeze.pth', 'squeeze')
  metric_goldens.write_heads(models / 'lpips_heads/vgg.pth', 'vgg')
  (models / 'dists').mkdir()
  shares = np.random.default_rng(0).uniform(size=(2, 1, sum(dists.CHANNELS), 1))
  for path, tensors in (
    ('dists/weights.pt', dict(zip(('alpha', 'beta'), shares, strict=True))),
    ('torchvision.pth', metric_goldens.inception_tensors(1000)),
  ):
    tensors = {k: np.asarray(v, np.float32) for k, v in tensors.items()}
    content = torch_writer.ordered(tensors)
    (models / path).write_bytes(torch_writer.archive(content))
  return models


@pytest.mark.slow
@pytest.mark.parametrize(
  ('protocol', 'inception', 'expected'),
  [
    ('catvton', 'inception', {'ssim': 1, 'lpips': 0, 'fid': 0}),
    ('acgpn', 'torchvision', {'ssim': 1}),
    ('hr-viton', 'torchvision', {'ssim': 1, 'mse': 0, 'lpips': 0}),
    ('viton_jax', 'inception', {'lpips_vgg': 0, 'dists': 0, 'psnr': 100}),
  ],
)
def test_every_network_through_the_command(
  all_models, tmp_path, monkeypatch, protocol, inception, expected
):
  """Of true pictures, by networks in the format that they are published in."""
  monkeypatch.setenv('VITON_JAX_MODELS', str(all_models))
  evaluations.write_pictures(tmp_path / 'truth', 3)
  figures = ('--figures', 'all') if protocol == 'viton_jax' else ()
  nets = ('alexnet', 'squeeze', 'vgg')
  entry_points.run(
    MODULE,
    *('--results', tmp_path / 'truth', '--truth', tmp_path / 'truth'),
    *('--out_dir', tmp_path / 'out', '--protocol', protocol),
    *figures,
    *('--inception_weights', all_models / f'{inception}.pth'),
    *('--lpips_weights', *(all_models / f'{net}.pth' for net in nets)),
  )
  found = evaluations.read(tmp_path / 'out')
  assert not found['left_out']
  for name, value in expected.items():
    assert found['figures'][name]['value'] == pytest.approx(value, abs=1e-6)
  for name, row in found['figures'].items():
    if name.startswith('is'):  # Between one and the number of pictures.
      assert 1 <= row['value'] <= 3


def test_torch_is_nowhere():
  program = (
    'import sys\nfrom viton_jax.evaluation import run\n'
    'print(*{"torch", "tensorflow"} & set(sys.modules))'
  )
  done = subprocess.run(
    [sys.executable, '-c', program],
    cwd=entry_points.ROOT,
    env=entry_points.environment(),
    capture_output=True,
    text=True,
    check=True,
  )
  assert not done.stdout.split()


def test_two_runs_in_one_report(pictures, tmp_path):
  noisy = evaluations.write_pictures(tmp_path / 'noisy', 24, noise=40)
  evaluations.evaluate(
    tmp_path / 'worse', **of(pictures) | {'results': str(noisy)}
  )
  found = evaluations.evaluate(
    tmp_path / 'better', **of(pictures), compare=(str(tmp_path / 'worse'),)
  )
  (compared,) = found['comparisons']
  assert compared['with'] == 'worse'
  row = compared['figures']['ssim']
  assert row['low'] > 0 and row['n'] == 24
  # Pairs without noise are equal in both: half a win each.
  assert row['win_rate'] == pytest.approx(2 / 3 + 1 / 3 / 2)
  page = (tmp_path / 'better' / 'report.html').read_text()
  best = f'<b>{found["figures"]["ssim"]["value"]:.4f}</b>'
  assert best in page and 'better minus worse' in page
  # The table of the other is read as it was written.
  other = read_table(tmp_path / 'worse')
  assert len(other.names) == 24 and set(other.values) == {'ssim', 'l1', 'psnr'}


def test_the_report_needs_nothing_from_outside(pictures, tmp_path):
  evaluations.evaluate(tmp_path / 'out', **of(pictures))
  page = (tmp_path / 'out' / 'report.html').read_text()
  sources = re.findall(r'(?:src|href)="([^"]{0,40})', page)
  # Of 24 pairs the 12 worst, the 6 best, and 3 more of the 6 in the middle.
  assert len(sources) == 3 * (12 + 6 + 3)
  assert all(x.startswith('data:image/jpeg;base64,') for x in sources)
  assert page.count('<svg') == 3 and 'Protocol card' in page
  assert 'ssim ↑' in page and 'l1 ↓' in page


def test_names_are_text_in_the_report(tmp_path):
  name = '<script>alert(1)<!--'
  for side in ('results', 'truth'):
    evaluations.write_pictures(tmp_path / side, 3)
    (tmp_path / side / 'p00.png').rename(tmp_path / side / f'{name}.png')
  evaluations.evaluate(tmp_path / 'out', **of(tmp_path))
  page = (tmp_path / 'out' / 'report.html').read_text()
  assert '<script' not in page and '&lt;script&gt;' in page


def test_the_card_says_what_was_measured(pictures, models, tmp_path):
  found = evaluations.evaluate(
    tmp_path / 'out',
    **of(pictures),
    protocol='flow-style',
    figures='ssim',
  )
  card = found['protocol']
  assert card['name'] == 'flow-style' and card['results'] == 24
  assert 'zero padding' in card['figures']['ssim']['library']
  assert card['formats'] == {'results': {'png': 24}, 'truth': {'png': 24}}
  assert re.fullmatch('[0-9a-f]{16}', card['list_sha256'])


# ---------------------------------------------------------- what is odd is said


def odd(pictures, tmp_path, change):
  """Warnings about results after a change to a copy of them."""
  results = evaluations.write_pictures(tmp_path / 'results', 24, noise=12)
  change(results)
  code = run.run(
    run.Options(
      out_dir=str(tmp_path / 'out'), **of(pictures) | {'results': str(results)}
    )
  )
  found = evaluations.read(tmp_path / 'out')
  page = (tmp_path / 'out' / 'report.html').read_text()
  # What is said stands in the report too, as far as it names names.
  said = {x['what']: x['names'] for x in found['warnings']}
  for what in said:
    assert what.replace("'", '&#x27;') in page
  return code, said


def names_of(said, part):
  (found,) = (names for what, names in said.items() if part in what)
  return found


def test_jpeg_on_one_side(pictures, tmp_path):
  def change(results):
    picture = np.zeros((*evaluations.SIZE, 3), np.uint8)
    (results / 'p05.png').unlink()
    (results / 'p05.jpg').write_bytes(images.encode_jpeg(picture))

  code, said = odd(pictures, tmp_path, change)
  assert code == 0
  assert names_of(said, 'lossy files (JPEG, WebP) in the results') == ['p05']


def test_another_size(pictures, tmp_path):
  def change(results):
    picture = np.zeros((32, 24, 3), np.uint8)
    (results / 'p07.png').write_bytes(images.encode_png(picture))

  code, said = odd(pictures, tmp_path, change)
  assert code == 0
  assert names_of(said, 'different sizes') == ['p07']
  assert names_of(said, 'another size than most') == ['p07']


def test_missing_and_extra_and_torn(pictures, tmp_path):
  def change(results):
    (results / 'p01.png').unlink()
    os.link(results / 'p02.png', results / 'alien.png')
    data = (results / 'p03.png').read_bytes()
    (results / 'p03.png').write_bytes(data[: len(data) // 2])

  code, said = odd(pictures, tmp_path, change)
  assert code == 3
  assert names_of(said, 'true pictures without a result') == ['p01']
  assert names_of(said, 'no true picture for these results') == ['alien']
  assert names_of(said, 'cannot be read') == ['p03']


# ------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
  'options, said',
  [
    ({'protocol': 'pf-afn'}, 'pt_inception-2015-12-05-6726825d.pth'),
    ({'figures': 'fid'}, 'its weights are missing'),
    ({'figures': 'ssim,fid'}, 'its weights are missing'),
    ({'protocol': 'cp-vton-plus'}, 'MATLAB'),
    ({'truth': 'nowhere'}, 'there is no such folder'),
    ({'results': 'nowhere'}, 'there is no such folder'),
    ({'truth': None}, '--truth is missing'),
    ({'batch_size': 0}, 'not in 1 to 4096'),
    ({'compare': ('nowhere',)}, 'file of figures cannot be read'),
    ({'shard': '3/2'}, 'shards are counted from 0'),
    ({'inception_weights': __file__, 'figures': 'fid'}, 'get pt_inception'),
    ({'lpips_weights': ('x.pth',)}, 'x.pth'),
  ],
)
def test_bad_input_leaves_nothing_behind(pictures, tmp_path, options, said):
  out_dir = tmp_path / 'out'
  with pytest.raises(InputError, match=re.escape(said)) as error:
    evaluations.evaluate(out_dir, **of(pictures) | options)
  assert '\n' not in str(error.value)
  assert not out_dir.exists()


def test_the_command_ends_with_one_sentence(pictures, tmp_path):
  torn = tmp_path / 'inception.pth'
  torn.write_bytes(b'PK\x03\x04 torn')
  line = entry_points.fails(
    MODULE,
    *('--results', pictures / 'results', '--truth', pictures / 'truth'),
    *('--out_dir', tmp_path / 'out', '--protocol', 'pf-afn'),
    *('--inception_weights', torn),
  )
  assert 'inception.pth' in line and 'get pt_inception' in line
  assert not (tmp_path / 'out').exists()
  listed = entry_points.run(MODULE, '--list_protocols')
  assert 'hr-viton@2715bdd' in listed.stdout


def test_a_folder_of_another_evaluation_is_refused(pictures, tmp_path):
  evaluations.evaluate(tmp_path / 'out', **of(pictures))
  before = {x: x.read_bytes() for x in (tmp_path / 'out').glob('*.json*')}
  with pytest.raises(InputError, match='were begun with protocol'):
    evaluations.evaluate(
      tmp_path / 'out', **of(pictures), protocol='hr-viton', figures='ssim'
    )
  assert before == {x: x.read_bytes() for x in before}


@pytest.mark.parametrize(
  'text', ['', '[]', '{}', '{"protocol": 3, "figures": {}}', 'x' * 99]
)
def test_runs_that_are_none_are_not_compared(pictures, tmp_path, text):
  other = tmp_path / 'other'
  other.mkdir()
  (other / 'metrics.json').write_text(text)
  with pytest.raises(InputError, match='metrics.json'):
    evaluations.evaluate(
      tmp_path / 'out', **of(pictures), compare=(str(other),)
    )


def test_runs_of_another_protocol_are_not_compared(pictures, tmp_path):
  evaluations.evaluate(
    tmp_path / 'a', **of(pictures), protocol='hr-viton', figures='ssim,mse'
  )
  with pytest.raises(InputError, match='by the protocol hr-viton'):
    evaluations.evaluate(
      tmp_path / 'b', **of(pictures), compare=(str(tmp_path / 'a'),)
    )


def test_pairs_have_a_line_each(pictures, tmp_path):
  evaluations.evaluate(tmp_path / 'out', **of(pictures))
  lines = (tmp_path / 'out' / 'pairs.jsonl').read_text().splitlines()
  found = [json.loads(line) for line in lines]
  assert [x['name'] for x in found] == [f'p{i:02}' for i in range(24)]
  assert found[0]['figures']['l1'] == 0 and found[1]['figures']['l1'] > 1
