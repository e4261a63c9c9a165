"""Small sets of prepared examples, in each format."""

import numpy as np
import tensorflow_datasets as tfds

from input_pipeline.formats import packed, records
from input_pipeline.try_on.try_on_dataset_builder import TryOn, TryOnConfig

NUM_EXAMPLES = {'train': 23, 'validation': 7}


def make_example(index):
  """A 64 x 64 example of noise; smooth where a JPEG should not hurt."""
  rng = np.random.default_rng(index)

  def smooth(*shape):
    image = rng.integers(0, 256, (4, 4, *shape), np.uint8)
    return image.repeat(16, 0).repeat(16, 1)

  return {
    'person': rng.integers(0, 256, (64, 64, 3), np.uint8),
    'garment': smooth(3),
    'head_mask': smooth() * (smooth() > 128),
    'parse': smooth() % 20,
    'body': rng.random((4, 4), np.float32),
    'keypoints': rng.random((18, 3), np.float32),
    'garment_mask': smooth() % 2,
    'control_points': rng.random((100, 2), np.float32),
    'person_id': f'{index:06d}_0.jpg',
    'garment_id': f'{index:06d}_1.jpg',
  }


def indices_of(split):
  """Numbers of a split's examples."""
  first = 0 if split == 'train' else NUM_EXAMPLES['train']
  return range(first, first + NUM_EXAMPLES[split])


def write_records(folder):
  def packing(split):
    return lambda: (records.pack(make_example(i)) for i in indices_of(split))

  tfds.disable_progress_bar()
  TryOn(
    data_dir=str(folder),
    config=TryOnConfig(name='64x64_fixed', height=64, width=64),
    splits={split: packing(split) for split in NUM_EXAMPLES},
  ).download_and_prepare()


def packed_header(split):
  return packed.plan(
    split,
    NUM_EXAMPLES,
    height=64,
    width=64,
    fidelity='fixed',
    id_bytes=(12, 12),
  )


def write_packed(folder):
  for split in NUM_EXAMPLES:
    packed.write(
      packed.path_of(folder, split),
      packed_header(split),
      map(make_example, indices_of(split)),
    )
