"""Draws how a garment was matched to a person, or why it could not be.

  python -m viton_jax.show_match --garment_mask garment.png \\
      --person_mask region.png --out match.png

Four panels: matches between the outlines (white dots: person's points without
a match), the control grid on the garment, the warped garment over the person's
region (grey: both; red: person alone, uncovered; blue: garment alone), and the
warp as a checkerboard of garment coordinates.
"""

import argparse
import pathlib

import cv2
import numpy as np

from input_pipeline.garment_masks import garment_mask
from viton_jax import choices
from viton_jax.errors import InputError, run
from viton_jax.geometry import contour, matching, tps
from viton_jax.io import photos
from viton_jax.photo import output

_SCALE = 5
_HEIGHT, _WIDTH = matching.MATCHING_SIZE


def draw(
  garment_mask: np.ndarray,
  person_mask: np.ndarray,
  result: matching.ControlPoints | matching.MatchingError,
) -> np.ndarray:
  """Draws a match.

  Args:
    garment_mask, person_mask: (h, w) as given to `fit_control_points`.
    result: what came of it.

  Returns:
    (H, W, 3) uint8 RGB.
  """
  garment, person = (
    contour.resize_area(np.asarray(mask, np.float32), matching.MATCHING_SIZE)
    for mask in (garment_mask, person_mask)
  )
  if isinstance(result, matching.MatchingError):
    picture = np.hstack([_shade(garment), _shade(person)])
    return _caption(picture, str(result))
  panels = [
    _draw_matches(garment, person, result),
    _draw_grid(garment, result),
    _draw_overlay(garment, person, result),
    _draw_checks(person, result),
  ]
  return _caption(
    np.hstack(panels),
    f'{len(result.matches)} of {len(result.person_px)} points matched, cost '
    f'{result.cost:.3f}, residual {result.residual_px:.2f} px at '
    f'{result.size[0]} x {result.size[1]}, IoU '
    f'{_iou(garment, person, result):.4f}',
  )


def _shade(mask: np.ndarray) -> np.ndarray:
  grey = (np.clip(mask, 0, 1) * 90).astype(np.uint8)
  big = cv2.resize(grey, None, fx=_SCALE, fy=_SCALE, interpolation=0)
  return np.repeat(big[..., None], 3, axis=2)


def _at(points_px: np.ndarray, result: matching.ControlPoints) -> np.ndarray:
  """Pixels of the result's matching size to those of a panel."""
  factor = _SCALE * _HEIGHT / result.size[0]
  return np.round((points_px + 0.5) * factor).astype(int)


def _caption(picture: np.ndarray, text: str) -> np.ndarray:
  strip = np.zeros((40, picture.shape[1], 3), np.uint8)
  room = (picture.shape[1] - 20) / max(len(text), 1)
  cv2.putText(
    strip,
    text,
    (10, 27),
    cv2.FONT_HERSHEY_SIMPLEX,
    min(0.7, room / 18),
    (255, 255, 255),
    1,
    cv2.LINE_AA,
  )
  return np.vstack([picture, strip])


def _draw_matches(
  garment: np.ndarray, person: np.ndarray, result: matching.ControlPoints
) -> np.ndarray:
  picture = np.hstack([_shade(garment), _shade(person)])
  left = _at(result.garment_px, result)
  right = _at(result.person_px, result) + (_WIDTH * _SCALE, 0)
  middle = left.mean(axis=0)
  for i, j in result.matches:
    turn = np.arctan2(*(left[i] - middle)) / (2 * np.pi) % 1
    hue = np.array([[[turn * 179, 200, 255]]]).astype(np.uint8)
    colour = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    cv2.line(
      picture, left[i].tolist(), right[j].tolist(), colour, 1, cv2.LINE_AA
    )
  for j in np.setdiff1d(np.arange(len(right)), result.matches[:, 1]):
    cv2.circle(picture, right[j].tolist(), 4, (255, 255, 255), -1)
  return picture


def _draw_grid(
  garment: np.ndarray, result: matching.ControlPoints
) -> np.ndarray:
  picture = _shade(garment)
  points = (result.points_norm + 1) / 2 * (_WIDTH - 1, _HEIGHT - 1)
  grid = np.round((points + 0.5) * _SCALE).astype(np.int32)
  grid = grid.reshape(_side(points), -1, 2)
  for line in (*grid, *grid.transpose(1, 0, 2)):
    line = np.ascontiguousarray(line)
    cv2.polylines(picture, [line], False, (90, 200, 120), 1, cv2.LINE_AA)
  return picture


