"""How long pose networks take, and what follows them.

  python -m benchmarks.perception --model blazepose [--batch_sizes 1 8]
  python -m benchmarks.perception --model graph_opt.pb

Milliseconds an image, compiled before. BlazePose: both networks alone, by each
runner that is there, and a whole photo from pixels to joints and mask; the
quickest of some runs, because other programs may be at work. A frozen graph: an
image of 368 x 272 (a standing person's photo of 3:4), and the decoder. The
photo is scikit-image's `astronaut`, or `--image`.
"""

import argparse
import importlib.util
import statistics
import time

import cv2
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import device, milliseconds
from viton_jax import errors, perception
from viton_jax.perception import model_files
from viton_jax.perception.pose import (
  anchors,
  blazepose,
  landmarks,
  paf_decoder,
)
from viton_jax.perception.runners import tflite_model
from viton_jax.perception.spec_types import fixed_size
from viton_jax.perception.specs import known_specs


def best_ms(function, *inputs, runs: int = 20) -> float:
  times = []
  function(*inputs)
  for _ in range(runs):
    begin = time.perf_counter()
    function(*inputs)
    times.append(time.perf_counter() - begin)
  return 1e3 * min(times)


def time_blazepose(photo: np.ndarray, batch_sizes: list[int]) -> None:
  spec = known_specs()['blazepose']
  detector_spec = known_specs()['blazepose_detector']
  folder = model_files.models_folder()
  if not model_files.is_there(spec, folder):
    raise model_files.missing(spec, folder)
  runners: list[tflite_model.Runner] = ['jax']
  if importlib.util.find_spec('ai_edge_litert'):
    runners.append('litert')
  for runner in runners:
    for one, outputs in (
      (detector_spec, anchors.output_shapes()),
      (spec, landmarks.output_shapes(spec)),
    ):
      model = tflite_model.load(
        folder / one.file, one, outputs=outputs, runner=runner
      )
      size = fixed_size(one).size
      image = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
      for count in batch_sizes:
        batch = np.stack([image] * count).astype(np.float32) / 255
        spent = best_ms(model.run, batch)
        print(
          f'{one.name} by {model.runner}, batch {count}: '
          f'{spent / count:.1f} ms an image',
          flush=True,
        )
    estimator = blazepose.open_network(folder / spec.file, spec, runner)
    for count in batch_sizes:
      spent = best_ms(estimator.find_many, [photo] * count, runs=5)
      print(
        f'a photo of {photo.shape[1]} x {photo.shape[0]} by {runner}, batch '
        f'{count}: {spent / count:.1f} ms',
        flush=True,
      )


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add(
    '--model',
    help='blazepose, or a frozen graph (default: one in the models folder)',
  )
  add('--image', help='JPEG or PNG photo instead of the astronaut')
  add('--batch_sizes', type=int, nargs='+', default=[1, 8])
  arguments = parser.parse_args()
  if arguments.image:
    photo = perception.read_photo(arguments.image)
  else:
    import skimage.data

    photo = skimage.data.astronaut()
  print(device())
  if arguments.model == 'blazepose':
    time_blazepose(photo, arguments.batch_sizes)
    return
  model = perception.load_pose_model(arguments.model)
  image = cv2.resize(photo[..., ::-1], (272, 368), interpolation=cv2.INTER_AREA)
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
