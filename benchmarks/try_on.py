"""How fast a try-on is, whole and by part, beside PyTorch and TensorFlow.

  python -m benchmarks.try_on --batch 1,8,64 --against torch,torch_compile

From uint8 working examples in host memory to images in host memory: the
person representation and the first network on the device, matching on the host
(all cores), warp and second network on the device; and all of it in one program
on the device. Weights are random, so the matching gets the drawn person's true
region in place of what an untrained network predicts. The twins run the
networks and the warp alone, on inputs that are ready on the device.
"""

from collections.abc import Callable
import functools
import statistics

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import problem, sweep, timing
from viton_jax import engine, errors, geometry, predictions
from viton_jax.models import EncoderDecoder, Refinement
from viton_jax.runtime import environment, parallel

_NO_VARIABLES = np.float32(0)  # pmap takes None for no argument.
_INPUTS = ('person', 'garment', 'head_mask', 'body', 'keypoints')


def build_ours(variables, batch, *, dtype) -> dict[str, Callable]:
  """The whole try-on and its parts, each waits for its work."""
  first, second = variables
  features = first['params']['encoder_1']['kernel'].shape[-1]
  dtype = jnp.dtype(dtype)
  predict = functools.partial(
    predictions.predict_coarse,
    model=EncoderDecoder(features=features, dtype=dtype),
  )
  coarse_step = parallel.predict_split(predict)

  def refine(variables, batch):
    return predictions.predict_refined(
      variables,
      batch,
      batch['control_points'],
      batch['mask'],
      batch['coarse'],
      model=Refinement(features=features, dtype=dtype),
    )['output']

  def match(batch):
    points, _ = geometry.match_batch(batch['garment_mask'], batch['region'])
    return {'control_points': points}

  def one_program(variables, batch):
    mask, coarse = predict(variables[0], batch)
    predicted = {'mask': mask, 'coarse': coarse}
    return refine(variables[1], {**batch, **match(batch), **predicted})

  refine_step = parallel.predict_split(refine)
  match_step = parallel.predict_split(lambda _, batch: match(batch))
  one_step = parallel.predict_split(one_program)
  first, second = parallel.replicate(first), parallel.replicate(second)
  inputs = {name: batch[name] for name in _INPUTS}
  masks = {name: batch[name] for name in ('garment_mask', 'region')}
  on_device = jax.device_put(parallel.shard(inputs))
  masks_on_device = jax.device_put(parallel.shard(masks))

  def matching():
    points, _ = engine.match_masks(
      batch['garment_mask'],
      batch['region'].astype(np.float32),
      fidelity='fixed',
      workers=environment.cores(),
    )
    return points

  def whole():
    split = parallel.shard(inputs)
    mask, coarse = coarse_step(first, split)
    parallel.unshard(mask)
    points = parallel.shard({'control_points': matching()})
    output = refine_step(
      second,
      {'garment': split['garment'], **points, 'mask': mask, 'coarse': coarse},
    )
    return parallel.unshard(output)

  mask, coarse = coarse_step(first, on_device)
  refine_inputs = {
    'garment': on_device['garment'],
    **parallel.shard({'control_points': batch['control_points']}),
    'mask': mask,
    'coarse': coarse,
  }
  return {
    'whole try-on': whole,
    'in one program': lambda: parallel.unshard(
      one_step((first, second), parallel.shard(inputs | masks))
    ),
    'first network': lambda: jax.block_until_ready(
      coarse_step(first, on_device)
    ),
    'matching': matching,
    'matching on the device': lambda: jax.block_until_ready(
      match_step(_NO_VARIABLES, masks_on_device)
    ),
    'warp, second network': lambda: jax.block_until_ready(
      refine_step(second, refine_inputs)
    ),
  }


def build_torch(variables, batch, *, dtype, compiled) -> dict[str, Callable]:
  """PyTorch's two networks."""
  import torch

  from benchmarks import torch_twin as twin

  first = twin.to_device(twin.EncoderDecoder(variables[0])).eval()
  second = twin.to_device(twin.Refinement(variables[1]['params'])).eval()
  warp = twin.Warp(batch['image'].shape[1:3]).to(twin.DEVICE)
  refine = functools.partial(twin.refine, second, warp)
  if compiled:
    first, refine = torch.compile(first), torch.compile(refine)
  tensors = twin.to_torch(batch)

  @torch.inference_mode()
  def coarse():
    with twin.autocast(dtype):
      found = first(tensors['inputs'])
    twin.synchronise()
    return found

  predicted = coarse()

  @torch.inference_mode()
  def refined():
    with twin.autocast(dtype):
      found = refine(tensors, *predicted)
    twin.synchronise()
    return found

  return {'first network': coarse, 'warp, second network': refined}


def build_tensorflow(variables, batch) -> dict[str, Callable]:
  """TensorFlow's two networks, float32."""
  import tensorflow as tf

  from benchmarks import tensorflow_twin as twin

  first = twin.variables_of(variables[0], False)
  second = twin.variables_of(variables[1]['params'], False)
  tensors = {name: tf.constant(value) for name, value in batch.items()}

  @tf.function(autograph=False)
  def coarse(inputs):
    return twin.encoder_decoder(
      first['params'], first['batch_stats'], inputs, train=False
    )

  @tf.function(autograph=False)
  def refined(mask, picture):
    return twin.refine(second, tensors, mask, picture)

  predicted = coarse(tensors['inputs'])
  # One number is fetched, so that the call ends with the work.
  return {
    'first network': lambda: coarse(tensors['inputs'])[0][0, 0, 0].numpy(),
    'warp, second network': lambda: refined(*predicted)[0][0, 0, 0].numpy(),
  }


def build(names, variables, drawn, *, dtype) -> dict[str, dict[str, Callable]]:
  """Name -> its parts, of `sweep.OURS` and `sweep.COMPETITORS`."""
  ready = {}
  if sweep.OURS in names:
    ready[sweep.OURS] = build_ours(variables, drawn, dtype=dtype)
  twins = [name for name in names if name != sweep.OURS]
  finished = problem.twin_batch(drawn) if twins else None
  for name in twins:
    if name == 'tensorflow':
      ready[name] = build_tensorflow(variables, finished)
    else:
      ready[name] = build_torch(
        variables, finished, dtype=dtype, compiled=name == 'torch_compile'
      )
  return ready


def measure(arguments, names, batch_size, dtype) -> None:
  """Times the parts of one batch size and type; prints a line for each."""
  variables = problem.random_variables(arguments.features)
  drawn = problem.drawn_batch(batch_size, sweep.parse_size(arguments.size))
  ready = build(names, variables, drawn, dtype=dtype)
  print(f'\nbatch {batch_size}, {dtype}: milliseconds a batch, images/s')
  for part in dict.fromkeys(part for parts in ready.values() for part in parts):
    turns = {
      name: parts[part] for name, parts in ready.items() if part in parts
    }
    for function in turns.values():
      function()
    times = timing.alternate(turns, arguments.repeats)
    line = f'  {part:22}'
    for name in turns:
      seconds = statistics.median(times[name])
      line += f'{name:>14} {1e3 * seconds:8.1f} {batch_size / seconds:8.4g}/s'
      if name != sweep.OURS and sweep.OURS in turns:
        line += f' ({seconds / statistics.median(times[sweep.OURS]):.2f}x)'
    print(line)


def main() -> int:
  return sweep.sweep(
    measure,
    sweep.parser_of(__doc__, '1,8,64').parse_args(),
    remark='; (x): how many times longer than ours',
  )


if __name__ == '__main__':
  errors.run(main)
