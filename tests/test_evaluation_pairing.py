"""Which result belongs to which truth, and what is said about the odd ones."""

import json

import numpy as np
import pytest

from viton_jax.errors import InputError
from viton_jax.evaluation import cards, pairing, protocols
from viton_jax.io import images
from viton_jax.metrics import structural


def pictures(folder, *names):
  folder.mkdir(parents=True, exist_ok=True)
  for name in names:
    image = np.full((8, 6, 3), 7, np.uint8)
    jpeg = name.endswith('.jpg')
    data = images.encode_jpeg(image) if jpeg else images.encode_png(image)
    (folder / name).write_bytes(data)
  return folder


def pair_up(tmp_path, results, truths, pairs=None):
  found = pairing.read_results(pictures(tmp_path / 'results', *results))
  truth = pictures(tmp_path / 'truth', *truths)
  if pairs is not None:
    (tmp_path / 'pairs.txt').write_text(pairs)
    pairs = str(tmp_path / 'pairs.txt')
  return pairing.with_folder(found, truth, pairs)


def paired(found):
  return {
    x.name: x.truth.name
    for x in found.items
    if x.truth and x.result and x.paired
  }


def said(found, part):
  (warning,) = (x for x in found.warnings if part in x.what)
  return warning.names


def test_names_without_a_list(tmp_path):
  found = pair_up(
    tmp_path,
    ['a.png', '000001_0_000001_1.png', '000002_0_000003_1.png', 'x.png'],
    ['a.jpg', '000001_0.jpg', '000002_0.jpg', 'lonely.jpg'],
  )
  assert paired(found) == {
    'a': 'a.jpg',
    '000001_0_000001_1': '000001_0.jpg',
  }
  assert said(found, 'in another garment') == ('000002_0_000003_1',)
  assert said(found, 'no true picture') == ('x',)
  assert said(found, 'without a result') == ('lonely',)
  # What is left over still is a real picture.
  assert {x.name for x in found.items if x.result is None} == {'lonely'}


def test_names_as_hr_viton_pairs_them(tmp_path):
  found = pair_up(tmp_path, ['00013_00013.png'], ['00013_00.jpg'])
  assert paired(found) == {'00013_00013': '00013_00.jpg'}


def test_a_list_says_whose_truth_it_is(tmp_path):
  found = pair_up(
    tmp_path,
    ['1_0_1_1.png', '2_0_3_1.png', 'other.png'],
    ['1_0.png', '2_0.png'],
    '1_0.jpg 1_1.jpg\n2_0.jpg 3_1.jpg\n1_0.jpg 1_1.jpg\n4_0.jpg 4_1.jpg\n',
  )
  assert paired(found) == {'1_0_1_1': '1_0.png'}
  assert said(found, 'no result of these pairs') == ('4_0_4_1',)
  assert said(found, 'left out') == ('other',)
  assert said(found, 'more than once') == ('1_0_1_1',)
  assert found.duplicates == 1


def test_a_true_picture_of_many_results_counts_once(tmp_path):
  found = pair_up(tmp_path, ['1_0_8_1.png', '1_0_9_1.png'], ['1_0.png'])
  assert [x.real for x in found.items] == [True, False]


def test_results_of_another_list_are_refused(tmp_path):
  with pytest.raises(InputError, match='of another list; give its --pairs'):
    pair_up(tmp_path, ['a_b.png', 'c_d.png'], ['a.png'], 'x.jpg y.jpg\n')
  with pytest.raises(InputError, match='no name here belongs to a result'):
    pair_up(tmp_path / '2', ['a.png'], ['b.png'])


def test_folders_without_pictures_are_refused(tmp_path):
  (tmp_path / 'empty').mkdir()
  (tmp_path / 'empty' / 'notes.txt').write_text('no picture')
  with pytest.raises(InputError, match='there is no picture in it'):
    pairing.read_results(tmp_path / 'empty')
  with pytest.raises(InputError, match='there is no such folder'):
    pairing.read_results(tmp_path / 'missing')
  twice = pictures(tmp_path / 'twice', 'a.png', 'a.jpg')
  with pytest.raises(InputError, match='has the same name'):
    pairing.read_results(twice)


def infer_folder(folder, **settings):
  pictures(folder / 'results', 'a_b.png')
  (folder / 'settings.json').write_text(
    json.dumps({'output': 'png', 'folders': 1, **settings})
  )
  lines = [
    {
      'name': 'a_b',
      'status': 'ok',
      'file': 'results/a_b.png',
      'control_points': np.linspace(-1, 1, 200).tolist(),
    },
    {'name': 'c_d', 'status': 'failed', 'reason': 'no garment'},
  ]
  (folder / 'manifest.jsonl').write_text(
    ''.join(json.dumps(line) + '\n' for line in lines)
  )
  return folder


def test_results_of_a_job(tmp_path):
  found = pairing.read_results(infer_folder(tmp_path / 'job'))
  assert list(found.files) == ['a_b'] and found.lost == ('c_d',)
  assert found.control_points['a_b'].shape == (100, 2)
  assert found.step('a_b', 'coarse') is None
  pictures(tmp_path / 'job' / 'steps', 'a_b_coarse.jpg')
  assert found.step('a_b', 'coarse').name == 'a_b_coarse.jpg'
  assert pairing.read_results(tmp_path / 'job', 'coarse').files


@pytest.mark.parametrize(
  'settings, method, said',
  [
    ({'output': 'tfrecord'}, 'result', 'give infer --output png'),
    ({}, 'paste', 'has no steps to its results'),
  ],
)
def test_jobs_that_cannot_be_evaluated(tmp_path, settings, method, said):
  with pytest.raises(InputError, match=said):
    pairing.read_results(infer_folder(tmp_path, **settings), method)


# ------------------------------------------------------------------- protocols


def test_protocols_name_what_there_is():
  for protocol in protocols.PROTOCOLS.values():
    names = [figure.name for figure in protocol.figures]
    assert len(set(names)) == len(names)
    for figure in protocol.figures:
      if figure.kind == 'ssim':
        assert figure.variant in structural.SSIM
      assert figure.of_pairs == (figure.extractor is None)
      assert figure.hides and figure.library


def test_every_protocol_of_the_list_is_described():
  text = cards.describe()
  for name in (*protocols.PROTOCOLS, *protocols.NOT_REPRODUCED):
    assert f'\n{name}\n' in f'\n{text}'
  # What papers differ by is said.
  for word in ('128 x 128', 'splits: 1\n', 'zero padding', 'TF1 bilinear'):
    assert word in text


@pytest.mark.parametrize(
  'name, said', [('cp-vton-plus', 'MATLAB'), ('hr_viton', 'use one of')]
)
def test_unknown_protocols_are_refused(name, said):
  with pytest.raises(InputError, match=said):
    protocols.find(name)


def test_figures_are_chosen_by_name():
  ours = protocols.find('viton_jax')
  usual = [x.name for x in protocols.choose(ours, None)]
  assert 'lpips' in usual and 'dists' not in usual
  assert len(protocols.choose(ours, 'all')) == len(ours.figures)
  assert [x.name for x in protocols.choose(ours, 'fid,ssim')] == ['fid', 'ssim']
  with pytest.raises(InputError, match='has no such figure'):
    protocols.choose(ours, 'ssim,vmaf')
