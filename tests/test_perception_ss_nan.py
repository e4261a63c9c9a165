"""SS-NAN from a small file of Keras' layout, against TensorFlow."""

import cv2
import h5py
import jax
import numpy as np
import pytest
import skimage.data

from viton_jax.errors import InputError
from viton_jax.perception import parse_person
from viton_jax.perception.parsing import ss_nan

_BLOCKS = (1, 1, 2, 1)
_MEAN = (123.7, 116.8, 103.9)


def layers(width, attention):
  """name -> (kernel's shape, bias); all of the network's convolutions."""
  found = {
    'conv1_1_3x3_s2': (3, 3, width),
    'conv1_2_3x3': (3, width, width),
    'conv1_3_3x3': (3, width, 2 * width),
  }
  before = 2 * width
  for stage, count in zip((2, 3, 4, 5), _BLOCKS, strict=True):
    inner = width * {2: 1, 3: 2, 4: 4, 5: 8}[stage]
    for block in range(1, count + 1):
      name = f'conv{stage}_{block}_'
      found[name + '1x1_reduce'] = 1, before, inner
      found[name + '3x3'] = 3, inner, inner
      found[name + '1x1_increase'] = 1, inner, 4 * inner
      if block == 1:
        found[name + '1x1_proj'] = 1, before, 4 * inner
      before = 4 * inner
  return found, {
    'mask_att_conv': (3, 3 * before, attention),
    'mask_att_prob': (3, attention, 3),
    'mask_denseclass_conv': (3, before, 20),
  }


def write_keras(path, *, width=2, attention=5, seed=0):
  """Writes random weights as Keras 2.1 does; returns them by layer."""
  rng = np.random.default_rng(seed)
  inside, outside = layers(width, attention)
  weights = {}
  with h5py.File(path, 'w') as file:
    file.attrs['layer_names'] = [
      b'resnet101_model',
      *(x.encode() for x in outside),
    ]
    for name, (size, before, after) in (inside | outside).items():
      scale = 1.2 / np.sqrt(size * size * before)
      entries = {'kernel': rng.normal(0, scale, (size, size, before, after))}
      if name in outside:
        entries['bias'] = rng.normal(0, 0.1, after)
        top = name
      else:
        top = 'resnet101_model'
      norm = {}
      if name in inside:
        norm = {
          'gamma': rng.uniform(0.5, 1.5, after),
          'beta': rng.normal(0, 0.2, after),
          'moving_mean': rng.normal(0, 0.2, after),
          'moving_variance': rng.uniform(0.5, 2, after),
        }
      for layer, values in ((name, entries), (name + '_bn', norm)):
        for key, value in values.items():
          file[f'{top}/{layer}/{key}:0'] = value.astype(np.float32)
        weights[layer] = {k: v.astype(np.float32) for k, v in values.items()}
  return weights


