"""How well people and garments are parsed without a parser model.

  python -m benchmarks.parsing [--people 100] [--seed 7000]

Draws people whose true labels are known, parses them with their true joints,
and prints the intersection over union of each label, all pixels of all people
together. Then the same for flat garments. 'uneven' adds camera noise and light
that falls off towards the corners; 'shadow' a soft shadow on the paper.

The constants of the parser were tuned by looking at seed 100; report another.
`--photos FOLDER` writes a sheet of photos instead, each NAME.jpg with its
joints in NAME.json (OpenPose), to look at.
"""

import argparse
import json
import pathlib
import statistics
import time

import cv2
import numpy as np
from tqdm import tqdm

from input_pipeline.synthetic.pairs import render_pair
from viton_jax import errors, geometry, storage
from viton_jax.perception import flat_garment, grabcut

LABELS = {
    'background': [0],
    'hat, hair': [1, 2],
    'face, glasses, neck': [4, 13],
    'upper clothes': [5],
    'bare torso': [10],
    'left arm': [14],
    'right arm': [15],
    'trousers': [9],
    'skirt': [12],
    'trousers or skirt': [9, 12],
    'bare legs': [16, 17],
}
# What the mean is taken over: nothing twice.
MEAN_OF = [name for name in LABELS if name not in ('trousers', 'skirt')]
# Of the data set LIP, as they are usually drawn.
PALETTE = np.array([
    [0, 0, 0], [128, 0, 0], [254, 0, 0], [0, 85, 0], [169, 0, 51],
    [254, 85, 0], [0, 0, 85], [0, 119, 220], [85, 85, 0], [0, 85, 85],
    [200, 120, 200], [52, 86, 128], [0, 128, 0], [0, 0, 254], [51, 169, 220],
    [0, 254, 254], [85, 254, 169], [169, 254, 85], [254, 254, 0],
    [254, 169, 0],
], np.uint8)


class Overlap:
  """Sums of intersections and unions, by name."""

  def __init__(self):
    self.sums = {}

  def add(self, name: str, found: np.ndarray, true: np.ndarray) -> None:
    both, either = self.sums.get(name, (0, 0))
    self.sums[name] = (
        both + int((found & true).sum()), either + int((found | true).sum())
    )

  def __getitem__(self, name: str) -> float:
    both, either = self.sums[name]
    return both / either if either else float('nan')


