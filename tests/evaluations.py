"""Small evaluations for tests: pictures, and networks of seeded numbers."""

import json
import pathlib

import cv2
import numpy as np

from viton_jax import errors
from viton_jax.evaluation import run
from viton_jax.io import images
from viton_jax.metrics import lpips

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


def lpips_tensors(net: str) -> tuple[dict, dict]:
  """torchvision's names of a network's tensors, and those of its heads."""
  rng = np.random.default_rng(0)
  # Where convolutions are among the layers of AlexNet.
  places = {'alex': (0, 3, 6, 8, 10)}[net]
  found = {}
  for place, (h, w, inputs, out) in zip(places, lpips.shapes(net), strict=True):
    scale = np.sqrt(2 / (inputs * h * w))
    found[f'features.{place}.weight'] = (
      rng.standard_normal((out, inputs, h, w)) * scale
    ).astype(np.float32)
    found[f'features.{place}.bias'] = np.zeros(out, np.float32)
  heads = {
    f'lin{i}.model.1.weight': rng.uniform(0, 1, (1, size, 1, 1)).astype(
      np.float32
    )
    for i, size in enumerate(lpips.head_sizes(net))
  }
  return found, heads
