"""The networks, the pose model and the parser of a server, and their warm-up.

Imports JAX; `service` imports it once the server listens.
"""

from collections.abc import Callable, Sequence
import dataclasses
import time

import jax
import numpy as np

from input_pipeline.layouts import any_file
from input_pipeline.sample import Sample
from input_pipeline.synthetic import SyntheticPair, render_pair
from viton_jax import engine, networks
from viton_jax.errors import InputError, concerning
from viton_jax.io import images, photos
from viton_jax.labels import NUM_KEYPOINTS
from viton_jax.live import engine as live_engine
from viton_jax.live import keys
from viton_jax.perception import remote
from viton_jax.perception.parsing import parsers
from viton_jax.perception.pose import estimation
from viton_jax.perception.pose.estimator import PoseEstimator
from viton_jax.photo import framing, full_size, inputs
from viton_jax.photo.attach import attach
from viton_jax.photo.try_on import Pair, TryOnResult, finish, prepare
from viton_jax.runtime import compile_cache
from viton_jax.server.job import Job
from viton_jax.server.settings import Settings

_COMPILED = '/jax/core/compile/backend_compile_duration'


@dataclasses.dataclass(frozen=True)
class SmallPair:
  """A pair at the working size, with nothing to be composed."""

  sample: Sample


@dataclasses.dataclass(frozen=True)
class Models:
  """What a server computes with.

  Attributes:
    networks: the try-on of a batch, or None: 'paste' alone.
    pose: finds people, or None where no pose model is there.
    parser: labels people.
    models_dir: where models' files are, see `perception.estimate_pose`.
    live: what live try-ons compute with; None where no pose model is there.
  """

  networks: engine.TryOn | None
  pose: PoseEstimator | None
  parser: parsers.Parser
  models_dir: str | None = None
  live: keys.Models | None = None

  @property
  def methods(self) -> tuple[str, ...]:
    return ('viton', 'paste') if self.networks else ('paste',)

  @property
  def size(self) -> tuple[int, int]:
    """(height, width) at which garments are matched."""
    return self.networks.size if self.networks else full_size.PASTE_SIZE


def load(settings: Settings) -> Models:
  """Reads and opens everything.

  POSE_SERVER and SEG_SERVER name servers to ask where no model is named.

  Raises:
    InputError: a file is missing, damaged or of another kind. A pose model that
      nobody has named may be missing: joints come with the photos then.
  """
  compile_cache.use('auto')
  loaded = None
  if not settings.paste_only:
    loaded = dataclasses.replace(
      networks.load(
        settings.checkpoint,
        settings.refine_checkpoint,
        matching=settings.matching,
      ),
      max_batch=settings.max_batch,
    )
  pose = None if settings.pose_model else remote.pose_server()
  try:
    pose = pose or estimation.choose_pose(
      settings.pose_model, settings.models_dir
    )
  except InputError:
    if settings.pose_model:
      raise
  parser = None if settings.parser else remote.seg_server()
  parser = parser or parsers.choose_parser(settings.parser, settings.models_dir)
  live = None
  if pose and settings.max_live:
    tried = None
    if not settings.paste_only:
      # It composes frame by frame from layers of its own.
      tried = networks.load_halves(
        settings.checkpoint, settings.refine_checkpoint, composing='whole'
      )
    live = keys.Models(pose, parser, tried)
  return Models(loaded, pose, parser, settings.models_dir, live)


def warm_up(
  models: Models, max_batch: int, say: Callable[[str], None] = lambda x: None
) -> None:
  """Computes everything once, so that no request has to wait for a compiler."""
  pair = render_pair(0, 1, 512)

  def step(what: str, work: Callable[[], object]) -> None:
    begin = time.perf_counter()
    work()
    say(f'warm-up: {what}, {time.perf_counter() - begin:.1f} s')

  if models.pose:
    find = models.pose.find
    step('pose', lambda: find(pair.person))
  step('labels', lambda: models.parser.parse(pair.person, pair.keypoints, None))
  ready = prepared(pair, models)
  step('paste', lambda: finish(ready, full_size.paste(ready.sample)))
  if live := models.live:
    step('live', lambda: live_engine.warm_up(live))
  size = 1
  while models.networks and size <= max_batch:
    step(f'{size} pairs', lambda n=size: _try_on_once(models, [ready] * n))
    size *= 2


def _try_on_once(models: Models, pairs: list[Pair]) -> None:
  # Also where the networks have learned too little to find the garment's place.
  tried = dataclasses.replace(tried_on(models, pairs)[0], failures=[None])
  finished(pairs[0], models, tried)


def prepared(pair: SyntheticPair, models: Models) -> Pair:
  return prepare(
    pair.person,
    pair.garment,
    opacity=None,
    names=('the person', 'the garment'),
    size=models.size,
    pose=pair.keypoints,
    parse=pair.parse,
    garment_mask=pair.garment_mask,
  )


def tried_on(
  models: Models, pairs: Sequence[Pair | SmallPair]
) -> list[engine.TryOnBatch]:
  """The networks' answer for each pair: a batch of one."""
  assert models.networks is not None
  examples = [
    full_size.network_example(pair.sample, models.networks) for pair in pairs
  ]
  tried = models.networks(
    {name: np.stack([x[name] for x in examples]) for name in examples[0]}
  )
  return [one_of(tried, i) for i in range(len(pairs))]


