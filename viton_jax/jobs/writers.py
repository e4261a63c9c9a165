"""Writing try-ons, each whole or not at all, and a manifest line for each.

    results/NAME.png                         images: png, jpg or webp
    steps/NAME_coarse.jpg ...                the steps to them, if wanted
    results/try_on-SHARD-00000.tfrecord      or records, see `RecordWriter`

Jobs of many pairs have their images in 256 folders, results/7f/NAME.png, by
a checksum of the name. A manifest line says where: `file`.
"""

from collections.abc import Callable, Iterator
from concurrent import futures
import contextlib
import os
import pathlib
import re
from typing import Any, Protocol

import numpy as np

from viton_jax import choices
from viton_jax.io import images, storage, tfrecords
from viton_jax.job_folders import corrections, places
from viton_jax.job_folders.folder import (
  MANIFEST,
  Claim,
  sentence_if_unwritable,
)
from viton_jax.jobs.pipeline import PairResult

FORMATS = choices.values_of(choices.ImageFormat)
TFRECORD = 'tfrecord'
QUALITY = {'png': None, 'jpeg': 95, 'webp': 90}
STEP_COLUMNS = (
  'person',
  'garment',
  'coarse',
  'mask',
  'warped',
  'alpha',
  'whole',
  'changed',
  'truth',
)
_RECORD_STEPS = ('coarse', 'mask', 'warped', 'alpha')


def encode(image: np.ndarray, kind: str, quality: int | None) -> bytes:
  """An image as a file.

  Args:
    image: (h, w, 3) or (h, w, 1) uint8 RGB or grey.
    kind: one of FORMATS.
    quality: 1..100 of 'jpeg' and 'webp', None: the default; 'png' has none.
  """
  image = np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))
  if kind == 'png':
    return images.encode_png(image)
  quality = quality or QUALITY[kind]
  if kind == 'jpeg':
    return images.encode_jpeg(image, quality=quality)
  return images.encode_webp(image, quality=quality)


class Writer(Protocol):
  """What `writing` calls; `commit` takes a list of what `encode` returns."""

  def encode(self, one: PairResult, /) -> Any: ...

  def commit(self, encoded: list, /) -> None: ...

  def close(self) -> None: ...

  def abandon(self) -> None: ...


class ImageWriter:
  """A file for each try-on, and for the steps to it if they come along."""

  def __init__(
    self,
    claim: Claim,
    kind: str,
    *,
    quality: int | None,
    step_kind: str = 'jpeg',
  ):
    """Writes for `claim`; kinds and quality: see `encode`."""
    self._claim, self._kind, self._quality = claim, kind, quality
    self._step_kind = step_kind

  def encode(self, one: PairResult) -> dict:
    """Writes a pair's images, the try-on last; returns the manifest line.

    May be called in many threads.
    """
    if one.reason:
      return failed_line(one)
    columns = [name for name in STEP_COLUMNS if name in one.images]
    if columns and one.correction is not None and one.correction.any():
      data = corrections.encode(one.correction)
      self._write(self._place(one.name, places.CORRECTION), data)
    place = ''
    for column in (*columns, 'result'):
      place = self._place(one.name, column)
      data = encode(
        one.images[column],
        self._kind if column == 'result' else self._step_kind,
        quality=self._quality if column == 'result' else None,
      )
      self._write(place, data)
    line = ok_line(one, place)
    if columns and one.control_points is not None:
      # A step like the others, to be evaluated.
      points = one.control_points.ravel().tolist()
      line['control_points'] = [round(x, 6) for x in points]
    return line

  def _place(self, name: str, column: str) -> str:
    return places.place_of(
      name,
      column,
      kind=self._kind,
      folders=self._claim.settings['folders'],
      step_kind=self._step_kind,
    )

  def _write(self, place: str, data: bytes) -> None:
    path = self._claim.out_dir / place
    try:
      storage.write_file(path, data, partial_dir=self._claim.partial_dir)
    except FileNotFoundError:  # The first file of its folder.
      path.parent.mkdir(parents=True, exist_ok=True)
      storage.write_file(path, data, partial_dir=self._claim.partial_dir)

  def commit(self, lines: list[dict]) -> None:
    """Notes that pairs are done; in one thread."""
    self._claim.manifest.add(*lines)

  def close(self) -> None:
    """Does nothing: every file is written at once."""

  def abandon(self) -> None:
    """Does nothing: no file is open."""


