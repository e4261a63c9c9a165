"""Export: the ONNX file in onnxruntime alone, and the page in a browser."""

import functools
import json
import shutil
import subprocess
import sys

from browser import Watch, browser, needs_chromium, serious_violations
import entry_points
import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest

from viton_jax import checkpoints, export
from viton_jax.errors import InputError
from viton_jax.io import images
from viton_jax.serving import (
  artifact,
  onnx_convert,
  onnx_files,
  onnx_graph,
  onnx_runtime,
  web,
)
from viton_jax.serving.onnx_graph import NotConvertibleError
from viton_jax.serving.onnx_rules import RULES

PHONE = {'width': 360, 'height': 780}
DESKTOP = {'width': 1280, 'height': 900}


def convert(function, arrays):
  """What a function's graph gives in onnxruntime, and what JAX gives."""
  inputs = {
    x: jax.ShapeDtypeStruct(v.shape, v.dtype) for x, v in arrays.items()
  }
  graph = onnx_graph.Graph()
  made = onnx_convert.convert(
    graph, function, inputs, names={x: x for x in inputs}
  )
  shapes = jax.eval_shape(function, inputs)
  model = onnx_graph.make_model(
    graph,
    [onnx_graph.tensor_info(x, v.dtype, v.shape) for x, v in inputs.items()],
    [
      onnx_graph.tensor_info(made[x], v.dtype, v.shape)
      for x, v in shapes.items()
    ],
  )
  session = onnxruntime.InferenceSession(
    model.SerializeToString(), providers=['CPUExecutionProvider']
  )
  values = session.run([made[x] for x in shapes], arrays)
  found = {x: np.asarray(v) for x, v in zip(shapes, values, strict=True)}
  return found, jax.jit(function)(arrays)


def _gathers(x):
  rows = jnp.argsort(x['a'], axis=1, descending=True)[:, :3]
  return {
    'rows': jax.vmap(lambda a, i: a[i])(x['a'], rows),
    'one': jax.vmap(lambda a, i: a[i[0]])(x['a'], rows),
    'diagonal': jax.vmap(jnp.diagonal)(x['s']),
    'column': x['a'][:, 2],
    'sums': jax.vmap(lambda a, i: jnp.zeros(4).at[i % 4].add(a[:3]))(
      x['a'], rows
    ),
  }


def _loops(x):
  def step(i, state):
    return state * 0.5 + x['a'][:, :1] * i.astype(jnp.float32)

  grown = jax.lax.while_loop(
    lambda s: s.max() < 100, lambda s: s * 2, jnp.abs(x['a']) + 1
  )
  return {'for': jax.lax.fori_loop(0, 5, step, x['a']), 'while': grown}


def _numbers(x):
  a = x['a']
  return {
    'angle': jnp.arctan2(a, a[:, ::-1]),
    'axes': jnp.arctan2(jnp.array([0.0, 1, -1, 0]), jnp.array([0.0, 0, 0, -1])),
    'rest': jnp.mod(a, 0.7),
    'whole': jnp.mod((a * 9).astype(jnp.int32), 4),
    'round': jnp.round(a * 2),
    'sum': jnp.cumsum(a, axis=1),
    'most': jax.lax.cummax((a > 0).astype(jnp.uint8), 1, reverse=True),
    'finite': jnp.isfinite(a).all(axis=1),
    'place': jnp.argmin(a, axis=1),
    'power': a**3,
    'clip': a.clip(-0.5, 0.5),
  }


@pytest.mark.parametrize('function', [_gathers, _loops, _numbers])
def test_operators(function):
  rng = np.random.default_rng(0)
  arrays = {
    'a': rng.normal(size=(2, 7)).astype(np.float32),
    's': rng.normal(size=(2, 4, 4)).astype(np.float32),
  }
  found, expected = convert(function, arrays)
  assert found.keys() == expected.keys()
  for name, value in expected.items():
    assert found[name].dtype == value.dtype and found[name].shape == value.shape
    np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6)


def test_convolutions():
  rng = np.random.default_rng(0)
  arrays = {'x': rng.normal(size=(2, 8, 6, 3)).astype(np.float32)}
  kernel = jnp.asarray(rng.normal(size=(4, 4, 3, 5)).astype(np.float32))
  layout = ('NHWC', 'HWIO', 'NHWC')

  def both(x):
    down = jax.lax.conv_general_dilated(
      x['x'], kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=layout
    )
    up = jax.lax.conv_transpose(
      *(down, kernel, (2, 2), 'SAME'),
      dimension_numbers=layout,
      transpose_kernel=True,
    )
    return {'down': down, 'up': up}

  found, expected = convert(both, arrays)
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_converted_is_not_left_out():
  with pytest.raises(NotConvertibleError, match='erf'):
    convert(
      lambda x: {'y': jax.lax.erf(x['x'])}, {'x': np.zeros(3, np.float32)}
    )


