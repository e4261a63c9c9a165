"""How well garments are cut out of hard shop photos, by kind of photo.

  python -m benchmarks.garment_masks [--seed 9001] [--count 132]

Draws photos whose true masks are known (`input_pipeline.synthetic.shop_photos`)
and prints the mean and the smallest intersection over union of each kind, how
many were refused, and milliseconds of one core a photo. `--against FILE`
measures the `segment_garment` of another version of `flat_garment.py` beside
it. `--sheet FILE` writes the masks' outlines to look at.

Seeds below 100 were looked at while the constants were chosen; report another.
"""

import argparse
from collections.abc import Callable
import importlib.util
import pathlib
import statistics
import time

import cv2
import numpy as np
from tqdm import tqdm

from input_pipeline.synthetic import shop_photos
from viton_jax import errors
from viton_jax.io import storage
from viton_jax.perception import flat_garment

Segment = Callable[[np.ndarray], np.ndarray]
_TILE = 300


def segment_of(path: pathlib.Path) -> Segment:
  """The `segment_garment` of a Python file."""
  spec = importlib.util.spec_from_file_location('against', path)
  if spec is None or spec.loader is None or not path.is_file():
    raise errors.InputError(f'--against {path}: give an existing .py file')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.segment_garment


def measure(
  drawn: shop_photos.ShopPhoto, segment: Segment
) -> tuple[float | None, float, np.ndarray | None]:
  """IoU or None if refused; seconds of the processor; and the mask."""
  begin = time.process_time()
  try:
    mask = segment(drawn.photo)
  except errors.InputError:
    return None, time.process_time() - begin, None
  spent = time.process_time() - begin
  both, either = (mask & drawn.mask).sum(), (mask | drawn.mask).sum()
  return float(both / either), spent, mask


def outlined(drawn: shop_photos.ShopPhoto, mask, title: str) -> np.ndarray:
  """A tile of a sheet: the photo with the mask's outline, dimmed beside it."""
  picture = drawn.photo.copy()
  if mask is not None:
    picture[~mask] = 0.45 * picture[~mask] + (60, 0, 70)
  scale = (_TILE - 16) / max(picture.shape[:2])
  size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
  tile = np.full((_TILE, _TILE, 3), 255, np.uint8)
  small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
  tile[16 : 16 + size[1], : size[0]] = small
  font = cv2.FONT_HERSHEY_SIMPLEX
  cv2.putText(tile, title, (2, 12), font, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
  return tile


def line(name: str, columns: dict[str, list]) -> str:
  """A row: mean, smallest, refused of each way."""
  text = f'{name:32s}'
  for found in columns.values():
    taken = [iou for iou in found if iou is not None]
    refused = len(found) - len(taken)
    if taken:
      text += f'{np.mean(taken):8.3f}{min(taken):8.3f}{refused:5d}'
    else:
      text += f'{"-":>8s}{"-":>8s}{refused:5d}'
  return text


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add('--seed', type=int, default=9001, help='of the drawings')
  add('--count', type=int, default=4 * len(shop_photos.KINDS))
  add('--height', type=int, default=1024, help='of the photos, in pixels')
  add('--against', type=pathlib.Path, help='another flat_garment.py')
  add('--sheet', type=pathlib.Path, help='an image file to write')
  arguments = parser.parse_args()
  cv2.setNumThreads(1)
  ways = {'this': flat_garment.segment_garment}
  if arguments.against:
    ways = {'other': segment_of(arguments.against), **ways}
  rows = {kind: {way: [] for way in ways} for kind in shop_photos.KINDS}
  spent = {way: [] for way in ways}
  tiles = []
  for index in tqdm(range(arguments.count), leave=False):
    drawn = shop_photos.render_shop_photo(
      arguments.seed, index, arguments.height
    )
    for way, segment in ways.items():
      iou, seconds, mask = measure(drawn, segment)
      rows[drawn.kind][way].append(iou)
      spent[way].append(1000 * seconds)
      if way == 'this' and arguments.sheet:
        figure = 'refused' if iou is None else f'{iou:.3f}'
        tiles.append(outlined(drawn, mask, f'{figure} {index} {drawn.kind}'))
  size = f'{round(0.75 * arguments.height)} x {arguments.height}'
  print(f'{arguments.count} photos of {size}, seed {arguments.seed}')
  print(' ' * 32 + ''.join(f'{way:>21s}' for way in ways))
  print(f'{"":32s}' + '    mean   worst  ref' * len(ways))
  rows = {kind: columns for kind, columns in rows.items() if columns['this']}
  for kind, columns in rows.items():
    print(line(kind, columns))
  total = {way: sum((row[way] for row in rows.values()), []) for way in ways}
  print(line('all', total))
  for way in ways:
    print(
      f'{way}: median {statistics.median(spent[way]):.0f} ms, '
      f'at most {max(spent[way]):.0f} ms of one core a photo'
    )
  if tiles:
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % 6)
    rows_of = [np.hstack(tiles[k : k + 6]) for k in range(0, len(tiles), 6)]
    data = cv2.imencode(arguments.sheet.suffix, np.vstack(rows_of)[..., ::-1])
    storage.write_file(arguments.sheet, data[1].tobytes())


if __name__ == '__main__':
  errors.run(main)
