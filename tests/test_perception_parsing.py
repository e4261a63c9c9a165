"""Parsers in ONNX files, from the photo to LIP-20, against plain OpenCV."""

import dataclasses
import sys

import cv2
import entry_points
import numpy as np
import onnx_files
import pytest
from scipy import ndimage
import skimage.data

from viton_jax.errors import InputError
from viton_jax.perception import model_files, parse_person, specs
from viton_jax.perception.parsing import parsers
from viton_jax.perception.runners import onnx_model

# As the format's description lists them; LIP for each of ATR's 18 labels.
_ATR_TO_LIP = [0, 1, 2, 4, 5, 12, 9, 6, 9, 18, 19, 13, 16, 17, 14, 15, 0, 11]


def photo(height, width):
  image = skimage.data.astronaut()[:400, 60:360]
  return cv2.resize(
    cv2.GaussianBlur(image, (0, 0), 3),
    (width, height),
    interpolation=cv2.INTER_AREA,
  )


def agreement(got, logits, table):
  """Share of pixels that are the table's entry of the largest logit.

  Where two are nearly equal, rounding decides, so those are left out.
  """
  order = np.sort(logits, axis=0)
  sure = order[-1] - order[-2] > 0.005 * np.ptp(logits)
  assert sure.mean() > 0.5
  same = got == np.array(table)[logits.argmax(0)]
  return same[sure].mean()


def schp_logits(image, size, mean, std, matrix):
  """What SCHP's programs do, in plain OpenCV and SciPy; (c, h, w)."""
  height, width = image.shape[:2]
  last = size - 1
  scale = last / (max(height, width) - 1)
  x0, y0 = (last - scale * (width - 1)) / 2, (last - scale * (height - 1)) / 2
  there = cv2.getAffineTransform(
    np.float32([(0, 0), (width - 1, 0), (0, height - 1)]),
    np.float32([(x0, y0), (last - x0, y0), (x0, last - y0)]),
  )
  placed = cv2.warpAffine(image[..., ::-1], there, (size, size))
  tensor = (placed / 255.0 - mean) / std
  small = np.einsum('hwc,kc->khw', tensor[::4, ::4], matrix)
  large = ndimage.zoom(
    small,
    (1, size / small.shape[1], size / small.shape[2]),
    order=1,
    mode='nearest',
    grid_mode=False,
  )
  assert large.shape[1:] == (size, size)
  back = cv2.invertAffineTransform(there)
  return np.stack(
    [cv2.warpAffine(x.astype(np.float32), back, (width, height)) for x in large]
  )


@pytest.mark.parametrize(
  'name, size, classes, shape',
  [('schp_lip', 473, 20, (330, 250)), ('schp_atr', 512, 18, (180, 260))],
)
def test_schp_equals_opencv(tmp_path, name, size, classes, shape):
  matrix = np.random.default_rng(5).normal(size=(classes, 3))
  path = onnx_files.save_linear(
    tmp_path / 'a.onnx', matrix, size=(size, size), stride=4, decoys=1
  )
  image = photo(*shape)
  parser = parsers.choose_parser(path)
  # Found by its shapes, as no file is called so.
  assert name in parser.description and 'a.onnx' in parser.description
  got = parser.parse(image, None)
  assert got.shape == shape and got.dtype == np.uint8
  table = range(20) if classes == 20 else _ATR_TO_LIP
  mean, std = [0.406, 0.456, 0.485], [0.225, 0.224, 0.229]
  logits = schp_logits(image, size, mean, std, matrix)
  assert agreement(got, logits, table) > 0.998
  # The test can tell the colour orders apart.
  wrong = schp_logits(image[..., ::-1], size, mean, std, matrix)
  assert agreement(got, wrong, table) < 0.9


