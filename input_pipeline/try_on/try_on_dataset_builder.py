"""TFDS builder of prepared pairs.

The costly work on each pair is done before, in parallel and resumable, by
`input_pipeline.prepare`; the builder gathers its parts into sharded TFRecord
files with splits and metadata. Read them with `input_pipeline.batches`, or
with `tfds.builder_from_directory` where only TFDS is at hand.
"""

from collections.abc import Callable, Iterable
import dataclasses
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from input_pipeline.formats import records
from viton_jax.choices import Fidelity


@dataclasses.dataclass(kw_only=True)
class TryOnConfig(tfds.core.BuilderConfig):
  """Settings of a set of records.

  Attributes:
    height: working height in pixels.
    width: working width in pixels.
    fidelity: 'fixed' or 'original'.
    exchanged: whether records have `sample.EXCHANGE_FIELDS`.
  """

  height: int = 256
  width: int = 192
  fidelity: Fidelity = 'fixed'
  exchanged: bool = False


class TryOn(tfds.core.GeneratorBasedBuilder):
  """Persons and garments at working size, with control points."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First version.'}

  def __init__(
    self,
    *,
    splits: dict[str, Callable[[], Iterable[dict]] | Any] | None = None,
    **kwargs,
  ):
    """Makes the builder.

    Args:
      splits: split -> function that yields packed examples in order, or an
        Apache Beam transform to (place in the split, packed example); needed
        to write records, not to read them.
      **kwargs: of TFDS; `config` is a `TryOnConfig`, `data_dir` the folder.
    """
    self._splits = splits or {}
    super().__init__(**kwargs)

  def _info(self):
    config = self.builder_config
    assert isinstance(config, TryOnConfig)  # See `__init__`.
    height, width = config.height, config.width
    shapes = records.array_shapes(height, width, fidelity=config.fidelity)
    image = tfds.features.Image
    exchanged = {}
    if config.exchanged:
      exchanged = {
        'flow': image(
          shape=records.flow_shape(height, width),
          dtype=np.uint16,
          encoding_format='png',
        ),
        'photo': image(shape=(height, width, 3), encoding_format='jpeg'),
        'photo_parse': image(shape=(height, width, 1), encoding_format='png'),
      }
    return self.dataset_info_from_configs(
      description='Persons and garments for virtual try-on.',
      features=tfds.features.FeaturesDict(
        {
          'person': image(shape=(height, width, 3), encoding_format='jpeg'),
          'garment': image(shape=(height, width, 3), encoding_format='jpeg'),
          'head': image(shape=(height, width, 4), encoding_format='png'),
          'parse': image(shape=(height, width, 1), encoding_format='png'),
          'garment_mask': image(
            shape=(height, width, 1), encoding_format='png'
          ),
          'person_id': tfds.features.Text(),
          'garment_id': tfds.features.Text(),
          **{
            name: tfds.features.Tensor(shape=shape, dtype=np.float32)
            for name, shape in shapes.items()
          },
          **exchanged,
        }
      ),
      metadata=tfds.core.MetadataDict(
        height=height,
        width=width,
        fidelity=config.fidelity,
        exchanged=config.exchanged,
      ),
      # Order is drawn when batches are read; in files it is that of the
      # pair list.
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    return {
      name: self._generate_examples(examples)
      if callable(examples)
      else examples
      for name, examples in self._splits.items()
    }

  def _generate_examples(self, examples):
    yield from enumerate(examples())
