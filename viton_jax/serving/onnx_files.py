"""The try-on as an ONNX file, which onnxruntime runs with nothing else.

One graph from photos, masks, joints and labels to the picture, the matching
included. `try_on.onnx` takes any number of pairs, one after the other, since a
graph of fixed shapes is smaller and faster than one of free ones; a page in a
browser gets the graph of a single pair.
"""

from collections.abc import Mapping
import json
import pathlib

import jax
import numpy as np
import onnx
from onnx import helper

from viton_jax.checkpoints import Checkpoint
from viton_jax.choices import Composition
from viton_jax.errors import InputError
from viton_jax.geometry.device import REASONS
from viton_jax.serving import onnx_convert, programs
from viton_jax.serving.onnx_graph import (
  Graph,
  NotConvertibleError,
  make_model,
  tensor_info,
)
from viton_jax.serving.onnx_runtime import NAME


def write(
  folder: pathlib.Path,
  networks: tuple[Checkpoint, Checkpoint],
  *,
  composing: Composition,
  one_pair: bool = False,
) -> None:
  """Writes `try_on.onnx` into `folder`, float32.

  Args:
    folder: of the export.
    networks: encoder-decoder and refinement network.
    composing: see `networks.pure_steps`.
    one_pair: write the graph of a single pair, else of any number of them.

  Raises:
    InputError: this JAX makes of the program what cannot be converted.
  """
  specs = programs.describe_inputs(networks[0].size)
  inputs = {
    name: jax.ShapeDtypeStruct((1, *spec['shape'][1:]), np.dtype(spec['dtype']))
    for name, spec in specs.items()
  }
  whole = programs.function(*networks, dtype='float32', composing=composing)
  weights = programs.weights_of(*networks)

  def try_on(arrays: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    return whole(weights, arrays)

  graph = Graph()
  outputs = jax.eval_shape(try_on, inputs)
  add = _one_pair if one_pair else _each_pair
  try:
    add(graph, try_on, inputs, outputs)
  except NotConvertibleError as error:
    raise InputError(
      f'jax {jax.__version__}: {error}; install the versions of '
      'constraints.txt, or leave the formats onnx and web out'
    ) from error
  first = 1 if one_pair else 'b'

  def described(entries: Mapping[str, jax.ShapeDtypeStruct]):
    return [
      tensor_info(name, x.dtype, (first, *x.shape[1:]))
      for name, x in entries.items()
    ]

  model = make_model(graph, described(inputs), described(outputs))
  helper.set_model_props(model, {'reasons': json.dumps(REASONS)})
  onnx.save(model, str(folder / NAME))


def _one_pair(graph, try_on, inputs, outputs) -> None:
  """Adds the graph of one, with its names."""
  del outputs  # The function's own.
  names = onnx_convert.convert(
    graph, try_on, inputs, names={name: name for name in inputs}
  )
  for name, value in names.items():
    graph.nodes.append(helper.make_node('Identity', [value], [name]))


def _each_pair(graph, try_on, inputs, outputs) -> None:
  """Adds a Scan over the pairs, whose body is the graph of one."""
  body = graph.body()
  rows = {name: body.fresh() for name in inputs}
  values = {
    name: body.add('Unsqueeze', row, graph.sizes([0]))
    for name, row in rows.items()
  }
  made = onnx_convert.convert(body, try_on, inputs, names=values)
  results = {
    name: body.add('Squeeze', value, graph.sizes([0]))
    for name, value in made.items()
  }
  one = helper.make_graph(
    body.nodes,
    'pair',
    [tensor_info(rows[x], inputs[x].dtype, inputs[x].shape[1:]) for x in rows],
    [
      tensor_info(results[x], outputs[x].dtype, outputs[x].shape[1:])
      for x in results
    ],
  )
  graph.nodes.append(
    helper.make_node(
      'Scan', list(rows), list(results), num_scan_inputs=len(rows), body=one
    )
  )
