"""CP-VTON, VITON-HD and DressCode: read, prepared, and told apart."""

import pathlib
import pickle
import shutil

import layout_folders
import numpy as np
import pytest

from input_pipeline import batches, layouts, prepare, sample
from input_pipeline.layouts import open_layout
from viton_jax.errors import InputError
from viton_jax.labels import GARMENT_LABEL, HEAD_LABELS

WRITERS = {
  'cp_vton': layout_folders.write_cp_vton,
  'viton_hd': layout_folders.write_viton_hd,
  'dress_code': layout_folders.write_dress_code,
}
RAW = pathlib.Path(__file__).parent / 'goldens/raw_seed0'
# Where files of the first training person and garment lie.
FIRST = {
  'cp_vton': dict(
    person='train/image/000001_0.jpg',
    garment='train/cloth/000001_1.jpg',
    parse='train/image-parse/000001_0.png',
    pose='train/pose/000001_0_keypoints.json',
    mask='train/cloth-mask/000001_1.jpg',
  ),
  'viton_hd': dict(
    person='train/image/00001_00.jpg',
    garment='train/cloth/00001_00.jpg',
    parse='train/image-parse-v3/00001_00.png',
    pose='train/openpose_json/00001_00_keypoints.json',
    mask='train/cloth-mask/00001_00.jpg',
  ),
  'dress_code': dict(
    person='upper_body/images/000001_0.jpg',
    garment='upper_body/images/000001_1.jpg',
    parse='upper_body/label_maps/000001_4.png',
    pose='upper_body/keypoints/000001_2.json',
    mask='upper_body/masks/000001_1.png',
  ),
}
every_layout = pytest.mark.parametrize('name', WRITERS)


@pytest.fixture(scope='module')
def drawn():
  return layout_folders.draw()


@pytest.fixture(scope='module')
def folders(drawn, tmp_path_factory):
  """One folder a layout, which no test changes."""
  root = tmp_path_factory.mktemp('layouts')
  for name, write in WRITERS.items():
    write(root / name, drawn)
  return root


@pytest.fixture
def copy(folders, tmp_path):
  def make(name):
    return shutil.copytree(folders / name, tmp_path / name)

  return make


@every_layout
def test_training_pairs_come_back(folders, drawn, name):
  layout = open_layout(name, folders / name)
  assert len(layout) == len(layout.pairs) == 2 and layout.name == name
  layout = pickle.loads(pickle.dumps(layout))
  for k, got in zip((1, 2), layout, strict=True):
    layout_folders.check_sample(
      got,
      drawn[k],
      drawn[k],
      joints_atol=1e-4,
      confidence=name != 'dress_code',
    )
    np.testing.assert_array_equal(got.garment_mask, drawn[k].garment_mask)
    assert got.truth is got.person and got.truth_parse is got.parse
    assert got.control_points is None


@every_layout
def test_test_pairs_are_unpaired(folders, drawn, name):
  layout = open_layout(name, folders / name, split='test')
  for (person, garment), got in zip(layout_folders.TEST, layout, strict=True):
    layout_folders.check_sample(
      got,
      drawn[person],
      drawn[garment],
      joints_atol=1e-4,
      confidence=name != 'dress_code',
    )
    assert got.truth is None and got.truth_parse is None


@pytest.mark.parametrize(
  'name, pairs',
  [
    ('cp_vton', 'test_pairs_same.txt'),
    ('cp_vton', 'test_pairs.txt:paired'),
    ('viton_hd', 'test_pairs.txt:paired'),
    ('dress_code', 'test_pairs_paired.txt'),
    ('dress_code', 'test_pairs_unpaired.txt:paired'),
    ('dress_code', 'upper_body/test_pairs_paired.txt'),
  ],
)
def test_paired_lists(folders, drawn, name, pairs):
  layout = open_layout(name, folders / name, pairs)
  for (person, _), got in zip(layout_folders.TEST, layout, strict=True):
    layout_folders.check_sample(
      got,
      drawn[person],
      drawn[person],
      joints_atol=1e-4,
      confidence=name != 'dress_code',
    )
    assert got.truth is got.person


def test_paired_needs_a_name_that_tells():
  layout = open_layout('viton', RAW, 'viton_train_pairs.txt:paired')
  plain = open_layout('viton', RAW, 'viton_train_pairs.txt')
  assert layout.pairs == plain.pairs


