"""Draws people and garments for the page of `python -m viton_jax.serve`.

  python launch/web_samples.py demo_web

Writes demo_web/people (photos with joints and labels, for --samples) and
demo_web/garments (for --garments). What is there already is kept.
"""

import argparse
import json
import pathlib

from input_pipeline.synthetic import render_pair
from viton_jax import errors
from viton_jax.io import images, storage
from viton_jax.perception import openpose_json

_SEED = 3
_HEIGHT = 768


def draw_person(folder: pathlib.Path, number: int) -> None:
  name = f'person-{number:02}'
  last = folder / f'{name}.jpg'
  if last.exists():
    return
  pair = render_pair(_SEED, number, _HEIGHT, style='photo')
  joints = json.dumps(openpose_json([pair.keypoints]))
  storage.write_file(folder / f'{name}.json', joints.encode())
  storage.write_file(
    folder / f'{name}.labels.png', images.encode_png(pair.parse)
  )
  storage.write_file(last, images.encode_jpeg(pair.person))


def draw_garment(folder: pathlib.Path, number: int) -> None:
  path = folder / f'garment-{number:02}.jpg'
  if not path.exists():
    # Of people whom nobody sees: not what the samples wear already.
    garment = render_pair(_SEED, 100 + number, _HEIGHT, style='photo').garment
    storage.write_file(path, images.encode_jpeg(garment))


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('folder', type=pathlib.Path)
  parser.add_argument('--people', type=int, default=8)
  parser.add_argument('--garments', type=int, default=12)
  options = parser.parse_args()
  for kind, draw, count in (
    ('people', draw_person, options.people),
    ('garments', draw_garment, options.garments),
  ):
    folder = options.folder / kind
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
      draw(folder, number)
  print(
    f'{options.people} people and {options.garments} garments in '
    f'{options.folder}'
  )


if __name__ == '__main__':
  errors.run(main)
