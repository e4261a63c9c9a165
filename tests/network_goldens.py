"""Figures that the released TensorFlow-1 code gave, and its inputs.

The two checkpoints behind them hold the same encoder-decoder, so one is kept;
pictures are kept at every fourth pixel, but for the warped garment, which the
refinement network normalises as a whole.
"""

import functools
import pathlib

import numpy as np

from viton_jax import convert
from viton_jax.checkpoints import tensorflow1
from viton_jax.models import EncoderDecoder, vgg19

FOLDER = pathlib.Path(__file__).parent / 'goldens'
CHECKPOINT = FOLDER / 'tf1_stage2_ngf8' / 'model-6000'

# Dropout made the identity, as it was for the training figures.
MODEL = EncoderDecoder(features=8, dropout_rate=0.0)


@functools.cache
def arrays(name: str) -> dict[str, np.ndarray]:
  with np.load(FOLDER / f'{name}.npz') as file:
    return dict(file)


@functools.cache
def networks():
  return convert.read_tf1_checkpoint(CHECKPOINT)


@functools.cache
def vgg():
  return vgg19.load(FOLDER / 'vgg19_mini.mat', fidelity='original')


@functools.cache
def batch() -> dict[str, np.ndarray]:
  """Two examples; `inputs` is the network's input as the original made it."""
  raw = arrays('inputs_seed0')
  image, garment = (
    raw[name].astype(np.float32) / np.float32(127.5) - np.float32(1)
    for name in ('image_u8', 'product_image_u8')
  )
  parts = (
    garment,
    raw['body_segment'],
    raw['skin_mask'] * image,
    raw['pose_map'],
  )
  return {
    'person': raw['image_u8'],
    'garment': raw['product_image_u8'],
    'parse': 5 * raw['prod_segment'][..., 0],
    'control_points': arrays('stage2_ngf8_seed0')['tps_points'],
    'inputs': np.concatenate(parts, axis=-1).astype(np.float32),
  }


def norms(names, tree, network: str) -> np.ndarray:
  """Norms of parameters in a tree, by their TensorFlow names."""
  places = tensorflow1.tf1_names(network)
  return np.array(
    [
      np.linalg.norm(np.asarray(tree[layer][variable], np.float64).ravel())
      for _, layer, variable in (places[name] for name in names)
    ]
  )
