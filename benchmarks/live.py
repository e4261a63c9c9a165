"""The live try-on on a video: frames a second, latency, flicker.

  python -m benchmarks.live [--paste_only] [--video FILE]

A drawn person who sways, leans and swings the arms (or `--video`), with camera
noise. Two runs. The first has key frames at a fixed distance and lag, so that
its figures do not depend on the machine:

* flicker: the mean difference of each picture from the last one, moved by the
  input's optical flow, inside the garment; as a multiple of the input's own.
  Beside it the same for a try-on of each frame alone.
* the overlap (intersection over union) of the garment in two pictures, as they
  are and moved by the flow.
* a still frame with noise: the same ratio.
* after how many frames without anybody the garment is gone.

The second runs as fast as it can, each frame through JPEG both ways: frames a
second, seconds from a frame to its picture, how they are spent, and how long a
new garment takes to be seen.
"""

import argparse
from collections.abc import Iterator, Sequence
import itertools
import os
import pathlib
import time

import cv2
import numpy as np

from input_pipeline.synthetic import render_pair
from input_pipeline.synthetic.motion import render_motion
from viton_jax import errors, networks
from viton_jax.errors import InputError
from viton_jax.io import images
from viton_jax.live import engine, flow, keys, step
from viton_jax.live.garments import Garment, Garments
from viton_jax.perception.parsing import parsers
from viton_jax.perception.pose import estimation

_NOISE = 1.5  # Grey levels.
_SETTLE = 10  # Pictures that are left out at the start.


def video_of(path: pathlib.Path | None, count: int) -> list[np.ndarray]:
  """(h, w, 3) uint8 frames, of 640 rows at most."""
  rng = np.random.default_rng(0)
  if path is None:
    moving = [x for x, _ in render_motion(5, 1, 640, frames=count)]
    return [noisy(x, rng) for x in moving]
  capture = cv2.VideoCapture(str(path))
  frames = []
  while len(frames) < count:
    there, bgr = capture.read()
    if not there:
      break
    frames.append(engine.reduce(bgr[..., ::-1]))
  if not frames:
    raise InputError(f'{path}: no video that can be read; give another file')
  return frames


def noisy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  noise = rng.normal(0, _NOISE, image.shape)
  return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


# ------------------------------------------------------------------- flicker
def differences(
  frames: Sequence[np.ndarray], pictures: Sequence[tuple[np.ndarray, ...]]
) -> dict[str, float]:
  """How pictures change beyond what the input does, inside the garment.

  Args:
    frames: (h, w, 3) uint8.
    pictures: (h, w, 3) uint8 with (h, w) float32 where the garment lies.
  """
  of_output, of_input, overlaps, moved_overlaps = [], [], [], []
  finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
  grey = [cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in frames]
  at = flow.still(grey[0].shape)
  for i in range(1, len(frames)):
    moved = at + finder.calc(grey[i], grey[i - 1], None)

    def warp(image, moved=moved):
      return cv2.remap(image, moved, None, cv2.INTER_LINEAR)

    inside, before = (pictures[k][1] > 0.5 for k in (i, i - 1))
    carried = warp(before.astype(np.uint8)) > 0
    both = inside & carried
    if not both.any():
      continue
    of_output.append(
      cv2.absdiff(pictures[i][0], warp(pictures[i - 1][0]))[both].mean()
    )
    of_input.append(cv2.absdiff(frames[i], warp(frames[i - 1]))[both].mean())
    overlaps.append((inside & before).sum() / (inside | before).sum())
    moved_overlaps.append(both.sum() / (inside | carried).sum())
  return {
    'output / input': float(np.mean(of_output) / np.mean(of_input)),
    'output': float(np.mean(of_output)),
    'input': float(np.mean(of_input)),
    'overlap': float(np.mean(overlaps)),
    'overlap, moved': float(np.mean(moved_overlaps)),
  }


