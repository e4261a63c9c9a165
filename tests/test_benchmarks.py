"""The twins that benchmarks time compute what our networks compute."""

import asyncio
import importlib.util
import pathlib
import sys
import warnings

import entry_points
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from viton_jax import geometry, losses
from viton_jax.models import EncoderDecoder, Refinement, compose, vgg19

# The benchmarks are not installed; they run from the repository.
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from benchmarks import problem, serve_client, sweep  # noqa: E402

pytestmark = pytest.mark.slow

needs_torch = pytest.mark.skipif(
  importlib.util.find_spec('torch') is None, reason='torch is not installed'
)
SIZE = (64, 64)


@pytest.fixture(scope='module')
def case():
  """Variables, VGG19 of a sixteenth of its channels, and a batch of two."""
  first, second = problem.random_variables(4)
  rng = np.random.default_rng(0)

  def uneven(x):  # So that neither scales nor statistics are trivial.
    factor = rng.uniform(0.5, 1.5, x.shape)
    offset = rng.normal(0, 0.02, x.shape) if x.ndim == 1 else 0
    return (x * factor + offset).astype(np.float32)

  first, second = jax.tree.map(uneven, (first, second))
  batch = {
    name: rng.uniform(-1, 1, (2, *SIZE, channels)).astype(np.float32)
    for name, channels in (('inputs', 25), ('image', 3), ('garment', 3))
  }
  batch['region'] = (rng.uniform(size=(2, *SIZE, 1)) < 0.5).astype(np.float32)
  grid = geometry.regular_grid(10)
  batch['control_points'] = (
    grid + rng.normal(0, 0.05, (2, *grid.shape))
  ).astype(np.float32)
  return first, second, problem.random_vgg(shrink=16), batch


@pytest.fixture(scope='module')
def ours(case):
  """Losses and their gradients, by our own functions."""
  first, second, vgg, batch = case
  batch = jax.tree.map(jnp.asarray, batch)
  model = EncoderDecoder(features=4, dropout_rate=0.0)
  refinement = Refinement(features=4)

  def stage1(params):
    (mask, coarse), _ = model.apply(
      {**first, 'params': params},
      batch['inputs'],
      train=True,
      mutable=['batch_stats'],
    )
    total, _ = losses.stage1_loss(
      mask,
      coarse,
      region=batch['region'],
      image_norm=batch['image'],
      judges=losses.Judges(vgg=vgg),
    )
    return total.mean()

  def stage2(params):
    mask, coarse = model.apply(first, batch['inputs'])
    warped = geometry.warp_tps(batch['garment'], batch['control_points'])
    alpha = refinement.apply({'params': params}, warped, coarse)
    alpha *= mask.clip(0, 1)
    total, _ = losses.stage2_loss(
      compose(alpha, warped, coarse),
      alpha,
      image_norm=batch['image'],
      judges=losses.Judges(vgg=vgg),
    )
    return total.mean()

  return (
    jax.jit(jax.value_and_grad(stage1))(first['params']),
    jax.jit(jax.value_and_grad(stage2))(second['params']),
  )


def _close(got, expected, tolerance=2e-3):
  got, expected = np.asarray(got), np.asarray(expected)
  assert got.shape == expected.shape
  scale = max(np.abs(expected).max(), 1e-9)
  assert np.abs(got - expected).max() / scale < tolerance


@needs_torch
def test_torch_computes_our_losses_and_gradients(case, ours):
  torch_twin = _import_torch_twin()
  first, second, vgg, batch = case
  tensors = torch_twin.to_torch(batch)
  network = torch_twin.EncoderDecoder(first, dropout_rate=0.0)
  vgg = torch_twin.Vgg19(vgg)
  refinement = torch_twin.Refinement(second['params'])

  loss = torch_twin.stage1_loss(network.train(), vgg, tensors)
  loss.backward()
  value, gradients = ours[0]
  _close(loss.item(), value, 1e-5)
  _close(
    network.down[2].weight.grad.permute(2, 3, 1, 0),
    gradients['encoder_3']['kernel'],
  )
  _close(
    network.up[1].weight.grad.permute(2, 3, 1, 0),
    gradients['decoder_5']['kernel'],
  )
  _close(network.up_norms[3].weight.grad, gradients['decoder_3_norm']['scale'])

  network = torch_twin.EncoderDecoder(first).eval()
  loss = torch_twin.stage2_loss(
    refinement,
    vgg,
    tensors,
    coarse_network=network,
    warp=torch_twin.Warp(SIZE),
  )
  loss.backward()
  value, gradients = ours[1]
  _close(loss.item(), value, 1e-5)
  _close(
    refinement.convolutions[0].weight.grad.permute(2, 3, 1, 0),
    gradients['conv_1']['kernel'],
  )
  _close(refinement.norms[1].bias.grad, gradients['conv_2_norm']['bias'])


