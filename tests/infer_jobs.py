"""Small try-on jobs for tests: untrained networks, many names for few photos.

The networks are random but for one thing: the predicted garment mask is the
body's shape, so that every drawn person can be dressed.
"""

import os
import pathlib

import jax
import numpy as np

from viton_jax import checkpoints
from viton_jax.checkpoints import safetensors_files
from viton_jax.models import EncoderDecoder, Refinement
from viton_jax.training import train_state

SIZE = (64, 64)
FEATURES = 4


def write_networks(folder: pathlib.Path):
  """Writes both networks as portable files; returns the folder."""
  folder.mkdir(parents=True, exist_ok=True)
  models = {
    'encoder_decoder': EncoderDecoder(features=FEATURES),
    'refinement': Refinement(features=FEATURES),
  }
  for name, model in models.items():
    state = train_state.create(model, jax.random.key(0), size=SIZE)
    variables = jax.tree.map(np.array, dict(state.variables))
    if name == 'encoder_decoder':
      # One feature of the first layer is the body's mean, and the last layer's
      # first channel, the mask, reads that alone.
      first = variables['params']['encoder_1']['kernel']
      last = variables['params']['decoder_1']['kernel']
      first[..., -1] = 0
      first[:, :, 3, -1] = 1 / 16
      last[:, :, 0] = 0
      last[:, :, 0, -1] = 1
    safetensors_files.write(
      checkpoints.Checkpoint(
        path=folder,
        step=1,
        network=name,
        features=FEATURES,
        fidelity='fixed',
        size=SIZE,
        variables=variables,
        config={},
      ),
      folder / f'{name}.safetensors',
    )
  return folder


def write_pairs(raw_dir: pathlib.Path, count: int) -> list[str]:
  """Writes many_pairs.txt: every person in garments of many names.

  Garments get as many more names as are needed, as hard links.

  Returns:
    the names that the pairs' files have, in the list's order.
  """
  photos = raw_dir / 'women_top'
  persons = sorted(path.name for path in photos.glob('*_0.jpg'))
  garments = sorted(path.name for path in photos.glob('*_1.jpg'))
  lines, names = [], []
  for number in range(count):
    person = persons[number % len(persons)]
    garment = f'g{number // len(persons):06d}_1.jpg'
    if not (photos / garment).exists():
      source = garments[number // len(persons) % len(garments)]
      os.link(photos / source, photos / garment)
    lines.append(f'{person} {garment}\n')
    names.append(f'{person[:-4]}_{garment[:-4]}')
  (raw_dir / 'many_pairs.txt').write_text(''.join(lines))
  return names
