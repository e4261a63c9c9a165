"""Small evaluations for tests: pictures, and networks of seeded numbers."""

import json
import pathlib

import cv2
import metric_goldens
import numpy as np
import torch_writer

from viton_jax import errors
from viton_jax.evaluation import run
from viton_jax.io import images

SIZE = (64, 48)


def write_pictures(folder: pathlib.Path, count: int, *, noise: int = 0):
  """Smooth pictures p00.png, p01.png ...; with noise of so many levels."""
  folder.mkdir(parents=True, exist_ok=True)
  for i in range(count):
    rng = np.random.default_rng(i)
    coarse = rng.integers(40, 216, (8, 6, 3), np.uint8)
    picture = cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_LINEAR)
    moved = rng.integers(-noise * (i % 3), noise * (i % 3) + 1, picture.shape)
    picture = np.clip(picture + moved, 0, 255).astype(np.uint8)
    (folder / f'p{i:02}.png').write_bytes(images.encode_png(picture))
  return folder


def evaluate(out_dir: pathlib.Path, **options) -> dict:
  """Runs an evaluation in this process; its metrics.json."""
  code = run.run(run.Options(out_dir=str(out_dir), **options))
  assert code == errors.EXIT_OK
  return read(out_dir)


def read(out_dir: pathlib.Path) -> dict:
  return json.loads((out_dir / 'metrics.json').read_text())


def write_models(folder: pathlib.Path) -> pathlib.Path:
  """AlexNet, its heads and FID's Inception, seeded, as they are published."""
  params = metric_goldens.lpips_params('alex')
  places = (0, 3, 6, 8, 10)  # Of convolutions among AlexNet's layers.
  network = {}
  for place, layer in zip(places, params['convolutions'], strict=True):
    network[f'features.{place}.weight'] = layer['kernel'].transpose(3, 2, 0, 1)
    network[f'features.{place}.bias'] = layer['bias']
  heads = {
    f'lin{i}.model.1.weight': head.reshape(1, -1, 1, 1)
    for i, head in enumerate(params['heads'])
  }
  files = {
    'alexnet.pth': network,
    'lpips_heads/alex.pth': heads,
    'inception.pth': metric_goldens.inception_tensors(1008),
  }
  (folder / 'lpips_heads').mkdir(parents=True)
  for name, tensors in files.items():
    content = torch_writer.ordered(tensors)
    (folder / name).write_bytes(torch_writer.archive(content))
  return folder
