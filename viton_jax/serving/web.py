"""A folder that a browser tries on with, without a server of ours.

A page, the ONNX graph of one pair, and onnxruntime-web. Photos stay in the
browser. `python -m http.server --directory E/web` serves it.
"""

import base64
import dataclasses
import hashlib
import json
import pathlib
import shutil
import subprocess
import tarfile
import tempfile

import numpy as np

from input_pipeline.sample import working_example
from input_pipeline.synthetic.pairs import render_pair
from viton_jax.checkpoints import Checkpoint
from viton_jax.choices import Composition
from viton_jax.errors import InputError
from viton_jax.geometry.device import REASONS
from viton_jax.io import files, images, storage
from viton_jax.serving import artifact, programs

FOLDER = 'web'
PACKAGE, VERSION = 'onnxruntime-web', '1.30.0'
# As the registry states it: SHA-512 of the packed package.
_INTEGRITY = (
  'q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1Sig'
  'qR4CXAfKYQ=='
)
# The files of it that the page needs, and their SHA-256.
_RUNTIME = {
  'ort.webgpu.min.mjs': (
    '3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0'
  ),
  'ort-wasm-simd-threaded.asyncify.mjs': (
    '3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28'
  ),
  'ort-wasm-simd-threaded.asyncify.wasm': (
    '39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da'
  ),
}
_PAGE = pathlib.Path(__file__).with_name('page')
_STYLE = pathlib.Path(__file__).parents[1] / 'server' / 'page'
_MIT = """\
{package} {version}, from the npm registry, unchanged.

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


def runtime_files(source: str | None) -> dict[str, bytes]:
  """The files of onnxruntime-web that the page needs, checked.

  Args:
    source: the package, unpacked or packed; None: fetched with npm.

  Raises:
    InputError: it is not there, or not the package of `VERSION`.
  """
  if source is None:
    return _fetched()
  path = pathlib.Path(source)
  if not path.is_dir():
    return _unpacked(path)
  return {
    name: _checked(name, _found(path, name), str(path)) for name in _RUNTIME
  }


def _fetched() -> dict[str, bytes]:
  npm = shutil.which('npm')
  wanted = f'{PACKAGE}@{VERSION}'
  if npm is None:
    raise InputError(
      f'--format web: needs {wanted}, and npm is not installed to fetch it; '
      'install npm, or give the package with --onnxruntime_web.'
    )
  with tempfile.TemporaryDirectory() as scratch:
    done = subprocess.run(
      [npm, 'pack', wanted, '--pack-destination', scratch],
      cwd=scratch,
      capture_output=True,
      text=True,
      check=False,
    )
    packed = list(pathlib.Path(scratch).glob('*.tgz'))
    if done.returncode or len(packed) != 1:
      lines = done.stderr.strip().splitlines() or ['it wrote nothing']
      raise InputError(
        f'--format web: npm cannot fetch {wanted} ({lines[0][:160]}); give '
        'the package with --onnxruntime_web.'
      )
    return _unpacked(packed[0])


def _unpacked(path: pathlib.Path) -> dict[str, bytes]:
  data = files.read(
    path,
    f'package {PACKAGE}',
    limit=files.MAX_MODEL_BYTES,
    remedy='give what npm packs, or a folder.',
  )
  if base64.b64encode(hashlib.sha512(data).digest()).decode() != _INTEGRITY:
    raise InputError(
      f'{path}: is not {PACKAGE} {VERSION}, or is damaged (its SHA-512 is '
      f'another); type npm pack {PACKAGE}@{VERSION}.'
    )
  with tarfile.open(path) as tar:
    found = {}
    for name in _RUNTIME:
      member = tar.extractfile(f'package/dist/{name}')
      assert member is not None  # Its sum says what it holds.
      found[name] = member.read()
  return found


def _found(folder: pathlib.Path, name: str) -> bytes:
  places = [folder / name, folder / 'dist' / name]
  path = next((x for x in places if x.exists()), places[-1])
  return files.read(
    path,
    f'file of {PACKAGE}',
    limit=files.MAX_MODEL_BYTES,
    remedy=f'give the unpacked npm package {PACKAGE} {VERSION}.',
  )


def _checked(name: str, data: bytes, where: str) -> bytes:
  if hashlib.sha256(data).hexdigest() != _RUNTIME[name]:
    raise InputError(
      f'{where}: its {name} is not that of {PACKAGE} {VERSION} (another '
      'SHA-256); give that version.'
    )
  return data


def write(
  folder: pathlib.Path,
  networks: tuple[Checkpoint, Checkpoint],
  runtime: dict[str, bytes],
  *,
  composing: Composition,
) -> None:
  """Writes the folder `web` into `folder`.

  Args:
    folder: of the export.
    networks: encoder-decoder and refinement network.
    runtime: what `runtime_files` gives.
    composing: see `networks.pure_steps`.
  """
  from viton_jax.serving import onnx_files  # Needs ONNX.

  place = folder / FOLDER
  (place / 'ort').mkdir(parents=True)
  onnx_files.write(place, networks, composing=composing, one_pair=True)
  for name, data in runtime.items():
    (place / 'ort' / name).write_bytes(data)
  licence = _MIT.format(package=PACKAGE, version=VERSION)
  (place / 'ort' / 'LICENSE').write_text(licence)
  for path in _PAGE.iterdir():
    if path.is_file():
      shutil.copyfile(path, place / path.name)
  for name in ('style.css', 'icon.svg'):
    shutil.copyfile(_STYLE / name, place / name)
  (h, w), fidelity = networks[0].size, networks[0].fidelity
  graph = (place / onnx_files.NAME).read_bytes()
  storage.write_json(
    place / 'model.json',
    {
      'height': h,
      'width': w,
      'fidelity': fidelity,
      'graph': {'bytes': len(graph), 'sha256': artifact.digest(graph)},
      'reasons': list(REASONS),
      'inputs': programs.describe_inputs((h, w)),
    },
  )
  _write_sample(place / 'sample', (h, w))


def _write_sample(folder: pathlib.Path, size: tuple[int, int]) -> None:
  """A drawn person with joints and labels, and a garment with its mask."""
  folder.mkdir()
  pair, other = (render_pair(7, i, 256, style='photo') for i in (1, 3))
  sample = pair.sample('drawn person', 'drawn garment')
  given = other.sample('another person', 'drawn garment')
  example = working_example(
    dataclasses.replace(
      sample, garment=given.garment, garment_mask=given.garment_mask
    ),
    height=size[0],
    width=size[1],
    fidelity='fixed',
  )
  for name in ('person', 'garment', 'parse'):
    (folder / f'{name}.png').write_bytes(images.encode_png(example[name]))
  mask = np.asarray(example['garment_mask'], np.uint8) * 255
  (folder / 'garment_mask.png').write_bytes(images.encode_png(mask))
  keypoints = np.asarray(example['keypoints'], float).tolist()
  (folder / 'keypoints.json').write_text(json.dumps(keypoints))
