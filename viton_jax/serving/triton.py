"""A model repository for NVIDIA Triton: its Python backend loads an export."""

import importlib.resources
import pathlib
import shutil
from typing import Any

from viton_jax.io import storage
from viton_jax.serving import artifact, programs

FOLDER = 'triton'
_MAX_BATCH = 8
_OUTPUTS = ('output', 'warped', 'coarse', 'mask', 'alpha', 'control_points')
_TYPES = {'uint8': 'TYPE_UINT8', 'float32': 'TYPE_FP32'}
_CONFIG = """\
# As `python -m viton_jax.serve` has it: batches of at most 8, which wait 5 ms;
# 32 requests wait at most, for 30 s at most, then 503.
name: "{name}"
backend: "python"
max_batch_size: {max_batch}
{tensors}
dynamic_batching {{
  max_queue_delay_microseconds: 5000
  default_queue_policy {{
    timeout_action: REJECT
    default_timeout_microseconds: 30000000
    max_queue_size: {queue}
  }}
}}
# One instance on the CPUs, or on each GPU where there are any.
instance_group [ {{ count: 1 kind: KIND_AUTO }} ]
"""


def write(folder: pathlib.Path) -> None:
  """Writes triton/try_on: config.pbtxt, model.py and a copy of the export.

  The copy makes the model whole by itself, wherever Triton fetches it from.

  Args:
    folder: of the export, with all files of the artifact.
  """
  manifest = artifact.read_manifest(folder)
  model = folder / FOLDER / programs.NAME
  version = model / '1'
  version.mkdir(parents=True)
  program = manifest['program']
  for name in (
    artifact.MANIFEST,
    program['file'],
    *program['weights'].values(),
  ):
    shutil.copy(folder / name, version / name)
  source = importlib.resources.files('viton_jax.serving') / 'triton_model.py'
  storage.write_file(version / 'model.py', source.read_bytes())
  storage.write_file(model / 'config.pbtxt', _config(manifest).encode())


def _config(manifest: dict[str, Any]) -> str:
  outputs = manifest['program']['outputs']
  tensors = [
    _tensors('input', manifest['inputs']),
    _tensors('output', {name: outputs[name] for name in _OUTPUTS}),
  ]
  return _CONFIG.format(
    name=programs.NAME,
    max_batch=_MAX_BATCH,
    queue=4 * _MAX_BATCH,
    tensors='\n'.join(tensors),
  )


def _tensors(kind: str, specs: dict[str, dict]) -> str:
  """Entries of config.pbtxt, whose shapes are without the batch."""
  entries = [
    f'  {{ name: "{name}" data_type: {_TYPES[spec["dtype"]]} '
    f'dims: [ {", ".join(map(str, spec["shape"][1:]))} ] }}'
    for name, spec in specs.items()
  ]
  return f'{kind} [\n' + ',\n'.join(entries) + '\n]'
