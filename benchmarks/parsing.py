"""How well people are parsed, and garments found, without models of users.

  python -m benchmarks.parsing [--count 100] [--seed 7000]

Draws people whose true labels are known, parses them with their joints, and
prints the intersection over union of each label, all pixels of all people
together, for the body parser with and without a person mask and for GrabCut.
Three kinds of pictures: people as the demo draws them; the same 'uneven', with
camera noise and light that falls off towards the corners; and 'hard' ones, whom
`render_outfit` draws and `retexture` colours, cut by the photo's borders, with
joints that are 3 % of a head off. Then the same for flat garments; 'shadow' is
a soft shadow on the paper.

The body parser was trained on seed 0 and GrabCut tuned by looking at seed 100;
report another. `--photos FOLDER` writes a sheet of photos instead, each
NAME.jpg with its joints in NAME.json (OpenPose), to look at.
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
from input_pipeline.synthetic.outfits import render_outfit
from input_pipeline.synthetic.pairs import render_pair
from input_pipeline.synthetic.retexture import relight, retexture
from viton_jax import errors
from viton_jax.io import storage
from viton_jax.labels import (
  L_SHOULDER,
  LIP_COLOURS,
  NECK,
  R_ANKLE,
  R_HIP,
  R_KNEE,
  R_SHOULDER,
)
from viton_jax.perception import flat_garment
from viton_jax.perception.parsing import body_network, grabcut

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
  'shoes': [18, 19],
}
KINDS = ('as drawn', 'uneven', 'hard')
# What the mean is taken over: nothing twice.
MEAN_OF = [name for name in LABELS if name not in ('trousers', 'skirt')]
_STREAM = 11
PARSERS = {
  'body': lambda photo, joints, mask: body_network.label_body(photo, joints),
  'body, mask': body_network.label_body,
  'grabcut': lambda photo, joints, mask: grabcut.parse_person_grabcut(
    photo, joints
  ),
}


class Overlap:
  """Sums of intersections and unions, by name."""

  def __init__(self):
    self.sums = {}

  def add(self, name: str, found: np.ndarray, true: np.ndarray) -> None:
    both, either, due = self.sums.get(name, (0, 0, 0))
    self.sums[name] = (
      both + int((found & true).sum()),
      either + int((found | true).sum()),
      due + int(true.sum()),
    )

  def __getitem__(self, name: str) -> float:
    both, either, due = self.sums[name]
    return both / either if due else float('nan')


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


def soft_mask(labels: np.ndarray) -> np.ndarray:
  """The true mask as a network of 256 x 256 would give it, (h, w) float32."""
  h, w = labels.shape
  size = (round(256 * w / max(h, w)), round(256 * h / max(h, w)))
  small = cv2.resize(
    (labels > 0).astype(np.float32), size, interpolation=cv2.INTER_AREA
  )
  small = cv2.GaussianBlur(small, (0, 0), 1.5)
  return cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR)


def hard_photo(
  seed: int, index: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """A drawn person in any colours before any background.

  Returns:
    (h, w, 3) uint8 photo, (18, 3) joints, (h, w) uint8 labels.
  """
  rng = np.random.default_rng([seed, index, _STREAM])
  drawn = render_outfit(seed, index)
  photo = relight(retexture(drawn.rgb, drawn.pieces, rng), rng)
  h, w = drawn.labels.shape
  joints = drawn.keypoints.copy()
  x, y = joints[:, 0], joints[:, 1]
  head = (y[R_HIP] - y[NECK]) / 2.2
  end = y[rng.choice([R_ANKLE, R_KNEE, R_HIP], p=(0.3, 0.4, 0.3))]
  bottom = min(h, round(end + 0.5 * head))
  # One in seven photos ends at the forehead, three in ten at an arm.
  top = round(y[NECK] - rng.uniform(0.9, 1.3) * head)
  top = max(top, 0) if rng.random() < 0.15 else 0
  shoulders = x[[R_SHOULDER, L_SHOULDER]]
  left, right = shoulders.min() - 0.3 * head, shoulders.max() + 0.3 * head
  left = max(0, round(left)) if rng.random() < 0.3 else 0
  right = min(w, round(right)) if rng.random() < 0.3 else w
  joints[:, :2] += rng.normal(0, 0.03 * head, (18, 2)) - (left, top)
  x, y = joints[:, 0], joints[:, 1]
  inside = (x >= 0) & (x < right - left) & (y >= 0) & (y < bottom - top)
  joints *= (inside & (drawn.keypoints[:, 2] > 0))[:, None]
  part = np.s_[top:bottom, left:right]
  return np.ascontiguousarray(photo[part]), joints, drawn.labels[part]


def score_people(arguments) -> None:
  """Prints a table of labels for each kind of picture."""
  rng = np.random.default_rng(0)
  kinds = {kind: {name: Overlap() for name in PARSERS} for kind in KINDS}
  spent = {name: [] for name in PARSERS}
  refused = {(kind, name): 0 for kind in KINDS for name in PARSERS}
  for index in tqdm(range(1, arguments.count + 1), desc='people', leave=False):
    pair = render_pair(arguments.seed, index, arguments.height)
    cases = {  # Photo, joints, labels.
      'as drawn': (pair.person, pair.keypoints, pair.parse),
      'uneven': (uneven(pair.person, rng), pair.keypoints, pair.parse),
      'hard': hard_photo(arguments.seed, index),
    }
    for kind, (photo, joints, true) in cases.items():
      mask = soft_mask(true)
      for name, parse in PARSERS.items():
        begin = time.perf_counter()
        try:
          found = parse(photo, joints, mask)
        except errors.InputError:
          refused[kind, name] += 1
          found = np.zeros_like(true)
        spent[name].append(time.perf_counter() - begin)
        for part, labels in LABELS.items():
          kinds[kind][name].add(
            part, np.isin(found, labels), np.isin(true, labels)
          )
  for kind, columns in kinds.items():
    print_table(arguments, f'people, {kind},', columns, LABELS)
    means = [
      np.nanmean([overlap[name] for name in MEAN_OF])
      for overlap in columns.values()
    ]
    print(
      f'{"mean":24s}'
      + ''.join(f'{mean:12.3f}' for mean in means)
      + '   (trousers and skirt as one)'
    )
    for name in PARSERS:
      if refused[kind, name]:
        print(f'{name}: {refused[kind, name]} refused, counted as background')
  for name, seconds in spent.items():
    print(f'{name}: {1e3 * statistics.median(seconds):.0f} ms a person')


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
  print_table(arguments, 'garments,', garments, ways)
  print(f'{1e3 * statistics.median(spent):.0f} ms a garment')


def print_table(arguments, what: str, columns, names) -> None:
  """Prints a row for each name, a column for each kind of picture."""
  print(f'\n{arguments.count} {what} seed {arguments.seed}')
  print(f'{"IoU":24s}' + ''.join(f'{kind:>12s}' for kind in columns))
  for name in names:
    row = ''.join(f'{overlap[name]:12.3f}' for overlap in columns.values())
    print(f'{name:24s}{row}')


def look(folder: pathlib.Path, out: pathlib.Path) -> None:
  """Writes a sheet: each photo and its labels, side by side."""
  tiles = []
  for path in sorted(folder.glob('*.jpg')):
    photo = cv2.imread(str(path))[..., ::-1]
    people = json.loads(path.with_suffix('.json').read_text())['people']
    joints = np.reshape(people[0]['pose_keypoints_2d'], (18, 3))
    labels = body_network.label_body(np.ascontiguousarray(photo), joints)
    overlay = 0.4 * photo + 0.6 * np.array(LIP_COLOURS)[labels]
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
