"""Trains CP-VTON and dresses lists of pairs; see `benchmarks.cp_vton`."""

import argparse
from collections.abc import Callable, Iterator
from concurrent import futures
import contextlib
import dataclasses
import functools
import itertools
import math
import os
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

from benchmarks import cp_vton_networks as networks
from benchmarks.torch_twin import DEVICE, Warp, to_device
from input_pipeline import batches
from input_pipeline.layouts import open_layout
from viton_jax import composition, errors
from viton_jax.choices import Composition, Fidelity
from viton_jax.errors import InputError
from viton_jax.job_folders import places, shards
from viton_jax.jobs import device_steps, run, workers
from viton_jax.models import EncoderDecoder, Refinement, compose
from viton_jax.predictions import compose_changes
from viton_jax.runtime import compile_cache, parallel

_OUR_FEATURES = 16
_SAID_EVERY = 100  # Steps.
_BETAS = (0.5, 0.999)  # The paper's.
_MATCHING, _TRY_ON = 'gmm', 'tom'
_POINTS = 10  # A side, of the control points that evaluation reads.


def our_parameters() -> int:
  """Parameters of both our networks, with 16 features."""
  pictures = jnp.zeros((1, 64, 64, 3))
  inputs = jnp.zeros((1, 64, 64, networks.NUM_INPUT_CHANNELS))
  made = [
    jax.eval_shape(module.init, jax.random.key(0), *given)['params']
    for module, given in (
      (EncoderDecoder(features=_OUR_FEATURES), [inputs]),
      (Refinement(features=_OUR_FEATURES), [pictures, pictures]),
    )
  ]
  return sum(math.prod(x.shape) for x in jax.tree.leaves(made))


def train(arguments: argparse.Namespace) -> int:
  """Trains both networks, one after the other; gives the exit code.

  Raises:
    InputError: a number is out of range, there are no records, or the workdir
      has networks already.
  """
  for name in ('minutes', 'learning_rate', 'batch_size'):
    value = getattr(arguments, name)
    if not 0 < value < math.inf:
      raise InputError(f'--{name} {value}: give a number above 0')
  if arguments.seed < 0:
    raise InputError(f'--seed {arguments.seed}: give a number from 0 on')
  if not 0 < arguments.gmm_share < 1:
    raise InputError(
      f'--gmm_share {arguments.gmm_share}: give a number between 0 and 1'
    )
  workdir = pathlib.Path(arguments.workdir)
  paths = {name: _path(workdir, name) for name in (_MATCHING, _TRY_ON)}
  for path in paths.values():
    if path.exists():
      raise InputError(f'{path}: is trained already; give another --workdir')
  info = batches.read_info(arguments.data_dir)
  size = info.height, info.width
  ours = our_parameters()
  features = networks.features_for(ours, size)
  torch.manual_seed(arguments.seed)
  matching = networks.GeometricMatching(features, size)
  drawing = networks.TryOnModule(features)
  for network in (matching, drawing):
    to_device(network)
  warp = Warp(size, networks.ANCHORS).to(DEVICE)
  print(
    f'{features} features: {networks.count([matching]):,} parameters of the '
    f'matching and {networks.count([drawing]):,} of the try-on module, '
    f'{networks.count([matching, drawing]):,} in all; ours with '
    f'{_OUR_FEATURES} features: {ours:,}\n'
    f'{info.num_examples["train"]:,} examples of {info.width} x {info.height} '
    f'on {DEVICE}, {torch.get_num_threads()} threads',
    flush=True,
  )
  workdir.mkdir(parents=True, exist_ok=True)

  def try_on_loss(batch: networks.Batch) -> torch.Tensor:
    with torch.no_grad():
      anchors = matching(batch.person, batch.garment)
      warped, mask = networks.warp_both(
        warp, batch.garment, batch.garment_mask, anchors
      )
    return networks.try_on_loss(drawing, batch, warped=warped, warped_mask=mask)

  matching_loss = functools.partial(networks.matching_loss, matching, warp)
  share = arguments.gmm_share
  examples = batches.train_batches(
    arguments.data_dir, batch_size=arguments.batch_size, seed=arguments.seed
  )
  with _ahead(examples, fidelity=info.fidelity) as stream:
    for name, network, loss, part in (
      (_MATCHING, matching, matching_loss, share),
      (_TRY_ON, drawing, try_on_loss, 1 - share),
    ):
      steps = _learn(
        name,
        network,
        loss,
        stream,
        seconds=60 * arguments.minutes * part,
        learning_rate=arguments.learning_rate,
      )
      header = networks.Header(features, *size, info.fidelity, steps)
      networks.write(paths[name], network.eval(), header)
  print(f'both networks are in {workdir}')
  return errors.EXIT_OK


@contextlib.contextmanager
def _ahead(
  examples: Iterator[dict], *, fidelity: Fidelity
) -> Iterator[Iterator[networks.Batch]]:
  """Batches, of which the next is made while one is learned from."""

  def make() -> networks.Batch:
    return networks.learned_from(next(examples), fidelity=fidelity)

  def taken() -> Iterator[networks.Batch]:
    waiting = thread.submit(make)
    while True:
      batch, waiting = waiting.result(), thread.submit(make)
      yield batch

  with futures.ThreadPoolExecutor(1, 'batches') as thread:
    yield taken()


