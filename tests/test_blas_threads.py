"""One BLAS thread inside, the number from before afterwards."""

from concurrent import futures
import threading

import numpy as np
import pytest
import threadpoolctl

from viton_jax.geometry import fit_control_points, matching
from viton_jax.runtime import blas_threads


def counts():
  return {
    pool['num_threads']
    for pool in threadpoolctl.threadpool_info()
    if pool['user_api'] == 'blas'
  }


@pytest.fixture
def two_threads():
  with threadpoolctl.threadpool_limits(2, user_api='blas'):
    assert counts() == {2}
    yield


def test_the_last_of_several_threads_restores_the_limit(two_threads):
  """Else the second to leave would restore the one of the first: one."""
  entered, leave = threading.Barrier(3), [threading.Event() for _ in range(2)]

  def work(event):
    with blas_threads.one_blas_thread():
      entered.wait(60)
      event.wait(60)
      return counts()

  with futures.ThreadPoolExecutor(2) as pool:
    first, second = (pool.submit(work, event) for event in leave)
    entered.wait(60)
    leave[0].set()
    assert first.result(60) == {1}
    assert counts() == {1}  # The second is still inside.
    leave[1].set()
    assert second.result(60) == {1}
  assert counts() == {2}


def test_an_error_restores_it_too(two_threads):
  with pytest.raises(KeyError), blas_threads.one_blas_thread():
    raise KeyError
  assert counts() == {2}


def test_matching_limits_itself(two_threads, monkeypatch):
  seen = []
  solve = np.linalg.solve

  def noting(*arrays):
    seen.append(counts())
    return solve(*arrays)

  mask = np.zeros((128, 96), bool)
  mask[30:110, 20:70] = True
  monkeypatch.setattr(matching.np.linalg, 'solve', noting)
  fit_control_points(mask, mask)
  assert seen and all(found == {1} for found in seen)
  assert counts() == {2}
