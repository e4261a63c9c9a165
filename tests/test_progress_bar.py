"""What a log gets to read of a long job's progress."""

import io

import pytest

from viton_jax.runtime import progress


@pytest.fixture
def clock(monkeypatch):
  """Seconds that pass only when the test says so."""
  now = [100.0]
  monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
  return now


def said(clock, updates, *, total=40):
  file = io.StringIO()
  lines = progress.Lines(total, 'try on', unit='pair', file=file)
  for seconds, more, note in updates:
    clock[0] += seconds
    lines.update(more, note)
  lines.close()
  return file.getvalue().splitlines()


def test_speed_leaves_out_what_goes_before_the_first_update(clock):
  updates = [(60, 8, ''), (20, 8, '1 failed'), (10, 8, ''), (20, 16, '')]
  assert said(clock, updates) == [
    'try on: 8/40',
    'try on: 16/40, 0.4 pairs/s, 0:01:00 to go; 1 failed',
    'try on: 40/40, 0.6 pairs/s',
  ]


def test_nothing_done_says_nothing_and_one_update_no_speed(clock):
  assert said(clock, []) == []
  assert said(clock, [(3, 40, '')]) == ['try on: 40/40']
