"""Checkpoints as files: kept, found, read in part, refused."""

import shutil

import entry_points
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from viton_jax import checkpoints, parallel, train_state
from viton_jax.errors import InputError
from viton_jax.models import Refinement


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
