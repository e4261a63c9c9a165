"""Every item in exactly one shard, whatever their number; where shards come
from."""

import pytest

from viton_jax.errors import InputError
from viton_jax.job_folders import shards
from viton_jax.job_folders.shards import Shard


@pytest.mark.parametrize('total', [0, 1, 4, 100, 1000, 5001])
@pytest.mark.parametrize('count', [1, 2, 3, 16])
def test_shards_have_every_item_once_and_are_even(total, count):
  parts = [shards.places(total, Shard(i, count)) for i in range(count)]
  assert sorted(sum(parts, [])) == list(range(total))
  assert all(part == sorted(part) for part in parts)
  sizes = [len(part) for part in parts]
  # An eighth of a part, or one item where there are few.
  assert max(sizes) - min(sizes) <= max(1, total // (8 * count))


def test_neighbours_stay_together():
  part = shards.places(1_000_000, Shard(3, 16))
  breaks = sum(b != a + 1 for a, b in zip(part, part[1:], strict=False))
  assert len(part) // 256 - 1 <= breaks <= len(part) // 256 + 1


def array(number, low, high, step, count):
  names = ('ID', 'MIN', 'MAX', 'STEP', 'COUNT')
  values = (number, low, high, step, count)
  return {
    f'SLURM_ARRAY_TASK_{name}': str(value)
    for name, value in zip(names, values, strict=True)
  }


def test_the_shard_comes_from_the_flag_the_array_and_the_process():
  assert shards.find(None, {}) == Shard(0, 1)
  assert shards.find('3/16', {}) == Shard(3, 16)
  assert shards.find('3/16', array(0, 0, 1, 1, 2)) == Shard(3, 16)
  assert shards.find(None, array(5, 0, 15, 1, 16)) == Shard(5, 16)
  assert shards.find(None, array(7, 1, 9, 2, 5)) == Shard(3, 5)
  assert shards.find(None, {}, process_index=1, process_count=4) == Shard(1, 4)
  # Four processes in each of three shards: twelve different ones.
  parts = {
    shards.find(f'{i}/3', {}, process_index=j, process_count=4)
    for i in range(3)
    for j in range(4)
  }
  assert parts == {Shard(i, 12) for i in range(12)}
  assert shards.peers(Shard(6, 12), 4) == [Shard(i, 12) for i in range(4, 8)]
  assert shards.peers(Shard(3, 16), 1) == [Shard(3, 16)]
  assert Shard(3, 16).tag == '00003-of-00016'


@pytest.mark.parametrize(
  'text', ['3', '3/', '/3', 'a/b', '-1/3', '3/3', '1/0', '0.5/2', '1/2/3']
)
def test_bad_shards(text):
  with pytest.raises(InputError, match='--shard'):
    shards.find(text, {})


def test_an_array_with_gaps_is_refused():
  with pytest.raises(InputError, match='--shard .SLURM_ARRAY_TASK_ID/N'):
    shards.find(None, array(7, 3, 7, 1, 2))