def tensorflow_logits(tf, weights, image):
  """The network in plain TensorFlow: (h, w, 3) -> (h / 8, w / 8, 20)."""
  resize = tf.compat.v1.image.resize_bilinear

  def norm(x, name):
    w = weights[name + '_bn']
    return tf.nn.batch_normalization(
      x, w['moving_mean'], w['moving_variance'], w['beta'], w['gamma'], 1e-5
    )

  def conv(x, name, stride=1, dilation=1):
    if dilation > 1:
      x = tf.pad(x, [[0, 0], [dilation] * 2, [dilation] * 2, [0, 0]])
    return norm(
      tf.nn.conv2d(
        x,
        weights[name]['kernel'],
        stride,
        'VALID' if dilation > 1 else 'SAME',
        dilations=dilation,
      ),
      name,
    )

  def backbone(x):
    x = tf.nn.relu(conv(x, 'conv1_1_3x3_s2', 2))
    x = tf.nn.relu(conv(x, 'conv1_2_3x3'))
    x = tf.nn.relu(conv(x, 'conv1_3_3x3'))
    x = tf.nn.max_pool2d(x, 3, 2, 'SAME')
    for stage, count in zip((2, 3, 4, 5), _BLOCKS, strict=True):
      for block in range(1, count + 1):
        name = f'conv{stage}_{block}_'
        stride = 2 if (stage, block) == (3, 1) else 1
        start = tf.nn.relu(x)
        y = tf.nn.relu(conv(start, name + '1x1_reduce', stride))
        y = tf.nn.relu(conv(y, name + '3x3', 1, {4: 2, 5: 4}.get(stage, 1)))
        y = conv(y, name + '1x1_increase')
        if block == 1:
          start = conv(start, name + '1x1_proj', stride)
        x = start + y
    return tf.nn.relu(x)

  def last(x, name):
    w = weights[name]
    return tf.nn.conv2d(x, w['kernel'], 1, 'SAME') + w['bias']

  h, w = image.shape[:2]
  maps = [
    resize(
      backbone(resize(image[None], (int(h * s), int(w * s)))),
      (h // 8, w // 8),
    )
    for s in (0.5, 0.75, 1)
  ]
  y = tf.nn.relu(last(tf.concat(maps, -1), 'mask_att_conv'))
  parts = tf.split(tf.nn.softmax(last(y, 'mask_att_prob')), 3, -1)
  mixed = tf.add_n([m * p for m, p in zip(maps, parts, strict=True)])
  return last(mixed, 'mask_denseclass_conv')[0]


def test_the_network_equals_tensorflow(tmp_path):
  tf = pytest.importorskip('tensorflow')
  weights = write_keras(tmp_path / 'a.h5')
  network, variables = ss_nan.build(
    ss_nan.read_weights(tmp_path / 'a.h5'), 'a.h5'
  )
  assert (network.width, network.blocks) == (2, _BLOCKS)
  image = np.random.default_rng(1).normal(0, 60, (64, 96, 3)).astype(np.float32)
  got = jax.jit(network.apply)(variables, image[None])[0]
  expected = tensorflow_logits(tf, weights, image).numpy()
  assert expected.shape == (8, 12, 20) and np.ptp(expected) > 10
  np.testing.assert_allclose(got, expected, atol=1e-5 * np.ptp(expected))


def test_a_photo_is_labelled_as_by_tensorflow(tmp_path):
  tf = pytest.importorskip('tensorflow')
  path = tmp_path / 'small.h5'
  weights = write_keras(path)
  # 300 x 400 is centred in 640 x 640 as it is.
  photo = cv2.resize(skimage.data.astronaut()[:400], (300, 400))
  got = parse_person(photo, model=path)
  placed = np.zeros((640, 640, 3), np.float32)
  placed[120:520, 170:470] = photo
  logits = tensorflow_logits(tf, weights, placed - np.float32(_MEAN))
  large = tf.compat.v1.image.resize_bilinear(logits[None], (640, 640))[0]
  expected = large.numpy().argmax(-1)[120:520, 170:470]
  assert got.shape == expected.shape and len(np.unique(expected)) > 2
  assert (got == expected).mean() > 0.999
  # A larger photo has the labels of the smaller one, enlarged.
  double = parse_person(
    cv2.resize(photo, (1800, 2400), interpolation=cv2.INTER_NEAREST),
    model=path,
  )
  assert double.shape == (2400, 1800)


def test_the_published_size():
  """That the defaults are ResNet-101: 100 layers and the projections."""
  image = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
  shapes = jax.eval_shape(ss_nan.SsNan().init, jax.random.key(0), image)
  backbone = shapes['params']['Backbone_0']
  kernels = [x['kernel'].shape for x in backbone.values() if 'kernel' in x]
  # Three in the stem, three in each of 33 blocks, four projections.
  assert len(kernels) == 3 + 3 * 33 + 4
  assert backbone['conv5_3_1x1_increase']['kernel'].shape == (1, 1, 512, 2048)
  head = shapes['params']['mask_att_conv']['kernel']
  assert head.shape == (3, 3, 6144, 512)


def test_files_that_are_not_ss_nan(tmp_path):
  path = tmp_path / 'a.h5'
  write_keras(path)
  data = path.read_bytes()
  for i, damaged in enumerate((b'', b'\xff' * 99, data[: len(data) // 2])):
    other = tmp_path / f'damaged{i}.h5'
    other.write_bytes(damaged)
    with pytest.raises(InputError, match=f'damaged{i}.h5: '):
      parse_person(np.zeros((90, 60, 3), np.uint8), model=other)
  with h5py.File(path, 'r+') as file:
    kernel = file['resnet101_model/conv2_1_3x3/kernel:0'][()]
    del file['resnet101_model/conv2_1_3x3/kernel:0']
  with pytest.raises(InputError, match='conv2_1_3x3/kernel:0 is missing'):
    ss_nan.build(ss_nan.read_weights(path), 'a.h5')
  with h5py.File(path, 'r+') as file:
    file['resnet101_model/conv2_1_3x3/kernel:0'] = kernel[..., :1]
  with pytest.raises(InputError, match=r'kernel:0 has shape \(3, 3, 2, 1\)'):
    ss_nan.build(ss_nan.read_weights(path), 'a.h5')
  with h5py.File(path, 'r+') as file:
    file['resnet101_model/conv2_1_3x3/kernel:0'][...] = np.nan
    del file['mask_att_conv']
  with pytest.raises(InputError, match="no weights of the layer 'mask_att_c"):
    ss_nan.build(ss_nan.read_weights(path), 'a.h5')
