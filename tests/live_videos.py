"""Videos of drawn people who move, for tests of the live try-on."""

import pathlib

import cv2
import numpy as np

from input_pipeline.synthetic import render_pair
from input_pipeline.synthetic.motion import render_motion
from viton_jax.io import images

HEIGHT = 320


def frames(count: int = 12) -> list[np.ndarray]:
  return [x for x, _ in render_motion(5, 1, HEIGHT, frames=count)]


def empty_frame() -> np.ndarray:
  """The background of `frames`, without anybody."""
  first = frames(1)[0]
  return np.repeat(first[:, :1], first.shape[1], axis=1)


def garment(index: int) -> bytes:
  return images.encode_png(render_pair(5, index, HEIGHT).garment)


def write_video(path: pathlib.Path, *, periods: int, rate: int = 15) -> int:
  """Writes `frames` again and again; returns how many there are."""
  pictures = frames()
  height, width = pictures[0].shape[:2]
  codec = cv2.VideoWriter.fourcc(*'mp4v')
  writer = cv2.VideoWriter(str(path), codec, rate, (width, height))
  for picture in pictures * periods:
    writer.write(np.ascontiguousarray(picture[..., ::-1]))
  writer.release()
  return len(pictures) * periods
