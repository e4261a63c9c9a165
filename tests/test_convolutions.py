"""The strided convolutions against lax and TensorFlow's definition."""

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from viton_jax.models import convolutions

SHAPES = [(8, 6, 3, 5), (16, 24, 7, 4)]  # doubled height, width, in, out


def _xla_down(x, kernel):
  return lax.conv_general_dilated(
    x,
    kernel,
    (2, 2),
    ((1, 1), (1, 1)),
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )


def _random(*shapes):
  rng = np.random.default_rng(0)
  return [jnp.asarray(rng.normal(size=s), jnp.float32) for s in shapes]


@pytest.mark.parametrize('h, w, i, o', SHAPES)
@pytest.mark.parametrize(
  'up', [convolutions._up_by_columns, convolutions._up_by_xla]
)
def test_up_is_the_adjoint_of_down(up, h, w, i, o):
  x, y, kernel = _random((2, h, w, i), (2, h // 2, w // 2, o), (4, 4, i, o))
  left = jnp.vdot(_xla_down(x, kernel), y)
  right = jnp.vdot(x, up(y, kernel))
  np.testing.assert_allclose(left, right, rtol=1e-5)


@pytest.mark.parametrize('h, w, i, o', SHAPES)
def test_forms_of_the_transposed_convolution_agree(h, w, i, o):
  y, kernel = _random((2, h // 2, w // 2, o), (4, 4, i, o))
  np.testing.assert_allclose(
    convolutions._up_by_columns(y, kernel),
    convolutions._up_by_xla(y, kernel),
    atol=1e-5,
  )


@pytest.mark.parametrize('h, w, i, o', SHAPES)
def test_gradients_equal_autodiff(h, w, i, o):
  x, y, kernel = _random((2, h, w, i), (2, h // 2, w // 2, o), (4, 4, i, o))
  cases = [
    (convolutions.conv4x4_stride2, _xla_down, x),
    (convolutions.conv_transpose4x4_stride2, convolutions._up_by_xla, y),
  ]
  for ours, reference, picture in cases:

    def loss(function):
      return lambda p, k: jnp.sum(jnp.sin(function(p, k)))

    got = jax.jit(jax.grad(loss(ours), (0, 1)))(picture, kernel)
    expected = jax.grad(loss(reference), (0, 1))(picture, kernel)
    for a, b in zip(got, expected, strict=True):
      np.testing.assert_allclose(a, b, atol=2e-5 * float(abs(b).max()))


def test_transposed_convolution_equals_tensorflow():
  tf = pytest.importorskip('tensorflow')
  y, kernel = _random((2, 4, 3, 5), (4, 4, 6, 5))
  expected = tf.nn.conv2d_transpose(
    np.asarray(y), np.asarray(kernel), (2, 8, 6, 6), 2, 'SAME'
  )
  got = convolutions.conv_transpose4x4_stride2(y, kernel)
  np.testing.assert_allclose(got, expected, atol=1e-5)
