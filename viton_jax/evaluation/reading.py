"""Reads a pair for evaluation: result, truth, and what else is known of it."""

from collections.abc import Sequence
import dataclasses
import pathlib

import cv2
import numpy as np

from input_pipeline.sample import Sample, working_flow
from viton_jax.errors import InputError
from viton_jax.evaluation import groups
from viton_jax.evaluation.pairing import Item, Method, Pairing
from viton_jax.io import files, images, photos
from viton_jax.job_folders import corrections, places
from viton_jax.labels import ARM_LABELS, GARMENT_LABEL, HEAD_LABELS

# What changes with the garment: upper clothes, dress, coat, jumpsuit or bare
# skin of the chest, scarf, arms.
_CHANGING = (5, 6, 7, 10, 11, 14, 15)
_MARGIN_PX = 2  # Labels of two pictures differ by so much along edges.
_MASKED = 128


@dataclasses.dataclass(frozen=True)
class Loaded:
  """A pair as read, or why it could not be.

  Attributes:
    item: which.
    result: (h, w, 3) uint8 as stored, or None.
    truth: (H, W, 3) uint8 as stored, or None. Where nobody knows the truth, the
      person's own photo stands in for it, and `item.paired` is false.
    known: arrays at the result's size, of `KNOWN`.
    formats: of the files of result and truth: 'png', 'jpeg' or 'webp'.
    groups: see `groups.NAMES`.
    reason: why there is nothing.
  """

  item: Item
  result: np.ndarray | None = None
  truth: np.ndarray | None = None
  known: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
  formats: tuple[str | None, str | None] = (None, None)
  groups: dict[str, str] = dataclasses.field(default_factory=dict)
  reason: str | None = None


def known_of(pairing: Pairing) -> tuple[str, ...]:
  """What is known of the pairs beside result and truth.

  'regions': garment, head, kept pixels and the person's photo. 'mask': where
  the network put the garment. 'warped': the warped garment. 'flow': the true
  flow and the control points of the warp.
  """
  if pairing.layout is None or not pairing.items:
    return ()
  found = ['regions']
  first = pairing.items[0]
  results = pairing.results
  if results.step(first.name, 'mask') and results.step(first.name, 'warped'):
    found += ['mask', 'warped']
  assert first.index is not None  # Every item of a layout has one.
  if first.name in results.control_points and (
    pairing.layout.true_flow(first.index) is not None
  ):
    found.append('flow')
  return tuple(found)


def read(
  pairing: Pairing, item: Item, *, method: Method, known: Sequence[str]
) -> Loaded:
  """Reads one item; where that fails, the reason is in what comes back."""
  try:
    return _read(pairing, item, method=method, known=known)
  except InputError as error:
    return Loaded(item, reason=str(error))


def _correction(results, name: str, size) -> np.ndarray:
  """What an appearance flow network added to a warp; 0 where there was none."""
  path = results.step(name, places.CORRECTION)
  if path is None:
    return np.zeros((size[0] // 4, size[1] // 4, 2), np.float32)
  data = files.read(
    path, 'step', limit=files.MAX_IMAGE_BYTES, remedy='run infer again'
  )
  return corrections.decode(data, str(path))


def read_picture(path: pathlib.Path, what: str) -> tuple[np.ndarray, str]:
  """((h, w, 3) uint8 RGB as the pixels are stored, the file's format).

  Raises:
    InputError: no such file, or no whole JPEG, PNG or WebP.
  """
  data = files.read(
    path,
    what,
    limit=files.MAX_IMAGE_BYTES,
    remedy='write it again or take it off the list',
  )
  if data[:4] == b'RIFF':
    return photos.decode_photo(data, str(path))[0], 'webp'
  kind = 'jpeg' if data[:2] == b'\xff\xd8' else 'png'
  return images.decode_image(data, str(path)), kind


def _read(pairing, item, *, method, known) -> Loaded:
  result = truth = None
  formats: list[str | None] = [None, None]
  if item.result is not None:
    result, formats[0] = _result(pairing, item, method)
  if item.truth is not None:
    truth, formats[1] = read_picture(item.truth, 'true picture')
  if item.index is None:
    return Loaded(item, result, truth, formats=(formats[0], formats[1]))
  assert pairing.layout is not None and result is not None
  sample = pairing.layout.load(item.index)
  truth = sample.person if sample.truth is None else sample.truth
  if truth is sample.person:
    formats[1] = _suffix_format(sample.person_id)
  else:
    formats[1] = 'png'
  return Loaded(
    dataclasses.replace(
      item,
      paired=sample.truth is not None,
      # A true picture of its own, or the photo of a person who comes again.
      real=item.real or truth is not sample.person,
    ),
    result,
    truth,
    _known(pairing, item, sample, result.shape[:2], known),
    (formats[0], formats[1]),
    groups.of_pair(
      garment=sample.garment,
      garment_mask=sample.garment_mask,
      photo=truth,
      parse=sample.parse if sample.truth_parse is None else sample.truth_parse,
      keypoints=sample.keypoints,
      parse_before=None if sample.truth_parse is None else sample.parse,
    ),
  )


def _result(pairing: Pairing, item: Item, method: Method):
  assert item.result is not None
  if method == 'result':
    return read_picture(item.result, 'result')

  def step(column):
    path = pairing.results.step(item.name, column)
    if path is None:
      raise InputError(
        f'{pairing.results.folder}: the step {column!r} of {item.name} is not '
        'there; run infer again without --results_only'
      )
    return read_picture(path, 'step')

  if method != 'paste':
    return step(method)
  coarse, kind = step('coarse')
  inside = step('mask')[0] >= _MASKED
  return np.where(inside, step('warped')[0], coarse), kind


def _suffix_format(name: str) -> str:
  suffix = pathlib.PurePath(name).suffix.lower().removeprefix('.')
  return 'jpeg' if suffix == 'jpg' else suffix


def _known(pairing, item, sample: Sample, size, known) -> dict:
  found = {}
  parse = images.resize_labels(sample.parse, *size)
  worn, there = parse, False
  if sample.truth is not None and sample.truth_parse is not None:
    worn, there = images.resize_labels(sample.truth_parse, *size), True
  found['person'] = images.resize_area(sample.person, *size)
  found['garment'] = (worn == GARMENT_LABEL) & there
  found['arms'] = np.isin(worn, ARM_LABELS) & there
  found['head'] = np.isin(parse, HEAD_LABELS) & np.isin(worn, HEAD_LABELS)
  kept = (parse == worn) & ~np.isin(parse, _CHANGING)
  side = 2 * _MARGIN_PX + 1
  found['kept'] = cv2.erode(kept.astype(np.uint8), np.ones((side, side))) > 0
  if 'mask' in known:
    for column in ('mask', 'warped'):
      path = pairing.results.step(item.name, column)
      found[column] = (
        np.zeros((*size, 3), np.uint8)
        if path is None
        else read_picture(path, 'step')[0]
      )
      if found[column].shape[:2] != tuple(size):
        raise InputError(
          f'{path}: the step is of another size than the result; run infer '
          'again'
        )
    found['mask'] = found['mask'][..., 0] >= _MASKED
  if 'flow' in known:
    points = pairing.results.control_points.get(item.name)
    found['control_points'] = (
      np.full((100, 2), np.nan, np.float32) if points is None else points
    )
    found['correction'] = _correction(pairing.results, item.name, size)
    found['true_flow'] = working_flow(
      pairing.layout.true_flow(item.index), sample.garment.shape[:2], size=size
    )
  return found