def test_paired_refuses_names_that_do_not_tell(copy):
  folder = copy('cp_vton')
  (folder / 'test_own.txt').write_text('me.jpg 000001_1.jpg\n')
  with pytest.raises(InputError, match='me.jpg: .* cannot be determined'):
    open_layout('cp_vton', folder, 'test_own.txt:paired')


def test_older_spelling_of_viton_hd(drawn, tmp_path):
  layout_folders.write_viton_hd(tmp_path, drawn, old=True)
  layout = open_layout('viton_hd', tmp_path)
  layout_folders.check_sample(
    layout.load(0), drawn[1], drawn[1], joints_atol=1e-4
  )
  assert 'openpose-json' in layout.found and 'CIHP' in layout.found
  assert open_layout('auto', tmp_path).name == 'viton_hd'


def test_viton_hd_takes_coco_joints_too(copy, drawn):
  folder = copy('viton_hd')
  layout_folders.write_json(
    folder / FIRST['viton_hd']['pose'],
    layout_folders.openpose(drawn[1].keypoints),
  )
  got = open_layout('viton_hd', folder).load(0)
  np.testing.assert_allclose(got.keypoints, drawn[1].keypoints, atol=1e-4)


def test_viton_hd_pairs_by_the_whole_name(copy):
  folder = copy('viton_hd')
  shutil.copy(
    folder / FIRST['viton_hd']['garment'], folder / 'train/cloth/00001_01.jpg'
  )
  shutil.copy(
    folder / FIRST['viton_hd']['mask'],
    folder / 'train/cloth-mask/00001_01.jpg',
  )
  (folder / 'train_pairs.txt').write_text('00001_00.jpg 00001_01.jpg\n')
  assert open_layout('viton_hd', folder).load(0).truth is None


def test_cp_vton_tells_missing_joints_by_coordinates(copy):
  folder = copy('cp_vton')
  joints = np.full((18, 3), 30.0)
  joints[2] = 1, 30, 0.9
  joints[3] = 30, 30, 0
  layout_folders.write_json(
    folder / FIRST['cp_vton']['pose'], layout_folders.openpose(joints)
  )
  keypoints = open_layout('cp_vton', folder).load(0).keypoints
  assert not keypoints[2].any() and keypoints[3, 2] > 0


def test_cp_vton_plus_names_and_skin(copy, drawn):
  folder = copy('cp_vton')
  labels = drawn[1].parse.copy()
  labels[100:110, 90:100] = 20
  layout_folders.write_grey(
    folder / 'train/image-parse-new/000001_0.png', labels
  )
  layout_folders.write_json(
    folder / FIRST['cp_vton']['pose'],
    layout_folders.openpose(drawn[1].keypoints),  # pose_keypoints_2d
  )
  layout = open_layout('cp_vton', folder)
  assert 'image-parse-new' in layout.found
  parse = layout.load(0).parse
  skin = labels == 20
  np.testing.assert_array_equal(parse[~skin], labels[~skin])
  # Body, but neither the garment nor the head that a try-on keeps.
  assert not np.isin(parse[skin], (0, GARMENT_LABEL, *HEAD_LABELS)).any()


def test_skin_of_cihp_is_neither_garment_nor_head(copy, drawn):
  folder = copy('viton_hd')
  labels = drawn[1].parse.copy()
  labels[labels == 13] = 10
  layout_folders.write_palette(folder / FIRST['viton_hd']['parse'], labels)
  got = open_layout('viton_hd', folder).load(0)
  example = sample.working_example(got, height=256, width=192, fidelity='fixed')
  assert not np.isin(
    got.parse[labels == 10], (0, GARMENT_LABEL, *HEAD_LABELS)
  ).any()
  assert example['body'].sum() > 0
  assert not example['head_mask'][labels == 10].any()


@pytest.mark.parametrize('name', ['cp_vton', 'viton_hd'])
def test_a_top_labelled_as_coat_is_the_garment(copy, drawn, name):
  folder = copy(name)
  labels = drawn[1].parse.copy()
  labels[labels == 5] = 7
  layout_folders.write_palette(folder / FIRST[name]['parse'], labels)
  np.testing.assert_array_equal(
    open_layout(name, folder).load(0).parse, drawn[1].parse
  )


