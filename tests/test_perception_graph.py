"""Frozen graphs: the layers one by one, exactness, and damaged files."""

import jax
import numpy as np
import pytest
import skimage.data
from test_perception_pose import MODEL, needs_model, run_tensorflow

from viton_jax.errors import InputError
from viton_jax.perception.pose import graph_pose
from viton_jax.perception.runners import frozen_graph, graphdef

_SIZE = (13, 18)


def _depthwise(tf, x, values):
  return tf.nn.depthwise_conv2d(x, values(3, 5, 4, 2), (1, 2, 2, 1), 'VALID')


# Layers that graphs of other networks of the family hold.
LAYERS = {
  'convolution': lambda tf, x, v: tf.nn.conv2d(
    x, v(3, 3, 4, 5), 1, 'SAME', dilations=2
  ),
  'grouped': lambda tf, x, v: tf.nn.conv2d(x, v(5, 3, 2, 6), 2, 'VALID'),
  'depthwise': _depthwise,
  'pool': lambda tf, x, v: tf.nn.max_pool2d(x, 3, 2, 'SAME'),
  'scale': lambda tf, x, v: tf.identity(x / v(4) - v(1)) * v(4) + v(4),
  'aligned': lambda tf, x, v: tf.compat.v1.image.resize_bilinear(
    x, (7, 40), align_corners=True
  ),
  'centred': lambda tf, x, v: tf.compat.v1.image.resize_bilinear(
    x, (26, 5), half_pixel_centers=True
  ),
  'norm': lambda tf, x, v: tf.compat.v1.nn.fused_batch_norm(
    x, v(4), v(4), epsilon=0.01
  )[0],
}


def _graph(tf, layer):
  rng = np.random.default_rng(0)

  def values(*shape):
    return tf.constant(rng.uniform(0.2, 1.5, shape).astype(np.float32))

  graph = tf.Graph()
  with graph.as_default():
    x = tf.compat.v1.placeholder(tf.float32, (None, *_SIZE, 4), name='image')
    tf.identity(layer(tf, x, values), name='out')
  return graph


@pytest.mark.parametrize('name', LAYERS)
def test_layer_equals_tensorflow(name):
  tf = pytest.importorskip('tensorflow')
  graph = _graph(tf, LAYERS[name])
  image = np.random.default_rng(1).normal(size=(1, *_SIZE, 4)).astype('f4')
  want = run_tensorflow(tf, graph, 'out', image)
  nodes = graphdef.read_graph(graph.as_graph_def().SerializeToString())
  weights, function = frozen_graph.build(nodes, 'image', 'out')
  got = frozen_graph.batched(function)(weights, image)
  np.testing.assert_allclose(got, want, atol=1e-5, rtol=1e-5)


def test_an_operation_that_is_not_supported_is_named():
  tf = pytest.importorskip('tensorflow')
  graph = _graph(tf, lambda tf, x, v: tf.sin(x))
  nodes = graphdef.read_graph(graph.as_graph_def().SerializeToString())
  with pytest.raises(graphdef.GraphError, match="'Sin'"):
    frozen_graph.build(nodes, 'image', 'out')
  with pytest.raises(graphdef.GraphError, match="no output 'maps'"):
    frozen_graph.build(nodes, 'image', 'maps')
  with pytest.raises(graphdef.GraphError, match="no input 'photo'"):
    frozen_graph.build(nodes, 'photo', 'out')


@needs_model
def test_float32_is_close_to_float64_and_a_batch_to_its_images():
  nodes = graphdef.read_graph(MODEL.read_bytes())
  model = graph_pose.load_pose_model(MODEL)
  image = graph_pose.network_image(skimage.data.astronaut(), model.spec)
  batch = np.stack([image, image[:, ::-1]])
  maps = np.asarray(model.maps(model.weights, batch))
  for one, both in zip(batch, maps, strict=True):
    alone = model.maps(model.weights, one[None])[0]
    np.testing.assert_allclose(both, alone, atol=1e-5)
  weights, function = frozen_graph.build(
    nodes, model.spec.input.name, model.spec.output.name
  )
  with jax.enable_x64(True), jax.numpy_dtype_promotion('standard'):
    exact = jax.jit(function)(
      {k: v.astype(np.float64) for k, v in weights.items()},
      image.astype(np.float64),
    )
    assert exact.dtype == np.float64
    exact = np.asarray(exact)
  assert np.abs(maps[0] - exact).max() < 3e-5  # TensorFlow's own: 1.3e-4.


def _damaged(data, how):
  if how == 'cut':
    return data[: len(data) * 2 // 3]
  if how == 'hole':
    return data[:900] + data[907:]
  return b'\x89PNG\r\n\x1a\n' + data


@needs_model
@pytest.mark.parametrize('how', ['cut', 'hole', 'other'])
def test_a_damaged_graph_is_refused(tmp_path, how):
  path = tmp_path / 'graph.pb'
  path.write_bytes(_damaged(MODEL.read_bytes(), how))
  with pytest.raises(InputError, match='graph.pb: not a usable pose graph'):
    graph_pose.load_pose_model(path)