def _learn(
  name: str,
  network: nn.Module,
  loss_of: Callable[[networks.Batch], torch.Tensor],
  stream: Iterator[networks.Batch],
  *,
  seconds: float,
  learning_rate: float,
) -> int:
  """Trains a network for a time; returns the steps, of which there is one.

  The learning rate is constant for half of it and then falls to 0, as the
  paper's does.
  """
  optimizer = torch.optim.Adam(network.parameters(), betas=_BETAS)
  network.train()
  begin, total = time.monotonic(), 0.0
  for step in itertools.count(1):
    share = (time.monotonic() - begin) / seconds
    if share >= 1 and step > 1:
      break
    for group in optimizer.param_groups:
      group['lr'] = learning_rate * min(1.0, max(0.0, 2 * (1 - share)))
    optimizer.zero_grad(set_to_none=True)
    loss = loss_of(next(stream))
    loss.backward()
    optimizer.step()
    total += loss.item()
    if not math.isfinite(total):
      raise InputError(
        f'{name}: the loss is no finite number after {step} steps; give a '
        f'smaller --learning_rate than {learning_rate:g}'
      )
    if step % _SAID_EVERY == 0:
      spent = time.monotonic() - begin
      print(
        f'{name} step {step}: loss {total / _SAID_EVERY:.4f}, '
        f'{step / spent:.2f} steps/s, {max(0.0, seconds - spent):.0f} s to go',
        flush=True,
      )
      total = 0.0
  spent = time.monotonic() - begin
  print(f'{name}: {step - 1} steps in {spent:.0f} s', flush=True)
  return step - 1


def try_on(arguments: argparse.Namespace) -> int:
  """Dresses the pairs of a list; gives the exit code.

  Raises:
    InputError: no networks, no data set, or see `jobs.run.run`.
  """
  workdir = pathlib.Path(arguments.workdir)
  matching, header = networks.read(
    _path(workdir, _MATCHING),
    lambda found: networks.GeometricMatching(found.features, found.size),
  )
  drawing, other = networks.read(
    _path(workdir, _TRY_ON), lambda found: networks.TryOnModule(found.features)
  )
  if dataclasses.replace(other, steps=header.steps) != header:
    raise InputError(
      f'{workdir}: its two networks were not trained together; train again '
      'into another --workdir'
    )
  options = run.Options(
    out_dir=arguments.out_dir,
    data_dir=arguments.data_dir,
    layout=arguments.layout,
    pairs=arguments.pairs,
    checkpoint=arguments.workdir,
    composition=arguments.composition,
    matching='device',
    step_format='png',
  )
  layout = open_layout(
    options.layout, options.data_dir, options.pairs, split='test'
  )
  print(layout.found)
  compile_cache.use('auto')
  return run.do_shard(
    options,
    layout,
    shards.find(None, os.environ),
    names=places.unique_pairs(layout.pairs),
    work=workers.Work(
      dataclasses.replace(layout, pairs=()), header.size, header.fidelity
    ),
    steps=_steps(matching, drawing, header, composing=arguments.composition),
  )


def _steps(
  matching: nn.Module,
  drawing: nn.Module,
  header: networks.Header,
  *,
  composing: Composition,
) -> device_steps.DeviceSteps:
  """CP-VTON where a job has our networks."""
  warp = Warp(header.size, networks.ANCHORS).to(DEVICE)

  @torch.inference_mode()
  def predict(batch):
    inputs = networks.network_inputs(batch, fidelity=header.fidelity)
    anchors = matching(inputs['person'], inputs['garment'])
    warped = warp(inputs['garment'], anchors)
    rendered, mask = drawing(inputs['person'], warped)
    images = {'coarse': rendered, 'warped': warped, 'mask': mask}
    return {
      name: x.permute(0, 2, 3, 1).cpu().numpy() for name, x in images.items()
    }, anchors

  @jax.jit
  def finish(batch, found):
    coarse, warped, mask = found['coarse'], found['warped'], found['mask']
    output = compose(mask, warped, coarse)
    layers = composition.whole(coarse, mask)
    if composing == 'changes':
      output, layers = compose_changes(
        batch, {'warped': warped, 'alpha': mask}, coarse=output, mask=mask
      )
    return device_steps.with_images(
      {'output': output, 'warped': warped, 'coarse': coarse, 'mask': mask}
      | {'alpha': mask, 'hidden': layers.hidden, 'opacity': layers.opacity}
    )

  def whole(split):
    batch = parallel.unshard(split)
    found, anchors = predict(batch)
    made = finish(batch | {'control_points': anchors.cpu().numpy()}, found)
    made |= {
      'control_points': networks.finer_points(anchors, _POINTS),
      'reason': np.zeros(len(anchors), np.int32),
    }
    return jax.tree.map(lambda x: parallel.shard({'': x})[''], made)

  def half(*_):
    raise AssertionError('matching=device: the job calls `whole` alone')

  return device_steps.DeviceSteps(coarse=half, refine=half, whole=whole)


def _path(workdir: pathlib.Path, name: str) -> pathlib.Path:
  return workdir / f'{name}.safetensors'
