"""How fast a training step is, beside PyTorch's and TensorFlow's.

  python -m benchmarks.train_step --stage 1 --batch 16,64 \\
      --dtype float32,bfloat16 --against torch,torch_compile

Published sizes unless told otherwise, VGG19 with random weights, the batch on
the device already. All competitors have the same weights and take turns in one
process, if they fit into memory side by side; one that is not installed is said
and left out. Share of peak is of a large matrix product of the same type,
measured between the steps.

  python -m benchmarks.train_step --smoke

is a small network on small images, to see in a minute whether a change made
the step slower.

  python -m benchmarks.train_step --write_vgg vgg19-random.mat

writes VGG19's random weights as a file for `--config.vgg`, to time training
where nobody has the true ones.
"""

from collections.abc import Callable
import dataclasses
import functools
import statistics
import time

import jax
import jax.numpy as jnp

from benchmarks import problem, sweep, timing
from viton_jax import errors
from viton_jax.models import EncoderDecoder, Refinement
from viton_jax.runtime import parallel
from viton_jax.training import steps, train_state
from viton_jax.training.stages import Stage1, Stage2


@dataclasses.dataclass
class Competitor:
  """One that is ready to run.

  Attributes:
    step: runs one step and waits for it.
    compile_seconds: of the first call, what is compiled in it included.
    memory: in words.
  """

  step: Callable[[], object]
  compile_seconds: float
  memory: str = ''


def build_ours(stage, variables, batch, *, vgg, dtype) -> Competitor:
  """The step that `viton_jax.train` runs, on all devices."""
  first, second = variables
  features = first['params']['encoder_1']['kernel'].shape[-1]
  dtype = jnp.dtype(dtype)
  encoder_decoder = EncoderDecoder(
    features=features, dtype=dtype, axis_name=parallel.AXIS
  )
  frozen = {'vgg': vgg}
  if stage == 1:
    state = train_state.from_variables(first)
    trained = Stage1(encoder_decoder)
  else:
    state = train_state.from_variables(second)
    frozen['coarse'] = first
    trained = Stage2(
      Refinement(features=features, dtype=dtype), encoder_decoder
    )
  state, frozen = parallel.replicate(state), parallel.place(frozen)
  batch = next(parallel.ahead(iter([batch] * 3)))
  step = parallel.train(
    functools.partial(steps.train_step, stage=trained, axis_name=parallel.AXIS)
  )
  begin = time.perf_counter()
  compiled = step.lower(state, frozen, batch).compile()
  seconds = time.perf_counter() - begin
  plan = compiled.memory_analysis()
  memory = ''
  if plan is not None:
    memory = (
      f'{plan.temp_size_in_bytes / 1e9:.2f} GB of work space beside '
      f'{plan.argument_size_in_bytes / 1e9:.2f} GB of arguments'
    )
  cost = compiled.cost_analysis() or {}
  if cost.get('flops', 0) > 0:
    memory += f'; XLA counts {cost["flops"] / 1e9:.0f} GFLOP a step'
  holder = [state]

  def run():
    holder[0], metrics = compiled(holder[0], frozen, batch)
    jax.block_until_ready(metrics)

  run()
  return Competitor(run, seconds, memory)


def build_torch(stage, variables, batch, *, vgg, dtype, compiled) -> Competitor:
  """PyTorch, kernels and pictures channels-last."""
  from benchmarks import torch_twin as twin

  first, second = variables
  begin = time.perf_counter()
  vgg = twin.to_device(twin.Vgg19(vgg))
  network = twin.to_device(twin.EncoderDecoder(first))
  tensors = twin.to_torch(batch)
  if stage == 1:
    loss = functools.partial(twin.stage1_loss, network, vgg)
  else:
    coarse_network = network.eval().requires_grad_(False)
    network = twin.to_device(twin.Refinement(second['params']))
    loss = functools.partial(
      twin.stage2_loss,
      network,
      vgg,
      coarse_network=coarse_network,
      warp=twin.Warp(batch['image'].shape[1:3]).to(twin.DEVICE),
    )
  step = twin.make_train_step(
    loss, network, tensors, dtype=dtype, compiled=compiled
  )
  twin.peak_memory()
  step()
  step()  # Compiles once more where the first call changed something.
  peak = twin.peak_memory()
  return Competitor(
    step,
    time.perf_counter() - begin,
    f'{peak / 1e9:.2f} GB at most' if peak else '',
  )