def test_a_jax_that_cannot_be_converted_is_said(
  networks, tmp_path, monkeypatch
):
  monkeypatch.delitem(RULES, 'conv_general_dilated')
  pair = checkpoints.read_pair(*networks)
  with pytest.raises(InputError, match='conv_general_dilated: .* constraints'):
    onnx_files.write(tmp_path, pair, composing='changes')
  assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope='module')
def exported(networks, tmp_path_factory):
  out_dir = tmp_path_factory.mktemp('onnx') / 'E'
  done = entry_points.run(
    'viton_jax.export',
    *('--checkpoint', networks[0], '--refine_checkpoint', networks[1]),
    *('--out_dir', out_dir, '--format', 'stablehlo,onnx'),
  )
  return out_dir, done.stdout


@pytest.mark.slow
def test_onnx_in_onnxruntime(exported, tmp_path, monkeypatch):
  out_dir, log = exported
  assert 'ONNX, onnxruntime alone, against the live model' in log
  manifest = artifact.read_manifest(out_dir)
  assert onnx_runtime.NAME in manifest['files']
  batch = export.drawn_batch((manifest['height'], manifest['width']))
  session = onnxruntime.InferenceSession(str(out_dir / onnx_runtime.NAME))
  shapes = {x.name: x.shape for x in session.get_inputs()}
  assert shapes['person'] == ['b', *batch['person'].shape[1:]]
  assert json.loads(session.get_modelmeta().custom_metadata_map['reasons'])
  tried = onnx_runtime.load(out_dir)(batch)
  one = onnx_runtime.load(out_dir)({k: v[1:2] for k, v in batch.items()})
  np.testing.assert_array_equal(one.output[0], tried.output[1])
  inputs = tmp_path / 'i.npz'
  np.savez(inputs, allow_pickle=False, **batch)
  arguments = ['onnx_runtime', str(out_dir), '--inputs', str(inputs)]
  arguments += ['--outputs', str(tmp_path / 'o.npz')]
  monkeypatch.setattr(sys, 'argv', arguments)
  artifact.main(onnx_runtime.load)
  written = artifact.read_npz(tmp_path / 'o.npz')['output']
  np.testing.assert_array_equal(written, tried.output)


@pytest.mark.slow
def test_damaged_onnx(exported, tmp_path):
  folder = tmp_path / 'E'
  shutil.copytree(exported[0], folder)
  path = folder / onnx_runtime.NAME
  data = path.read_bytes()
  rng = np.random.default_rng(0)
  manifest = json.loads((folder / 'manifest.json').read_text())

  def refused(changed, *, sealed):
    path.write_bytes(changed)
    manifest['files'][path.name]['sha256'] = artifact.digest(
      changed if sealed else data
    )
    (folder / 'manifest.json').write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=path.name):
      onnx_runtime.load(folder)

  refused(data[:999] + bytes([data[999] ^ 1]) + data[1000:], sealed=False)
  for cut in rng.integers(0, len(data) - 1, 3):  # The manifest mended too.
    refused(data[:cut], sealed=True)
  del manifest['files'][path.name]
  (folder / 'manifest.json').write_text(json.dumps(manifest))
  with pytest.raises(InputError, match='export again with --format'):
    onnx_runtime.load(folder)


def test_bad_input(tmp_path, monkeypatch):
  def fails(*more):
    command = ['export', '--out_dir', tmp_path / 'new', *more]
    monkeypatch.setattr(sys, 'argv', list(map(str, command)))
    with pytest.raises(InputError) as caught:
      export.main()
    return str(caught.value)

  assert 'are float32' in fails('--format', 'onnx', '--dtype', 'bfloat16')
  where = ('--format', 'web', '--onnxruntime_web')
  assert 'No such file' in fails(*where, tmp_path / 'none.tgz')
  (tmp_path / 'other.tgz').write_bytes(b'other')
  assert 'SHA-512' in fails(*where, tmp_path / 'other.tgz')
  (tmp_path / 'dist').mkdir()
  for name in web._RUNTIME:
    (tmp_path / 'dist' / name).write_bytes(b'other')
  assert 'SHA-256' in fails(*where, tmp_path)
  monkeypatch.setattr(web.shutil, 'which', lambda _: None)
  assert 'npm is not installed' in fails('--format', 'web')
  assert not (tmp_path / 'new').exists()


