"""The strided convolutions, layer by layer, against XLA's own forms.

  python -m benchmarks.convolutions [--features 16] [--batch_size 8]

Forward, and forward with both gradients, in milliseconds, in one run.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import device, milliseconds
from viton_jax.models import convolutions

# Doubled height and width, channels at that size and at half of it, in units
# of `features` (25 and 4 as they are).
_ENCODER = [(256, 192, 25, 1), (128, 96, 1, 2), (64, 48, 2, 4),
            (32, 24, 4, 8), (16, 12, 8, 8), (8, 6, 8, 8)]
_DECODER = [(8, 6, 8, 8), (16, 12, 8, 16), (32, 24, 4, 16), (64, 48, 2, 8),
            (128, 96, 1, 4), (256, 192, 4, 2)]


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--features', type=int, default=16)
  parser.add_argument('--batch_size', type=int, default=8)
  arguments = parser.parse_args()
  print(f'{device()}, features {arguments.features}, '
        f'batch {arguments.batch_size}, float32')
  print(f'{"layer":34}{"ours":>8}{"XLA":>8}{"ours+grad":>12}{"XLA+grad":>10}')
  rng = np.random.default_rng(0)

  def random(*shape):
    return jnp.asarray(rng.normal(size=shape), jnp.float32)

  def row(name, ours, theirs, x, kernel):
    def both(function):
      def loss(x, kernel):
        return jnp.sum(function(x, kernel) ** 2)

      return (
          milliseconds(jax.jit(function), x, kernel),
          milliseconds(jax.jit(jax.grad(loss, (0, 1))), x, kernel),
      )

    (a, b), (c, d) = both(ours), both(theirs)
    print(f'{name:34}{a:8.1f}{c:8.1f}{b:12.1f}{d:10.1f}', flush=True)
    return a, c, b, d

  totals = []
  n, b = arguments.features, arguments.batch_size
  for layers, kind in ((_ENCODER, 'encoder'), (_DECODER, 'decoder')):
    for h, w, large, small in layers:
      large = large if large in (25, 4) and h == 256 else large * n
      small *= n
      kernel = 0.02 * random(4, 4, large, small)
      if kind == 'encoder':
        shapes = f'{h}x{w}x{large} -> {small}'
        totals.append(row(f'{kind} {shapes}', convolutions.conv4x4_stride2,
                          convolutions._down, random(b, h, w, large), kernel))
      else:
        shapes = f'{h // 2}x{w // 2}x{small} -> {large}'
        totals.append(
            row(f'{kind} {shapes}', convolutions.conv_transpose4x4_stride2,
                convolutions._up_by_xla, random(b, h // 2, w // 2, small),
                kernel)
        )
  a, c, g, d = np.sum(totals, axis=0)
  print(f'{"in all":34}{a:8.1f}{c:8.1f}{g:12.1f}{d:10.1f}')
  print(f'XLA / ours: {c / a:.2f} forward, {d / g:.2f} with gradients')


if __name__ == '__main__':
  main()
