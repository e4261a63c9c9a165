"""One client of KServe's protocol, asking this project's server and Triton."""

import os
import pathlib

import entry_points
import infer_jobs
import kserve_client
import numpy as np
import pytest
from server_process import serving, together
import triton_process

from input_pipeline.synthetic import render_pair
from viton_jax import networks
from viton_jax.serving import artifact

pytestmark = pytest.mark.slow
needs_triton = pytest.mark.skipif(
  triton_process.VARIABLE not in os.environ,
  reason=f'{triton_process.VARIABLE} is not set: real Triton needs packages '
  'that the project cannot have beside it; tests/triton_process.py says how',
)


@pytest.fixture(scope='module')
def one():
  """A pair's arrays."""
  shirt = render_pair(5, 2, 128).garment
  return kserve_client.arrays(render_pair(5, 1, 128), shirt, infer_jobs.SIZE)


@pytest.fixture(scope='module')
def networks_dir(tmp_path_factory):
  """Both networks, small and untrained."""
  folder = tmp_path_factory.mktemp('kserve') / 'networks'
  return infer_jobs.write_networks(folder)


def test_of_this_server(networks_dir, one, tmp_path):
  options = ('--checkpoint', networks_dir, '--max_batch', 2)
  dress = kserve_client.dressed_by(networks.load(networks_dir))
  with serving(tmp_path, *options) as server:
    kserve_client.check(server, one, dress)


@pytest.fixture(scope='module')
def exported(networks_dir, tmp_path_factory):
  if 'TRITON_EXPORT' in os.environ:  # Of these networks, made before.
    return pathlib.Path(os.environ['TRITON_EXPORT'])
  out_dir = tmp_path_factory.mktemp('exported') / 'exported'
  entry_points.run(
    'viton_jax.export',
    *('--checkpoint', networks_dir, '--out_dir', out_dir),
    *('--format', 'triton'),
  )
  return out_dir


@pytest.fixture(scope='module')
def dress(exported):
  """What the artifact makes of a pair's arrays."""
  loaded = artifact.load(exported)
  return lambda inputs: loaded(inputs).output


@pytest.fixture(scope='module')
def triton(exported, tmp_path_factory):
  folder = tmp_path_factory.mktemp('triton')
  with triton_process.serving(folder, exported / 'triton') as running:
    yield running


@needs_triton
def test_of_triton(triton, one, dress):
  kserve_client.check(triton, one, dress)


@needs_triton
def test_triton_forms_batches_and_says_when_it_is_full(triton, one, dress):
  alone = dress({k: v[None] for k, v in one.items()})

  def ask(pairs):
    inputs = {k: np.stack([x] * pairs) for k, x in one.items()}
    data, headers = kserve_client.in_binary(inputs)
    return triton.post(kserve_client.INFER, data, headers=headers)

  def counted():
    (stats,) = triton.get('/v2/models/try_on/stats').json()['model_stats']
    return stats['inference_count'], stats['execution_count']

  before = counted()
  for answer in together(24, lambda i: ask(1)):
    picture = kserve_client.picture(answer, alone.shape)
    assert kserve_client.apart(picture, alone) <= 2
  pairs, batches = np.subtract(counted(), before)
  print(f'{pairs} pairs in {batches} batches')
  assert pairs == 24 and batches < 16
  # More requests of whole batches than may wait.
  statuses = [x.status for x in together(120, lambda i: ask(8))]
  print({x: statuses.count(x) for x in set(statuses)})
  assert set(statuses) == {200, 503} and statuses.count(200) > 32
  assert ask(1).status == 200