@pytest.fixture(scope='module')
def runtime():
  try:
    return web.runtime_files(None)
  except InputError as error:
    pytest.skip(f'no onnxruntime-web: {error}')


@pytest.fixture(scope='module')
def page_folder(networks, runtime, tmp_path_factory):
  folder = tmp_path_factory.mktemp('web')
  pair = checkpoints.read_pair(*networks)
  web.write(folder, pair, runtime, composing='changes')
  return folder / web.FOLDER


@pytest.fixture(scope='module')
def served(page_folder):
  """The folder behind the server that lies in it."""
  with subprocess.Popen(
    [sys.executable, '-u', page_folder / 'serve.py', '0'],
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
  ) as process:
    assert process.stdout is not None
    try:
      yield process.stdout.readline().strip()
    finally:
      process.terminate()


def _shown(page):
  """The try-on's canvas, (h, w, 3) uint8."""
  width, height, values = page.evaluate("""() => {
    const canvas = document.getElementById('output');
    const {width, height} = canvas;
    const data = canvas.getContext('2d').getImageData(0, 0, width, height);
    return [width, height, Array.from(data.data)];
  }""")
  return np.array(values, np.uint8).reshape(height, width, 4)[..., :3]


@pytest.mark.slow
@needs_chromium
def test_page(page_folder, served, tmp_path):
  sample = page_folder / 'sample'
  session = onnxruntime.InferenceSession(str(page_folder / 'try_on.onnx'))
  arrays = {
    name: images.decode_image((sample / f'{name}.png').read_bytes(), name)[None]
    for name in ('person', 'garment')
  }
  labels = images.decode_labels((sample / 'parse.png').read_bytes(), 'parse')
  mask = images.decode_labels(
    (sample / 'garment_mask.png').read_bytes(), 'mask'
  )
  points = json.loads((sample / 'keypoints.json').read_text())
  arrays |= {
    'parse': labels[None],
    'garment_mask': (mask[None] > 127).astype(np.uint8),
    'keypoints': np.array(points, np.float32)[None],
  }
  expected = np.asarray(session.run(['output'], arrays)[0])
  with browser(tmp_path / 'none') as opened:
    page = opened.new_page(viewport=DESKTOP)
    watch = Watch(page, served)
    page.goto(served)
    page.wait_for_selector('#go:enabled')
    page.click('#go')
    page.wait_for_selector('#error:visible')
    assert 'give a photo of a person' in page.inner_text('#error').lower()
    page.click('#sample')
    page.wait_for_function('document.body.dataset.seconds', timeout=120000)
    assert page.evaluate('crossOriginIsolated')
    apart = np.abs(_shown(page).astype(int) - expected[0].astype(int))
    assert (apart > 2).mean() < 1e-3 and apart.mean() < 0.1
    assert expected.std() > 10
    assert serious_violations(page) == []
    page.set_input_files('[data-file=parse]', sample / 'person.png')
    page.click('#go')
    page.wait_for_selector('#error:visible')
    assert 'LIP-20' in page.inner_text('#error')
    page.set_viewport_size(PHONE)
    assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
    assert watch.strangers == []
    assert watch.errors == []


def _answer(data, route, _):
  route.fulfill(body=data)


@pytest.mark.slow
@needs_chromium
def test_damaged_page(page_folder, served, tmp_path):
  """What is damaged is named, and no picture is made with it."""
  graph = (page_folder / 'try_on.onnx').read_bytes()
  described = json.loads((page_folder / 'model.json').read_text())
  flipped = bytearray(graph)
  flipped[len(graph) // 2] ^= 1
  without = json.dumps({x: v for x, v in described.items() if x != 'inputs'})
  with browser(tmp_path / 'none') as opened:
    for name, data in (
      ('try_on.onnx', bytes(flipped)),
      ('try_on.onnx', graph[: len(graph) // 2]),
      ('try_on.onnx', b''),
      ('model.json', without.encode()),
      ('model.json', b'{"height": 1'),
      ('model.json', b'[' * 100000),
    ):
      page = opened.new_page(viewport=DESKTOP)
      page.route(f'**/{name}', functools.partial(_answer, data))
      page.goto(served)
      if name == 'try_on.onnx':
        page.wait_for_selector('#sample:enabled')
        page.click('#sample')
      page.wait_for_selector('#error:visible')
      said = page.inner_text('#error')
      assert f'file {name} is damaged' in said, said
      assert said.endswith('copy the folder again.')
      assert page.evaluate('document.body.dataset.seconds') is None
      page.close()