def one_of(tried: engine.TryOnBatch, index: int) -> engine.TryOnBatch:
  """One pair of a batch, as a batch of its own."""
  arrays = {
    name: getattr(tried, name)[index : index + 1] for name in engine.ARRAYS
  }
  return engine.TryOnBatch(**arrays, failures=[tried.failures[index]])


def finished(
  pair: Pair, models: Models, tried: engine.TryOnBatch | None
) -> TryOnResult:
  """The picture of a pair, by the networks' answer, or pasted without one.

  Raises:
    InputError: the garment cannot be matched.
  """
  if tried is None:
    return finish(pair, full_size.paste(pair.sample))
  assert models.networks is not None
  composed = full_size.compose_tried(pair.sample, tried, 0)
  return finish(pair, composed)


def samples_of(arrays: dict[str, np.ndarray]) -> list[SmallPair]:
  """The pairs in arrays at the working size, see `kserve.INPUTS`.

  Raises:
    InputError: a label or a joint is none.
  """
  return [
    SmallPair(
      Sample(
        person_id=f'pair {i}',
        garment_id='',
        person=np.ascontiguousarray(arrays['person'][i]),
        garment=np.ascontiguousarray(arrays['garment'][i]),
        keypoints=arrays['keypoints'][i],
        parse=arrays['parse'][i],
        garment_mask=arrays['garment_mask'][i] > 0,
      )
    )
    for i in range(len(arrays['person']))
  ]


def arrays_of(tried: Sequence[engine.TryOnBatch]) -> dict[str, np.ndarray]:
  """Several answers as arrays, images as levels.

  Raises:
    InputError: one of the pairs could not be matched.
  """
  joined = engine.levels_of(engine.join(list(tried)))
  for i, reason in enumerate(joined.failures):
    if reason:
      raise InputError(f'pair {i}: {reason}')
  names = (*engine.RANGES, 'control_points')
  return {name: getattr(joined, name) for name in names}


def count_compilations(count: Callable[[], None]) -> None:
  """Calls `count` for each program that XLA compiles from now on."""

  def listen(event: str, duration_secs: float, **kwargs) -> None:
    del duration_secs, kwargs
    if event == _COMPILED:
      count()

  jax.monitoring.register_event_duration_secs_listener(listen)


def check_given(job: Job, max_pixels: int) -> None:
  """Refuses what headers and joints tell, before anything waits or is computed.

  Raises:
    InputError: a file is not usable.
  """
  with concerning('person'):
    frame = photos.check_photo(job.person, 'the person', max_pixels=max_pixels)
  if job.garment:
    with concerning('garment'):
      photos.check_photo(
        job.garment.photo, 'the garment', max_pixels=max_pixels
      )
  if job.pose is not None:
    with concerning('pose'):
      any_file.decode_people(job.pose, 'the joints of the person', frame)
  if job.parse is not None:
    with concerning('parse'):
      images.check_image(job.parse, 'the labels of the person')


# What the other routes compute, as the commands of `viton_jax.perception` do.
def people(models: Models, photo: np.ndarray) -> list[np.ndarray]:
  """(18, 3) joints of each person in (h, w, 3) uint8, largest first.

  Raises:
    InputError: no pose model is there, or nobody was found.
  """
  with concerning('person'):
    estimation.check_photo(photo)
    found, _ = inputs.people_of(
      models.pose, photo, 'the person', models_dir=models.models_dir
    )
    framing.choose_person(found, 0, 'the person')
  return [one.keypoints for one in found]


def labels(models: Models, photo: np.ndarray, job: Job) -> np.ndarray:
  """(h, w) uint8 LIP-20 labels of a whole photo.

  Raises:
    InputError: nobody was found, or the joints are not usable.
  """
  with concerning('person'):
    estimation.check_photo(photo)
  keypoints = mask = None
  if models.parser.needs_keypoints:
    with concerning('person' if job.pose is None else 'pose'):
      found, _ = inputs.people_of(
        models.pose if job.pose is None else job.pose,
        photo,
        'the person',
        models_dir=models.models_dir,
      )
      chosen = framing.choose_person(found, job.person_index, 'the person')
      keypoints, mask = chosen.keypoints, chosen.mask
  with concerning('person'):
    return models.parser.parse(photo, keypoints, mask)


def attached(
  models: Models,
  job: Job,
  photo: np.ndarray,
  cloth: np.ndarray,
  opacity: np.ndarray | None,
) -> np.ndarray:
  """(h, w, 3) uint8, the garment laid flat over the clothes.

  Raises:
    InputError: nobody, no clothes or no garment was found.
  """
  assert job.garment is not None
  with concerning('garment' if job.garment.mask is None else 'garment_mask'):
    mask, _ = inputs.garment_mask_of(
      job.garment.mask, cloth, opacity, 'the garment'
    )
  if job.parse is None:
    parse = labels(models, photo, job)
  else:
    with concerning('parse'):
      parse, _ = inputs.labels_of(
        job.parse,
        photo,
        'the person',
        labels=job.labels,
        cut=lambda x: x,
        keypoints=np.zeros((NUM_KEYPOINTS, 3), np.float32),
      )
  with concerning('person'):
    return attach(photo, parse, garment=cloth, garment_mask=mask)


def garment_mask(cloth: np.ndarray, opacity: np.ndarray | None) -> np.ndarray:
  """(h, w) uint8, 255 on the garment; raises InputError: none was found."""
  with concerning('garment'):
    mask, _ = inputs.garment_mask_of(None, cloth, opacity, 'the garment')
  return mask.astype(np.uint8) * 255
