"""One client of KServe's protocol, asking this project's server and Triton."""

import os

import entry_points
import infer_jobs
import kserve_client
import numpy as np
import pytest
from server_process import serving, together
import triton_process

from input_pipeline.synthetic import render_pair
from viton_jax import engine, networks

pytestmark = pytest.mark.slow
needs_triton = pytest.mark.skipif(
  triton_process.VARIABLE not in os.environ,
  reason=f'{triton_process.VARIABLE} is not set: real Triton needs packages '
  'that the project cannot have beside it; tests/triton_process.py says how',
)


@pytest.fixture(scope='module')
def pair():
  return render_pair(5, 1, 128)


@pytest.fixture(scope='module')
def shirt():
  return render_pair(5, 2, 128).garment


@pytest.fixture(scope='module')
def stages(tmp_path_factory):
  """Both networks, small and untrained: the folder and nothing beside it."""
  folder = tmp_path_factory.mktemp('kserve') / 'networks'
  return infer_jobs.write_networks(folder), None


def test_of_this_server(stages, pair, shirt, tmp_path):
  options = ('--checkpoint', stages[0], '--max_batch', 2)
  with serving(tmp_path, *options) as server:
    kserve_client.check(server, pair, shirt, stages)


@pytest.fixture(scope='module')
def triton(stages, tmp_path_factory):
  folder = tmp_path_factory.mktemp('triton')
  entry_points.run(
    'viton_jax.export',
    *('--checkpoint', stages[0], '--out_dir', folder / 'exported'),
    *('--format', 'triton'),
  )
  with triton_process.serving(folder, folder / 'exported/triton') as running:
    yield running


@needs_triton
def test_of_triton(triton, stages, pair, shirt):
  kserve_client.check(triton, pair, shirt, stages, matching='device')


@needs_triton
def test_triton_forms_batches_and_says_when_it_is_full(
  triton, stages, pair, shirt
):
  loaded = networks.load(*stages, matching='device')
  one, example = kserve_client.arrays(pair, shirt, loaded)
  alone = engine.levels_of(loaded({k: v[None] for k, v in example.items()}))

  def ask(pairs):
    inputs = {k: np.stack([x] * pairs) for k, x in one.items()}
    data, headers = kserve_client.in_binary(inputs)
    return triton.post(kserve_client.INFER, data, headers=headers)

  def counted():
    (stats,) = triton.get('/v2/models/try_on/stats').json()['model_stats']
    return stats['inference_count'], stats['execution_count']

  pairs, batches = counted()
  for answer in together(24, lambda i: ask(1)):
    picture = kserve_client.picture(answer, alone.output.shape)
    assert kserve_client.apart(picture, alone.output) <= 2
  pairs, batches = np.subtract(counted(), (pairs, batches))
  print(f'{pairs} pairs in {batches} batches')
  assert pairs == 24 and batches < 16
  # More requests of whole batches than may wait.
  statuses = [x.status for x in together(120, lambda i: ask(8))]
  print({x: statuses.count(x) for x in set(statuses)})
  assert set(statuses) == {200, 503} and statuses.count(200) > 32
  assert ask(1).status == 200
