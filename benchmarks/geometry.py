"""Matching and warp against SciPy, OpenCV and, where installed, PyTorch.

  python -m benchmarks.geometry                  # everything, some minutes
  python -m benchmarks.geometry --part warp
  python -m benchmarks.geometry --part quality --pairs 200

Every comparison is made in one run, so ratios hold on a busy machine too.
Parts: warp, matching, quality (known correspondences of drawn people).
"""

import argparse
import os

# One core a pair is what is promised; before NumPy starts its threads.
for _name in ('OPENBLAS_NUM_THREADS', 'OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
  os.environ.setdefault(_name, '1')

from collections.abc import Iterator  # noqa: E402
import functools  # noqa: E402
import pathlib  # noqa: E402
import time  # noqa: E402

import cv2  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from scipy import interpolate, ndimage  # noqa: E402

from benchmarks import timing  # noqa: E402
from viton_jax import choices  # noqa: E402
from viton_jax.geometry import (  # noqa: E402
  MatchingError,
  fit_control_points,
  match_batch,
  regular_grid,
  sampling,
  tps,
  warp_tps,
)

_GOLDENS = pathlib.Path(__file__).parent.parent / 'tests' / 'goldens'
# Bytes a second, for the share of the memory floor.
_BANDWIDTH = {'H100': 3.35e12, 'H200': 4.3e12, 'A100': 2.0e12, 'v5': 0.82e12}


def _problem(b: int, h: int, w: int, c: int, n: int) -> tuple:
  rng = np.random.default_rng(0)
  images = rng.uniform(-1, 1, (b, h, w, c)).astype(np.float32)
  points = regular_grid(n) + rng.uniform(-0.1, 0.1, (b, n * n, 2))
  return jnp.asarray(images), jnp.asarray(points, jnp.float32)


def _torch_warp(images: np.ndarray, positions: np.ndarray) -> float | None:
  """Milliseconds of grid_sample alone, None without PyTorch."""
  try:
    import torch
  except ImportError:
    return None
  place = 'cuda' if torch.cuda.is_available() else 'cpu'
  x = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).to(place)
  grid = torch.from_numpy(np.array(positions)).to(place)

  def run() -> None:
    torch.nn.functional.grid_sample(
      x, grid, padding_mode='border', align_corners=True
    )
    if place == 'cuda':
      torch.cuda.synchronize()

  return timing.milliseconds(run)


def _scipy_positions(points: np.ndarray, n: int, h: int, w: int) -> list:
  y, x = np.meshgrid(
    np.linspace(-1, 1, h), np.linspace(-1, 1, w), indexing='ij'
  )
  at = np.stack([x.ravel(), y.ravel()], 1)
  return [
    interpolate.RBFInterpolator(
      regular_grid(n), p, kernel='thin_plate_spline', degree=1
    )(at).reshape(h, w, 2)
    for p in points
  ]