def test_segformer_equals_opencv(tmp_path):
  matrix = np.random.default_rng(5).normal(size=(18, 3))
  path = onnx_files.save_linear(
    tmp_path / 'model.onnx',
    matrix,
    size=('h', 'w'),
    stride=4,
    pool=True,
    name='pixel_values',
  )
  image = photo(300, 220)
  parser = parsers.choose_parser(path)
  assert 'segformer_clothes' in parser.description
  placed = cv2.resize(image, (512, 512), interpolation=cv2.INTER_LINEAR)
  tensor = placed / 255.0 - [0.485, 0.456, 0.406]
  tensor /= [0.229, 0.224, 0.225]
  small = tensor.reshape(128, 4, 128, 4, 3).mean((1, 3)) @ matrix.T
  logits = np.stack(
    [
      cv2.resize(x, (220, 300), interpolation=cv2.INTER_LINEAR)
      for x in small.astype(np.float32).transpose(2, 0, 1)
    ]
  )
  assert agreement(parser.parse(image, None), logits, _ATR_TO_LIP) > 0.998


def test_atr_label_by_label(tmp_path):
  """18 grey bands, and a network that says which one it sees."""
  levels = np.arange(18) / 17
  mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
  # Nearest level: largest 2 v x - v ** 2; x is the first colour, before it was
  # normalised.
  matrix = np.zeros((18, 3))
  matrix[:, 0] = 2 * levels * std[0]
  bias = 2 * levels * mean[0] - levels**2
  path = onnx_files.save_linear(
    tmp_path / 'a.onnx',
    matrix,
    bias=bias,
    size=(512, 512),
    stride=4,
    name='pixel_values',
  )
  bands = np.repeat(np.round(levels * 255).astype(np.uint8), 20)
  image = np.repeat(np.tile(bands, (200, 1))[..., None], 3, axis=2)
  got = parse_person(image, model=path)
  for label, lip in enumerate(_ATR_TO_LIP):
    inside = got[:, 20 * label + 6 : 20 * label + 14]
    assert (inside == lip).all(), label
  assert mean and (got[0] == got[199]).all()


SPEC = """
[model]
task = "parsing"
backend = "onnx"
file = "mine.onnx"
licence = "mine"
source = "me"
summary = "a test"

[input]
color = "rgb"
fit = "stretch"
size = [48, 32]
layout = "LAYOUT"

[output]
kind = "KIND"
CHANNELS

[labels]
to_lip20 = [0, 5, 13, 9]
"""


def own_spec(folder, *, layout='nchw', kind='logits'):
  more = 'channels = 4\nalign = "corners"' if kind == 'logits' else ''
  path = folder / 'mine.toml'
  path.write_text(
    SPEC.replace('LAYOUT', layout)
    .replace('KIND', kind)
    .replace('CHANNELS', more)
  )
  return path


@pytest.mark.parametrize('layout', ['nchw', 'nhwc'])
@pytest.mark.parametrize('shapes', [True, False])
def test_a_spec_of_ones_own_and_both_layouts(tmp_path, layout, shapes):
  matrix = np.random.default_rng(2).normal(size=(4, 3))
  onnx_files.save_linear(
    tmp_path / 'mine.onnx',
    matrix,
    size=(48, 32),
    stride=2,
    layout=layout,
    shapes=shapes,
  )
  image = photo(96, 64)
  got = parse_person(image, model=own_spec(tmp_path, layout=layout))
  placed = cv2.resize(image, (32, 48), interpolation=cv2.INTER_LINEAR)
  small = (placed[::2, ::2] @ matrix.T).transpose(2, 0, 1)
  large = ndimage.zoom(
    small, (1, 2, 2), order=1, mode='nearest', grid_mode=False
  )
  logits = np.stack([cv2.resize(x.astype(np.float32), (64, 96)) for x in large])
  assert agreement(got, logits, [0, 5, 13, 9]) > 0.998


