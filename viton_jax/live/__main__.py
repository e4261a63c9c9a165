"""Tries garments on in the pictures of a camera or a video, as they come.

  python -m viton_jax.live --source 0 --garment shirts
  python -m viton_jax.live --source dance.mp4 --garment shirt.jpg \\
      --headless --record out
      writes out/TIME/try-on.mp4, without a window

In the window: a s d f choose one of the first four garments, c keeps all six
views of the next frame, r begins and ends a video, p pauses, space changes
between trying on each frame and on c alone, q or Esc ends; a click chooses
whom to dress. It needs the extra [live] (pip install 'viton_jax[live]') and a
pose model (`python -m viton_jax.perception list`).

VITON_SERVER names a server of `python -m viton_jax.serve` that does the work
(VITON_KEY its key); POSE_SERVER and SEG_SERVER ones that do parts of it.
docs/live.md says more.
"""

import argparse
import importlib.util
import os
import pathlib
import sys
import time

from viton_jax import errors
from viton_jax.errors import InputError
from viton_jax.live import engine, recording, wearers, window
from viton_jax.live.remote import Remote, address_of
from viton_jax.live.sources import Source
from viton_jax.runtime import compile_cache
from viton_jax.runtime.progress import progress


def parse_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog='python -m viton_jax.live',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add(
    '--source',
    default='0',
    help="a camera's number, a video file, or an http, https or rtsp address "
    '(default: %(default)s)',
  )
  add(
    '--garment',
    action='append',
    type=pathlib.Path,
    required=True,
    help="a garment's photo, or a folder of them; may be repeated",
  )
  add(
    '--checkpoint',
    help='trained networks (default: those that come with viton_jax)',
  )
  add('--refine_checkpoint', help='stage 2, where it lies elsewhere')
  add(
    '--paste_only',
    action='store_true',
    help='no networks: garments are bent onto the ones that are worn',
  )
  add('--pose_model', help='a pose model; default: the first that is found')
  add('--parser', help="a parser's model; default: the first that is found")
  add('--models_dir', help="folder of models' files")
  shown = parser.add_mutually_exclusive_group()
  shown.add_argument(
    '--window', action='store_true', help='show a window (default)'
  )
  shown.add_argument(
    '--headless', action='store_true', help='no window; needs --record'
  )
  add(
    '--record',
    type=pathlib.Path,
    metavar='DIR',
    help='folder for captures and videos (window default: outputs)',
  )
  add(
    '--seconds',
    type=float,
    help='headless: end after so long (default: with the source)',
  )
  return parser.parse_args()


def check(options: argparse.Namespace) -> None:
  """Refuses what cannot be shown, before anything is loaded."""
  remote = bool(os.environ.get('VITON_SERVER', '').strip())
  needed = [] if options.headless else ['pygame']
  needed += ['websockets'] if remote else []
  missing = [x for x in needed if importlib.util.find_spec(x) is None]
  if missing:
    raise InputError(
      f'the live try-on needs {", ".join(missing)}; type: {sys.executable} -m '
      "pip install 'viton_jax[live]'"
    )
  if options.headless and not options.record:
    raise InputError('--headless shows nothing; say --record DIR as well')
  if options.seconds is not None and not 0 < options.seconds <= 86_400:
    raise InputError(
      f'--seconds is {options.seconds:g}; give a number from 0 to 86400'
    )


def main() -> None:
  options = parse_arguments()
  check(options)
  garments = wearers.read_garments(options.garment)
  source = Source(options.source, every=options.headless)
  try:
    wearer = _wearer(options)
    try:
      if options.headless:
        summary = record(source, wearer, options, garments[0])
      else:
        summary = window.play(
          source,
          wearer,
          garments=garments,
          record=options.record or pathlib.Path('outputs'),
        )
    finally:
      wearer.close()
  finally:
    source.close()
  print(summary)


def _wearer(options: argparse.Namespace) -> wearers.Wearer:
  server = os.environ.get('VITON_SERVER', '').strip()
  if server:
    key = os.environ.get('VITON_KEY', '').strip()
    return wearers.There(Remote(address_of(server), key))
  compile_cache.use('auto')
  models = wearers.load_models(
    options.checkpoint,
    options.refine_checkpoint,
    paste_only=options.paste_only,
    pose_model=options.pose_model,
    parser=options.parser,
    models_dir=options.models_dir,
  )
  print('warming up', flush=True)
  engine.warm_up(models)
  # Of a file nothing is left out, so it need not keep pace with a clock.
  is_file = options.headless and pathlib.Path(options.source).is_file()
  return wearers.Here(models, background=not is_file)


def record(
  source: Source,
  wearer: wearers.Wearer,
  options: argparse.Namespace,
  garment: tuple[str, bytes],
) -> str:
  """Writes the try-on of a source as a video; returns a summary."""
  wearer.wear(garment[1])
  folder = recording.new_folder(options.record)
  begin, dressed, video, said = time.perf_counter(), 0, None, ''
  bar = progress(source.count, 'try-on', unit='frame') if source.count else None
  try:
    while (frame := source.newest()) is not None:
      now = time.perf_counter()
      if options.seconds and now - begin > options.seconds:
        break
      (picture,) = wearer.step(frame, ('try-on',)).values()
      if video is None:
        video = recording.Video(
          folder / 'try-on.mp4',
          source.rate,
          size=picture.shape[:2],
          every=source.is_file,
        )
      video.add(picture, now)
      dressed += bool(wearer.garment)
      said = wearer.message or said
      if bar:
        bar.update(1)
  finally:
    if bar:
      bar.close()
    if video:
      video.close()
  frames = video.frames if video else 0
  seconds = time.perf_counter() - begin
  why = f' (last said: {said})' if said and dressed < frames else ''
  return (
    f'{frames} frames in {seconds:.1f} s, {dressed} with the garment{why}; '
    f'written: {folder / "try-on.mp4"}'
  )


if __name__ == '__main__':
  errors.run(main)
