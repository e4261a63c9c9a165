"""Converts JAX functions of fixed shapes to ONNX graphs.

For what a try-on consists of: float32, bool and whole numbers; loops without
per-round inputs; no randomness. Whatever else comes raises
NotConvertibleError, nothing is left out silently.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax.extend import core
import numpy as np
import onnx
from onnx import helper

from viton_jax.serving.onnx_graph import (
  Graph,
  NotConvertibleError,
  Value,
  constant,
  element_type,
  evaluate,
  held_as,
  tensor_info,
)
from viton_jax.serving.onnx_rules import RULES, value_of

# Constants of more values than this are left to the runtime.
_FOLDED = 256
_INLINED = ('jaxpr', 'call_jaxpr', 'fun_jaxpr')
_UNCHANGED = ('copy', 'optimization_barrier', 'stop_gradient')


def convert(
  graph: Graph,
  function: Callable[..., Mapping[str, jax.Array]],
  inputs: Mapping[str, jax.ShapeDtypeStruct],
  *,
  names: Mapping[str, str],
) -> dict[str, str]:
  """Adds a function to a graph.

  Args:
    graph: to be added to.
    function: of the arrays by name.
    inputs: shapes and dtypes, all fixed.
    names: of the inputs' values in the graph.

  Returns:
    Name of an output -> that of its value, in its own shape and JAX's dtype.

  Raises:
    NotConvertibleError: the function does what cannot be converted.
  """
  closed, shapes = jax.make_jaxpr(function, return_shape=True)(dict(inputs))
  # JAX has the entries of a dict in the order of their names.
  given = []
  for key in sorted(inputs):
    entry, name = inputs[key], names[key]
    dtype, shape = held_as(entry.dtype), tuple(entry.shape)
    if dtype != entry.dtype:
      name = graph.add('Cast', name, to=element_type(dtype))
    given.append(Value(name, dtype, shape, shape))
  values = _run(graph, closed.jaxpr, closed.consts, given)
  made = {}
  for name, value in zip(sorted(shapes), values, strict=True):
    # Also gives every output a value of its own.
    wanted = element_type(shapes[name].dtype)
    made[name] = graph.add('Cast', graph.whole(value), to=wanted)
  return made


def _run(graph: Graph, jaxpr: Any, consts: Any, given: Sequence[Value]):
  """The values of a jaxpr's outputs."""
  known: dict[Any, Value] = {}

  def read(atom: Any) -> Value:
    if isinstance(atom, core.Literal):
      return constant(atom.val)
    return known[atom]

  known |= zip(jaxpr.constvars, map(constant, consts), strict=True)
  known |= zip(jaxpr.invars, given, strict=True)
  for eqn in jaxpr.eqns:
    outputs = _lower(graph, eqn, [read(x) for x in eqn.invars])
    known |= zip(eqn.outvars, outputs, strict=True)
  return [read(x) for x in jaxpr.outvars]


def _lower(graph: Graph, eqn: Any, inputs: list[Value]) -> list[Value]:
  """The values of an equation's outputs."""
  name, params = eqn.primitive.name, eqn.params
  if name in _UNCHANGED:
    return inputs
  if name == 'platform_index':
    # No platform of JAX's: the form for all others.
    return [constant(np.int32(params['platforms'].index(None)))]
  if name == 'cond' and inputs[0].array is not None:
    inner = params['branches'][int(inputs[0].array)]
    return _run(graph, inner.jaxpr, inner.consts, inputs[1:])
  if name == 'scan':
    return _loop(graph, eqn, inputs)
  if name == 'while':
    return _while(graph, eqn, inputs)
  inner = next((params[x] for x in _INLINED if x in params), None)
  if inner is not None and name != 'reduce_window':
    closed = hasattr(inner, 'consts')
    jaxpr, consts = (inner.jaxpr, inner.consts) if closed else (inner, ())
    return _run(graph, jaxpr, consts, inputs)
  if name not in RULES:
    raise NotConvertibleError(f'{name}: cannot be converted to ONNX')
  # What places depend on must be known here.
  sizes = [int(np.prod(x.aval.shape)) for x in (*eqn.invars, *eqn.outvars)]
  if all(x.array is not None for x in inputs) and max(sizes) <= _FOLDED:
    alone = Graph()
    names = [alone.whole(x) for x in _ruled(alone, eqn, inputs)]
    return [constant(x) for x in evaluate(alone, names)]
  return _ruled(graph, eqn, inputs)


def _ruled(graph: Graph, eqn: Any, inputs: list[Value]) -> list[Value]:
  made = RULES[eqn.primitive.name](graph, eqn, inputs)
  if not isinstance(made, list):
    made = [made]
  return [
    x if isinstance(x, Value) else value_of(x, out)
    for x, out in zip(made, eqn.outvars, strict=True)
  ]


def _loop(graph: Graph, eqn: Any, inputs: list[Value]) -> list[Value]:
  params, consts = eqn.params, eqn.params['num_consts']
  inner, carried = params['jaxpr'], inputs[consts:]
  if len(carried) != params['num_carry'] or params['reverse']:
    raise NotConvertibleError('a scan over arrays cannot be converted to ONNX')
  go = graph.constant(np.bool_(True))

  def step(body: Graph, state: list[Value]) -> tuple[str, list[Value]]:
    values = _run(body, inner.jaxpr, inner.consts, inputs[:consts] + state)
    return body.add('Identity', go), values

  rounds = graph.constant(np.int64(params['length']))
  return _repeat(graph, eqn, carried, rounds=rounds, go=go, step=step)


def _while(graph: Graph, eqn: Any, inputs: list[Value]) -> list[Value]:
  params = eqn.params
  count = params['cond_nconsts']
  for_cond, inputs = inputs[:count], inputs[count:]
  count = params['body_nconsts']
  for_body, carried = inputs[:count], inputs[count:]

  def goes_on(graph: Graph, state: list[Value]) -> str:
    inner = params['cond_jaxpr']
    (value,) = _run(graph, inner.jaxpr, inner.consts, for_cond + state)
    return graph.add('Identity', graph.whole(value))

  def step(body: Graph, state: list[Value]) -> tuple[str, list[Value]]:
    inner = params['body_jaxpr']
    values = _run(body, inner.jaxpr, inner.consts, for_body + state)
    return goes_on(body, values), values

  go = goes_on(graph, carried)
  return _repeat(graph, eqn, carried, rounds='', go=go, step=step)


def _repeat(graph, eqn, carried, *, rounds, go, step) -> list[Value]:
  """A Loop whose body is `step`: state -> whether to go on, and the next."""
  body = graph.body()
  state = [
    Value(body.fresh(), x.dtype, x.shape, x.shape, None) for x in carried
  ]
  on, values = step(body, state)
  results = [body.add('Identity', body.whole(x)) for x in values]

  def info(names: Sequence[str | None]) -> list[onnx.ValueInfoProto]:
    return [
      tensor_info(str(name), x.dtype, x.shape)
      for name, x in zip(names, carried, strict=True)
    ]

  number, goes = body.fresh(), body.fresh()
  made = helper.make_graph(
    body.nodes,
    'body',
    [
      tensor_info(number, np.int64, ()),
      tensor_info(goes, np.bool_, ()),
      *info([x.name for x in state]),
    ],
    [tensor_info(on, np.bool_, ()), *info(results)],
  )
  begin = [rounds, go, *(graph.whole(x) for x in carried)]
  names = graph.add_many('Loop', begin, len(carried), body=made)
  return [
    value_of(name, out) for name, out in zip(names, eqn.outvars, strict=True)
  ]