def test_tensorflow_computes_our_losses_and_gradients(case, ours):
  tf = pytest.importorskip('tensorflow')
  from benchmarks import tensorflow_twin

  first, second, vgg, batch = case
  vgg = tensorflow_twin.variables_of(vgg, False)
  tensors = jax.tree.map(tf.constant, batch)
  params = tensorflow_twin.variables_of(first['params'], True)
  moving = tensorflow_twin.variables_of(first['batch_stats'], True)
  with tf.GradientTape() as tape:
    loss = tensorflow_twin.stage1_loss(
      params, moving, vgg, batch=tensors, dropout_rate=0.0
    )
  value, gradients = ours[0]
  _close(loss, value, 1e-5)
  wanted = [
    params['encoder_3']['kernel'],
    params['decoder_5']['kernel'],
    params['decoder_3_norm']['scale'],
  ]
  expected = [
    gradients['encoder_3']['kernel'],
    gradients['decoder_5']['kernel'],
    gradients['decoder_3_norm']['scale'],
  ]
  for got, right in zip(tape.gradient(loss, wanted), expected, strict=True):
    _close(got, right)

  params = tensorflow_twin.variables_of(second['params'], True)
  coarse = tensorflow_twin.variables_of(first, False)
  with tf.GradientTape() as tape:
    loss = tensorflow_twin.stage2_loss(params, coarse, vgg, batch=tensors)
  value, gradients = ours[1]
  _close(loss, value, 1e-5)
  _close(
    tape.gradient(loss, params['conv_1']['kernel']),
    gradients['conv_1']['kernel'],
  )


def test_random_vgg_survives_its_file(tmp_path):
  problem.write_vgg(tmp_path / 'vgg.mat')
  made, read = problem.random_vgg(), vgg19.load(tmp_path / 'vgg.mat')
  assert made.keys() == read.keys()
  np.testing.assert_array_equal(
    read['conv1_2']['kernel'], made['conv1_2']['kernel'].swapaxes(0, 1)
  )


def test_counted_work_is_what_xla_counts():
  size = (64, 64)
  first, _ = problem.random_variables(4)
  counted = problem.network_flops(4, size)
  params = problem.random_vgg()

  def by_xla(function, channels):
    picture = jax.ShapeDtypeStruct((1, *size, channels), jnp.float32)
    return jax.jit(function).lower(picture).cost_analysis()['flops']

  # XLA leaves out the taps that fall on the padding, and counts the rest too.
  work = by_xla(lambda x: vgg19.features(params, x), 3)
  assert 0.8 < work / counted['vgg'] < 1.05
  work = by_xla(lambda x: EncoderDecoder(features=4).apply(first, x), 25)
  assert 0.8 < work / counted['encoder_decoder'] < 1.5


def fill_memory(arguments, names, batch_size, dtype):
  """Wants more than any memory for two, and alone in one of two batch sizes."""
  print(f'{"+".join(names)} {batch_size} {dtype}')
  if len(names) > 1 or batch_size == 64:
    jnp.ones(2**45, dtype).block_until_ready()


def fail(arguments, names, batch_size, dtype):
  raise ValueError(f'in {batch_size}')


def options(*more):
  return sweep.parser_of('', '8,64').parse_args(list(more))


def test_what_does_not_fit_side_by_side_is_measured_alone(capfd):
  assert sweep.sweep(fill_memory, options('--against', 'tensorflow')) == 0
  assert capfd.readouterr().out.splitlines()[1:] == [
    'ours+tensorflow 8 float32',
    '  too large for this memory side by side; one at a time:',
    'ours 8 float32',
    'tensorflow 8 float32',
    'ours+tensorflow 64 float32',
    '  too large for this memory side by side; one at a time:',
    'ours 64 float32',
    '  ours: too large for this memory',
    'tensorflow 64 float32',
    '  tensorflow: too large for this memory',
  ]


def test_a_failed_measurement_does_not_end_the_others(capfd):
  assert sweep.sweep(fail, options()) == 1
  said = capfd.readouterr().err
  assert 'ValueError: in 8' in said and 'ValueError: in 64' in said


@pytest.mark.skipif(
  importlib.util.find_spec('torch') is not None, reason='torch is installed'
)
def test_what_needs_torch_says_so(tmp_path):
  said = entry_points.fails(
    'benchmarks.cp_vton',
    *('try_on', '--workdir', tmp_path, '--data_dir', tmp_path),
    *('--out_dir', tmp_path / 'results'),
  )
  assert "pip install -e '.[bench]'" in said


@pytest.mark.parametrize(
  ('answer', 'status', 'body'),
  [
    (b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone', 200, b'done'),
    (b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ndone', 0, b'4 bytes'),
    (b'', 0, b'0 bytes'),
  ],
)
def test_an_answer_that_is_cut_short_is_none(answer, status, body):
  async def ask(ends):
    closed = asyncio.Event()

    async def serve(reader, writer):
      await reader.readuntil(b'one--')
      writer.write(answer)
      if not ends:  # Until the client has gone: the answer is whole before.
        await reader.read()
      writer.close()
      await writer.wait_closed()
      closed.set()

    async with await asyncio.start_server(serve, '127.0.0.1', 0) as server:
      port = server.sockets[0].getsockname()[1]
      to = serve_client.Server(None, port, pathlib.Path())
      sent = await serve_client.send(to, {'one': 'one--'})
      await closed.wait()
      return sent

  sent = asyncio.run(ask(status == 0))
  assert sent.status == status and body in sent.body and sent.seconds < 4


def _import_torch_twin():
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # Of PyTorch's own modules.
    from benchmarks import torch_twin
  return torch_twin
