"""Networks and batches to measure: random weights, drawn people.

Speed does not depend on what was learned, so that no data set, checkpoint or
VGG19 file is needed.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from viton_jax import labels, representation
from viton_jax.models import EncoderDecoder, Refinement, vgg19

# Output channels of VGG19's blocks.
_VGG_WIDTHS = (64, 128, 256, 512, 512)
_VGG_MEAN = (123.68, 116.779, 103.939)


def random_vgg(seed: int = 0, shrink: int = 1) -> dict:
  """VGG19 to conv5_2 in the form of `vgg19.load`, He-initialised.

  Args:
    seed: of the weights.
    shrink: divides the channels; for tests.
  """
  rng = np.random.default_rng(seed)
  params = {'mean': np.asarray(_VGG_MEAN, np.float32)}
  channels = 3
  for name in vgg19.LAYERS:
    width = _VGG_WIDTHS[int(name[4]) - 1] // shrink
    kernel = rng.standard_normal((3, 3, channels, width), np.float32)
    params[name] = {
      'kernel': kernel * np.float32((2 / (9 * channels)) ** 0.5),
      'bias': np.zeros(width, np.float32),
    }
    channels = width
  return params


def write_vgg(path: str) -> None:
  """The same as a MatConvNet file, which `--config.vgg` takes."""
  import scipy.io

  params = random_vgg()
  cells = np.empty((1, len(vgg19.LAYERS)), object)
  for i, name in enumerate(vgg19.LAYERS):
    weights = np.empty((1, 2), object)
    weights[0, 0] = params[name]['kernel']
    weights[0, 1] = params[name]['bias'][:, None]
    cells[0, i] = {'name': name, 'type': 'conv', 'weights': weights}
  scipy.io.savemat(path, {'layers': cells})


def drawn_batch(batch_size: int, size: tuple[int, int]) -> dict:
  """Working examples of drawn people in their own garments.

  Returns:
    What training's batches hold, without names, and `region` (b, h, w) bool,
    where the person wears the garment. At most eight differ.
  """
  # Imported here: they need OpenCV.
  from input_pipeline import sample
  from input_pipeline.synthetic import render_pair
  from viton_jax.geometry import fit_control_points

  examples = []
  for index in range(min(batch_size, 8)):
    pair = render_pair(0, index + 1, 256)
    region = pair.parse == labels.GARMENT_LABEL
    fitted = fit_control_points(
      pair.garment_mask, region, image_size=region.shape
    )
    one = dataclasses.replace(
      pair.sample(f'{index}_0.png', f'{index}_1.png'),
      control_points=np.asarray(fitted.points_norm, np.float32),
    )
    example = sample.working_example(
      one, height=size[0], width=size[1], fidelity='fixed'
    )
    example['region'] = example['parse'] == labels.GARMENT_LABEL
    examples.append(example)
  chosen = [examples[i % len(examples)] for i in range(batch_size)]
  return {
    name: np.stack([example[name] for example in chosen])
    for name, value in examples[0].items()
    if not isinstance(value, str)
  }


def twin_batch(batch: dict) -> dict:
  """What the twins take: finished inputs, float32 pictures in [-1, 1]."""
  batch = {name: jnp.asarray(value) for name, value in batch.items()}
  made = {
    'inputs': representation.network_inputs(batch, fidelity='fixed'),
    'image': representation.to_norm(batch['person']),
    'garment': representation.to_norm(batch['garment']),
    'region': representation.garment_region(batch),
    'control_points': batch['control_points'],
  }
  return {name: np.asarray(value) for name, value in made.items()}


def random_variables(features: int) -> tuple[dict, dict]:
  """Variables of both networks, NumPy arrays."""
  pictures = jnp.zeros((1, 64, 64, 3))
  first = jax.jit(EncoderDecoder(features=features).init)(
    jax.random.key(0), jnp.zeros((1, 64, 64, 25))
  )
  second = jax.jit(Refinement(features=features).init)(
    jax.random.key(1), pictures, pictures
  )
  return jax.tree.map(np.asarray, (first, second))


def network_flops(features: int, size: tuple[int, int]) -> dict[str, float]:
  """Multiplications and additions of one picture through each network.

  Of convolutions alone, which are all but a percent of it.
  """
  h, w = size
  widths = [25, *(features * k for k in (1, 2, 4, 8, 8, 8))]
  encoder = [
    2 * 16 * a * b * (h >> k) * (w >> k)
    for k, (a, b) in enumerate(zip(widths, widths[1:], strict=False), 1)
  ]
  # (input, output) channels from the innermost; 16 taps at each input place.
  ups = [(8, 8), (16, 8), (16, 4), (8, 2), (4, 1), (2, 0)]
  decoder = [
    2 * 16 * a * features * (b * features or 4) * (h >> k) * (w >> k)
    for k, (a, b) in zip(range(6, 0, -1), ups, strict=True)
  ]
  refinement = 2 * h * w * (9 * features * (6 + 2 * features) + features)
  vgg, channels = 0, 3
  for name in vgg19.LAYERS:
    block = int(name[4]) - 1
    width = _VGG_WIDTHS[block]
    vgg += 2 * 9 * channels * width * (h >> block) * (w >> block)
    channels = width
  return {
    'encoder_decoder': float(sum(encoder) + sum(decoder)),
    'first_layer': float(encoder[0]),
    'refinement': float(refinement),
    'vgg': float(vgg),
  }


def step_flops(stage: int, features: int, size: tuple[int, int]) -> float:
  """Of one picture in a training step.

  A trained network counts three times (forward, and the gradients by its input
  and its kernels; its first layer needs none by its input), VGG19 twice
  forward and once backward, stage 2's frozen network once.
  """
  flops = network_flops(features, size)
  if stage == 1:
    own = 3 * flops['encoder_decoder'] - flops['first_layer']
  else:
    own = 3 * flops['refinement'] + flops['encoder_decoder']
  return own + 3 * flops['vgg']
