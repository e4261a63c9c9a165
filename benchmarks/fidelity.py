"""What each part of fidelity 'original' does to the picture.

  python -m benchmarks.fidelity --data_dir data --checkpoint W1 \\
      --refine_checkpoint W2

Everybody tries on their own garment, so the truth is the photo. Starting from
'fixed', one part at a time is done as the original does it; the table tells by
how many grey levels (of 255) pictures then differ from those of 'fixed', and
how far they are from the truth. W1 and W2 are trained with 'fixed'.
"""

import argparse
from collections.abc import Callable

import numpy as np

from input_pipeline import garment_masks, layouts, sample
from input_pipeline.formats.original_records import decode_photo_tf
from viton_jax import checkpoints, engine, labels, predictions
from viton_jax.errors import run
from viton_jax.geometry.prediction import match
from viton_jax.models import EncoderDecoder, Refinement

SIZE = (256, 192)


def stack(pairs, fidelity: str) -> dict:
  examples = [
    sample.working_example(
      pair, height=SIZE[0], width=SIZE[1], fidelity=fidelity
    )
    for pair in pairs
  ]
  return {
    key: np.stack([example[key] for example in examples])
    for key, value in examples[0].items()
    if isinstance(value, np.ndarray) and key != 'control_points'
  }


def make_pictures(arguments) -> Callable:
  """(batch, parts done as the original does) -> coarse, warped, output."""
  first = checkpoints.read(arguments.checkpoint, 'encoder_decoder')
  second = checkpoints.read(arguments.refine_checkpoint, 'refinement')
  coarse_model = EncoderDecoder(
    features=first.features, num_downsamples=first.num_downsamples
  )
  model = Refinement(features=second.features)

  def pictures(batch, *, original=()):
    def fidelity(part):
      return 'original' if part in original else 'fixed'

    mask, coarse = map(
      np.asarray,
      predictions.predict_coarse(
        first.variables,
        batch,
        model=coarse_model,
        fidelity=fidelity('representation'),
      ),
    )
    points = np.stack(
      [
        match(*masks, fidelity=fidelity('matching'))[0]
        for masks in zip(batch['garment_mask'], mask[..., 0], strict=True)
      ]
    )
    if 'png' in original:
      coarse, mask = map(engine.through_png, (coarse, mask))
      coarse = coarse * 2 - 1
    refined = predictions.predict_refined(
      second.variables,
      batch,
      points,
      mask,
      coarse,
      model=model,
      fidelity=fidelity('composition'),
    )
    found = {
      'coarse': coarse,
      'warped': refined['warped'],
      'output': refined['output'],
    }
    return {k: np.asarray(v) * 127.5 for k, v in found.items()}

  return pictures


def measure(arguments) -> None:
  pairs = arguments.pairs
  layout = layouts.open_layout('viton', arguments.data_dir, pairs)
  fast = layouts.open_layout(
    'viton', arguments.data_dir, pairs, decode=decode_photo_tf
  )
  count = min(arguments.count, len(layout))
  raw = [layout.load(i) for i in range(count)]
  fixed, original = stack(raw, 'fixed'), stack(raw, 'original')
  decoded = stack([fast.load(i) for i in range(count)], 'fixed')
  region = (fixed['parse'] == labels.GARMENT_LABEL)[..., None]
  truth = fixed['person'] - 127.5
  pictures = make_pictures(arguments)

  missing = fixed['keypoints'][..., 2] == 0
  print(
    f'{count} pairs, {missing.sum()} missing joints in '
    f'{missing.any(axis=1).sum()} of them'
  )
  drawn = fixed['keypoints'].copy()
  drawn[missing] = 0, 0, 1
  truncated = fixed['keypoints'].copy()
  truncated[..., :2] = np.trunc(truncated[..., :2])
  photos = ('person', 'garment', 'head_mask', 'parse', 'body')
  cases = {
    'fixed': (fixed, ()),
    'missing joints in the corner': (fixed | {'keypoints': drawn}, ()),
    'joints truncated': (fixed | {'keypoints': truncated}, ()),
    "TensorFlow 1's resizing": (
      fixed | {name: original[name] for name in photos},
      (),
    ),
    'body enlarged as TensorFlow 1 does': (fixed, ('representation',)),
    "JPEG as TensorFlow's default": (decoded, ()),
    'garment mask': (fixed | {'garment_mask': original['garment_mask']}, ()),
    'matching 64 x 48': (
      fixed | {'garment_mask': original['garment_mask']},
      ('matching',),
    ),
    'raw mask in the composition': (fixed, ('composition',)),
    'PNG round trip': (fixed, ('png', 'composition')),
    'all but the PNGs': (
      original,
      ('representation', 'matching', 'composition'),
    ),
  }
  names = ('coarse', 'warped', 'output')
  print(f'{"":36}{"change of":>9} {"from the truth":>33}')
  print(
    f'{"":36}'
    + ''.join(f'{x:>8}' for x in names)
    + f'{"coarse":>12}{"warped, garment":>17}{"output":>8}'
  )
  base = None
  for title, (batch, parts) in cases.items():
    made = pictures(batch, original=parts)
    base = base or made
    change = [np.abs(made[x] - base[x]).mean() for x in names]
    error = {x: np.abs(made[x] - truth) for x in names}
    inside = (error['warped'] * region).sum() / (3 * region.sum())
    print(
      f'{title:36}'
      + ''.join(f'{x:8.2f}' for x in change)
      + f'{error["coarse"].mean():12.2f}{inside:17.2f}'
      f'{error["output"].mean():8.2f}'
    )

  flat = [
    np.mean(
      [
        np.sum(a & b) / np.sum(a | b)
        for a, b in zip(
          (garment_masks.garment_mask(x.garment) for x in raw),
          (
            garment_masks.garment_mask(x.garment, fidelity='original')
            for x in raw
          ),
          strict=True,
        )
      ]
    )
  ]
  print(f'garment masks of both, IoU: {flat[0]:.3f}')
  for name in ('person', 'garment'):
    change = np.abs(original[name].astype(float) - fixed[name])
    print(f'{name}, resized both ways: {change.mean():.2f} levels')
  change = np.abs(decoded['person'].astype(float) - fixed['person'])
  print(f'person, decoded both ways: {change.mean():.2f} levels')
  change = original['parse'] != fixed['parse']
  print(f'labels that differ: {100 * change.mean():.2f} %')


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--data_dir', required=True, help='VITON layout')
  parser.add_argument('--pairs', default='viton_train_pairs.txt')
  parser.add_argument('--checkpoint', required=True)
  parser.add_argument('--refine_checkpoint', required=True)
  parser.add_argument('--count', type=int, default=24)
  measure(parser.parse_args())


if __name__ == '__main__':
  run(main)
