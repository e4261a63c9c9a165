"""One training over several real processes, joined by gloo."""

import shutil
import signal

import entry_points
import numpy as np
import pytest
import train_jobs
from train_jobs import arguments

from viton_jax import checkpoints
from viton_jax.errors import EXIT_PEER_LOST
from viton_jax.training import metric_log

pytestmark = pytest.mark.slow


def ends(processes) -> list[tuple[int, str, str]]:
  """(exit code, stdout, stderr) of each."""
  said = [process.communicate(timeout=300) for process in processes]
  codes = [process.returncode for process in processes]
  return [(code, *text) for code, text in zip(codes, said, strict=True)]


@pytest.fixture(scope='module')
def two(packed, tmp_path_factory):
  """Four steps of two processes, a checkpoint after each; what they said."""
  folder = tmp_path_factory.mktemp('two') / 'w'
  return folder, ends(
    train_jobs.start_many(
      arguments(
        packed,
        folder,
        checkpoint_every=1,
        keep=9,
        eval_every=4,
        sample_every=4,
      ),
      2,
    )
  )


def test_two_processes_train_to_the_parameters_of_one(two, packed, tmp_path):
  folder, said = two
  assert [code for code, _, _ in said] == [0, 0], said
  single = tmp_path / 'w'
  done = entry_points.run(
    'viton_jax.train',
    *arguments(packed, single, checkpoint_every=1, keep=9, eval_every=4),
  )
  train_jobs.assert_same_training(
    train_jobs.whole_state(single), train_jobs.whole_state(folder)
  )
  # The first step starts from the same parameters: its gradients are the same.
  first = [
    checkpoints.read_tree(w / 'checkpoints' / '1' / 'state')
    for w in (single, folder)
  ]
  train_jobs.assert_same_gradients(
    *(train_jobs.adam_of(state)['mu'] for state in first)
  )
  losses = [
    [x['train/loss'] for x in metric_log.read(w) if 'train/loss' in x]
    for w in (single, folder)
  ]
  assert len(losses[0]) == 4
  np.testing.assert_allclose(*losses, rtol=1e-5)
  # Each held-out pair counts once: the losses are the same, of both pairs.
  ours, theirs = (
    [x for x in metric_log.read(w) if 'validation/loss' in x]
    for w in (folder, single)
  )
  assert [x['step'] for x in ours] == [4]
  np.testing.assert_allclose(
    ours[0]['validation/loss'], theirs[0]['validation/loss'], rtol=1e-5
  )
  # One of them speaks and writes.
  (_, first, _), (_, second, _) = said
  assert 'of 2 process(es)' in first and 'done: step 4' in first
  assert 'step' not in second
  assert 'of 1 process(es)' in done.stdout
  assert (folder / 'samples' / 'step_0000004.png').exists()


@pytest.mark.parametrize('victim', [0, 1])
def test_a_killed_process_ends_the_others(two, packed, tmp_path, victim):
  """And all of them go on to the same parameters, to the bit."""
  folder = tmp_path / 'w'
  options = arguments(
    packed,
    folder,
    checkpoint_every=1,
    keep=1000,
    eval_every=4,
    sample_every=4,
  )
  # As if it were endless, so that the kill comes in the middle.
  long = [*options, '--config.num_steps=100000']
  processes = train_jobs.start_many(long, 2)
  train_jobs.wait_for(processes[0], 'step 2/')
  train_jobs.wait_for_checkpoint(processes[0], folder)
  processes[victim].send_signal(signal.SIGKILL)
  said = ends(processes)
  assert said[victim][0] == -signal.SIGKILL
  code, _, errors = said[1 - victim]
  assert code == EXIT_PEER_LOST, errors
  assert 'error: another process of this job is lost' in errors
  if victim == 0:
    return
  for path in (folder / 'checkpoints').iterdir():
    if path.name.isdigit() and int(path.name) > 1:
      shutil.rmtree(path)
  said = ends(train_jobs.start_many(options, 2))
  assert [code for code, _, _ in said] == [0, 0], said
  assert 'goes on from step 1' in said[0][1]
  train_jobs.assert_bit_equal(two[0], folder)


def test_sigterm_to_one_stops_all_after_the_same_step(packed, tmp_path):
  folder = tmp_path / 'w'
  long = arguments(packed, folder, num_steps=100_000, checkpoint_every=100_000)
  processes = train_jobs.start_many(long, 2)
  train_jobs.wait_for(processes[0], 'step 2/')
  # Nobody else trains here meanwhile, however many come.
  refused = ends(train_jobs.start_many(long, 2))
  assert [code for code, _, _ in refused] == [2, 2]
  assert 'trains in this workdir' in refused[0][2]
  assert 'error' not in refused[1][2]
  processes[1].send_signal(signal.SIGTERM)
  said = ends(processes)
  assert [code for code, _, _ in said] == [0, 0], said
  assert 'stopped by a signal' in said[0][1]
  (kept,) = (x for x in (folder / 'checkpoints').iterdir() if x.name.isdigit())
  assert int(train_jobs.whole_state(folder)['step']) == int(kept.name)
