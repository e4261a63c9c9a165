"""The jobs that `benchmarks.soak` disturbs, and what of them must be equal."""

import collections
from collections.abc import Callable
import dataclasses
import fnmatch
import hashlib
import json
import pathlib

from absl import logging
import jax
import numpy as np
from safetensors import safe_open

from input_pipeline.synthetic import render_pair
from tests import entry_points, infer_jobs
from viton_jax import checkpoints
from viton_jax.errors import InputError
from viton_jax.io import images
from viton_jax.perception import model_files

NAMES = ('prepare', 'train', 'infer', 'perceive', 'export')
_PAIRS = 48
_SIZE = 64
_STEPS = 40
# Locks name a process; TensorBoard's files are named by the time.
_PASSING = ('*.lock', 'tensorboard/*')


@dataclasses.dataclass
class Usage:
  """Most memory (MB) and descriptors of a command and its processes."""

  megabytes: float = 0.0
  descriptors: int = 0


@dataclasses.dataclass
class Tally:
  """What happened to a job."""

  rounds: int = 0
  attempts: int = 0
  faults: collections.Counter = dataclasses.field(
    default_factory=collections.Counter
  )
  wrong: list[str] = dataclasses.field(default_factory=list)
  usages: list[Usage] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Job:
  """A command that can be given again until it is done.

  Attributes:
    name: of `NAMES`.
    module: the command.
    arguments: for an output folder.
    inputs: files of which one may become unreadable.
    content: what of an output folder must be equal, by name.
    ends_alone: whether the command refuses a folder that is finished.
    keeps_failures: whether items that failed stay so in a finished folder; then
      another folder is to be given.
    tally: what happened to it.
    seconds: that it takes undisturbed.
    begins: seconds until it writes.
    written: bytes of its output.
    expected: content of the undisturbed run.
  """

  name: str
  module: str
  arguments: Callable[[pathlib.Path], list]
  inputs: list[pathlib.Path]
  content: Callable[[pathlib.Path], dict[str, object]]
  tally: Tally
  ends_alone: bool = False
  keeps_failures: bool = False
  seconds: float = 0.0
  begins: float = 0.0
  written: int = 0
  expected: dict[str, object] = dataclasses.field(default_factory=dict)

  def writes_none(self, out_dir: pathlib.Path) -> bool:
    return self.ends_alone and out_dir.exists()


def _digest(data: bytes) -> str:
  return hashlib.sha256(data).hexdigest()[:16]


def files_of(out_dir: pathlib.Path) -> dict[str, object]:
  """Every file but those that pass, by its content."""
  found = {}
  for path in sorted(out_dir.rglob('*')):
    name = str(path.relative_to(out_dir))
    if path.is_file() and not any(fnmatch.fnmatch(name, x) for x in _PASSING):
      found[name] = _digest(path.read_bytes())
  return found


def _train_content(out_dir: pathlib.Path) -> dict[str, object]:
  """State of the newest checkpoint, every logged number, and the rest."""
  found = {
    name: value
    for name, value in files_of(out_dir).items()
    if not name.startswith('checkpoints/') and name != 'metrics.jsonl'
  }
  # Which older ones are kept depends on where a signal stopped it.
  newest = checkpoints.find(out_dir)
  found['newest'] = newest.name
  state = checkpoints.read_tree(newest / 'state')
  for path, leaf in jax.tree_util.tree_leaves_with_path(state):
    array = np.asarray(leaf)
    found[f'state {jax.tree_util.keystr(path)}'] = _digest(array.tobytes())
  for number, line in enumerate(
    (out_dir / 'metrics.jsonl').read_text().splitlines()
  ):
    values = json.loads(line)
    values.pop('images_per_s', None)
    found[f'metrics, line {number}'] = json.dumps(values, sort_keys=True)
  return found


def _export_content(out_dir: pathlib.Path) -> dict[str, object]:
  """Program, tensors, and the manifest but for its date and sums.

  Of a safetensors file the order of the metadata is left to chance.
  """
  found = files_of(out_dir)
  for path in out_dir.glob('*.safetensors'):
    with safe_open(path, 'np') as file:
      found[path.name] = {
        'metadata': file.metadata(),
        **{x: _digest(file.get_tensor(x).tobytes()) for x in file.keys()},
      }
  manifest = json.loads((out_dir / 'manifest.json').read_text())
  del manifest['created']
  manifest['files'] = {x: y['bytes'] for x, y in manifest['files'].items()}
  return found | {'manifest.json': manifest}


