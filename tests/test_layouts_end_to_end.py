"""Every layout through prepare, two training steps and try-on, unchanged."""

import json

import entry_points
import layout_folders
import pytest

pytestmark = pytest.mark.slow

WRITERS = {
  'cp_vton': layout_folders.write_cp_vton,
  'viton_hd': layout_folders.write_viton_hd,
  'dress_code': layout_folders.write_dress_code,
}


@pytest.mark.parametrize('name', WRITERS)
def test_prepared_trained_and_dressed(name, networks, tmp_path):
  data, records, out = (tmp_path / x for x in ('data', 'records', 'out'))
  WRITERS[name](data, layout_folders.draw())
  entry_points.run(
    'input_pipeline.prepare',
    *('--layout', 'auto', '--data_dir', data, '--out_dir', records),
    *('--height', 128, '--width', 64, '--validation_fraction', 0),
  )
  done = entry_points.run(
    'viton_jax.train',
    *('--config', 'configs/stage1.py:smoke', '--workdir', tmp_path / 'w'),
    *('--config.data.dir', records, '--config.num_steps', 2),
  )
  assert 'done: step 2' in done.stdout
  done = entry_points.run(
    'viton_jax.infer',
    *('--layout', name, '--data_dir', data, '--out_dir', out),
    *('--checkpoint', networks[0], '--refine_checkpoint', networks[1]),
  )
  text = (out / 'manifest.jsonl').read_text()
  lines = [json.loads(line) for line in text.splitlines()]
  assert [line['status'] for line in lines] == ['ok', 'ok']
  assert len(list((out / 'results').glob('*.png'))) == 2
