"""Batch inference as a job: kills, shards, merging, formats, locks.

Untrained tiny networks and pairs of many names, see `infer_jobs`.
"""

import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import time

import cv2
import entry_points
import infer_jobs
import numpy as np
import pytest

from viton_jax import errors, infer
from viton_jax.io import tfrecords

pytestmark = pytest.mark.slow

PAIRS = 72
# How often each job of the kill test is killed.
KILLS = int(os.environ.get('VITON_JAX_TEST_KILLS', '2'))


@pytest.fixture(scope='module')
def job(raw_dir, tmp_path_factory):
  """(data folder, networks, names of the pairs)."""
  folder = tmp_path_factory.mktemp('jobs')
  data = folder / 'raw'
  shutil.copytree(raw_dir, data)
  names = infer_jobs.write_pairs(data, PAIRS)
  return data, infer_jobs.write_networks(folder / 'networks'), names


def arguments(job, out_dir, *more):
  data, networks, _ = job
  return (
    *('--data_dir', data, '--pairs', 'many_pairs.txt'),
    *('--checkpoint', networks, '--refine_checkpoint', networks),
    *('--out_dir', out_dir, '--batch_size', 4, '--results_only', *more),
  )


@pytest.fixture
def fails(monkeypatch, capsys):
  """Gives the one sentence with which a command refuses, in this process."""

  def run(*flags):
    monkeypatch.setattr('sys.argv', ['infer', *map(str, flags)])
    with pytest.raises(SystemExit) as stop:
      errors.run(infer.main)
    assert stop.value.code == errors.EXIT_BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('error: ')
    return line

  return run


def lines_of(path: pathlib.Path) -> list[dict]:
  return [json.loads(line) for line in path.read_text().splitlines()]


def pictures_of(out_dir) -> dict[str, bytes]:
  folder = out_dir / 'results'
  return {x.name: x.read_bytes() for x in folder.iterdir()}


def records_of(out_dir) -> dict[str, bytes]:
  """Name -> record, by TensorFlow, which checks both checksums of each."""
  import tensorflow as tf

  found = {}
  for path in sorted((out_dir / 'results').iterdir()):
    assert path.suffix == '.tfrecord'
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
      features = tf.train.Example.FromString(record).features.feature
      name = features['name'].bytes_list.value[0].decode()
      assert name not in found, f'{name} is there twice'
      found[name] = record
  return found


@pytest.fixture(scope='module')
def whole(job, tmp_path_factory):
  """The pictures of a run that nobody disturbed."""
  out_dir = tmp_path_factory.mktemp('whole') / 'out'
  done = entry_points.run('viton_jax.infer', *arguments(job, out_dir))
  assert f'{PAIRS} pairs dressed, 0 failed' in done.stdout
  names = [line['name'] for line in lines_of(out_dir / 'manifest.jsonl')]
  assert names == job[2]
  pictures = pictures_of(out_dir)
  assert sorted(pictures) == sorted(f'{name}.png' for name in names)
  # They show something, and not all the same.
  assert len(set(pictures.values())) > PAIRS // 2
  return pictures


def children_of(pid: int) -> list[int]:
  tasks = pathlib.Path(f'/proc/{pid}/task').iterdir()
  return [
    int(child)
    for task in tasks
    for child in (task / 'children').read_text().split()
  ]


def kill_at_a_random_moment(command, parts, rng) -> bool:
  """Kills a job after some more lines; False if it ended before."""

  def size():
    total = 0
    for path in parts():
      with contextlib.suppress(FileNotFoundError):  # Merged this moment.
        total += path.stat().st_size
    return total

  wanted = size() + rng.randrange(1, 1500)
  with subprocess.Popen(
    command,
    cwd=entry_points.ROOT,
    env=entry_points.environment(),
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  ) as process:
    while process.poll() is None and size() < wanted:
      time.sleep(0.005)
    time.sleep(rng.random() * 0.2)
    ended = process.poll() is not None
    children = [] if ended else children_of(process.pid)
    process.kill()
  deadline = time.monotonic() + 300
  while any(pathlib.Path(f'/proc/{child}').exists() for child in children):
    assert time.monotonic() < deadline, 'a worker outlives its parent'
    time.sleep(0.05)
  return not ended


