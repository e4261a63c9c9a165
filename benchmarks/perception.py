"""How long the pose network and the decoder take.

  python -m benchmarks.perception --model graph_opt.pb [--batch_sizes 1 8]

Milliseconds an image of 368 x 272 (a standing person's photo of 3:4), compiled
before. The image is scikit-image's `astronaut`, or `--image`.
"""

import argparse
import statistics
import time

import cv2
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import device, milliseconds
from viton_jax import errors, perception
from viton_jax.perception.pose import paf_decoder


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add('--model', help='pose graph; default: the one in the models folder')
  add('--image', help='JPEG or PNG photo instead of the astronaut')
  add('--batch_sizes', type=int, nargs='+', default=[1, 8])
  arguments = parser.parse_args()
  model = perception.load_pose_model(arguments.model)
  if arguments.image:
    photo = perception.read_photo(arguments.image)
  else:
    import skimage.data

    photo = skimage.data.astronaut()
  image = cv2.resize(photo[..., ::-1], (272, 368), interpolation=cv2.INTER_AREA)
  print(device())
  for size in arguments.batch_sizes:
    batch = jnp.asarray(np.stack([image] * size))
    spent = milliseconds(model.maps, model.weights, batch)
    print(f'network, batch {size}: {spent / size:.1f} ms an image', flush=True)
  maps = np.asarray(model.maps(model.weights, image[None])[0])
  times = []
  for _ in range(20):
    begin = time.perf_counter()
    people = paf_decoder.decode_people(maps)
    times.append(time.perf_counter() - begin)
  print(
    f'decoder: {1e3 * statistics.median(times):.1f} ms an image '
    f'({len(people)} found)'
  )


if __name__ == '__main__':
  errors.run(main)