def frame_by_frame(
  frames: Sequence[np.ndarray], models: keys.Models, garment: Garment
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Each frame as if it were the only one."""
  for frame in frames:
    person = models.pose.find(frame)[0]
    live = step.seen(
      step.State(number=1, grey=flow.reduce(frame)), person, time=0.0
    )
    live, job = step.begin_key(live, frame, parse=True)
    live = step.accept(live, keys.make_key(job, garment, models))
    yield step.picture(live, frame)


def carried(
  frames: Sequence[np.ndarray],
  models: keys.Models,
  garment: Garment,
  *,
  lag: int,
) -> list[engine.Shown]:
  live = engine.Live(models, garment, background=False, lag=lag)
  return [live.step(x, i / 15) for i, x in enumerate(frames)]


def measure_flicker(
  frames: list[np.ndarray],
  models: keys.Models,
  garment: Garment,
  lag: int,
) -> None:
  shown = carried(frames, models, garment, lag=lag)
  start = next(i for i, x in enumerate(shown) if x.garment) + _SETTLE
  rows = {
    'live': [(x.picture, x.opacity) for x in shown[start:]],
    'frame by frame': list(frame_by_frame(frames[start:], models, garment)),
  }
  for name, pictures in rows.items():
    report(name, differences(frames[start:], pictures))
  rng = np.random.default_rng(1)
  still = [noisy(frames[0], rng) for _ in range(40)]
  shown = carried(still, models, garment, lag=lag)
  start = next(i for i, x in enumerate(shown) if x.garment) + _SETTLE
  rows = [(x.picture, x.opacity) for x in shown[start:]]
  report('still, with noise', differences(still[start:], rows))
  # The person's own background: no cut that would be easy to see.
  wall = np.repeat(frames[0][:, :1], frames[0].shape[1], axis=1)
  shown = carried([*frames[:20], *[wall] * 6], models, garment, lag=lag)
  gone = next(i for i, x in enumerate(shown[20:]) if not x.garment)
  said = next(i for i, x in enumerate(shown[20:]) if x.message == engine.NOBODY)
  print(
    f'nobody in view: garment gone in frame {gone + 1}, said in frame '
    f'{said + 1}'
  )


def report(name: str, figures: dict[str, float]) -> None:
  text = ', '.join(f'{key} {value:.3f}' for key, value in figures.items())
  print(f'{name}: {text}', flush=True)


# --------------------------------------------------------------------- speed
def measure_speed(
  frames: list[np.ndarray],
  models: keys.Models,
  garments: list[Garment],
  seconds: float,
) -> None:
  sent = [images.encode_jpeg(x, quality=85) for x in frames]
  live = engine.Live(models, garments[0])
  latencies, stages, changes = [], [], []
  asked, wanted, shown = 0.0, garments[0].name, 0
  begin, cpu = time.perf_counter(), time.process_time()
  for i in itertools.count():
    start = time.perf_counter()
    if start - begin > seconds:
      break
    if i % 60 == 59:
      chosen = garments[(i // 60 + 1) % 2]
      live.wear(chosen)
      asked, wanted = start, chosen.name
    own = time.thread_time()
    data = np.frombuffer(sent[i % len(sent)], np.uint8)
    frame = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    decoded = time.perf_counter()
    result = live.step(frame)
    stepped = time.perf_counter()
    images.encode_jpeg(result.picture, quality=85)
    end = time.perf_counter()
    if asked and result.garment == wanted:
      changes.append(end - asked)
      asked = 0.0
    if result.garment:
      shown += 1
      latencies.append(end - start)
      stages.append(
        {
          'decode': decoded - start,
          **result.seconds,
          'encode': end - stepped,
          'processor': time.thread_time() - own,
        }
      )
  took = time.perf_counter() - begin
  used = time.process_time() - cpu
  live.close()
  if not latencies:
    print('speed: nothing was shown')
    return
  p50, p95 = np.percentile(latencies, (50, 95)) * 1e3
  print(
    f'speed: {shown / took:.1f} frames a second, latency p50 {p50:.0f} ms, '
    f'p95 {p95:.0f} ms; {used / took:.2f} of {os.cpu_count()} cores, load '
    f'{os.getloadavg()[0]:.1f}'
  )
  means = {k: 1e3 * np.median([x[k] for x in stages]) for k in stages[0]}
  print(
    'ms a frame, medians: '
    + ', '.join(f'{k} {v:.1f}' for k, v in means.items())
  )
  if changes:
    low, high = np.percentile(changes, (50, 95)) * 1e3
    print(f'another garment is seen after p50 {low:.0f} ms, p95 {high:.0f} ms')


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--checkpoint', help='default: those that come along')
  parser.add_argument('--paste_only', action='store_true')
  parser.add_argument('--video', type=pathlib.Path)
  parser.add_argument('--frames', type=int, default=60)
  parser.add_argument('--lag', type=int, default=3, help='of a key frame')
  parser.add_argument('--seconds', type=float, default=20.0)
  parser.add_argument('--parts', nargs='*', default=['flicker', 'speed'])
  options = parser.parse_args()
  tried = None
  if not options.paste_only:
    tried = networks.load_halves(options.checkpoint, composing='whole')
  models = keys.Models(estimation.choose_pose(), parsers.choose_parser(), tried)
  known = Garments()
  garments = [
    known.get(images.encode_png(render_pair(5, k, 512).garment)) for k in (2, 3)
  ]
  frames = video_of(options.video, options.frames)
  engine.warm_up(models)
  if 'flicker' in options.parts:
    measure_flicker(frames, models, garments[0], options.lag)
  if 'speed' in options.parts:
    measure_speed(frames, models, garments, options.seconds)


if __name__ == '__main__':
  errors.run(main)