@pytest.mark.parametrize(
  'more',
  [
    ('--workers', '1'),
    ('--output', 'tfrecord', '--records_per_file', '7'),
  ],
  ids=['pictures', 'records'],
)
def test_killed_jobs_lose_double_and_tear_nothing(job, whole, more, tmp_path):
  out_dir = tmp_path / 'out'
  rng = random.Random(0)
  flags = arguments(job, out_dir, *more)
  command = entry_points.command('viton_jax.infer', *flags)
  kills = 0
  for _ in range(KILLS):
    kills += kill_at_a_random_moment(
      command, lambda: list(out_dir.glob('manifest*.jsonl')), rng
    )
  assert kills
  done = entry_points.run('viton_jax.infer', *flags)
  assert f'{PAIRS} pairs dressed, 0 failed' in done.stdout
  lines = lines_of(out_dir / 'manifest.jsonl')
  assert [line['name'] for line in lines] == job[2]
  assert not list(out_dir.glob('manifest-*'))
  assert not list(out_dir.rglob('*.partial'))
  if 'tfrecord' not in more:
    assert pictures_of(out_dir) == whole
    return
  records = records_of(out_dir)
  assert sorted(records) == sorted(job[2])
  for line in lines:
    assert (out_dir / line['file']).exists()
  for name, record in records.items():
    # The same picture as in the file, to the byte.
    picture = whole[f'{name}.png']
    assert picture in record


def test_shards_of_changing_number_do_every_pair_once(job, whole, tmp_path):
  out_dir = tmp_path / 'out'

  def run(shard, **more):
    flags = arguments(job, out_dir, '--shard', shard)
    return entry_points.run('viton_jax.infer', *flags, **more).stdout

  assert 'shard 1/3: 24 pairs dressed' in run('1/3')
  part = lines_of(out_dir / 'manifest-00001-of-00003.jsonl')
  assert len(part) == 24
  done = entry_points.run(
    'viton_jax.infer', '--merge', '--out_dir', out_dir, expect=3
  )
  assert f'48 of {PAIRS} pairs are missing: {job[2][0]}, ' in done.stdout
  before = (out_dir / 'manifest.jsonl').read_bytes()
  assert len(before.splitlines()) == 24
  entry_points.run('viton_jax.infer', '--merge', '--out_dir', out_dir, expect=3)
  assert (out_dir / 'manifest.jsonl').read_bytes() == before

  kept = {x: x.stat().st_mtime_ns for x in (out_dir / 'results').iterdir()}
  assert 'pairs are done already' in run('0/2')
  assert f'{PAIRS} pairs dressed, 0 failed' in run('1/2')
  for path, written in kept.items():
    assert path.stat().st_mtime_ns == written
  names = [line['name'] for line in lines_of(out_dir / 'manifest.jsonl')]
  assert names == job[2]
  assert pictures_of(out_dir) == whole
  assert not list(out_dir.glob('manifest-*'))
  merged = (out_dir / 'manifest.jsonl').read_bytes()
  entry_points.run('viton_jax.infer', '--merge', '--out_dir', out_dir)
  assert (out_dir / 'manifest.jsonl').read_bytes() == merged