def test_a_coat_over_a_top_stays(copy, drawn):
  folder = copy('viton_hd')
  labels = drawn[1].parse.copy()
  top = np.argwhere(labels == 5)
  labels[tuple(top[: len(top) * 4 // 5].T)] = 7
  layout_folders.write_palette(folder / FIRST['viton_hd']['parse'], labels)
  parse = open_layout('viton_hd', folder).load(0).parse
  np.testing.assert_array_equal(parse, labels)


@pytest.mark.slow
@every_layout
def test_prepared_as_they_are_read(folders, tmp_path, name, capsys):
  code = prepare.prepare(
    'auto',
    folders / name,
    out_dir=tmp_path,
    workers=0,
    validation_fraction=0.0,
    height=128,
    width=64,
  )
  assert code == 0
  assert f'auto: {name}, because ' in capsys.readouterr().out
  (batch,) = batches.eval_batches(tmp_path, split='train', batch_size=2)
  # What auto found is what is noted.
  assert (
    prepare.prepare(
      name,
      folders / name,
      out_dir=tmp_path,
      workers=0,
      validation_fraction=0.0,
      height=128,
      width=64,
    )
    == 0
  )
  rows = {person: i for i, person in enumerate(batch['person_id'])}
  for got in open_layout(name, folders / name):
    row = rows[got.person_id.encode()]
    want = sample.working_example(got, height=128, width=64, fidelity='fixed')
    for key in ('parse', 'keypoints', 'garment_mask', 'body', 'head_mask'):
      np.testing.assert_array_equal(batch[key][row], want[key])
    assert np.isfinite(batch['control_points'][row]).all()


@pytest.mark.slow
def test_prepared_at_512_x_384(tmp_path):
  drawn = layout_folders.draw(512)
  layout_folders.write_viton_hd(tmp_path / 'raw', drawn)
  code = prepare.prepare(
    'viton_hd',
    tmp_path / 'raw',
    out_dir=tmp_path / 'out',
    workers=0,
    validation_fraction=0.0,
    height=512,
    width=384,
  )
  assert code == 0
  (batch,) = batches.eval_batches(tmp_path / 'out', split='train', batch_size=2)
  assert batch['person'].shape == (2, 512, 384, 3)
  assert batch['body'].shape == (2, 32, 24)
  row = batch['person_id'].tolist().index(b'00001_00.jpg')
  np.testing.assert_array_equal(batch['parse'][row], drawn[1].parse)


def test_a_list_of_another_name_finds_its_split(copy):
  folder = copy('cp_vton')
  (folder / 'mine.txt').write_text('000004_0.jpg 000003_1.jpg\n')
  layout = open_layout('cp_vton', folder, 'mine.txt')
  assert layout.folder == folder / 'test'
  assert 'all persons of the list are there' in layout.found
  assert layout.load(0).person_id == '000004_0.jpg'
  (folder / 'mine.txt').write_text(
    '000004_0.jpg 000003_1.jpg\n000001_0.jpg 000001_1.jpg\n'
  )
  with pytest.raises(InputError, match='train/image lacks 1, test/image lack'):
    open_layout('cp_vton', folder, 'mine.txt')


def test_a_split_alone_is_a_data_folder(folders):
  layout = open_layout(
    'viton_hd', folders / 'viton_hd/test', folders / 'viton_hd/test_pairs.txt'
  )
  assert layout.load(0).person_id == '00003_00.jpg'
  layout = open_layout('dress_code', folders / 'dress_code/upper_body')
  assert layout.load(0).person_id == '000001_0.jpg'


def test_a_list_whose_split_is_missing(copy):
  folder = copy('viton_hd')
  shutil.rmtree(folder / 'test')
  with pytest.raises(InputError, match='test_pairs.txt: the name says test'):
    open_layout('viton_hd', folder, split='test')


@every_layout
def test_masks_are_optional_as_a_folder(copy, name):
  folder = copy(name)
  shutil.rmtree((folder / FIRST[name]['mask']).parent)
  layout = open_layout(name, folder)
  assert 'from the photos' in layout.found
  assert layout.load(0).garment_mask is None


@every_layout
@pytest.mark.parametrize('kind', ['person', 'garment', 'parse', 'pose', 'mask'])
def test_missing_files_fail_their_pair_alone(copy, name, kind):
  folder = copy(name)
  path = folder / FIRST[name][kind]
  path.unlink()
  layout = open_layout(name, folder)
  with pytest.raises(InputError, match=f'{path.name}: the .* cannot be read'):
    layout.load(0)
  assert layout.load(1).person.any()


@every_layout
@pytest.mark.parametrize('kind, what', [('parse', 'label map'), ('mask', 'ma')])
def test_maps_of_another_size_are_refused(copy, name, kind, what):
  folder = copy(name)
  path = folder / FIRST[name][kind]
  layout_folders.write_grey(path, np.zeros((100, 90), np.uint8))
  with pytest.raises(
    InputError, match=f'{path.name}: the {what}.* is 90 x 100 .* 192 x 256'
  ):
    open_layout(name, folder).load(0)


@every_layout
def test_label_37_is_refused(copy, name):
  folder = copy(name)
  labels = np.zeros((256, 192), np.uint8)
  labels[7, 5] = 37
  layout_folders.write_grey(folder / FIRST[name]['parse'], labels)
  with pytest.raises(InputError, match=r'label 37 at \(5, 7\).* map the lab'):
    open_layout(name, folder).load(0)


@pytest.mark.parametrize(
  'name, label', [('viton_hd', 20), ('dress_code', 18), ('cp_vton', 21)]
)
def test_the_first_label_beyond_each_set_is_refused(copy, name, label):
  folder = copy(name)
  layout_folders.write_grey(
    folder / FIRST[name]['parse'], np.full((256, 192), label, np.uint8)
  )
  with pytest.raises(InputError, match=f'the label {label} at .*{label - 1};'):
    open_layout(name, folder).load(0)


def test_an_empty_mask_is_refused(copy):
  folder = copy('dress_code')
  mask = np.zeros((256, 192), np.uint8)
  mask[50:200] = 1  # As labels, not as grey levels.
  layout_folders.write_grey(folder / FIRST['dress_code']['mask'], mask)
  with pytest.raises(InputError, match='mask is empty .* write 255'):
    open_layout('dress_code', folder).load(0)


def test_body_25_where_coco_is_said(copy, drawn):
  folder = copy('cp_vton')
  layout_folders.write_json(
    folder / FIRST['cp_vton']['pose'],
    layout_folders.openpose(layout_folders.body_25(drawn[1].keypoints)),
  )
  with pytest.raises(
    InputError, match='75 numbers, which is BODY_25, .* --model_pose COCO,'
  ):
    open_layout('cp_vton', folder).load(0)


@every_layout
def test_wrong_lines_missing_lists_and_folders(copy, name):
  folder = copy(name)
  with pytest.raises(InputError, match='none.txt: the pair list cannot be'):
    open_layout(name, folder, 'none.txt')
  path = folder / 'train_wrong.txt'
  path.write_text('a.jpg b.jpg\na.jpg\n')
  with pytest.raises(InputError, match="train_wrong.txt, line 2: 'a.jpg' is"):
    open_layout(name, folder, 'train_wrong.txt')
  path.write_text('a\0.jpg b.jpg\n')
  with pytest.raises(InputError, match='line 1: '):
    open_layout(name, folder, 'train_wrong.txt')
  with pytest.raises(InputError, match='nowhere.*: there is no such folder'):
    open_layout(name, folder / 'nowhere')
  shutil.rmtree((folder / FIRST[name]['pose']).parent)
  with pytest.raises(InputError, match=f'{name} layout needs'):
    open_layout(name, folder)


def test_auto_says_what_it_found_and_why(folders):
  for name in WRITERS:
    layout = open_layout('auto', folders / name)
    assert layout.name == name
    assert layout.found.startswith(f'auto: {name}, because {folders / name}')
  layout = open_layout('auto', RAW)
  assert layout.name == 'viton' and 'has women_top/' in layout.found
  assert len(layout) == 4


def test_auto_when_nothing_or_several_fit(copy, tmp_path):
  (tmp_path / 'else').mkdir()
  (tmp_path / 'else/holiday').mkdir()
  with pytest.raises(InputError, match='no layout fits: .* holiday') as error:
    open_layout('auto', tmp_path / 'else')
  for name in layouts.LAYOUTS[:-1]:
    assert f'{name} needs ' in str(error.value)
  with pytest.raises(InputError, match='nowhere: there is no such folder'):
    open_layout('auto', tmp_path / 'nowhere')
  folder = copy('cp_vton')
  shutil.copytree(folder / 'train/pose', folder / 'train/openpose_json')
  with pytest.raises(
    InputError, match='several layouts fit: cp_vton, .*; viton_hd, .*--layout'
  ):
    open_layout('auto', folder)
