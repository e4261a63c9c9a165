"""Writes drawn pairs as a data set in the raw VITON layout.

Every file is written under a temporary name and renamed, so a file that
exists is whole; a second run over the same folder adds only what is missing.
"""

import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import pathlib
import pickle
from typing import Any

import cv2
import numpy as np

from input_pipeline.layouts import viton_files
from input_pipeline.synthetic.pairs import render_pair
from input_pipeline.synthetic.people import visible_keypoints
from input_pipeline.synthetic.styles import style_of
from viton_jax.errors import InputError, shown
from viton_jax.io import structured
from viton_jax.runtime import environment
from viton_jax.runtime import progress as progress_lib

MARKER = 'synthetic.json'
EXCHANGED_LIST = 'viton_exchanged_pairs.txt'
_STREAM = 60  # Of random numbers that decide on files.
VERSION = 3  # Of the drawings; grows when the same seed gives other images.


def person_stem(index):
  return f'{index:06d}_0'


def garment_stem(index):
  return f'{index:06d}_1'


def garments_of_others(first, count, *, seed):
  """Whose garment each of some persons tries on: never their own.

  Args:
    first: number of the first person.
    count: how many; 1 has nobody to take a garment from.
    seed: of `numpy.random.default_rng`.

  Returns:
    list of (person index, garment index), persons in order.
  """
  if count < 2:
    return []
  order = np.random.default_rng(seed).permutation(count)
  # Along one random cycle everybody gets the garment of the next one.
  taker = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))
  return [(first + k, first + taker[k]) for k in range(count)]


def write_atomically(path, data):
  """Writes bytes under a temporary name, then renames."""
  # Always the same name: what a killed run leaves, the next run replaces.
  temporary = path.with_name(f'.{path.name}.part')
  temporary.write_bytes(data)
  os.replace(temporary, path)


def _jpeg(image, quality):
  flags = [
    cv2.IMWRITE_JPEG_QUALITY,
    quality,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
  ]
  return cv2.imencode('.jpg', image[..., ::-1], flags)[1].tobytes()


def _png(image):
  if image.ndim == 3:
    image = image[..., ::-1]
  return cv2.imencode('.png', image)[1].tobytes()


def _poses_pickle(poses):
  """Pickle, protocol 2, with NumPy named as every version of it can read."""
  data = pickle.dumps(poses, protocol=2)
  return data.replace(b'cnumpy._core.multiarray\n', b'cnumpy.core.multiarray\n')


def _start_worker():
  cv2.setNumThreads(1)


def _pair_paths(out_dir, index, *, style):
  paths = (
    out_dir / 'women_top' / f'{person_stem(index)}.jpg',
    out_dir / 'women_top' / f'{garment_stem(index)}.jpg',
    out_dir / 'pose' / f'{person_stem(index)}.mat',
    out_dir / 'segment' / f'{person_stem(index)}.mat',
  )
  if style == 'plain':
    return paths  # A mask is made of what is not white.
  return *paths, out_dir / 'garment_mask' / f'{garment_stem(index)}.png'


def _truth_paths(out_dir, person, garment):
  stem = f'{person_stem(person)}_{garment_stem(garment)}'
  return (
    out_dir / 'truth' / f'{stem}.png',
    out_dir / 'truth' / f'{stem}_parse.png',
    out_dir / 'truth' / f'{stem}_flow.png',
  )


def _write_item(task):
  """Worker: draws one person in one garment and writes its files."""
  out_dir, seed, height, style, person, garment = task
  pair = render_pair(seed, person, height, garment_index=garment, style=style)
  if person == garment:
    rng = np.random.default_rng([seed, person, _STREAM])
    low, high = style_of(style).jpeg_quality
    qualities = rng.integers(low, high, 2, endpoint=True).tolist()
    contents = (
      _jpeg(pair.person, qualities[0]),
      _jpeg(pair.garment, qualities[1]),
      viton_files.pose_file(pair.keypoints),
      viton_files.segment_file(pair.parse),
      _png(pair.garment_mask.astype(np.uint8) * 255),
    )
    paths = _pair_paths(out_dir, person, style=style)
    contents = contents[: len(paths)]
  else:
    contents = (
      _png(pair.person),
      _png(pair.parse),
      viton_files.flow_file(pair.flat_coordinates, pair.garment.shape[:2]),
    )
    paths = _truth_paths(out_dir, person, garment)
  for path, data in zip(paths, contents, strict=True):
    write_atomically(path, data)


def _check(out_dir, *, settings):
  """Refuses bad values and folders that hold something else."""
  for name, low in (
    ('num_pairs', 0),
    ('num_test_pairs', 0),
    ('seed', 0),
    ('height', 64),
  ):
    if settings[name] < low:
      raise InputError(
        f'--{name} is {settings[name]}; give a whole number of at least {low}.'
      )
  if not settings['num_pairs'] + settings['num_test_pairs']:
    raise InputError('--num_pairs and --num_test_pairs are 0; draw some.')
  if settings.get('exchange') and settings['num_pairs'] == 1:
    raise InputError(
      '--exchange needs a second garment, but --num_pairs is 1; give at '
      'least 2.'
    )
  if settings['num_test_pairs'] == 1:
    raise InputError(
      '--num_test_pairs is 1, but an unpaired test needs a second garment; '
      'give 0, or at least 2.'
    )
  if settings['num_pairs'] + settings['num_test_pairs'] > 999_999:
    raise InputError(
      f'--num_pairs {settings["num_pairs"]} and --num_test_pairs '
      f'{settings["num_test_pairs"]} make more than the 999,999 pairs that '
      'file names can number; give fewer.'
    )
  if out_dir.exists() and not out_dir.is_dir():
    raise InputError(f'--out_dir {out_dir} is a file; name a folder.')
  if not out_dir.is_dir() or not any(out_dir.iterdir()):
    return
  marker = out_dir / MARKER
  if not marker.is_file():
    raise InputError(
      f'--out_dir {out_dir} holds files that are not from here (there is no '
      f'{MARKER}); name an empty or a new folder.'
    )
  found = structured.read_object(
    marker, 'settings file', remedy='name an empty or a new folder.'
  )
  if found != settings:
    raise InputError(
      f'--out_dir {out_dir} holds a data set made with {shown(found)}, not '
      f'with {settings}; use the same values to go on with it, or a new folder.'
    )