def uneven(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Noise of 6 levels, light that falls off by a quarter, a warm tint."""
  h, w = picture.shape[:2]
  y, x = np.mgrid[:h, :w]
  light = 1 - 0.5 * ((x / w - 0.4) ** 2 + (y / h - 0.4) ** 2)
  tinted = picture * light[..., None] * (1.0, 0.98, 0.95)
  noisy = tinted + rng.normal(0, 6, picture.shape)
  return np.clip(noisy, 0, 255).astype(np.uint8)


def shadow(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """A soft shadow, a quarter of the light, below and beside a garment."""
  h, w = mask.shape
  shade = np.roll(mask.astype(np.float32), (h // 50, w // 80), axis=(0, 1))
  shade = 0.25 * cv2.GaussianBlur(shade, (0, 0), h / 50) * ~mask
  return np.clip(picture * (1 - shade[..., None]), 0, 255).astype(np.uint8)


def score(arguments) -> None:
  """Prints both tables."""
  rng = np.random.default_rng(0)
  people = {'as drawn': Overlap(), 'uneven': Overlap()}
  kinds = ('as drawn', 'uneven', 'shadow')
  garments = {kind: Overlap() for kind in kinds}
  plain = {kind: Overlap() for kind in kinds}
  spent = {'person': [], 'garment': []}
  for index in tqdm(range(1, arguments.people + 1), desc='people', leave=False):
    pair = render_pair(arguments.seed, index, arguments.height)
    for kind, overlap in people.items():
      photo = uneven(pair.person, rng) if kind == 'uneven' else pair.person
      begin = time.perf_counter()
      found = grabcut.parse_person_grabcut(photo, pair.keypoints)
      spent['person'].append(time.perf_counter() - begin)
      for name, labels in LABELS.items():
        overlap.add(name, np.isin(found, labels), np.isin(pair.parse, labels))
    for kind in kinds:
      photo = pair.garment
      if kind == 'uneven':
        photo = uneven(photo, rng)
      elif kind == 'shadow':
        photo = shadow(photo, pair.garment_mask)
      begin = time.perf_counter()
      mask = flat_garment.segment_garment(photo)
      spent['garment'].append(time.perf_counter() - begin)
      garments[kind].add('', mask, pair.garment_mask)
      plain[kind].add('', geometry.garment_mask(photo), pair.garment_mask)
  size = f'{pair.person.shape[1]} x {pair.person.shape[0]}'
  print(f'{arguments.people} people of {size}, seed {arguments.seed}')
  print(f'{"IoU":22s}' + ''.join(f'{kind:>10s}' for kind in people))
  for name in LABELS:
    print(f'{name:22s}' + ''.join(f'{o[name]:10.3f}' for o in people.values()))
  means = [np.nanmean([o[name] for name in MEAN_OF]) for o in people.values()]
  print(f'{"mean":22s}' + ''.join(f'{mean:10.3f}' for mean in means)
        + '   (trousers and skirt as one)')
  print(f'{1e3 * statistics.median(spent["person"]):.0f} ms a person')
  print(f'\n{arguments.people} garments')
  print(f'{"IoU":22s}' + ''.join(f'{kind:>10s}' for kind in kinds))
  for name, row in (
      ('segment_garment', garments), ('geometry.garment_mask', plain)
  ):
    print(f'{name:22s}' + ''.join(f'{row[kind][""]:10.3f}' for kind in kinds))
  print(f'{1e3 * statistics.median(spent["garment"]):.0f} ms a garment')


def look(folder: pathlib.Path, out: pathlib.Path) -> None:
  """Writes a sheet: each photo and its labels, side by side."""
  tiles = []
  for path in sorted(folder.glob('*.jpg')):
    photo = cv2.imread(str(path))[..., ::-1]
    people = json.loads(path.with_suffix('.json').read_text())['people']
    joints = np.reshape(people[0]['pose_keypoints_2d'], (18, 3))
    labels = grabcut.parse_person_grabcut(np.ascontiguousarray(photo), joints)
    overlay = 0.4 * photo + 0.6 * PALETTE[labels]
    tile = np.hstack([photo, overlay.astype(np.uint8)])
    size = (round(360 * tile.shape[1] / tile.shape[0]), 360)
    tiles.append(cv2.resize(tile, size, interpolation=cv2.INTER_AREA))
  if not tiles:
    raise errors.InputError(
        f'{folder} has no *.jpg; put photos there, each with a .json of joints'
    )
  half = (len(tiles) + 1) // 2
  rows = [np.hstack(tiles[:half])]
  if tiles[half:]:
    rows.append(np.hstack(tiles[half:]))
  width = max(row.shape[1] for row in rows)
  rows = [
      np.pad(row, ((0, 8), (0, width - row.shape[1]), (0, 0)),
             constant_values=255)
      for row in rows
  ]
  flags = [cv2.IMWRITE_JPEG_QUALITY, 82]
  data = cv2.imencode('.jpg', np.vstack(rows)[..., ::-1], flags)[1].tobytes()
  storage.write_file(out, data)
  print(f'{len(tiles)} photos in {out}')


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add('--people', type=int, default=100, help='how many are drawn')
  add('--seed', type=int, default=7000, help='of the drawings')
  add('--height', type=int, default=512, help='of the pictures, in pixels')
  add('--photos', type=pathlib.Path, help='look at the photos of this folder')
  add('--out', type=pathlib.Path, default=pathlib.Path('parsing.jpg'),
      help='the sheet that --photos writes')
  arguments = parser.parse_args()
  if arguments.photos:
    look(arguments.photos, arguments.out)
  else:
    score(arguments)


if __name__ == '__main__':
  errors.run(main)
