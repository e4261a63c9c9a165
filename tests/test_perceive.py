"""Photos become a data set: names, refusals, going on after a kill."""

import json
import pathlib
import random
import shutil
import signal
import subprocess
import time

import cv2
import entry_points
import fetched_models
import infer_jobs
import numpy as np
import pytest
import skimage.data

from input_pipeline.layouts import open_layout
from viton_jax.errors import InputError
from viton_jax.jobs import photo_list

Path = pathlib.Path


# -------------------------------------------------------------- names and lists


def paths(*names):
  return [Path(x) for x in names]


def test_the_own_garment_has_the_persons_name():
  people = paths('p/anna.jpg', 'p/000007_0.jpg', 'p/eve.png')
  garments = paths('g/000007_1.png', 'g/anna.webp', 'g/hat.jpg')
  pairs = photo_list.by_name(people, garments)
  assert pairs == [
    (people[0], garments[1]),
    (people[1], garments[0]),
  ]
  found = photo_list.build(people, garments, pairs=pairs)
  assert [(x.name, x.path) for x in found.items] == [
    ('000001_0', people[0]),
    ('000001_1', garments[1]),
    ('000002_0', people[1]),
    ('000002_1', garments[0]),
    ('000003_0', people[2]),
    ('000004_1', garments[2]),
  ]
  assert found.train == (('000001_0', '000001_1'), ('000002_0', '000002_1'))
  # Everybody in another garment.
  assert found.test == (
    ('000001_0', '000002_1'),
    ('000002_0', '000004_1'),
    ('000003_0', '000004_1'),
  )


def test_one_person_has_nothing_to_try_on():
  (person,), (garment,) = paths('p/a.jpg'), paths('g/a.jpg')
  found = photo_list.build([person], [garment], pairs=[(person, garment)])
  assert found.test == () and len(found.items) == 2
  assert photo_list.build([person], [], pairs=[]).train == ()


def test_two_persons_in_one_garment_are_two_pairs():
  a, b = paths('p/a.jpg', 'p/b.jpg')
  (shirt,) = paths('g/shirt.jpg')
  found = photo_list.build(
    [], [], pairs=[(a, shirt), (b, shirt)], test_pairs=[(b, shirt), (a, a)]
  )
  # Each pair has a number of its own; what is tried on names the first.
  assert found.train == (('000001_0', '000001_1'), ('000002_0', '000002_1'))
  assert found.test == (('000002_0', '000001_1'), ('000001_0', '000003_1'))
  assert [x.path for x in found.items] == [a, shirt, b, shirt, a]


@pytest.mark.parametrize(
  'name, text',
  [
    ('a.csv', 'Person,Garment\nx.jpg,y.jpg\n\n"a, b.jpg",z.jpg\n'),
    ('a.tsv', 'x.jpg\ty.jpg\na, b.jpg\tz.jpg'),
    ('a.csv', '\ufeffx.jpg, y.jpg\r\n"a, b.jpg" ,z.jpg\r\n'),
  ],
)
def test_tables_of_pairs(tmp_path, name, text):
  path = tmp_path / name
  path.write_text(text)
  pairs = photo_list.read_pairs(path, None, Path('/g'))
  assert pairs == [
    (tmp_path / 'x.jpg', Path('/g/y.jpg')),
    (tmp_path / 'a, b.jpg', Path('/g/z.jpg')),
  ]


@pytest.mark.parametrize(
  'name, data, said',
  [
    ('a.txt', b'x y', r'from .csv \(commas\) and .tsv'),
    ('a.csv', b'x.jpg,y.jpg\nonly.jpg', r"a.csv, row 2: \['only.jpg'\] is no"),
    ('a.csv', b'x.jpg,', 'row 1'),
    ('a.csv', b'person,garment\n', 'there is no pair in it'),
    ('a.csv', b'\xff\xfe\x00', 'save it as UTF-8'),
    ('a.tsv', b'a\tb\tc', 'row 1'),
    ('missing.csv', None, 'cannot be read .*check the name'),
  ],
)
def test_tables_that_are_none(tmp_path, name, data, said):
  path = tmp_path / name
  if data is not None:
    path.write_bytes(data)
  with pytest.raises(InputError, match=said):
    photo_list.read_pairs(path, None, None)