def _side(points: np.ndarray) -> int:
  """Points a side of a square control grid."""
  return round(len(points) ** 0.5)


def _positions_px(result: matching.ControlPoints) -> np.ndarray:
  """(h, w, 2) float32 where each panel pixel looks, garment pixels."""
  matrix = tps.position_matrix(_side(result.points_norm), (_HEIGHT, _WIDTH))
  positions = (matrix @ result.points_norm + 1) / 2
  positions = positions * np.array([_WIDTH - 1, _HEIGHT - 1], np.float32)
  return positions.reshape(_HEIGHT, _WIDTH, 2)


def _warped(garment: np.ndarray, result: matching.ControlPoints) -> np.ndarray:
  positions = _positions_px(result)
  return (
    cv2.remap(
      garment,
      positions[..., 0],
      positions[..., 1],
      cv2.INTER_LINEAR,
      borderMode=cv2.BORDER_REPLICATE,
    )
    > 0.5
  )


def _iou(
  garment: np.ndarray, person: np.ndarray, result: matching.ControlPoints
) -> float:
  warped, region = _warped(garment, result), person > 0.5
  return (warped & region).sum() / max((warped | region).sum(), 1)


def _draw_overlay(
  garment: np.ndarray, person: np.ndarray, result: matching.ControlPoints
) -> np.ndarray:
  warped, region = _warped(garment, result), person > 0.5
  picture = np.zeros((_HEIGHT, _WIDTH, 3), np.uint8)
  picture[warped & region] = 130
  picture[region & ~warped] = (220, 60, 50)
  picture[warped & ~region] = (60, 110, 230)
  return cv2.resize(picture, None, fx=_SCALE, fy=_SCALE, interpolation=0)


def _draw_checks(
  person: np.ndarray, result: matching.ControlPoints
) -> np.ndarray:
  positions = cv2.resize(_positions_px(result), None, fx=_SCALE, fy=_SCALE)
  dark = np.floor(positions / 6).sum(axis=2).astype(int) % 2
  inside = cv2.resize(person, None, fx=_SCALE, fy=_SCALE) > 0.5
  colour = (
    np.stack(
      [
        np.clip(positions[..., 0] / _WIDTH, 0, 1) * 200,
        np.clip(positions[..., 1] / _HEIGHT, 0, 1) * 200,
        np.full(dark.shape, 90.0),
      ],
      axis=2,
    )
    + 55 * dark[..., None]
  )
  return (colour * inside[..., None]).astype(np.uint8)


def _read_mask(path: pathlib.Path) -> np.ndarray:
  image = cv2.cvtColor(photos.read_photo(path, 'mask')[0], cv2.COLOR_RGB2GRAY)
  # 0/1 and 0/255 masks alike.
  return image > 0.5 * max(int(image.max()), 1)


def main(argv: list[str] | None = None) -> None:
  """Command line; see the module's docstring."""
  parser = argparse.ArgumentParser(
    prog='python -m viton_jax.show_match',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument(
    '--garment_mask',
    type=pathlib.Path,
    help='mask of the flat garment, white on black',
  )
  parser.add_argument(
    '--garment_photo',
    type=pathlib.Path,
    help='instead of the mask: a photo of the garment on a light background',
  )
  parser.add_argument(
    '--person_mask',
    type=pathlib.Path,
    required=True,
    help="mask of the person's garment region",
  )
  parser.add_argument(
    '--out', type=pathlib.Path, required=True, help='PNG or JPEG to write'
  )
  parser.add_argument(
    '--fidelity',
    choices=choices.values_of(choices.Fidelity),
    default='fixed',
  )
  args = parser.parse_args(argv)
  if (args.garment_mask is None) == (args.garment_photo is None):
    raise InputError('give one of --garment_mask and --garment_photo')
  output.check_output(args.out)
  person = _read_mask(args.person_mask)
  if args.garment_mask is not None:
    garment = _read_mask(args.garment_mask)
  else:
    photo, _ = photos.read_photo(args.garment_photo, 'garment')
    garment = garment_mask(photo, fidelity=args.fidelity)
  try:
    result = matching.fit_control_points(
      garment, person, fidelity=args.fidelity
    )
  except matching.MatchingError as error:
    result = error
  picture = draw(garment, person, result)
  output.write_image(args.out, picture)
  print(f'wrote {args.out}')
  if isinstance(result, matching.MatchingError):
    raise result


if __name__ == '__main__':
  run(main)
