"""The soak of `launch/soak.sh`, for some seconds and two of its jobs."""

import pathlib
import sys

import pytest

# The benchmarks are not installed; they run from the repository.
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from benchmarks import soak  # noqa: E402

pytestmark = pytest.mark.slow


def test_disturbed_jobs_write_what_undisturbed_ones_do(tmp_path, capsys):
  wrong = soak.soak(
    tmp_path,
    minutes=0.4,
    seed=1,
    names=['prepare', 'infer'],
    faults=['kill', 'term', 'stop'],
  )
  said = capsys.readouterr().out
  assert not wrong, said
  assert 'prepare, round 1: ' in said and 'infer, round 1: ' in said


@pytest.mark.parametrize(
  'code, said, fault, wrong',
  [
    (0, 'done', None, None),
    (-9, '', 'kill', None),
    (-9, '', 'term', 'exit code -9'),
    (2, 'error: full\n', 'full', None),
    (2, 'nothing', 'full', '0 errors'),
    (2, 'error: full\n', 'stop', 'exit code 2'),
    (0, 'Traceback (most', 'slow', 'a traceback'),
  ],
)
def test_how_an_attempt_may_end(code, said, fault, wrong):
  found = soak.judge(code, said, fault)
  assert found is None if wrong is None else wrong in found