def _photos(folder: pathlib.Path, count: int) -> list[pathlib.Path]:
  paths = []
  for kind in ('people', 'garments'):
    (folder / kind).mkdir(parents=True)
  for number in range(count):
    pair = render_pair(3, number, 256)
    for kind, image in (('people', pair.person), ('garments', pair.garment)):
      path = folder / kind / f'{number}.jpg'
      path.write_bytes(images.encode_jpeg(image))
      paths.append(path)
  return paths


def make(folder: pathlib.Path, names: list[str]) -> list[Job]:
  """Draws the input and describes the jobs.

  Raises:
    InputError: perceive is wanted, and there is no pose model.
  """
  logging.set_verbosity(logging.ERROR)
  raw, networks, packed = folder / 'raw', folder / 'networks', folder / 'packed'
  entry_points.run(
    'input_pipeline.synthetic',
    *('--out_dir', raw, '--num_pairs', 10, '--height', 128),
  )
  infer_jobs.write_pairs(raw, _PAIRS)
  infer_jobs.write_networks(networks)
  pairs = ('--data_dir', raw, '--pairs', 'many_pairs.txt')
  drawn = sorted((raw / 'women_top').iterdir())
  used = [x for x in drawn if not x.name.endswith('_1.jpg') or x.name[0] == 'g']
  weights = sorted(networks.iterdir())

  def prepare(out):
    return [
      *(*pairs, '--out_dir', out, '--format', 'packed', '--workers', 2),
      *('--height', _SIZE, '--width', _SIZE, '--validation_fraction', 0.2),
    ]

  def train(out):
    return [
      *('--config', 'configs/stage1.py:smoke', '--workdir', out),
      *(f'--config.data.dir={packed}', '--config.data.format=packed'),
      *('--config.features=4', f'--config.num_steps={_STEPS}'),
      *('--config.checkpoint_every=5', '--config.eval_every=20'),
      '--config.sample_every=20',
    ]

  def infer(out):
    return [
      *(*pairs, '--checkpoint', networks, '--out_dir', out),
      *('--batch_size', 4),
    ]

  def perceive(out):
    return ['--photos', folder / 'photos', '--out_dir', out, '--height', 256]

  jobs = {
    'prepare': Job(
      'prepare', 'input_pipeline.prepare', prepare,
      used, files_of, Tally(), keeps_failures=True,
    ),
    'train': Job(
      'train', 'viton_jax.train', train,
      [packed / 'train.packed', packed / 'validation.packed'],
      _train_content, Tally(),
    ),
    'infer': Job(
      'infer', 'viton_jax.infer', infer, used + weights, files_of, Tally()
    ),
    'perceive': Job(
      'perceive', 'viton_jax.perceive', perceive, [], files_of, Tally()
    ),
    'export': Job(
      'export', 'viton_jax.export',
      lambda out: ['--checkpoint', networks, '--out_dir', out],
      weights, _export_content, Tally(), ends_alone=True,
    ),
  }  # fmt: skip
  if 'train' in names:
    entry_points.run('input_pipeline.prepare', *prepare(packed))
  if 'perceive' in names:
    if not model_files.first_found('pose', model_files.models_folder()):
      raise InputError(
        'perceive needs a pose model; fetch one by `python -m '
        'viton_jax.perception fetch blazepose`, or leave it out of --jobs'
      )
    jobs['perceive'].inputs = _photos(folder / 'photos', 6)
  return [jobs[name] for name in names]


def endless(job: Job) -> Job:
  """A training that goes on until it is told to stop."""
  return dataclasses.replace(
    job,
    arguments=lambda out: [
      *job.arguments(out), '--config.num_steps=100000000',
      '--config.log_every=10', '--config.checkpoint_every=200',
      '--config.eval_every=200', '--config.sample_every=200',
    ],
  )  # fmt: skip