def test_processes_of_one_job_share_it(job, whole, tmp_path):
  """Two real processes, as a launcher starts them, each half of a shard."""
  out_dir = tmp_path / 'out'
  command = entry_points.command(
    'viton_jax.infer', *arguments(job, out_dir, '--shard', '0/3')
  )
  with socket.socket() as free:
    free.bind(('localhost', 0))
    address = f'localhost:{free.getsockname()[1]}'
  started = [
    subprocess.Popen(
      command,
      cwd=entry_points.ROOT,
      env=entry_points.environment()
      | {
        'VITON_JAX_NUM_PROCESSES': '2',
        'VITON_JAX_PROCESS_ID': str(number),
        'VITON_JAX_COORDINATOR': address,
      },
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    for number in range(2)
  ]
  for number, process in enumerate(started):
    log = process.communicate()[0]
    assert process.returncode == 0, log
    assert f'shard {number}/6: 12 pairs dressed, 0 failed' in log
  pictures = pictures_of(out_dir)
  assert len(pictures) == PAIRS // 3
  assert all(whole[name] == data for name, data in pictures.items())


def test_one_process_a_shard(job, tmp_path, fails):
  """While a job runs, its shard and other numbers of shards are refused."""
  out_dir = tmp_path / 'out'
  command = entry_points.command(
    'viton_jax.infer', *arguments(job, out_dir, '--shard', '0/2')
  )
  with subprocess.Popen(
    command,
    cwd=entry_points.ROOT,
    env=entry_points.environment(),
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
  ) as running:
    part = out_dir / 'manifest-00000-of-00002.jsonl'
    while not part.exists():
      assert running.poll() is None
      time.sleep(0.02)
    running.send_signal(signal.SIGSTOP)
    for shard, words in (
      ('0/2', 'is working on shard 0/2 here'),
      ('0/3', 'so 0/3 would do some pairs twice'),
    ):
      message = fails(*arguments(job, out_dir, '--shard', shard))
      assert words in message and f'process {running.pid} on' in message
    # The other shard is welcome, but has to have the same list.
    other = job[0] / 'women_top' / 'other.txt'
    text = (job[0] / 'many_pairs.txt').read_text()
    other.write_text(''.join(text.splitlines(keepends=True)[:-1]))
    flags = arguments(job, out_dir, '--shard', '1/2')
    message = fails(*flags, '--pairs', other)
    assert 'another list of pairs' in message
    # A signal ends a job after what it has begun.
    running.send_signal(signal.SIGTERM)
    running.send_signal(signal.SIGCONT)
    log = running.communicate()[0]
  assert running.returncode == 130 and 'stopped by a signal' in log
  done = entry_points.run('viton_jax.infer', *flags)
  assert 'the shard that is last merges' in done.stdout


@pytest.mark.parametrize(
  'output, suffix, start, quality',
  [
    ('jpeg', 'jpg', b'\xff\xd8', 60),
    ('webp', 'webp', b'RIFF', 40),
  ],
)
def test_formats(job, whole, tmp_path, output, suffix, start, quality):
  shutil.copy(job[0] / 'many_pairs.txt', tmp_path / 'few.txt')
  few = (tmp_path / 'few.txt').read_text().splitlines()[:4]
  (tmp_path / 'few.txt').write_text('\n'.join(few))
  out_dir = tmp_path / 'out'
  flags = arguments(job, out_dir, '--output', output, '--quality', quality)
  entry_points.run('viton_jax.infer', *flags, '--pairs', tmp_path / 'few.txt')
  pictures = pictures_of(out_dir)
  assert sorted(pictures) == sorted(f'{x}.{suffix}' for x in job[2][:4])
  for name, data in pictures.items():
    assert data.startswith(start)
    ours, exact = (
      cv2.imdecode(np.frombuffer(x, np.uint8), cv2.IMREAD_COLOR).astype(int)
      for x in (data, whole[f'{pathlib.Path(name).stem}.png'])
    )
    assert 0 < np.abs(ours - exact).mean() < 12
    # As OpenCV does it with this quality.
    extension, option = (
      f'.{suffix}',
      {'jpg': cv2.IMWRITE_JPEG_QUALITY, 'webp': cv2.IMWRITE_WEBP_QUALITY}[
        suffix
      ],
    )
    same = exact.astype(np.uint8)
    _, same = cv2.imencode(extension, same, [option, quality])
    assert data == same.tobytes()


def test_records_hold_what_the_documentation_says(job, whole, tmp_path):
  import tensorflow as tf

  out_dir = tmp_path / 'out'
  flags = [x for x in arguments(job, out_dir) if x != '--results_only']
  entry_points.run(
    'viton_jax.infer', *flags, '--shard', '0/9', '--output', 'tfrecord'
  )
  (path,) = (out_dir / 'results').iterdir()
  assert path.name == 'try_on-00000-of-00009-00000.tfrecord'
  lines = lines_of(out_dir / 'manifest-00000-of-00009.jsonl')
  dataset = tf.data.TFRecordDataset(str(path))
  schema = {
    name: tf.io.FixedLenFeature([], tf.string)
    for name in (
      'name',
      'person',
      'garment',
      'format',
      'result',
      'coarse',
      'mask',
      'warped',
      'alpha',
    )
  } | {
    'height': tf.io.FixedLenFeature([], tf.int64),
    'width': tf.io.FixedLenFeature([], tf.int64),
    'control_points': tf.io.FixedLenFeature([100, 2], tf.float32),
  }
  assert len(list(dataset)) == len(lines) == PAIRS // 9
  for number, (record, line) in enumerate(zip(dataset, lines, strict=True)):
    assert line['file'] == f'results/{path.name}'
    assert line['record'] == number
    row = tf.io.parse_single_example(record, schema)
    assert row['name'].numpy().decode() == line['name']
    person, garment = (row[x].numpy().decode() for x in ('person', 'garment'))
    assert line['name'] == f'{person[:-4]}_{garment[:-4]}'
    assert row['format'] == b'png' and (row['height'], row['width']) == (64, 64)
    assert row['result'].numpy() == whole[f'{line["name"]}.png']
    assert np.abs(row['control_points']).max() < 3
    for step in ('coarse', 'mask', 'warped', 'alpha'):
      assert tf.io.decode_jpeg(row[step]).shape == (64, 64, 3)
  assert tfrecords.frame(record.numpy()) in path.read_bytes()


def test_a_full_disk_ends_in_a_sentence_and_the_job_goes_on(
  job, whole, tmp_path
):
  """No file may have more than 3 kB; some pictures do, and the manifest."""
  out_dir = tmp_path / 'out'
  flags = arguments(job, out_dir)

  biggest = max(map(len, whole.values()))
  assert biggest > 3 * 1024
  done = subprocess.run(
    # Python ignores the signal that comes with it; the write fails.
    [
      *('bash', '-c', 'ulimit -f 3 && exec "$@"', 'bash'),
      *entry_points.command('viton_jax.infer', *flags),
    ],
    cwd=entry_points.ROOT,
    env=entry_points.environment() | {'JAX_ENABLE_COMPILATION_CACHE': '0'},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 2, done.stdout + done.stderr
  (line,) = [x for x in done.stderr.splitlines() if x.startswith('error: ')]
  assert 'cannot be written (File too large)' in line and 'go on' in line
  assert 'Traceback' not in done.stderr
  for name, data in pictures_of(out_dir).items():
    assert data == whole[name]
  assert not list(out_dir.rglob('*.png.*partial'))
  done = entry_points.run('viton_jax.infer', *flags)
  assert f'{PAIRS} pairs dressed, 0 failed' in done.stdout
  assert pictures_of(out_dir) == whole


def test_nothing_of_tensorflow_is_needed(job, tmp_path):
  """In a process where these cannot be imported, workers included."""
  blocked = (
    'tensorflow',
    'tensorflow_datasets',
    'clu',
    'ml_collections',
    'tensorboard',
    'PIL',
  )
  folder = tmp_path / 'blocked'
  for name in blocked:
    (folder / name).mkdir(parents=True)
    (folder / name / '__init__.py').write_text(
      f'raise ModuleNotFoundError("blocked", name={name!r})\n'
    )
  env = entry_points.environment() | {'PYTHONPATH': str(folder)}
  out_dir = tmp_path / 'out'
  flags = arguments(
    job, out_dir, '--shard', '0/9', '--output', 'tfrecord', '--workers', 1
  )
  for module, more in (('viton_jax.infer', flags),):
    done = subprocess.run(
      entry_points.command(module, *more),
      cwd=entry_points.ROOT,
      env=env,
      capture_output=True,
      text=True,
      check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
  assert 'shard 0/9: 8 pairs dressed, 0 failed' in done.stdout


@pytest.mark.parametrize(
  'option, value', [('dtype', 'bfloat16'), ('matching', 'device')]
)
def test_is_close(job, whole, tmp_path, fails, option, value):
  out_dir = tmp_path / 'out'
  flags = arguments(job, out_dir, '--shard', '0/9', f'--{option}', value)
  entry_points.run('viton_jax.infer', *flags)
  pictures = pictures_of(out_dir)
  assert len(pictures) == PAIRS // 9
  differences = []
  for name, data in pictures.items():
    ours, exact = (
      cv2.imdecode(np.frombuffer(x, np.uint8), cv2.IMREAD_COLOR).astype(int)
      for x in (data, whole[name])
    )
    differences.append(np.abs(ours - exact).mean())
  assert 0 < np.mean(differences) < 3
  message = fails(*arguments(job, out_dir))
  assert f'begun with {option} = {value}' in message


def test_bad_flags(job, tmp_path, fails):
  def refuses(*more):
    return fails(*arguments(job, tmp_path / 'out', *more))

  assert 'counted from 0' in refuses('--shard', '3/3')
  assert 'png has no quality' in refuses('--quality', 50)
  assert '--quality 0 is not' in refuses('--quality', 0, '--output', 'webp')
  in_one = ('--matching', 'device', '--png_round_trip')
  assert 'no PNG can be written in between' in refuses(*in_one)
  assert 'nothing was begun here' in fails('--merge', '--out_dir', tmp_path)
  assert '--data_dir is missing' in fails('--out_dir', tmp_path)
  assert not (tmp_path / 'out').exists()


def test_two_pairs_of_one_name_are_refused(job, tmp_path, fails):
  """'a_b' in 'c' and 'a' in 'b_c' would overwrite each other."""
  pairs = tmp_path / 'pairs.txt'
  pairs.write_text('a_b.jpg c.jpg\na.jpg b_c.jpg\n')
  message = fails(*arguments(job, tmp_path / 'out', '--pairs', pairs))
  assert 'would both be written as a_b_c' in message
