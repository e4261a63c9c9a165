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
  (folder / 'lpips_heads').mkdir(parents=True)
  metric_goldens.write_torchvision(folder / 'alexnet.pth', 'alex')
  metric_goldens.write_heads(folder / 'lpips_heads/alex.pth', 'alex')
  tensors = torch_writer.ordered(metric_goldens.inception_tensors(1008))
  (folder / 'inception.pth').write_bytes(torch_writer.archive(tensors))
  return folder