class RecordWriter:
  """TFRecord files of try-ons, as tf.train.Example.

  Features: `name`, `person`, `garment` (file names), `format` ('png', ...),
  `result` (the encoded image), `height`, `width`, `control_points` (200
  floats: x, y of 100 points in [-1, 1]), and `coarse`, `mask`, `warped`,
  `alpha` (JPEG) if the steps come along.

  A file grows under a temporary name. When it is full it is made durable and
  renamed, and then its pairs get their manifest lines, so that a record is read
  by others exactly when it is noted. A killed job does the pairs of the file
  that it was at again.
  """

  def __init__(
    self,
    claim: Claim,
    kind: str,
    *,
    quality: int | None,
    records_per_file: int,
  ):
    """Writes for `claim`; kind and quality: see `encode`."""
    self._claim, self._kind, self._quality = claim, kind, quality
    self._per_file = records_per_file
    self._lines = []
    self._file = None
    folder = claim.out_dir / 'results'
    pattern = re.compile(rf'try_on-{claim.shard.tag}-(\d+)\.tfrecord')
    found = map(pattern.fullmatch, os.listdir(folder))
    # Lines of a deleted file must not be taken for those of another.
    listed = (
      pattern.search(line.get('file', ''))
      for path in (claim.manifest.path, claim.out_dir / MANIFEST)
      for _, line in storage.read_lines(path)
    )
    numbers = [int(match.group(1)) for match in (*found, *listed) if match]
    self._number = max(numbers, default=-1) + 1

  def encode(self, one: PairResult) -> tuple[dict, bytes | None]:
    """A pair's manifest line and framed record; thread-safe."""
    if one.reason:
      return failed_line(one), None
    assert one.control_points is not None  # Every try-on has them.
    result = one.images['result']
    height, width = result.shape[:2]
    features = {
      'name': one.name,
      'person': one.pair[0],
      'garment': one.pair[1],
      'format': self._kind,
      'result': encode(result, self._kind, quality=self._quality),
      'height': height,
      'width': width,
      'control_points': one.control_points.ravel(),
    }
    for column in _RECORD_STEPS:
      if column in one.images:
        features[column] = encode(one.images[column], 'jpeg', quality=None)
    return ok_line(one, ''), tfrecords.frame(tfrecords.encode_example(features))

  def commit(self, encoded: list[tuple[dict, bytes | None]]) -> None:
    """Appends records; in one thread."""
    for line, record in encoded:
      if record is None:
        self._claim.manifest.add(line)
        continue
      if self._file is None:
        self._file = (self._claim.partial_dir / self._name).open('wb')
      self._file.write(record)
      line |= {'file': f'results/{self._name}', 'record': len(self._lines)}
      self._lines.append(line)
      if len(self._lines) == self._per_file:
        self.close()

  @property
  def _name(self) -> str:
    return f'try_on-{self._claim.shard.tag}-{self._number:05d}.tfrecord'

  def close(self) -> None:
    """Finishes the file that is being written, if any."""
    if self._file is None:
      return
    with self._file as file:
      file.flush()
      os.fsync(file.fileno())
    os.replace(
      self._claim.partial_dir / self._name,
      self._claim.out_dir / 'results' / self._name,
    )
    self._claim.manifest.add(*self._lines)
    self._file, self._lines = None, []
    self._number += 1

  def abandon(self) -> None:
    """Closes a file that is not whole; the next job does its pairs again."""
    if self._file is not None:
      self._file.close()
      self._file, self._lines = None, []


def failed_line(one: PairResult) -> dict:
  """The manifest line of a pair without a try-on."""
  return {'name': one.name, 'status': 'failed', 'reason': one.reason}


def ok_line(one: PairResult, place: str) -> dict:
  """The manifest line of a pair whose try-on lies at `place`."""
  line: dict[str, Any] = {'name': one.name, 'status': 'ok', 'file': place}
  if one.metrics:
    line['metrics'] = one.metrics
  return line


@contextlib.contextmanager
def writing(
  writer: Writer,
  out_dir: pathlib.Path,
  *,
  threads: int,
) -> Iterator[Callable[[list[PairResult]], int]]:
  """Gives a function that writes try-ons and returns how many.

  It is to be called in one thread; it encodes in several. What is held back is
  written at the end, unless the job broke off.

  Raises:
    InputError: the disk is full, or the like.
  """
  with futures.ThreadPoolExecutor(threads, 'encode') as pool:

    def write(group):
      with sentence_if_unwritable(out_dir):
        writer.commit(list(pool.map(writer.encode, group)))
      return len(group)

    try:
      yield write
      with sentence_if_unwritable(out_dir):
        writer.close()
    finally:
      writer.abandon()