@pytest.mark.parametrize('layout', ['nchw', 'nhwc'])
def test_an_output_of_labels(tmp_path, layout):
  matrix = np.random.default_rng(3).normal(size=(4, 3))
  onnx_files.save_linear(
    tmp_path / 'mine.onnx',
    matrix,
    size=(48, 32),
    stride=1,
    layout=layout,
    argmax=True,
  )
  image = photo(150, 80)
  got = parse_person(
    image, model=own_spec(tmp_path, layout=layout, kind='labels')
  )
  placed = cv2.resize(image, (32, 48), interpolation=cv2.INTER_LINEAR)
  labels = np.array([0, 5, 13, 9], np.uint8)[(placed @ matrix.T).argmax(-1)]
  expected = cv2.resize(
    labels, (80, 150), interpolation=cv2.INTER_NEAREST_EXACT
  )
  # But for a pixel or two of the input where two classes are equal.
  assert (got == expected).mean() > 0.996 and len(np.unique(got)) > 1


def test_the_label_37_is_refused(tmp_path):
  # 38 classes, of which the last is always the largest.
  onnx_files.save_linear(
    tmp_path / 'mine.onnx',
    np.zeros((38, 3)),
    bias=np.arange(38),
    size=(48, 32),
    stride=1,
    argmax=True,
  )
  with pytest.raises(InputError, match='label 37.*0 to 3'):
    parse_person(photo(90, 60), model=own_spec(tmp_path, kind='labels'))


@pytest.mark.parametrize(
  'change, message',
  [
    ({'size': (64, 64)}, r'64, 64\] pixels.*instead of \[473, 473\]'),
    ({'classes': 7}, 'instead of 20 channels'),
    ({'layout': 'nhwc'}, 'without 3 colours at place 1'),
  ],
)
def test_a_network_of_another_shape_is_refused(tmp_path, change, message):
  options = {'size': (473, 473), 'classes': 20, 'layout': 'nchw'} | change
  path = onnx_files.save_linear(
    tmp_path / 'a.onnx',
    np.zeros((options['classes'], 3)),
    stride=43,
    size=options['size'],
    layout=options['layout'],
    decoys=1,
  )
  with pytest.raises(
    InputError, match='a.onnx: no known parsing network.*' + message
  ):
    parsers.choose_parser(path)
  folder = tmp_path / 'schp'
  folder.mkdir()
  path.rename(folder / 'parsing_lip.onnx')
  with pytest.raises(
    InputError, match="not the network.*'schp_lip'.*" + message
  ):
    parsers.choose_parser('schp_lip', tmp_path)


def test_one_output_is_enough(tmp_path):
  """An export that has the fused logits only."""
  path = onnx_files.save_linear(
    tmp_path / 'a.onnx', np.zeros((20, 3)), size=(473, 473), stride=4
  )
  assert onnx_model.load(path, None, task='parsing').spec.name == 'schp_lip'


