"""Batches overlap, errors come through, and idle time is counted rightly."""

from concurrent import futures
import threading
import time

import jax
import numpy as np
import pytest

from viton_jax.errors import InputError
from viton_jax.geometry import prediction
from viton_jax.jobs import pipeline, workers

BATCH = 8
_PATIENCE_S = 20


def loaded(number, reason=None):
  if reason:
    return workers.Loaded(str(number), ('p', 'g'), reason=reason)
  example = {
    'person': np.full((4, 4, 3), number, np.uint8),
    'garment': np.zeros((4, 4, 3), np.uint8),
    'garment_mask': np.zeros((4, 4), np.uint8),
  }
  return workers.Loaded(str(number), ('p', 'g'), example)


class Pool:
  """Reads at once; matches when `may_match` says so."""

  def __init__(self, may_match=lambda: None, bad=()):
    self._pool = futures.ThreadPoolExecutor(4)
    self._may_match, self._bad = may_match, bad

  def read(self, name, pair):
    del pair
    reason = 'broken' if int(name) in self._bad else None
    return self._pool.submit(loaded, int(name), reason)

  def match(self, garment_mask, predicted_mask):
    def match():
      self._may_match()
      return prediction.no_points(), None

    return self._pool.submit(match)


class Steps:
  """Stands in for the networks: the person plus one, less a column."""

  whole = None

  def __init__(self):
    self.coarse_calls = self.refine_calls = 0
    self.changed = threading.Condition()

  def coarse(self, batch):
    with self.changed:
      self.coarse_calls += 1
      self.changed.notify_all()
    return {'mask': np.zeros((*batch['person'].shape[:-1], 1), np.float32)}

  def refine(self, batch, control_points, predicted):
    assert control_points.shape == (BATCH, 100, 2)
    with self.changed:
      self.refine_calls += 1
      self.changed.notify_all()
    output = batch['person'] + 1
    output[..., 0, 0] = 255  # A picture of one value is no try-on.
    return {'images': {'output': output}, 'values': {}}

  def wait(self, condition):
    with self.changed:
      assert self.changed.wait_for(condition, _PATIENCE_S), 'nothing overlaps'


class Late(np.ndarray):
  """An array that is being computed for a while."""

  def block_until_ready(self):
    time.sleep(0.1)
    return self


class WholeSteps:
  """Stands in for one program that matches as well; pairs 3 and 11 fail."""

  def __init__(self):
    self.calls = 0

  def whole(self, batch):
    self.calls += 1
    number = batch['person'][:, :, 0, 0, 0]
    output = batch['person'] + 1
    output[..., 0, 0] = 255  # A picture of one value is no try-on.
    return {
      'images': {'output': output.view(Late)},
      'values': {},
      'control_points': np.zeros((*number.shape, 100, 2), np.float32),
      'reason': np.where(number % 8 == 3, 2, 0).astype(np.int32),
    }


def run(count, pool, steps, write, *, clock=None, **more):
  items = [(str(number), ('p', 'g')) for number in range(count)]
  return list(
    pipeline.run(
      items,
      pool,
      steps,
      write,
      batch_size=BATCH,
      with_steps=False,
      clock=clock or pipeline.Clock(),
      **more,
    )
  )


def test_the_devices_have_work_while_a_batch_is_matched_and_written():
  """Both would wait in vain if batches came one after the other."""
  assert jax.local_device_count() == BATCH
  steps = Steps()
  # The first of each is compilation.
  pool = Pool(lambda: steps.wait(lambda: steps.coarse_calls >= 1 + 3))
  written = []

  def write(group):
    if not written:
      steps.wait(lambda: steps.refine_calls >= 1 + 3)
    written.extend(group)
    return len(group)

  assert sum(run(5 * BATCH, pool, steps, write)) == 5 * BATCH
  assert [int(one.name) for one in written] == list(range(5 * BATCH))
  for one in written:
    assert (one.images['result'][..., 1:] == int(one.name) + 1).all()
  assert steps.coarse_calls == steps.refine_calls == 1 + 5


def test_one_program_needs_no_matching():
  """And what the devices compute is no wait for the disk."""

  def never():
    raise AssertionError('the host matches')

  steps, written, clock = WholeSteps(), [], pipeline.Clock()

  def write(group):
    written.extend(group)
    return len(group)

  more = {'clock': clock}
  assert sum(run(2 * BATCH, Pool(never), steps, write, **more)) == 2 * BATCH
  assert steps.calls == 1 + 2
  for one in written:
    if int(one.name) in (3, 11):
      assert one.reason == 'the garment mask is empty' and not one.images
    else:
      assert one.reason is None
      assert (one.images['result'][..., 1:] == int(one.name) + 1).all()
  assert clock.waited['device'] > max(0.1, clock.waited['writing'])
  assert clock.waited['matching'] == 0


def test_comparing_with_the_truth_is_no_wait_for_the_disk(monkeypatch):
  fetch, clock = pipeline._fetch, pipeline.Clock()

  def slow(*args, **kwargs):
    time.sleep(0.1)
    return fetch(*args, **kwargs)

  monkeypatch.setattr(pipeline, '_fetch', slow)
  run(3 * BATCH, Pool(lambda: None), Steps(), len, clock=clock)
  assert clock.waited['figures'] > max(0.1, 5 * clock.waited['writing'])


def test_bad_pairs_leave_no_gaps_in_batches():
  steps, written = Steps(), []

  def write(group):
    written.extend(group)
    return len(group)

  bad = (0, 1, 2, 3, 4, 5, 6, 7, 9, 20)
  assert sum(run(29, Pool(bad=bad), steps, write)) == 29
  assert steps.coarse_calls == 1 + 3  # 19 good pairs in batches of 8.
  assert sorted(int(one.name) for one in written) == list(range(29))
  failed = {int(one.name) for one in written if one.reason}
  assert failed == set(bad)


def test_what_cannot_be_written_ends_the_job():
  def write(group):
    raise InputError('the disk is full')

  with pytest.raises(InputError, match='disk is full'):
    run(20 * BATCH, Pool(), Steps(), write)


def test_a_stopped_job_finishes_what_it_has_begun():
  steps, written = Steps(), []

  def write(group):
    written.extend(group)
    return len(group)

  done = run(
    100 * BATCH, Pool(), steps, write, stop=lambda: steps.coarse_calls > 4
  )
  assert sum(done) == len(written) == 4 * BATCH


def test_idle_time_is_what_no_computation_covers(monkeypatch):
  now = [100.0]
  monkeypatch.setattr(pipeline.time, 'monotonic', lambda: now[0])
  clock = pipeline.Clock()

  def at(seconds, event):
    now[0] = 100.0 + seconds
    event()

  at(5, clock.restart)
  # [6, 8], [7, 10] and [12, 13] since 5: busy 5 of 10 seconds at 15.
  at(6, clock.handed_over)
  at(7, clock.handed_over)
  at(8, clock.ready)
  at(10, clock.ready)
  at(12, clock.handed_over)
  at(13, clock.ready)
  now[0] = 115.0
  assert clock.seconds == 10 and clock.compiled_s == 5
  assert clock.idle == pytest.approx(0.5)
  at(15, clock.handed_over)
  now[0] = 125.0  # Still at work.
  assert clock.idle == pytest.approx(0.25)
  with clock.waiting('reading'):
    now[0] = 128.0
  assert clock.waited['reading'] == 3
  assert clock.waits().startswith('waited for reading 3.0 s, device 0.0 s')
