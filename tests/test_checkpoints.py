"""Checkpoints as files: kept, found, read in part, refused."""

import shutil
import threading

import entry_points
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from viton_jax import checkpoints
from viton_jax.checkpoints import orbax_files
from viton_jax.errors import InputError
from viton_jax.models import Refinement
from viton_jax.runtime import parallel
from viton_jax.training import train_state


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('work')
  state = train_state.create(
    Refinement(features=4), jax.random.key(0), size=(64, 64)
  )
  manager = checkpoints.open_manager(folder, keep=2)
  for step in (1, 2, 10):
    moved = state.replace(
      step=jnp.int32(step),
      params=jax.tree.map(lambda x, k=step: x + k, state.params),
    )
    checkpoints.save(
      manager,
      step,
      parallel.replicate(moved),
      metadata=checkpoints.describe(
        'refinement',
        features=4,
        fidelity='fixed',
        size=(64, 64),
        step=step,
        config={'seed': 3},
      ),
    )
  manager.wait_until_finished()
  manager.close()
  return folder, state


def test_newest_is_found_and_old_ones_go(workdir):
  folder, _ = workdir
  assert checkpoints.find(folder).name == '10'
  kept = {x.name for x in (folder / 'checkpoints').iterdir()}
  assert kept == {'2', '10'}


def test_read_gives_what_was_saved(workdir):
  folder, state = workdir
  checkpoint = checkpoints.read(folder / 'checkpoints' / '2', 'refinement')
  assert (checkpoint.step, checkpoint.features) == (2, 4)
  assert (checkpoint.fidelity, checkpoint.size) == ('fixed', (64, 64))
  assert checkpoint.config == {'seed': 3}
  jax.tree.map(
    lambda a, b: np.testing.assert_array_equal(a, np.asarray(b) + 2),
    checkpoint.variables['params'],
    dict(state.params),
  )
  assert 'opt_state' not in checkpoint.variables


def test_restored_state_is_the_saved_one(workdir):
  folder, state = workdir
  manager = checkpoints.open_manager(folder, keep=2)
  restored = checkpoints.restore_state(manager, 10, state)
  manager.close()
  assert int(restored.step) == 10
  assert jax.tree.structure(restored) == jax.tree.structure(state)


def test_refusals_name_the_path_and_the_remedy(workdir, tmp_path):
  folder, _ = workdir
  with pytest.raises(InputError, match='no checkpoint found.*workdir'):
    checkpoints.read(tmp_path, 'refinement')
  with pytest.raises(InputError, match='holds a refinement'):
    checkpoints.read(folder, 'encoder_decoder')


def test_a_damaged_checkpoint_is_refused(workdir, tmp_path):
  """In a process of its own: Orbax's threads outlive what they stumble on."""
  broken = tmp_path / 'broken'
  shutil.copytree(workdir[0], broken)
  for path in (broken / 'checkpoints' / '10' / 'state').rglob('*'):
    if path.is_file() and path.parent.name == 'd':
      path.write_bytes(b'')
  message = entry_points.fails('viton_jax.inspect', broken)
  assert 'damaged' in message and 'another step' in message


def test_what_is_saved_is_the_state_of_that_moment(tmp_path):
  """Steps go on and use its memory again while it is being written."""
  add_one = parallel.train(
    lambda state, frozen, batch: (
      {'w': state['w'] + 1.0},
      {'sum': jax.lax.psum(batch['x'].sum(), parallel.AXIS)},
    )
  )
  # Random, so that it does not shrink, and large: 16 MB take a while.
  start = np.random.default_rng(0).random((4, 1000, 1000), np.float32)
  state = parallel.replicate({'w': start})
  batch = parallel.shard({'x': np.ones(8, np.float32)})
  manager = checkpoints.open_manager(tmp_path, keep=None)
  state, _ = add_one(state, {}, batch)
  for step in (1, 2):
    saved = state
    checkpoints.save(manager, step, state, metadata={})
    for _ in range(3):
      state, _ = add_one(state, {}, batch)
    assert saved['w'].is_deleted()  # It was donated.
  # Asynchronous: the newest is not there before it has been waited for.
  manager.wait_until_finished()
  first, second = (
    checkpoints.restore_state(manager, step, {'w': start})['w']
    for step in (1, 2)
  )
  manager.close()
  expected = start + 1
  np.testing.assert_array_equal(first, expected)
  for _ in range(3):
    expected = expected + 1
  np.testing.assert_array_equal(second, expected)


