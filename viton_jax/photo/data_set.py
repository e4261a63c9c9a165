"""Photos of people and garments -> files of the VITON layout.

People are framed as VITON has them, upper body in 3 : 4; garments are laid on
white. What cannot be used is refused with a reason.
"""

from collections.abc import Sequence
import contextlib
import dataclasses
import os
import pathlib
from typing import Protocol

import cv2
import numpy as np

from input_pipeline.layouts import viton_files
from input_pipeline.layouts.label_maps import settle_garment
from viton_jax.errors import InputError
from viton_jax.io import images, storage
from viton_jax.io.photos import read_photo
from viton_jax.labels import GARMENT_LABEL
from viton_jax.perception.parsing import parsers
from viton_jax.perception.pose import estimation
from viton_jax.perception.pose.estimator import Person
from viton_jax.perception.pose.keypoints import draw_people
from viton_jax.photo import framing, inputs

_ASPECT = 3 / 4
_WHITE = 255
# Of the garment's longer side, all around.
_MARGIN = 0.05
_OVERLAY_PX = 512
# Below it nothing of a person or garment is left at the working size.
_LEAST_PX = 64
# Of the frame around a person; the rest repeats the photo's border.
_LEAST_INSIDE = 0.5


class Item(Protocol):
  """One photo; see `jobs.photo_list`."""

  @property
  def name(self) -> str: ...

  @property
  def path(self) -> pathlib.Path: ...

  @property
  def is_garment(self) -> bool: ...

  @property
  def number(self) -> int: ...


@dataclasses.dataclass(frozen=True)
class Settings:
  """How photos are perceived; picklable.

  Attributes:
    out_dir: the data set's folder.
    height: of the files, in pixels, at most.
    overlays: up to this number, pictures to look at are written.
    pose: see `perception.choose_pose`.
    parse: see `perception.choose_parser`.
    models_dir: where known models are.
  """

  out_dir: pathlib.Path
  height: int = 1024
  overlays: int = 0
  pose: str | None = None
  parse: str | None = None
  models_dir: str | os.PathLike | None = None

  @property
  def of_job(self) -> dict:
    """What a data set's folder takes only one of."""
    return {
      'kind': 'perceive',
      'height': self.height,
      'pose': self.pose,
      'parse': self.parse,
    }


def describe_models(settings: Settings) -> str:
  """Says which models find joints and labels.

  Raises:
    InputError: one is missing or of another kind.
  """
  pose = estimation.choose_pose(settings.pose, settings.models_dir)
  parser = parsers.choose_parser(settings.parse, settings.models_dir)
  return f'joints: {pose.description}\nlabels: {parser.description}'


