"""Trains the body parser on drawn people."""

from collections.abc import Iterator
import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import multiprocessing
import pathlib
from typing import Any

from flax import serialization, struct, traverse_util
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np
import optax
from safetensors.numpy import save

from input_pipeline.synthetic.outfits import OutfitPicture
from viton_jax.errors import InputError
from viton_jax.io import storage, structured
from viton_jax.models.body_parser import HEIGHT, WIDTH, BodyParser
from viton_jax.perception.parsing.body_classes import (
  CLASS_LABELS,
  NUM_CLASSES,
  class_of_label,
)
from viton_jax.perception.parsing.body_network import stack_pixels
from viton_jax.runtime import progress, worker_processes
from viton_jax.training.parser_samples import draw_pool, make_sample

SETTINGS, POOL, STATE = 'settings.json', 'people', 'state.msgpack'
WEIGHTS = 'body_parser.safetensors'
_SAVE_EVERY = 100
_AHEAD = 6  # Batches that the workers make in advance.
_EMA = 0.995
# Large regions are easy; small ones decide on a try-on.
_CLASS_WEIGHTS = {
  0: 0.6, 2: 1.3, 13: 1.3, 5: 1.0, 10: 2.0, 14: 1.6, 15: 1.6, 9: 1.0, 12: 1.2,
  16: 1.4, 17: 1.4, 18: 1.5, 19: 1.5,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class ParserSettings:
  """What a training depends on.

  Attributes:
    seed: of people, samples and initial weights.
    people: how many are drawn.
    steps: of the optimiser.
    small_steps: the first of them, at half the height and width: they cost a
      third and teach most of what there is to learn.
    batch: samples a step.
    learning_rate: the highest, after the warm-up.
    style: in which people are drawn, 'plain' or 'photo'.
  """

  seed: int = 0
  people: int = 1200
  steps: int = 2100
  small_steps: int = 1600
  batch: int = 16
  learning_rate: float = 2e-3
  style: str = 'plain'


@struct.dataclass
class _State:
  step: int
  params: Any
  average: Any
  optimizer: Any


def train(
  workdir: pathlib.Path, settings: ParserSettings, *, workers: int
) -> pathlib.Path:
  """Trains, or goes on where an earlier call in this folder stopped.

  Args:
    workdir: for the drawn people, the state and the weights.
    settings: must be those of the earlier call.
    workers: processes that draw and colour.

  Returns:
    The file of weights, 16 bits a number, averaged over the last steps.

  Raises:
    InputError: the folder belongs to other settings, or the loss is not finite.
  """
  _claim(workdir, settings)
  _make_pool(workdir, settings, workers)
  optimizer = _optimizer(settings)
  network = BodyParser(NUM_CLASSES)
  variables = network.init(
    jax.random.key(settings.seed),
    jnp.zeros((1, HEIGHT, WIDTH, 5)),
    jnp.zeros((1, 18, 3)),
  )
  state = _State(0, variables, variables, optimizer.init(variables))
  path = workdir / STATE
  if path.is_file():
    restored = serialization.from_bytes(state, path.read_bytes())
    assert isinstance(restored, _State)
    state = restored
  step_of = jax.jit(functools.partial(_step, optimizer))
  bar = progress.progress(settings.steps, 'train', unit='step')
  bar.update(int(state.step))
  losses: list[Any] = []
  for batch in _batches(workdir, settings, int(state.step), workers=workers):
    state, loss = step_of(state, batch)
    losses.append(loss)
    step = int(state.step)
    if step % _SAVE_EVERY == 0 or step == settings.steps:
      mean = float(np.mean(losses))
      if not np.isfinite(mean):
        raise InputError(
          f'the loss is {mean} at step {step}; give a smaller --learning_rate'
        )
      losses = []
      storage.write_file(path, serialization.to_bytes(state))
      write_weights(workdir / WEIGHTS, state.average, settings, step)
      bar.update(0, f'step {step}, loss {mean:.4f}')
      print(f'step {step}: loss {mean:.4f}', flush=True)
    bar.update(1)
  bar.close()
  return workdir / WEIGHTS


def _claim(workdir: pathlib.Path, settings: ParserSettings) -> None:
  workdir.mkdir(parents=True, exist_ok=True)
  path, wanted = workdir / SETTINGS, dataclasses.asdict(settings)
  if path.is_file():
    # Older folders name no style.
    found = {'style': 'plain', **structured.read_object(path)}
    if found != wanted:
      raise InputError(
        f'{workdir} holds a training with {found}, not with {wanted}; give '
        'the same values, or another --workdir'
      )
  storage.write_json(path, wanted)


def _make_pool(
  workdir: pathlib.Path, settings: ParserSettings, workers: int
) -> None:
  """Draws the people, once, into arrays that all workers read."""
  folder = workdir / POOL
  if (folder / 'complete').is_file():
    return
  folder.mkdir(exist_ok=True)
  with worker_processes.one_thread_each():
    pool = draw_pool(
      settings.seed, settings.people, workers=workers, style=settings.style
    )
  for field in dataclasses.fields(OutfitPicture):
    values = np.stack([getattr(person, field.name) for person in pool])
    np.save(folder / f'{field.name}.npy', values)
  (folder / 'complete').touch()


@functools.cache
def _open_pool(folder: pathlib.Path) -> list[OutfitPicture]:
  """The drawn people, read from the disk as they are needed."""
  arrays = {
    field.name: np.load(folder / f'{field.name}.npy', mmap_mode='r')
    for field in dataclasses.fields(OutfitPicture)
  }
  count = len(arrays['rgb'])
  return [
    OutfitPicture(**{name: np.asarray(x[k]) for name, x in arrays.items()})
    for k in range(count)
  ]


def _make_batch(
  workdir: pathlib.Path, settings: ParserSettings, step: int
) -> dict[str, np.ndarray]:
  """Batch number `step`; in a worker."""
  pool = _open_pool(workdir / POOL)
  first = step * settings.batch
  shrink = 2 if step < settings.small_steps else 1
  size = (HEIGHT // shrink, WIDTH // shrink)
  samples = [
    make_sample(pool, settings.seed, k, size=size)
    for k in range(first, first + settings.batch)
  ]
  unknown = np.zeros(size, np.float32)
  inside = np.stack([x.inside for x in samples])
  pixels = stack_pixels(
    np.stack([x.image for x in samples]),
    inside.astype(np.float32),
    np.stack([unknown if x.mask is None else 2 * x.mask - 1 for x in samples]),
  )
  return {
    'pixels': pixels,
    'keypoints': np.stack([x.keypoints for x in samples]),
    'classes': class_of_label()[np.stack([x.labels for x in samples])],
    'inside': inside,
  }


def _batches(
  workdir: pathlib.Path, settings: ParserSettings, start: int, *, workers: int
) -> Iterator[dict[str, np.ndarray]]:
  """The batches from step `start` on, made ahead in other processes."""
  with (
    worker_processes.one_thread_each(),
    concurrent.futures.ProcessPoolExecutor(
      workers,
      mp_context=multiprocessing.get_context('spawn'),
      initializer=worker_processes.initialize_worker,
    ) as executor,
  ):
    pending = [
      executor.submit(_make_batch, workdir, settings, step)
      for step in range(start, min(start + _AHEAD, settings.steps))
    ]
    for step in range(start, settings.steps):
      batch = pending.pop(0).result()
      if step + _AHEAD < settings.steps:
        pending.append(
          executor.submit(_make_batch, workdir, settings, step + _AHEAD)
        )
      yield batch


def _optimizer(settings: ParserSettings) -> optax.GradientTransformation:
  # Constant, then down to nothing over the last third: how long a training
  # is to be can be decided while it runs.
  fall = settings.steps // 3
  rise = min(100, settings.steps // 10)
  rate = optax.join_schedules(
    [
      optax.linear_schedule(0.0, settings.learning_rate, rise),
      optax.constant_schedule(settings.learning_rate),
      optax.linear_schedule(settings.learning_rate, 0.0, fall),
    ],
    [rise, settings.steps - fall],
  )
  return optax.chain(
    optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=1e-4)
  )


def _step(
  optimizer: optax.GradientTransformation,
  state: _State,
  batch: dict[str, Array],
) -> tuple[_State, Array]:
  loss, gradient = jax.value_and_grad(parser_loss)(
    state.params,
    batch['pixels'],
    batch['keypoints'],
    classes=batch['classes'],
    inside=batch['inside'],
  )
  updates, new = optimizer.update(gradient, state.optimizer, state.params)
  params = optax.apply_updates(state.params, updates)
  # The average starts where training does; at first it moves faster.
  step = jnp.asarray(state.step, jnp.float32)
  keep = jnp.minimum(_EMA, (step + 1.0) / (step + 10.0))
  average = jax.tree.map(
    lambda old, x: keep * old + (1 - keep) * x, state.average, params
  )
  return _State(state.step + 1, params, average, new), loss


def parser_loss(
  variables: Any,
  pixels: Float[Array, 'b h w 5'],
  keypoints: Float[Array, 'b k 3'],
  *,
  classes: Array,
  inside: Array,
) -> Float[Array, '']:
  """Weighted cross-entropy against each cell's shares of the classes.

  Args:
    variables: of `BodyParser`.
    pixels: see `BodyParser`.
    keypoints: see `BodyParser`.
    classes: (b, h, w) int, the class of each pixel of the input.
    inside: (b, h, w) bool; what lies beyond the photo counts nothing.
  """
  logits = BodyParser(NUM_CLASSES).apply(variables, pixels, keypoints)
  assert isinstance(logits, jax.Array)
  b, h, w, _ = logits.shape
  weight = jnp.array([_CLASS_WEIGHTS[label] for label in CLASS_LABELS])
  due = jax.nn.one_hot(classes, NUM_CLASSES, dtype=jnp.float32)
  due = due * inside.astype(jnp.float32)[..., None]
  due = due.reshape(b, h, 2, w, 2, NUM_CLASSES).mean(axis=(2, 4))
  due = due * weight[None, None, None]
  log_shares = jax.nn.log_softmax(logits)
  return -(due * log_shares).sum() / due.sum()


def write_weights(
  path: pathlib.Path, variables: Any, settings: ParserSettings, step: int
) -> str:
  """Writes 16-bit weights with what made them; returns their SHA-256."""
  flat = traverse_util.flatten_dict(variables, sep='/')
  tensors = {
    name: np.ascontiguousarray(value, np.float16)
    for name, value in flat.items()
  }
  about = {
    'format': 'viton_jax body parser',
    'licence': 'Apache-2.0',
    'labels': ' '.join(map(str, CLASS_LABELS)),
    'step': str(step),
    'settings': json.dumps(dataclasses.asdict(settings), sort_keys=True),
  }
  data = save(tensors, about)
  storage.write_file(path, data)
  return hashlib.sha256(data).hexdigest()