def build_tensorflow(stage, variables, batch, *, vgg) -> Competitor:
  """TensorFlow, float32."""
  import tensorflow as tf

  from benchmarks import tensorflow_twin as twin

  first, second = variables
  begin = time.perf_counter()
  vgg = twin.variables_of(vgg, False)
  tensors = {name: tf.constant(value) for name, value in batch.items()}
  if stage == 1:
    params = twin.variables_of(first['params'], True)
    moving = twin.variables_of(first['batch_stats'], True)
    loss = functools.partial(
      twin.stage1_loss, params, moving, vgg, batch=tensors
    )
  else:
    params = twin.variables_of(second['params'], True)
    coarse = twin.variables_of(first, False)
    loss = functools.partial(
      twin.stage2_loss, params, coarse, vgg, batch=tensors
    )
  step = twin.make_train_step(loss, params)
  step()
  return Competitor(step, time.perf_counter() - begin)


def build(names, stage, variables, drawn, *, vgg, dtype) -> dict:
  """Name -> Competitor, of `sweep.OURS` and `sweep.COMPETITORS`."""
  ready = {}
  if sweep.OURS in names:
    ready[sweep.OURS] = build_ours(
      stage, variables, drawn, vgg=vgg, dtype=dtype
    )
  twins = [name for name in names if name != sweep.OURS]
  finished = problem.twin_batch(drawn) if twins else None
  for name in twins:
    if name == 'tensorflow':
      ready[name] = build_tensorflow(stage, variables, finished, vgg=vgg)
    else:
      ready[name] = build_torch(
        stage,
        variables,
        finished,
        vgg=vgg,
        dtype=dtype,
        compiled=name == 'torch_compile',
      )
  return ready


def compare(ready: dict, *, batch_size, flops, dtype, repeats) -> None:
  """Times all in turns and prints a line for each."""
  peak = timing.peak_flops(dtype)
  turns = {name: one.step for name, one in ready.items()}
  peaks = []
  times = timing.alternate(turns | {'': lambda: peaks.append(peak())}, repeats)
  best = max(peaks)
  print(
    f'  matrix product of {dtype}: {best / 1e12:.3g} TFLOP/s\n'
    f'  {"":14}{"images/s":>10}{"ms/step":>10}{"TFLOP/s":>10}{"of peak":>9}'
    f'{"first call s":>14}{"ours is":>9}'
  )
  for name, one in ready.items():
    seconds = statistics.median(times[name])
    rate = flops * batch_size / seconds
    ratio = '-'  # Where not all fitted into memory side by side.
    if sweep.OURS in ready:
      ratio = f'{seconds / statistics.median(times[sweep.OURS]):.2f}x'
    print(
      f'  {name:14}{batch_size / seconds:10.4g}{1e3 * seconds:10.4g}'
      f'{rate / 1e12:10.3g}{100 * rate / best:8.0f}%'
      f'{one.compile_seconds:14.1f}{ratio:>9}'
      + (f'  {one.memory}' if one.memory else '')
    )
  where, gigabytes = timing.peak_memory()
  print(f'  peak memory of the {where} so far: {gigabytes:.2f} GB')


def measure(arguments, names, batch_size, dtype) -> None:
  """Times a step of one batch size and type; prints a table."""
  size = sweep.parse_size(arguments.size)
  stage = arguments.stage
  flops = problem.step_flops(stage, arguments.features, size)
  print(
    f'\nstage {stage}, batch {batch_size}, {dtype}: '
    f'{flops / 1e9:.1f} GFLOP a picture'
  )
  compare(
    build(
      names,
      stage,
      problem.random_variables(arguments.features),
      problem.drawn_batch(batch_size, size),
      vgg=problem.random_vgg(),
      dtype=dtype,
    ),
    batch_size=batch_size,
    flops=flops,
    dtype=dtype,
    repeats=arguments.repeats,
  )


def main() -> int:
  parser = sweep.parser_of(__doc__, '16')
  parser.add_argument('--stage', type=int, choices=(1, 2), default=1)
  parser.add_argument(
    '--smoke', action='store_true', help='8 features, 64x64, batch 8'
  )
  parser.add_argument('--write_vgg', help='file to write, and nothing else')
  arguments = parser.parse_args()
  if arguments.write_vgg:
    problem.write_vgg(arguments.write_vgg)
    print(f'{arguments.write_vgg}: VGG19 with random weights')
    return 0
  if arguments.smoke:
    arguments.features, arguments.size, arguments.batch = 8, '64x64', '8'
  return sweep.sweep(measure, arguments)


if __name__ == '__main__':
  errors.run(main)