def test_hidden_files_are_no_photos(tmp_path):
  with pytest.raises(InputError, match='no such folder with the people'):
    photo_list.find_photos(tmp_path / 'no', 'people')
  (tmp_path / '.DS_Store').write_text('')
  with pytest.raises(InputError, match='no photo in it; give the people'):
    photo_list.find_photos(tmp_path, 'people')
  (tmp_path / 'b.jpg').write_text('')
  (tmp_path / 'a.heic').write_text('')
  (tmp_path / 'more').mkdir()
  assert [x.name for x in photo_list.find_photos(tmp_path, 'people')] == [
    'a.heic',
    'b.jpg',
  ]
  (tmp_path / 'c.JPG').mkdir()  # Told when it is read.
  assert photo_list.find_photos(tmp_path, 'people')[-1].name == 'c.JPG'


# ------------------------------------------------------------------- whole runs


@pytest.fixture(scope='module')
def models():
  return fetched_models.folder('blazepose')


@pytest.fixture(scope='module')
def photos(raw_dir, tmp_path_factory):
  """Five drawn pairs, a real person, and what is to be refused."""
  folder = tmp_path_factory.mktemp('photos')
  for part, kind in (('people', 0), ('garments', 1)):
    (folder / part).mkdir()
    for number in range(1, 6):
      name = f'{number:06d}_{kind}.jpg'
      shutil.copy(raw_dir / 'women_top' / name, folder / part / name)
  # A person who fills the frame, so that it lies mostly in the photo.
  astronaut = skimage.data.astronaut()
  tall = cv2.copyMakeBorder(astronaut, 60, 0, 0, 0, cv2.BORDER_REPLICATE)
  cv2.imwrite(str(folder / 'people' / 'real.png'), tall[..., ::-1])
  cv2.imwrite(
    str(folder / 'people' / 'nobody.png'), skimage.data.coffee()[..., ::-1]
  )
  (folder / 'people' / 'notes.txt').write_text('no photo')
  whole = (folder / 'people' / '000001_0.jpg').read_bytes()
  (folder / 'people' / 'torn.jpg').write_bytes(whole[: len(whole) // 2])
  cv2.imwrite(str(folder / 'garments' / 'person.png'), astronaut[..., ::-1])
  return folder


def perceive(photos, out_dir, models, *more, expect=3):
  return entry_points.run(
    'viton_jax.perceive',
    *('--photos', photos, '--out_dir', out_dir, '--models_dir', models),
    *more,
    expect=expect,
  )


@pytest.fixture(scope='module')
def made(photos, models, tmp_path_factory):
  out_dir = tmp_path_factory.mktemp('made') / 'data'
  done = perceive(photos, out_dir, models, '--workers', 2, '--overlays', 2)
  return out_dir, done.stdout


def lines_of(out_dir):
  text = (out_dir / 'manifest.jsonl').read_text()
  return {x['name']: x for x in map(json.loads, text.splitlines())}


def files_of(out_dir):
  return {
    str(x.relative_to(out_dir)): x.read_bytes()
    for x in sorted(out_dir.rglob('*'))
    if x.is_file()
    and '.jobs' not in x.parts
    and x.name not in ('settings.json', 'one.txt')
  }


@pytest.mark.slow
def test_every_photo_has_a_line_with_a_reason(made):
  out_dir, said = made
  lines = lines_of(out_dir)
  assert len(lines) == 15
  refused = {
    Path(x['photo']).name: x['reason']
    for x in lines.values()
    if x['status'] != 'ok'
  }
  assert set(refused) == {'nobody.png', 'notes.txt', 'torn.jpg', 'person.png'}
  for name, reason in (
    ('nobody.png', 'nobody was found'),
    ('notes.txt', 'neither a JPEG nor a PNG'),
    ('torn.jpg', 'torn.jpg'),
    ('person.png', 'shows a person'),
  ):
    assert name in refused[name] and reason in refused[name]
  assert 'photos/s' in said and '4 photos refused' in said
  assert '6 people with' in said and '5 garments' in said
  train = (out_dir / 'viton_train_pairs.txt').read_text().splitlines()
  assert train == [f'{k:06d}_0.jpg {k:06d}_1.jpg' for k in range(1, 6)]
  overlays = sorted(x.name for x in (out_dir / 'overlays').iterdir())
  assert overlays == [f'00000{n}_{k}.jpg' for n in (1, 2) for k in (0, 1)]
  assert not list(out_dir.rglob('*.partial'))


@pytest.mark.slow
def test_joints_labels_and_masks_are_those_of_the_drawings(made, raw_dir):
  out_dir, _ = made
  found = open_layout('auto', out_dir)
  truth = open_layout('viton', raw_dir, 'viton_train_pairs.txt')
  assert 'garment_mask' in found.found and len(found) == 5
  ious = []
  for mine, true in zip(found, truth, strict=False):
    shoulders = np.hypot(*(true.keypoints[2] - true.keypoints[5])[:2])
    zoom = true.person.shape[0] / mine.person.shape[0]
    assert zoom == 1  # The drawings are framed as they should be.
    both = (mine.keypoints[:, 2] > 0) & (true.keypoints[:, 2] > 0)
    assert both.sum() >= 10
    off = np.hypot(*(mine.keypoints - true.keypoints)[both, :2].T) / shoulders
    assert np.median(off) < 0.15, off
    top, own = mine.parse == 5, true.parse == 5
    ious.append(np.sum(top & own) / np.sum(top | own))
    # Garments are framed anew: the same share of the frame's height and width.
    assert mine.garment.shape[1] == round(mine.garment.shape[0] * 0.75)
    outside = mine.garment[~mine.garment_mask]
    assert (outside > 235).mean() > 0.98
  assert np.mean(ious) > 0.88 and min(ious) > 0.7, ious
  # The real one: the photo's own pixels, nothing beyond its border labelled.
  line = next(x for x in lines_of(out_dir).values() if 'real' in x['photo'])
  left, top_, width, height = line['box']
  assert 0.5 < line['inside'] < 1
  sample = open_layout('viton', out_dir, _list_of(out_dir, line['name']))
  sample = sample.load(0)
  assert sample.parse.shape == sample.person.shape[:2] == (height, width)
  below = 572 - top_
  assert not sample.parse[below + 2 :].any() and sample.parse[:below].any()
  joints = sample.keypoints[sample.keypoints[:, 2] > 0]
  nose = joints[0, :2] + (left, top_)
  assert np.hypot(*(nose - (221, 130 + 60))) < 8


def _list_of(out_dir, person):
  path = out_dir / 'one.txt'
  path.write_text(f'{person}.jpg 000001_1.jpg\n')
  return path.name


@pytest.mark.slow
def test_killed_at_random_it_loses_nothing(made, photos, models, tmp_path):
  rng = random.Random(0)
  command = entry_points.command(
    *('viton_jax.perceive', '--photos', photos, '--out_dir', tmp_path / 'd'),
    *('--models_dir', models, '--overlays', 2, '--workers', 2),
  )
  seen = 0
  for _ in range(2):
    process = subprocess.Popen(
      command,
      cwd=entry_points.ROOT,
      env=entry_points.environment(),
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    # Until some more photos have their line, and a little.
    goal, deadline = seen + rng.randint(1, 4), time.monotonic() + 120
    while seen < goal and process.poll() is None:
      assert time.monotonic() < deadline
      time.sleep(0.02)
      parts = (tmp_path / 'd').glob('manifest*.jsonl')
      seen = sum(x.read_bytes().count(b'\n') for x in parts)
    time.sleep(rng.random() * 0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
  assert 0 < seen < 15
  done = perceive(
    photos, tmp_path / 'd', models, '--workers', 2, '--overlays', 2
  )
  assert 'of them done before' in done.stdout
  got, expected = files_of(tmp_path / 'd'), files_of(made[0])
  assert got.keys() == expected.keys()
  for name, data in expected.items():
    assert got[name] == data, name


@pytest.mark.slow
def test_shards_give_the_same(made, photos, models, tmp_path):
  more = ('--workers', 0, '--overlays', 2)
  first = perceive(
    photos, tmp_path / 'd', models, *more, '--shard', '0/2'
  ).stdout
  assert 'of shard 0/2' in first and 'when all shards are done' in first
  assert not (tmp_path / 'd' / 'viton_train_pairs.txt').exists()
  perceive(photos, tmp_path / 'd', models, *more, '--shard', '1/2')
  got, expected = files_of(tmp_path / 'd'), files_of(made[0])
  assert got.keys() == expected.keys()
  assert all(got[name] == data for name, data in expected.items())


@pytest.mark.slow
def test_prepare_and_infer_read_it_unchanged(made, tmp_path):
  out_dir, _ = made
  done = entry_points.run(
    'input_pipeline.prepare',
    *('--layout', 'auto', '--data_dir', out_dir, '--format', 'packed'),
    *('--out_dir', tmp_path / 'packed', '--height', 64, '--width', 64),
    *('--workers', 0, '--validation_fraction', 0.2),
  )
  assert '5 ok (4 train, 1 validation), 0 failed' in done.stdout
  networks = infer_jobs.write_networks(tmp_path / 'networks')
  entry_points.run(
    'viton_jax.infer',
    *('--layout', 'auto', '--data_dir', out_dir, '--checkpoint', networks),
    *('--out_dir', tmp_path / 'results', '--results_only'),
  )
  pairs = (out_dir / 'viton_test_pairs.txt').read_text().splitlines()
  assert len(pairs) == 5
  results = {x.stem for x in (tmp_path / 'results' / 'results').iterdir()}
  assert results == {
    '_'.join(Path(x).stem for x in pair.split()) for pair in pairs
  }


@pytest.mark.slow
def test_infer_of_photos_is_perceive_and_infer(made, photos, models, tmp_path):
  out_dir, _ = made
  networks = infer_jobs.write_networks(tmp_path / 'networks')
  job = ('--checkpoint', networks, '--results_only', '--out_dir')
  entry_points.run(
    'viton_jax.infer', '--data_dir', out_dir, *job, tmp_path / 'two'
  )
  of_photos = ('--layout', 'photos', '--data_dir', photos)
  whole = (*of_photos, '--models_dir', models, *job, tmp_path / 'one')
  line = entry_points.fails('viton_jax.infer', *whole, '--shard', '0/2')
  assert '--layout photos is for one process' in line
  said = entry_points.run('viton_jax.infer', *whole, '--dry_run').stdout
  assert '15 photos and 9 pairs; dry run' in said
  assert not (tmp_path / 'one').exists()
  said = entry_points.run('viton_jax.infer', *whole, expect=3).stdout
  assert '4 photos refused' in said
  again = entry_points.run('viton_jax.infer', *whole, expect=3).stdout
  assert '11 of them done before' in again  # Refused ones are tried again.
  one, two = (
    {x.name: x.read_bytes() for x in (tmp_path / k / 'results').iterdir()}
    for k in ('one', 'two')
  )
  assert one == two and len(one) == 5
  assert files_of(tmp_path / 'one' / 'perceived').keys() >= {
    'viton_test_pairs.txt',
    'manifest.jsonl',
  }
  line = entry_points.fails(
    *('viton_jax.infer', '--data_dir', out_dir, '--pose', 'x'),
    *(*job, tmp_path / 'three'),
  )
  assert '--pose: only --layout photos takes models' in line


@pytest.mark.slow
def test_bad_input_is_one_sentence(made, photos, models, tmp_path):
  def fails(*arguments):
    return entry_points.fails('viton_jax.perceive', *arguments)

  there = ('--photos', photos, '--models_dir', models)
  out = ('--out_dir', tmp_path / 'd')
  assert 'fetch blazepose' in fails(
    *('--photos', photos, '--models_dir', tmp_path / 'none', *out)
  )
  assert 'there is nothing to do' in fails(*out)
  assert '--height is 10; give at least 256' in fails(
    *there, *out, '--height', 10
  )
  assert not (tmp_path / 'd').exists()
  line = fails(*there, '--out_dir', made[0], '--height', 512)
  assert 'begun with height = 1024' in line
  (tmp_path / 'file').write_text('')
  line = fails(*there, '--out_dir', tmp_path / 'file' / 'd')
  assert 'cannot be written' in line
