"""Several prepared sets as one."""

import numpy as np
import pytest
import small_sets

from input_pipeline import batches, join, prepare
from input_pipeline.formats import packed
from input_pipeline.synthetic.dataset import write_dataset
from viton_jax.errors import InputError


@pytest.fixture(scope='module')
def sets(tmp_path_factory):
  """The same small set twice, under two names."""
  folders = [tmp_path_factory.mktemp(name) for name in 'ab']
  for folder in folders:
    small_sets.write_records(folder)
    (folder / 'manifest.jsonl').write_text('{"status": "ok"}\n')
  return folders


def _all(folder, split):
  return batches.read_all(folder, split=split)


def test_the_examples_of_all_sets_in_order(sets, tmp_path, capsys):
  out_dir = tmp_path / 'both'
  join.main([*map(str, sets), '--out_dir', str(out_dir)])
  counts = small_sets.NUM_EXAMPLES
  assert (
    f'joined 2 sets in {out_dir}: {2 * counts["train"]} train, '
    f'{2 * counts["validation"]} validation'
  ) in capsys.readouterr().out
  assert batches.read_info(out_dir).num_examples == {
    name: 2 * count for name, count in counts.items()
  }
  for split in counts:
    one, both = _all(sets[0], split), _all(out_dir, split)
    for name, values in one.items():
      np.testing.assert_array_equal(both[name], np.concatenate([values] * 2))
  lines = (out_dir / 'manifest.jsonl').read_text().splitlines()
  assert len(lines) == 2
  # The sets are as they were.
  assert batches.read_info(sets[0]).num_examples == counts
  assert not list(tmp_path.glob('.*'))


def test_tfds_reads_them_too(sets, tmp_path):
  import tensorflow_datasets as tfds

  join.join(sets, tmp_path / 'both')
  folder = batches.read_info(tmp_path / 'both').folder
  builder = tfds.builder_from_directory(folder)
  assert builder.info.splits['train'].num_examples == 46
  assert len(list(builder.as_dataset(split='train'))) == 46


def test_packed_files_are_joined_too(tmp_path):
  """One of them with nobody held out."""
  folders = []
  for i, (start, held_out) in enumerate(((7, 0.4), (123456, 0))):
    raw, packed_dir = tmp_path / f'raw{i}', tmp_path / f'packed{i}'
    write_dataset(raw, 3, exchange=True, seed=start, height=128, workers=1)
    assert not prepare.prepare(
      'viton',
      raw,
      out_dir=packed_dir,
      height=64,
      width=64,
      validation_fraction=held_out,
      workers=0,
      fmt='packed',
    )
    folders.append(packed_dir)
  out_dir = tmp_path / 'both'
  counts = join.join(folders, out_dir)
  parts = [batches.read_info(x, fmt='packed') for x in folders]
  assert 'validation' not in parts[1].num_examples
  info = batches.read_info(out_dir, fmt='packed')
  assert info.exchanged and info.num_examples == counts
  assert counts['train'] == sum(x.num_examples['train'] for x in parts)
  assert counts['validation'] == parts[0].num_examples['validation']
  both = batches.read_all(out_dir, split='train', fmt='packed')
  alone = [batches.read_all(x, split='train', fmt='packed') for x in folders]
  for name, values in both.items():
    np.testing.assert_array_equal(
      values, np.concatenate([x[name] for x in alone])
    )
  for split in counts:
    packed.check_sums(packed.path_of(out_dir, split))
  with pytest.raises(InputError, match='no finished packed files'):
    join.join([folders[0], tmp_path], tmp_path / 'none')


def test_what_cannot_be_joined_is_refused(sets, tmp_path):
  out_dir = tmp_path / 'both'
  with pytest.raises(InputError, match='given twice'):
    join.join([sets[0], sets[0]], out_dir)
  with pytest.raises(InputError, match='give at least two'):
    join.main([str(sets[0]), '--out_dir', str(out_dir)])
  with pytest.raises(InputError, match='there are no finished records'):
    join.join([sets[0], tmp_path], out_dir)
  with pytest.raises(InputError, match='is there already'):
    join.join(sets, tmp_path)
  metadata = batches.read_info(sets[1]).folder / 'metadata.json'
  before = metadata.read_text()
  try:
    metadata.write_text(before.replace('"height": 64', '"height": 128'))
    with pytest.raises(InputError, match='with height 128, but .* with 64'):
      join.join(sets, out_dir)
  finally:
    metadata.write_text(before)
  gone = next(batches.read_info(sets[1]).folder.glob('try_on-train*'))
  aside = tmp_path / gone.name
  gone.rename(aside)
  try:
    with pytest.raises(InputError, match='0 files of train instead of 1'):
      join.join(sets, out_dir)
  finally:
    aside.rename(gone)
  assert not out_dir.exists()
