"""Preparing on Apache Beam, where it is installed."""

import itertools
import json
import shutil
import sys

import entry_points
import numpy as np
import pytest

from input_pipeline import batches
from input_pipeline.preparing import beam_job
from viton_jax.errors import InputError

OPTIONS = 'direct_num_workers=2'


def test_options():
  def parse(text):
    return beam_job.parse_options(text, workers=3)

  direct = [
    '--runner=DirectRunner',
    '--direct_running_mode=multi_processing',
    '--direct_num_workers=3',
  ]
  assert parse('') == direct
  assert parse('direct_num_workers=5') == [
    '--direct_num_workers=5',
    *direct[:2],
  ]
  assert parse('runner=DirectRunner') == direct
  # Other runners get what is given, no more.
  assert parse(' --runner=FlinkRunner, parallelism=8,streaming') == [
    '--runner=FlinkRunner',
    '--parallelism=8',
    '--streaming',
  ]
  for text in ('=4', 'runner=X,--', '--=3'):
    with pytest.raises(InputError, match='has no name; write name=value'):
      parse(text)


def test_without_beam(monkeypatch):
  monkeypatch.setitem(sys.modules, 'apache_beam', None)
  with pytest.raises(InputError, match='--beam needs Apache Beam, but'):
    beam_job.pipeline_options([])


def test_options_alone(tmp_path):
  done = entry_points.run(
    'input_pipeline.prepare',
    *('--data_dir', tmp_path, '--out_dir', tmp_path, '--beam_options', 'x'),
    expect=2,
  )
  assert '--beam_options goes with --beam' in done.stderr


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  """40 pairs of six persons, one of them broken, prepared both ways."""
  pytest.importorskip(
    'apache_beam', reason='Apache Beam has an environment of its own'
  )
  folder = tmp_path_factory.mktemp('beam')
  data = folder / 'data'
  entry_points.run(
    'input_pipeline.synthetic',
    *('--out_dir', data, '--num_pairs', 6, '--num_test_pairs', 0),
    *('--seed', 1, '--height', 256),
  )
  lines = (data / 'viton_train_pairs.txt').read_text().split('\n')[:6]
  (data / 'many.txt').write_text(
    '\n'.join(itertools.islice(itertools.cycle(lines), 40))
  )
  broken = data / 'segment' / f'{lines[2].split("_")[0]}_0.mat'
  broken.write_bytes(b'not MATLAB')
  common = (
    *('--data_dir', data, '--pairs', 'many.txt', '--height', 64),
    *('--width', 64, '--validation_fraction', 0.25),
  )
  prepare = 'input_pipeline.prepare'
  entry_points.run(
    prepare, *common, '--out_dir', folder / 'local', '--workers', 2, expect=3
  )
  done = entry_points.run(
      prepare, *common, '--out_dir', folder / 'beam', '--beam',
      '--beam_options', OPTIONS, expect=3,
  )  # fmt: skip
  assert '--direct_num_workers=2' in done.stdout
  assert '--direct_running_mode=multi_processing' in done.stdout
  assert '33 ok' in done.stdout and '7 failed' in done.stdout
  return folder


def test_the_same_records_as_without(folders):
  local, beam = folders / 'local', folders / 'beam'
  got, want = batches.read_info(beam), batches.read_info(local)
  assert got.num_examples == want.num_examples
  assert sum(want.num_examples.values()) == 33 and len(want.num_examples) == 2
  for split in want.num_examples:
    pairs = zip(
      batches.eval_batches(beam, split=split, batch_size=8),
      batches.eval_batches(local, split=split, batch_size=8),
      strict=True,
    )
    for one, other in pairs:
      assert one.keys() == other.keys()
      for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
  assert (beam / 'manifest.jsonl').read_text() == (
    local / 'manifest.jsonl'
  ).read_text()
  assert not (beam / 'parts').exists()
  names = {x.name for x in batches.read_info(beam).folder.iterdir()}
  assert names == {x.name for x in batches.read_info(local).folder.iterdir()}


def test_a_run_goes_on_on_beam(folders, tmp_path):
  # Begun without Beam: parts are the same.
  out_dir = tmp_path / 'out'
  settings = json.loads((folders / 'beam' / 'prepare.json').read_text())
  out_dir.mkdir()
  (out_dir / 'prepare.json').write_text(json.dumps(settings | {'done': False}))
  from input_pipeline import layouts
  from input_pipeline.preparing import parts

  layout = layouts.open_layout('viton', folders / 'data', 'many.txt')
  work = parts.Work(layout, 64, 64, 'fixed', 0, out_dir / 'parts')
  work.parts_dir.mkdir()
  parts.prepare_chunk(work, 1)
  options = beam_job.pipeline_options(
    beam_job.parse_options(OPTIONS, workers=2)
  )
  assert work.missing() == [0, 2]
  statuses = list(beam_job.run_chunks(work, work.missing(), options=options))
  assert sorted(map(len, statuses)) == [8, 16]
  assert work.missing() == []
  shutil.rmtree(out_dir)


def test_workers_that_fail_end_the_command(folders, tmp_path):
  from input_pipeline import layouts
  from input_pipeline.preparing import parts

  layout = layouts.open_layout('viton', folders / 'data', 'many.txt')
  (tmp_path / 'file').write_text('')
  work = parts.Work(layout, 64, 64, 'fixed', 0, tmp_path / 'file' / 'parts')
  options = beam_job.pipeline_options(
    beam_job.parse_options('direct_running_mode=in_memory', workers=1)
  )
  with pytest.raises(Exception, match='Not a directory'):
    list(beam_job.run_chunks(work, [0], options=options))