class Perceiver:
  """Opened models; call it with photos for a line of the manifest each."""

  def __init__(self, settings: Settings):
    self.settings = settings
    self.pose = estimation.choose_pose(settings.pose, settings.models_dir)
    self.parser = parsers.choose_parser(settings.parse, settings.models_dir)

  def __call__(self, items: Sequence[Item]) -> list[dict]:
    lines: dict[str, dict] = {}
    people: list[tuple[Item, np.ndarray]] = []
    for item in items:
      with _refusing(item, lines):
        photo, opacity = read_photo(item.path, 'photo')
        estimation.check_photo(photo)
        if item.is_garment:
          lines[item.name] = self._garment(item, photo, opacity)
        else:
          people.append((item, photo))
    found = self._find([photo for _, photo in people])
    for (item, photo), its in zip(people, found, strict=True):
      with _refusing(item, lines):
        if isinstance(its, Exception):
          raise its
        lines[item.name] = self._person(item, photo, its)
    return [lines[item.name] for item in items]

  def _find(
    self, photos: list[np.ndarray]
  ) -> list[list[Person]] | list[list[Person] | Exception]:
    """The people in each photo, or what went wrong with it alone."""
    if not photos:
      return []
    try:
      return self.pose.find_many(photos)
    except Exception as error:
      if len(photos) == 1:
        return [error]
      return [x for photo in photos for x in self._find([photo])]

  def _person(self, item: Item, photo: np.ndarray, people: list[Person]):
    name, shape = str(item.path), photo.shape[:2]
    person = framing.choose_person(people, 0, name)
    framing.check_view(person.keypoints, shape, name)
    box = framing.upper_body(person.keypoints, shape, _ASPECT)
    crop = framing.cut(photo, box, fill='edge')
    if min(crop.shape[:2]) < _LEAST_PX:
      raise InputError(
        f'{name}: the upper body is {box.width} x {box.height} pixels; give a '
        'larger photo'
      )
    # What continues the photo beyond its border is no part of anybody.
    inside = framing.cut(np.ones(shape, np.uint8), box, fill='zero')
    if inside.mean() < _LEAST_INSIDE:
      raise InputError(
        f'{name}: {1 - inside.mean():.0%} of the frame around the upper body '
        'lies outside of the photo; give a photo that shows more of the person'
      )
    keypoints = person.keypoints.copy()
    keypoints[:, :2] -= (box.left, box.top)
    keypoints[keypoints[:, 2] <= 0] = 0
    mask = person.mask
    if mask is not None:
      mask = framing.cut(mask, box, fill='zero')
    parse = self.parser.parse(crop, keypoints, mask)
    parse = settle_garment(parse * inside)
    if not (parse == GARMENT_LABEL).any():
      raise InputError(f'{name}: no upper garment was found on the person')
    zoom = min(1.0, self.settings.height / crop.shape[0])
    if zoom < 1:
      height, width = (round(n * zoom) for n in crop.shape[:2])
      keypoints[:, :2] *= (width / crop.shape[1], height / crop.shape[0])
      crop = images.resize_area(crop, height, width)
      parse = images.resize_labels(parse, height, width)
    self._write(item, 'pose', '.mat', viton_files.pose_file(keypoints))
    self._write(item, 'segment', '.mat', viton_files.segment_file(parse))
    if item.number <= self.settings.overlays:
      labels = parsers.colour_labels(crop, parse)
      self._overlay(item, crop, draw_people(crop, [keypoints]), labels)
    self._write(item, 'women_top', '.jpg', images.encode_jpeg(crop))
    return _ok(item) | {
      'people': len(people),
      'joints': int((keypoints[:, 2] > 0).sum()),
      'box': [box.left, box.top, box.width, box.height],
      'inside': round(float(inside.mean()), 3),
    }

  def _garment(self, item: Item, photo: np.ndarray, opacity):
    name = str(item.path)
    mask, how = inputs.garment_mask_of(None, photo, opacity, name)
    box = _garment_box(mask)
    if min(box.height, box.width) < _LEAST_PX:
      raise InputError(
        f'{name}: the garment is {box.width} x {box.height} pixels; give a '
        'larger photo'
      )
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.7)[..., None]
    white = (photo * soft + _WHITE * (1 - soft)).round().astype(np.uint8)
    mask = framing.cut(mask.astype(np.uint8) * 255, box, fill='zero')
    # Beyond the photo there is paper as well.
    paper = framing.cut(_WHITE - white, box, fill='zero')
    white = _WHITE - paper
    zoom = min(1.0, self.settings.height / white.shape[0])
    if zoom < 1:
      size = [round(n * zoom) for n in white.shape[:2]]
      white, mask = (images.resize_area(x, *size) for x in (white, mask))
    mask = np.where(mask > 127, 255, 0).astype(np.uint8)
    self._write(item, 'garment_mask', '.png', images.encode_png(mask))
    if item.number <= self.settings.overlays:
      tinted = white.copy()
      tinted[mask == 0] //= 3
      self._overlay(item, white, tinted)
    self._write(item, 'women_top', '.jpg', images.encode_jpeg(white))
    return _ok(item) | {'mask': how}

  def _overlay(self, item: Item, *pictures: np.ndarray) -> None:
    height, width = pictures[0].shape[:2]
    zoom = min(1.0, _OVERLAY_PX / height)
    row = [
      images.resize_area(x, round(height * zoom), round(width * zoom))
      for x in pictures
    ]
    self._write(
      item, 'overlays', '.jpg', images.encode_jpeg(np.concatenate(row, axis=1))
    )

  def _write(self, item: Item, folder: str, suffix: str, data: bytes) -> None:
    path = self.settings.out_dir / folder / f'{item.name}{suffix}'
    try:
      storage.write_file(path, data)
    except OSError as error:
      raise WriteError(
        f'{path}: cannot be written ({error.strerror}); free some space and '
        'give the same command to go on'
      ) from error


@contextlib.contextmanager
def _refusing(item: Item, lines: dict[str, dict]):
  """Notes why a photo cannot be used; others are fine."""
  try:
    yield
  except WriteError:
    raise
  except InputError as error:
    lines[item.name] = _refused(item, str(error))
  # A file that nobody foresaw.
  except Exception as error:
    reason = f'{item.path}: unexpected {type(error).__name__}: {error}'
    lines[item.name] = _refused(item, reason)


class WriteError(InputError):
  """The folder cannot be written: no photo's fault, so the job ends."""


def _garment_box(mask: np.ndarray) -> framing.Box:
  """The frame of 3 : 4 around a garment."""
  y, x = np.nonzero(mask)
  width, height = int(np.ptp(x)) + 1, int(np.ptp(y)) + 1
  margin = 2 * _MARGIN * max(width, height)
  wide = max(width + margin, (height + margin) * _ASPECT)
  centre_x, centre_y = x.min() + width / 2, y.min() + height / 2
  size = round(wide), round(wide / _ASPECT)
  return framing.Box(
    round(centre_x - size[0] / 2), round(centre_y - size[1] / 2), *size
  )


def _ok(item: Item) -> dict:
  return {
    'name': item.name,
    'photo': str(item.path),
    'status': 'ok',
    'file': f'women_top/{item.name}.jpg',
  }


def _refused(item: Item, reason: str) -> dict:
  return {
    'name': item.name,
    'photo': str(item.path),
    'status': 'failed',
    'reason': reason,
  }