def test_saving_returns_before_the_files_are_there(tmp_path, monkeypatch):
  """A disk that stands still does not hold training up."""
  gate, inside = threading.Event(), threading.Event()
  rename = orbax_files.ocp.path.atomicity.AtomicRenameTemporaryPath.finalize

  def wait_and_rename(*arguments, **options):
    inside.set()
    assert gate.wait(60)
    return rename(*arguments, **options)

  monkeypatch.setattr(
    orbax_files.ocp.path.atomicity.AtomicRenameTemporaryPath,
    'finalize',
    wait_and_rename,
  )
  manager = checkpoints.open_manager(tmp_path, keep=None)
  checkpoints.save(
    manager, 1, parallel.replicate({'w': np.ones(3)}), metadata={}
  )
  assert inside.wait(60)
  assert not (tmp_path / 'checkpoints' / '1').exists()
  gate.set()
  manager.wait_until_finished()
  manager.close()
  assert (tmp_path / 'checkpoints' / '1').exists()


def test_the_newest_and_the_best_stay(tmp_path):
  state = parallel.replicate({'w': np.ones(3, np.float32)})
  losses = {1: 0.5, 2: 0.2, 3: 0.9, 4: 0.3, 5: 0.7, 6: 0.8}
  # Opened anew half way, as after a kill.
  for steps in ((1, 2, 3), (4, 5, 6)):
    manager = checkpoints.open_manager(tmp_path, keep=2, keep_best=2)
    for step in steps:
      checkpoints.save(
        manager, step, state, metadata={}, validation_loss=losses[step]
      )
    manager.wait_until_finished()
    best = checkpoints.best(manager)
    manager.close()
  assert best == (2, 0.2)
  kept = {int(x.name) for x in (tmp_path / 'checkpoints').iterdir()}
  assert kept == {2, 4, 5, 6}


def test_averages_are_read_where_there_are_some(tmp_path):
  state = train_state.create(
    Refinement(features=4), jax.random.key(0), size=(64, 64), ema_decay=0.9
  )
  state = state.replace(ema=jax.tree.map(lambda x: x + 1, state.ema))
  manager = checkpoints.open_manager(tmp_path, keep=1)
  metadata = checkpoints.describe(
    'refinement',
    features=4,
    fidelity='fixed',
    size=(64, 64),
    step=1,
    config={},
  )
  checkpoints.save(manager, 1, parallel.replicate(state), metadata=metadata)
  manager.wait_until_finished()
  restored = checkpoints.restore_state(manager, 1, state)
  jax.tree.map(np.testing.assert_array_equal, restored.ema, state.ema)
  read = checkpoints.read(tmp_path, 'refinement').variables
  jax.tree.map(
    np.testing.assert_array_equal, read['params'], restored.ema['params']
  )
  # A config without averages does not fit a state of other shapes.
  other = train_state.create(
    Refinement(features=8), jax.random.key(0), size=(64, 64)
  )
  with pytest.raises(InputError, match='conv_1.*another shape'):
    checkpoints.restore_state(manager, 1, other)
  manager.close()


def test_a_full_disk_is_said_in_a_sentence(tmp_path, monkeypatch):
  state = parallel.replicate({'w': np.ones(3, np.float32)})
  manager = checkpoints.open_manager(tmp_path, keep=2)
  checkpoints.save(manager, 1, state, metadata={})
  checkpoints.finish(manager)

  def full(*arguments, **options):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(manager, 'save', full)
  with pytest.raises(InputError, match='disk is full.*step 1; make room'):
    checkpoints.save(manager, 2, state, metadata={})

  def other(*arguments, **options):
    raise OSError(5, 'Input/output error')

  monkeypatch.setattr(manager, 'save', other)
  with pytest.raises(OSError, match='Input/output'):
    checkpoints.save(manager, 2, state, metadata={})
  manager.close()
