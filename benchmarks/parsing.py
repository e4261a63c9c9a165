"""How well people and garments are parsed without a parser model.

  python -m benchmarks.parsing [--count 100] [--seed 7000]

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

from input_pipeline import garment_masks
from input_pipeline.synthetic.pairs import render_pair
from viton_jax import errors
from viton_jax.io import storage
from viton_jax.perception import flat_garment
from viton_jax.perception.parsing import grabcut

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
PALETTE = np.array(
  [
    [0, 0, 0],
    [128, 0, 0],
    [254, 0, 0],
    [0, 85, 0],
    [169, 0, 51],
    [254, 85, 0],
    [0, 0, 85],
    [0, 119, 220],
    [85, 85, 0],
    [0, 85, 85],
    [200, 120, 200],
    [52, 86, 128],
    [0, 128, 0],
    [0, 0, 254],
    [51, 169, 220],
    [0, 254, 254],
    [85, 254, 169],
    [169, 254, 85],
    [254, 254, 0],
    [254, 169, 0],
  ],
  np.uint8,
)


class Overlap:
  """Sums of intersections and unions, by name."""

  def __init__(self):
    self.sums = {}

  def add(self, name: str, found: np.ndarray, true: np.ndarray) -> None:
    both, either = self.sums.get(name, (0, 0))
    self.sums[name] = (
      both + int((found & true).sum()),
      either + int((found | true).sum()),
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


def score_people(arguments) -> None:
  """Prints the table of labels."""
  rng = np.random.default_rng(0)
  people = {'as drawn': Overlap(), 'uneven': Overlap()}
  spent = []
  for index in tqdm(range(1, arguments.count + 1), desc='people', leave=False):
    pair = render_pair(arguments.seed, index, arguments.height)
    for kind, overlap in people.items():
      photo = uneven(pair.person, rng) if kind == 'uneven' else pair.person
      begin = time.perf_counter()
      found = grabcut.parse_person_grabcut(photo, pair.keypoints)
      spent.append(time.perf_counter() - begin)
      for name, labels in LABELS.items():
        overlap.add(name, np.isin(found, labels), np.isin(pair.parse, labels))
  print_table(arguments, 'people', people, LABELS)
  means = [np.nanmean([o[name] for name in MEAN_OF]) for o in people.values()]
  print(
    f'{"mean":24s}'
    + ''.join(f'{mean:10.3f}' for mean in means)
    + '   (trousers and skirt as one)'
  )
  print(f'{1e3 * statistics.median(spent):.0f} ms a person')


def score_garments(arguments) -> None:
  """Prints the table of garments."""
  rng = np.random.default_rng(0)
  garments = {kind: Overlap() for kind in ('as drawn', 'uneven', 'shadow')}
  ways = {
    'segment_garment': flat_garment.segment_garment,
    'garment_mask': garment_masks.garment_mask,
  }
  spent = []
  for index in tqdm(
    range(1, arguments.count + 1), desc='garments', leave=False
  ):
    pair = render_pair(arguments.seed, index, arguments.height)
    photos = {
      'as drawn': pair.garment,
      'uneven': uneven(pair.garment, rng),
      'shadow': shadow(pair.garment, pair.garment_mask),
    }
    for kind, photo in photos.items():
      begin = time.perf_counter()
      masks = [ways['segment_garment'](photo)]
      spent.append(time.perf_counter() - begin)
      masks.append(ways['garment_mask'](photo))
      for name, mask in zip(ways, masks, strict=True):
        garments[kind].add(name, mask, pair.garment_mask)
  print_table(arguments, 'garments', garments, ways)
  print(f'{1e3 * statistics.median(spent):.0f} ms a garment')


def print_table(arguments, what: str, columns, names) -> None:
  """Prints a row for each name, a column for each kind of picture."""
  size = f'{round(0.75 * arguments.height)} x {arguments.height}'
  print(f'{arguments.count} {what} of {size}, seed {arguments.seed}')
  print(f'{"IoU":24s}' + ''.join(f'{kind:>10s}' for kind in columns))
  for name in names:
    row = ''.join(f'{overlap[name]:10.3f}' for overlap in columns.values())
    print(f'{name:24s}{row}')


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
    np.pad(
      row, ((0, 8), (0, width - row.shape[1]), (0, 0)), constant_values=255
    )
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
  add('--count', type=int, default=100, help='how many are drawn')
  add('--only', choices=('people', 'garments'), help='leave the other out')
  add('--seed', type=int, default=7000, help='of the drawings')
  add('--height', type=int, default=512, help='of the pictures, in pixels')
  add('--photos', type=pathlib.Path, help='look at the photos of this folder')
  add(
    '--out',
    type=pathlib.Path,
    default=pathlib.Path('parsing.jpg'),
    help='the sheet that --photos writes',
  )
  arguments = parser.parse_args()
  if arguments.photos:
    look(arguments.photos, arguments.out)
    return
  if arguments.only != 'garments':
    score_people(arguments)
  if arguments.only != 'people':
    score_garments(arguments)


if __name__ == '__main__':
  errors.run(main)
