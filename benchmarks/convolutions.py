"""The strided convolutions, layer by layer.

  python -m benchmarks.convolutions [--features 16] [--batch_size 8]
  python -m benchmarks.convolutions --features 64 --against tensorflow

Ours beside XLA's own forms, forward and forward with both gradients; with
`--against tensorflow` also TensorFlow's forward pass on as many threads. All
take turns; medians in milliseconds.
"""

import argparse
import os
import statistics

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from viton_jax import errors
from viton_jax.models import convolutions

# Doubled height and width, channels at that size and at half of it, in units
# of `features` (25 and 4 as they are). The decoder's inputs have the skip
# connections with them.
_ENCODER = [
  (256, 192, 25, 1),
  (128, 96, 1, 2),
  (64, 48, 2, 4),
  (32, 24, 4, 8),
  (16, 12, 8, 8),
  (8, 6, 8, 8),
]
_DECODER = [
  (8, 6, 8, 8),
  (16, 12, 8, 16),
  (32, 24, 4, 16),
  (64, 48, 2, 8),
  (128, 96, 1, 4),
  (256, 192, 4, 2),
]


def layers(features: int):
  """Yields (kind, doubled h, doubled w, channels there, channels at half)."""
  for kind, sizes in (('encoder', _ENCODER), ('decoder', _DECODER)):
    for h, w, large, small in sizes:
      if h < 256:
        large *= features
      yield kind, h, w, large, small * features


def competitors(kind, x, kernel, *, gradients, tensorflow) -> dict:
  """Name -> a call that waits for its result."""
  if kind == 'encoder':
    ours, xla = convolutions.conv4x4_stride2, convolutions._down
  else:
    ours, xla = convolutions.conv_transpose4x4_stride2, convolutions._up_by_xla

  def waiting(function):
    function = jax.jit(function)
    arguments = jnp.asarray(x), jnp.asarray(kernel)
    return lambda: jax.block_until_ready(function(*arguments))

  def both_gradients(function):
    return jax.grad(lambda x, k: jnp.sum(function(x, k) ** 2), (0, 1))

  found = {'ours': waiting(ours), 'XLA': waiting(xla)}
  if gradients:
    found['ours+grad'] = waiting(both_gradients(ours))
    found['XLA+grad'] = waiting(both_gradients(xla))
  if tensorflow:
    import tensorflow as tf

    from benchmarks import tensorflow_twin as twin

    form = tf.function(twin.down if kind == 'encoder' else twin.up)
    tensors = tf.constant(x), tf.constant(kernel)
    found['TensorFlow'] = lambda: form(*tensors)  # On a CPU it waits.
  return found


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--features', type=int, default=16)
  parser.add_argument('--batch_size', type=int, default=8)
  parser.add_argument('--repeats', type=int, default=7, help='turns')
  parser.add_argument('--against', choices=('tensorflow',))
  arguments = parser.parse_args()
  cores = os.cpu_count()
  if arguments.against:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(cores)
  print(
    f'{timing.device()}, {cores} threads, features {arguments.features}, '
    f'batch {arguments.batch_size}, float32, milliseconds'
  )
  rng = np.random.default_rng(0)
  b, totals = arguments.batch_size, {}
  for kind, h, w, large, small in layers(arguments.features):
    kernel = 0.02 * rng.standard_normal((4, 4, large, small), np.float32)
    if kind == 'encoder':
      x = rng.standard_normal((b, h, w, large), np.float32)
      name = f'{kind} {h}x{w}x{large} -> {small}'
    else:
      x = rng.standard_normal((b, h // 2, w // 2, small), np.float32)
      name = f'{kind} {h // 2}x{w // 2}x{small} -> {large}'
    turns = competitors(
      kind,
      x,
      kernel,
      gradients=not arguments.against,
      tensorflow=bool(arguments.against),
    )
    for function in turns.values():
      function()
    times = timing.alternate(turns, arguments.repeats)
    if not totals:
      print(f'{"layer":34}' + ''.join(f'{name:>12}' for name in turns))
    line = f'{name:34}'
    for form, seconds in times.items():
      median = 1e3 * statistics.median(seconds)
      totals[form] = totals.get(form, 0.0) + median
      line += f'{median:12.1f}'
    print(line, flush=True)
  print(f'{"in all":34}' + ''.join(f'{x:12.1f}' for x in totals.values()))
  for form, total in totals.items():
    if not form.startswith('ours'):
      ours = totals['ours+grad' if form.endswith('+grad') else 'ours']
      print(f'{form} / ours: {total / ours:.2f}')


if __name__ == '__main__':
  errors.run(main)