def write_dataset(
  out_dir,
  num_pairs,
  *,
  num_test_pairs=0,
  exchange=False,
  seed=0,
  height=512,
  style='plain',
  workers=None,
  progress=False,
):
  """Draws and writes a data set.

  Args:
    out_dir: new or empty folder, or one that an interrupted run left.
    num_pairs: training pairs, numbered from 1.
    num_test_pairs: test pairs, numbered after them, so that both persons and
      garments are others; 0, or at least 2.
    exchange: draws every training person in another training garment as well:
      as many training pairs again, whose true image is in truth/, and which
      `EXCHANGED_LIST` names alone.
    seed: non-negative int. The files depend on the arguments up to height,
      bit for bit, and not on `workers`.
    height: the images' height in pixels, at least 64; the width is 3/4 of it.
    style: 'plain' or 'photo', see `styles`.
    workers: processes; by default one for each CPU core.
    progress: whether to report progress on standard error: a bar on a
      terminal, else lines.

  Returns:
    dict: 'drawn' (images of a person made now), 'kept' (found finished).

  Raises:
    InputError: a value is out of range, or the folder holds something else.
  """
  make_person = style_of(style).make_person
  out_dir = pathlib.Path(out_dir)
  settings: dict[str, Any] = dict(
    version=VERSION,
    num_pairs=num_pairs,
    num_test_pairs=num_test_pairs,
    seed=seed,
    height=height,
  )
  if style != 'plain':
    settings['style'] = style
  if exchange:
    settings['exchange'] = True
  _check(out_dir, settings=settings)
  if workers is None:
    workers = environment.cores()
  if workers < 1:
    raise InputError(f'--workers is {workers}; give at least 1.')
  folders = ['women_top', 'pose', 'segment', 'truth']
  if style != 'plain':
    folders.append('garment_mask')
  try:
    for name in folders:
      (out_dir / name).mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise InputError(
      f'--out_dir {out_dir} cannot be made ({error.strerror}); name a folder '
      'that can be written.'
    ) from error
  write_atomically(
    out_dir / MARKER, (json.dumps(settings, indent=2) + '\n').encode()
  )

  total = num_pairs + num_test_pairs
  tested = garments_of_others(
    num_pairs + 1, num_test_pairs, seed=[seed, num_pairs, num_test_pairs]
  )
  exchanged = (
    garments_of_others(1, num_pairs, seed=[seed, num_pairs]) if exchange else []
  )
  items = [
    (k, k, _pair_paths(out_dir, k, style=style)) for k in range(1, total + 1)
  ]
  items += [(p, g, _truth_paths(out_dir, p, g)) for p, g in tested + exchanged]
  tasks = [
    (out_dir, seed, height, style, person, garment)
    for person, garment, paths in items
    if not all(path.exists() for path in paths)
  ]
  with contextlib.ExitStack() as stack:
    finished = stack.enter_context(contextlib.closing(_run(tasks, workers)))
    bar = None
    if progress:
      bar = progress_lib.progress(len(items), 'draw', unit='image')
      stack.enter_context(contextlib.closing(bar))
      bar.update(len(items) - len(tasks))
    for _ in finished:
      if bar:
        bar.update(1)

  poses = {
    person_stem(k): viton_files.pose_arrays(
      visible_keypoints(make_person(seed, k, height=height))
    )
    for k in range(1, total + 1)
  }
  write_atomically(out_dir / 'pose.pkl', _poses_pickle(poses))
  own = [(k, k) for k in range(1, num_pairs + 1)]
  lists = {
    'viton_train_images.txt': own,
    'viton_train_pairs.txt': own + exchanged,
    'viton_test_pairs.txt': tested,
  }
  if exchange:
    lists[EXCHANGED_LIST] = exchanged
  for name, listed in lists.items():
    text = ''.join(
      f'{person_stem(p)}.jpg {garment_stem(g)}.jpg\n' for p, g in listed
    )
    write_atomically(out_dir / name, text.encode())
  return {'drawn': len(tasks), 'kept': len(items) - len(tasks)}


def _run(tasks, workers):
  """Yields as tasks finish, here or in `workers` fresh processes."""
  workers = min(workers, len(tasks))
  if workers <= 1:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
      yield from map(_write_item, tasks)
    finally:
      cv2.setNumThreads(before)
    return
  # Spawned and not forked: the caller may hold threads of JAX or TensorFlow.
  context = multiprocessing.get_context('spawn')
  with concurrent.futures.ProcessPoolExecutor(
    workers, mp_context=context, initializer=_start_worker
  ) as pool:
    try:
      yield from pool.map(_write_item, tasks, chunksize=4)
    except BaseException:
      pool.shutdown(wait=False, cancel_futures=True)
      raise