def test_damaged_files_and_values_that_are_not_finite(tmp_path):
  good = onnx_files.save_linear(
    tmp_path / 'a.onnx',
    np.ones((20, 3)),
    size=(473, 473),
    stride=4,
    bias=np.full(20, np.inf),
  )
  with pytest.raises(InputError, match='a.onnx: .*no finite numbers'):
    parse_person(photo(90, 60), model=good)
  data = good.read_bytes()
  for i, damaged in enumerate((b'', b'\xff' * 300, data[: len(data) // 2])):
    path = tmp_path / f'damaged{i}.onnx'
    path.write_bytes(damaged)
    with pytest.raises(InputError, match='damaged.*not a usable ONNX file'):
      parsers.choose_parser(path)


def test_without_onnxruntime(tmp_path, monkeypatch):
  path = onnx_files.save_linear(
    tmp_path / 'parsing_lip.onnx',
    np.zeros((20, 3)),
    size=(473, 473),
    stride=4,
  )
  monkeypatch.setitem(sys.modules, 'onnxruntime', None)
  with pytest.raises(InputError, match=r"pip install -e '\.\[onnx\]'"):
    parsers.choose_parser(path)


def test_which_parser_is_taken(tmp_path, monkeypatch):
  chosen = parsers.choose_parser(None, tmp_path)
  assert chosen.needs_keypoints and 'comes with' in chosen.description
  with pytest.raises(InputError, match='GrabCut needs the key points'):
    parse_person(photo(90, 60), model='grabcut', models_dir=tmp_path)
  for name, classes, size in (('atr', 18, 512), ('lip', 20, 473)):
    (tmp_path / 'schp').mkdir(exist_ok=True)
    onnx_files.save_linear(
      tmp_path / f'schp/parsing_{name}.onnx',
      np.zeros((classes, 3)),
      size=(size, size),
      stride=4,
      decoys=1,
    )
    # LIP comes before ATR where both are there.
    description = parsers.choose_parser(None, tmp_path).description
    assert f'schp_{name}' in description
  assert parsers.choose_parser('grabcut', tmp_path).needs_keypoints
  monkeypatch.setattr(
    model_files, 'can_run', lambda spec: spec.backend != 'onnx'
  )
  chosen = parsers.choose_parser(None, tmp_path)
  assert 'body_parser' in chosen.description
  assert 'onnxruntime' in chosen.description


def test_the_cuda_provider_comes_first_where_there_is_one(
  tmp_path, monkeypatch
):
  import onnxruntime

  path = onnx_files.save_linear(
    tmp_path / 'a.onnx', np.zeros((20, 3)), size=(473, 473), stride=4
  )
  asked = []
  session = onnxruntime.InferenceSession

  def record(path, options, providers):
    asked.append(providers)
    return session(path, options, providers=['CPUExecutionProvider'])

  monkeypatch.setattr(onnxruntime, 'InferenceSession', record)
  monkeypatch.setattr(
    onnxruntime,
    'get_available_providers',
    lambda: [
      'TensorrtExecutionProvider',
      'CUDAExecutionProvider',
      'CPUExecutionProvider',
    ],
  )
  assert onnx_model.load(path, None, task='parsing').device == 'CPU'
  assert asked == [['CUDAExecutionProvider', 'CPUExecutionProvider']]


def test_the_colours_over_the_photo():
  image = np.full((4, 5, 3), 100, np.uint8)
  labels = np.zeros((4, 5), np.uint8)
  labels[1, 2] = 5
  shown = parsers.colour_labels(image, labels)
  assert (shown[0, 0] == shown[3, 4]).all() and shown[0, 0, 0] == 177
  # (255, 85, 0), two thirds over grey 100.
  np.testing.assert_array_equal(shown[1, 2], [200, 90, 35])


@pytest.mark.slow
def test_the_command_writes_labels_and_a_picture(tmp_path):
  matrix = np.random.default_rng(7).normal(size=(4, 3))
  onnx_files.save_linear(
    tmp_path / 'mine.onnx', matrix, size=(48, 32), stride=2
  )
  image = photo(96, 64)
  cv2.imwrite(str(tmp_path / 'me.png'), image[..., ::-1])
  done = entry_points.run(
    'viton_jax.perception',
    'parse',
    '--image',
    tmp_path / 'me.png',
    *('--model', own_spec(tmp_path), '--out', tmp_path / 'labels.png'),
    *('--show', tmp_path / 'shown.png'),
  )
  assert 'parser: mine' in done.stdout
  labels = cv2.imread(str(tmp_path / 'labels.png'), cv2.IMREAD_UNCHANGED)
  np.testing.assert_array_equal(
    labels, parse_person(image, model=tmp_path / 'mine.toml')
  )
  assert all(f' ({x}) ' in done.stdout for x in np.unique(labels))
  shown = cv2.imread(str(tmp_path / 'shown.png'))[..., ::-1]
  np.testing.assert_array_equal(shown, parsers.colour_labels(image, labels))


def test_a_spec_can_be_changed_in_memory():
  spec = specs.known_specs()['schp_lip']
  other = dataclasses.replace(spec, to_lip20=(1, 2))
  with pytest.raises(InputError, match='label 2, .*0 to 1'):
    parsers.to_lip20(np.array([[2]]), other, 'x')