def bench_warp() -> None:
  """The warp: against others, and how it grows."""
  b, h, w, c, n = 8, 256, 192, 4, 10
  images, points = _problem(b, h, w, c, n)
  warp = jax.jit(warp_tps, static_argnums=2)
  ours = timing.milliseconds(warp, images, points)
  grid = np.asarray(tps.sampling_grid(points, (h, w)))
  pixels = (np.clip(grid, -1, 1) + 1) / 2 * np.float32([w - 1, h - 1])
  host = np.asarray(images)

  def opencv() -> list:
    return [
      cv2.remap(
        image,
        p[..., 0],
        p[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
      )
      for image, p in zip(host, pixels, strict=True)
    ]

  def scipy_sampling() -> list:
    return [
      ndimage.map_coordinates(
        image[..., k], [p[..., 1], p[..., 0]], order=1, mode='nearest'
      )
      for image, p in zip(host, pixels, strict=True)
      for k in range(c)
    ]

  rows = [
    ('warp_tps, positions and sampling', ours),
    (
      'its positions alone',
      timing.milliseconds(
        jax.jit(tps.sampling_grid, static_argnums=1), points, (h, w)
      ),
    ),
    ('OpenCV remap alone, map given', timing.milliseconds(opencv)),
    (
      'SciPy map_coordinates alone',
      timing.milliseconds(scipy_sampling, repeats=3),
    ),
    (
      'SciPy RBFInterpolator, positions alone',
      timing.milliseconds(
        functools.partial(_scipy_positions, np.asarray(points), n, h, w),
        repeats=1,
      ),
    ),
  ]
  torch = _torch_warp(host, grid)
  if torch is not None:
    rows.append(('PyTorch grid_sample alone', torch))
  print(f'\nwarp of {(b, h, w, c)}, {n} x {n} control points')
  for name, ms in rows:
    print(
      f'  {name:42s} {ms:9.2f} ms  {1e3 * b / ms:8.0f} images/s  '
      f'{ms / ours:6.1f} x ours'
    )
  for name, form in (
    ('four gathers', sampling._sample_four),
    ('one packed gather', sampling._sample_packed),
  ):
    ms = timing.milliseconds(jax.jit(form), images, jnp.asarray(grid))
    print(f'  sampling by {name:30s} {ms:9.2f} ms')
  kind = jax.devices()[0].device_kind
  for name, rate in _BANDWIDTH.items():
    if name in kind:
      # Every pixel reads four neighbours and writes one.
      floor = 1e3 * 5 * images.nbytes / rate
      print(f'  memory floor {floor:.4f} ms: {floor / ours:.0%} reached')
  print('\n  size, points, dtype                        ms      images/s')
  for shape, points_a_side, dtype in (
    ((1, 256, 192, 3), 10, jnp.float32),
    ((8, 256, 192, 3), 10, jnp.float32),
    ((32, 256, 192, 3), 10, jnp.float32),
    ((8, 256, 192, 3), 10, jnp.bfloat16),
    ((8, 256, 192, 3), 5, jnp.float32),
    ((8, 256, 192, 3), 20, jnp.float32),
    ((8, 512, 384, 3), 10, jnp.float32),
    ((1, 1024, 768, 3), 10, jnp.float32),
  ):
    images, points = _problem(*shape, points_a_side)
    ms = timing.milliseconds(warp, images.astype(dtype), points)
    print(
      f'  {shape!s:20s} {points_a_side:2d}^2 {dtype.__name__:10s} '
      f'{ms:9.2f}  {1e3 * shape[0] / ms:10.0f}'
    )

  @jax.jit
  def gradient(images: jax.Array, points: jax.Array) -> tuple:
    loss = lambda i, p: jnp.sum(warp_tps(i, p) ** 2)  # noqa: E731
    return jax.grad(loss, argnums=(0, 1))(images, points)

  ms = timing.milliseconds(gradient, *_problem(8, 256, 192, 3, 10))
  print(f'  gradient in both, (8, 256, 192, 3)   {ms:9.2f} ms')


def golden_masks() -> list[tuple[np.ndarray, np.ndarray]]:
  """The six golden pairs, (128, 96) bool."""
  figures = np.load(_GOLDENS / 'shape_context_pairs.npz')
  return [
    tuple(
      np.unpackbits(figures[f'p{i}_{key}'], axis=1).astype(bool)
      for key in ('garment', 'person')
    )
    for i in range(1, 7)
  ]


def bench_matching() -> None:
  """Seconds a pair on one core, and pairs a second in batches."""
  cv2.setNumThreads(1)
  pairs = golden_masks()
  print('\nmatching, 128 x 96, masks in and 100 control points out')
  for fidelity, rounds in (('fixed', 10), ('original', 3)):
    seconds = []
    for masks in pairs * rounds:
      begin = time.perf_counter()
      fit_control_points(*masks, fidelity=fidelity)
      seconds.append(time.perf_counter() - begin)
    print(
      f'  {fidelity:9s} one core, a pair: median '
      f'{1e3 * np.median(seconds):.1f} ms, 95th percentile '
      f'{1e3 * np.percentile(seconds, 95):.1f} ms'
    )
  for size in (1, 8, 32):
    masks = [np.stack(x) for x in zip(*(pairs * 6)[:size], strict=True)]
    batch = timing.milliseconds(match_batch, *masks, repeats=3)
    loop = timing.milliseconds(
      lambda g, p: [
        fit_control_points(*x).points_norm for x in zip(g, p, strict=True)
      ],
      *masks,
      repeats=3,
    )
    print(
      f'  {size:3d} pairs: device {1e3 * size / batch:6.1f} pairs/s, host, one '
      f'core, {1e3 * size / loop:6.1f} pairs/s'
    )


def _score(
  garment: np.ndarray,
  person: np.ndarray,
  truth: np.ndarray | None,
  points_norm: np.ndarray,
) -> tuple[float, np.ndarray]:
  """IoU, and end-point errors in pixels at 256 rows."""
  h, w = garment.shape
  grid = tps.position_matrix(10, (h, w)) @ points_norm
  px = (np.clip(grid, -1, 1) + 1) / 2 * np.float32([w - 1, h - 1])
  px = px.reshape(h, w, 2)
  warped = (
    cv2.remap(
      garment.astype(np.float32), px[..., 0], px[..., 1], cv2.INTER_LINEAR
    )
    > 0.5
  )
  iou = (warped & person).sum() / (warped | person).sum()
  if truth is None:
    return iou, np.zeros(0)
  known = person & np.isfinite(truth[..., 0])
  return iou, np.linalg.norm((px - truth)[known], axis=1) * 256 / h


def _host(
  pairs: list, fidelity: choices.Fidelity
) -> Iterator[np.ndarray | None]:
  """Control points of each pair, None where it cannot be matched."""
  for garment, person, _ in pairs:
    try:
      yield fit_control_points(garment, person, fidelity=fidelity).points_norm
    except MatchingError:
      yield None


def _device(pairs: list) -> Iterator[np.ndarray | None]:
  """The same by `match_batch`, eight at a time."""
  for i in range(0, len(pairs), 8):
    some = pairs[i : i + 8]
    filled = some + some[:1] * (8 - len(some))  # Compiled for one size.
    garments, people, _ = zip(*filled, strict=True)
    points, ok = match_batch(np.stack(garments), np.stack(people))
    for _, x, matched in zip(some, np.asarray(points), ok, strict=False):
      yield x if matched else None


def bench_quality(count: int) -> None:
  """IoU and end-point error of 'original' and both ways of 'fixed'."""
  from input_pipeline.synthetic import render_pair

  sets = {'golden pairs': [(*masks, None) for masks in golden_masks()]}
  drawn = []
  for i in range(count):
    pair = render_pair(11, i + 1, 256)
    drawn.append((pair.garment_mask, pair.parse == 5, pair.flat_coordinates))
  sets[f'{count} drawn pairs, 256 x 192'] = drawn
  print(
    '\nquality: mean (min) IoU; end-point error in px at 256 x 192: mean, '
    'median of pairs, 95th percentile of pixels; failures'
  )
  for name, pairs in sets.items():
    ways = {
      'original': _host(pairs, 'original'),
      'fixed, host': _host(pairs, 'fixed'),
      'fixed, device': _device(pairs),
    }
    for way, found in ways.items():
      ious, errors, failed = [], [], 0
      for pair, points in zip(pairs, found, strict=True):
        if points is None:
          failed += 1
          continue
        iou, error = _score(*pair, points)
        ious.append(iou)
        errors.append(error)
      pooled = np.concatenate(errors)
      text = ''
      if len(pooled):
        means = [e.mean() for e in errors]
        text = (
          f'error {np.mean(means):.2f}, {np.median(means):.2f}, '
          f'{np.percentile(pooled, 95):.1f}; '
        )
      print(
        f'  {name:28s} {way:13s} IoU {np.mean(ious):.4f} '
        f'({np.min(ious):.4f}); {text}failed {failed / len(pairs):.1%}',
        flush=True,
      )


def main() -> None:
  parser = argparse.ArgumentParser(
    prog='python -m benchmarks.geometry',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument(
    '--part', choices=('all', 'warp', 'matching', 'quality'), default='all'
  )
  parser.add_argument(
    '--pairs', type=int, default=200, help='drawn pairs for quality'
  )
  args = parser.parse_args()
  print(f'device: {timing.device()}, {os.cpu_count()} cores')
  if args.part in ('all', 'warp'):
    bench_warp()
  if args.part in ('all', 'matching'):
    bench_matching()
  if args.part in ('all', 'quality'):
    bench_quality(args.pairs)


if __name__ == '__main__':
  main()
