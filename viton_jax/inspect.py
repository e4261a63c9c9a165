"""Says what a checkpoint holds.

  python -m viton_jax.inspect W1
  python -m viton_jax.inspect W1/checkpoints/15000
  python -m viton_jax.inspect encoder_decoder.safetensors
  python -m viton_jax.inspect model/stage1/model-15000

Takes a training workdir or one step of it, a folder with both networks (the
demo's, or what `python -m viton_jax.convert` or `export` wrote), and
TensorFlow-1 checkpoints of the original as they are: the prefix of their files,
or the folder.
"""

import argparse
import json
import pathlib
from typing import Any

from flax import traverse_util

from viton_jax import checkpoints, errors
from viton_jax.checkpoints import Checkpoint
from viton_jax.checkpoints.tensorflow1 import find_tf1_checkpoint, read_tf1


def read_all(path: str | pathlib.Path) -> list[Checkpoint]:
  """Every network that is there, whatever wrote it.

  Raises:
    InputError: nothing is there, it is damaged, or it is not of VITON.
  """
  inside = checkpoints.contents(path)
  if inside:
    return [checkpoints.read(place, name) for name, place in inside.items()]
  if is_tf1(path):
    return list(read_tf1(path).values())
  network = checkpoints.read_metadata(path)['network']
  return [checkpoints.read(path, network)]


def is_tf1(path: str | pathlib.Path) -> bool:
  """Whether the path names a TensorFlow-1 checkpoint rather than ours."""
  path = pathlib.Path(path)
  if path.suffix == '.safetensors' or (path / 'checkpoints').is_dir():
    return False
  try:
    find_tf1_checkpoint(path)
  except errors.InputError:
    # A folder or prefix that TensorFlow began is TensorFlow's to refuse.
    return path.is_file() or (path.parent / f'{path.name}.index').is_file()
  return True


def describe(one: Checkpoint) -> str:
  """What is inside, as text: facts, layers with their sizes, config."""
  height, width = one.size
  params: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(
    one.variables['params']
  )
  statistics: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(
    one.variables.get('batch_stats', {})
  )
  layers = {}
  for (layer, name), value in params.items():
    layers.setdefault(layer, []).append((name, value))
  lines = [
    f'network     {one.network}',
    f'path        {one.path}',
    f'features    {one.features}',
    f'fidelity    {one.fidelity}',
    f'size        {height} x {width}',
    f'step        {one.step}',
    '',
    f'{"layer":18} {"parameters":>12}  variables',
  ]
  for layer, variables in sorted(layers.items()):
    count = sum(value.size for _, value in variables)
    shapes = ', '.join(
      f'{name} {tuple(value.shape)}' for name, value in sorted(variables)
    )
    lines.append(f'{layer:18} {count:12,}  {shapes}')
  total = sum(value.size for value in params.values())
  kept = sum(value.size for value in statistics.values())
  lines += [
    f'{"in all":18} {total:12,}  and {kept:,} running statistics',
    '',
    'config      '
    + (
      json.dumps(one.config, indent=2, sort_keys=True)
      if one.config
      else 'none: not trained by viton_jax'
    ),
  ]
  return '\n'.join(lines)


def main() -> int:
  parser = argparse.ArgumentParser(
    prog='python -m viton_jax.inspect',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('checkpoint', metavar='CHECKPOINT', help='see above')
  arguments = parser.parse_args()
  print('\n\n'.join(map(describe, read_all(arguments.checkpoint))))
  return errors.EXIT_OK


if __name__ == '__main__':
  errors.run(main)
