"""The original's TFRecords as a data layout, to make records of ours from."""

from collections.abc import Iterator

import numpy as np

from input_pipeline import sample
from input_pipeline.formats import original_records
from viton_jax.choices import Fidelity
from viton_jax.errors import InputError

NAME = 'original_records'


class OriginalRecords:
  """See `layouts.Layout`."""

  name = NAME

  def __init__(self, data_dir, *, fidelity: Fidelity):
    """Opens the records and reads the names of their pairs.

    Args:
      data_dir: the folder with '*-train-?????-of-?????' files.
      fidelity: 'original' keeps the control points that are in the records
        and decodes as TensorFlow does; 'fixed' leaves them to be fitted.

    Raises:
      InputError: no such files, a damaged one, or a record without names.
    """
    self._fidelity: Fidelity = fidelity
    self._index = index = original_records.index_original_records(data_dir)
    with index.open() as files:
      self.pairs = tuple(
        original_records.read_names(files.read(i), index.name(i))
        for i in range(len(index))
      )
    self.found = (
      f'{NAME}: {len(index)} records in {len(index.paths)} files in {data_dir}'
    )

  def __len__(self) -> int:
    return len(self.pairs)

  def __iter__(self) -> Iterator[sample.Sample]:
    return map(self.load, range(len(self)))

  def true_flow(self, index: int) -> None:
    """No record knows it."""
    del index

  def load(self, index: int) -> sample.Sample:
    """One record as a sample.

    Key points are known as boxes of whole pixels at 256 x 192, and the
    original truncates, so a joint is taken to be in the middle of its pixel:
    scaling and truncating it again gives the same box.

    Raises:
      InputError: a feature is missing or has another size or content.
    """
    name = self._index.name(index)
    content = original_records.read_content(
      self._index.read(index), name, fidelity=self._fidelity
    )
    original = self._fidelity == 'original'
    keypoints = content.keypoints
    outside = keypoints[:, 0] == sample.OUTSIDE
    missing = original_records.drawn_missing(keypoints)
    height, width = content.person.shape[:2]
    scale = (width / original_records.WIDTH, height / original_records.HEIGHT)
    keypoints[:, :2] = (keypoints[:, :2] + 0.5) * scale
    # Drawn nowhere: stays so in 'original', which draws missing joints.
    keypoints[missing & ~(outside & original)] = 0
    try:
      return sample.Sample(
        person_id=self.pairs[index][0],
        garment_id=self.pairs[index][1],
        person=content.person,
        garment=content.garment,
        keypoints=keypoints.astype(np.float32),
        parse=content.parse,
        control_points=content.control_points if original else None,
      )
    except InputError as error:
      raise InputError(f'{name}: {error}') from error
