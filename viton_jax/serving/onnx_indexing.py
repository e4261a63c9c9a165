"""JAX's gathers, scatters, slices and windows as nodes of ONNX graphs."""

from collections.abc import Sequence
from typing import Any

from jax import lax
import numpy as np

from viton_jax.serving.onnx_graph import Graph, NotConvertibleError, Value


def gather(graph: Graph, eqn: Any, x: Value, at: Value) -> str:
  """`lax.gather` of single elements, or of constant places."""
  numbers, sizes = eqn.params['dimension_numbers'], eqn.params['slice_sizes']
  mapped = _ints(numbers.start_index_map)
  collapsed = _ints(numbers.collapsed_slice_dims)
  batch = _ints(numbers.operand_batching_dims)
  rank = len(x.shape)
  out_shape = eqn.outvars[0].aval.shape
  if at.array is not None and at.array.size == len(mapped) and not batch:
    begins = [0] * rank
    for axis, begin in zip(mapped, at.array.ravel(), strict=True):
      begins[axis] = int(np.clip(begin, 0, x.shape[axis] - sizes[axis]))
    ends = [begin + size for begin, size in zip(begins, sizes, strict=True)]
    # Constant places have no axes of their own but those of length 1.
    return graph.reshaped(slice_of(graph, x, begins, ends), sizes, out_shape)
  # A slice as long as its axis begins at 0.
  kept = [
    k for k, a in enumerate(mapped) if sizes[a] == 1 or sizes[a] != x.shape[a]
  ]
  indexed = [mapped[k] for k in kept]
  if any(sizes[axis] != 1 for axis in indexed) or _ints(
    numbers.start_indices_batching_dims
  ) != list(range(len(batch))):
    raise NotConvertibleError(f'ONNX has no such gather: {numbers}')
  windows = [a for a in range(rank) if a not in batch and a not in indexed]
  data = graph.transposed(graph.whole(x), [*batch, *indexed, *windows])
  name = graph.whole(at)
  if len(kept) < len(mapped):
    name = graph.add('Gather', name, graph.sizes(kept), axis=-1)
  if eqn.params['mode'] == lax.GatherScatterMode.CLIP:
    last = np.array([x.shape[axis] - 1 for axis in indexed], np.int32)
    name = graph.add('Max', name, graph.constant(np.int32(0)))
    name = graph.add('Min', name, graph.constant(last))
  name = graph.add('Cast', name, to=_INT64)
  name = graph.add('GatherND', data, name, batch_dims=len(batch))
  # Now (places, windows); of the windows JAX keeps what is not collapsed.
  lead = len(at.shape) - 1
  rest = [a for a in range(rank) if a not in collapsed and a not in batch]
  single = [axis for axis in rest if axis in indexed]
  sizes_now = [*at.shape[:-1], *(x.shape[a] for a in windows)]
  name = graph.reshaped(name, sizes_now, [*sizes_now, *(1 for _ in single)])
  order = [-1] * len(out_shape)
  for place, axis in zip(_ints(numbers.offset_dims), rest, strict=True):
    order[place] = lead + (windows + single).index(axis)
  leading = iter(range(lead))
  order = [next(leading) if place < 0 else place for place in order]
  return graph.transposed(name, order)


def scatter(graph: Graph, eqn: Any, x: Value, at: Value, new: Value) -> str:
  """`lax.scatter` and `scatter_add` along the last axis, or at one place."""
  numbers = eqn.params['dimension_numbers']
  rows = list(range(len(x.shape) - 1))
  last = len(rows)
  adds = eqn.primitive.name == 'scatter-add'
  mapped = _ints(numbers.scatter_dims_to_operand_dims)
  if (
    len(at.shape) == len(x.shape) + 1
    and _ints(numbers.operand_batching_dims) == rows
    and _ints(numbers.scatter_indices_batching_dims) == rows
    and _ints(numbers.inserted_window_dims) == mapped == [last]
  ):
    name = graph.reshaped(graph.whole(at), at.shape, at.shape[:-1])
    name = graph.add('Cast', name, to=_INT64)
    return graph.add(
      'ScatterElements',
      *(graph.whole(x), name, graph.whole(new)),
      axis=last,
      reduction='add' if adds else 'none',
    )
  if (
    at.array is None
    or at.array.size != 1
    or adds
    or mapped != _ints(numbers.inserted_window_dims)
  ):
    raise NotConvertibleError(f'ONNX has no such scatter: {numbers}')
  (axis,), place = mapped, int(at.array.ravel()[0])
  wide = [*x.shape[:axis], 1, *x.shape[axis + 1 :]]
  parts = [graph.reshaped(graph.whole(new), new.shape, wide)]
  ends = list(x.shape)
  if place > 0:
    ends[axis] = place
    parts.insert(0, slice_of(graph, x, [0] * len(ends), ends))
  if place + 1 < x.shape[axis]:
    begins = [0] * len(ends)
    begins[axis] = place + 1
    parts.append(slice_of(graph, x, begins, x.shape))
  return graph.add('Concat', *parts, axis=axis)


def slice_of(
  graph: Graph,
  x: Value,
  begins: Sequence[int],
  ends: Sequence[int],
  steps: Sequence[int] | None = None,
) -> str:
  """A part of a value, by where it begins and ends along each axis."""
  steps = steps or [1] * len(x.shape)
  axes = [
    axis
    for axis, length in enumerate(x.shape)
    if (begins[axis], ends[axis], steps[axis]) != (0, length, 1)
  ]
  name = graph.whole(x)
  if not axes:
    return name
  parts = ([x[axis] for axis in axes] for x in (begins, ends))
  return graph.add(
    'Slice',
    name,
    *(graph.sizes(part) for part in parts),
    graph.sizes(axes),
    graph.sizes([steps[axis] for axis in axes]),
  )


def row(graph: Graph, x: Value, places: Sequence[Value]) -> str:
  """`lax.dynamic_slice` of one row, (n, ...) -> (1, ...)."""
  if any(place.array is None or place.array.any() for place in places[1:]):
    raise NotConvertibleError('ONNX has no such dynamic slice')
  name = graph.reshaped(graph.whole(places[0]), (), (1,))
  return graph.add('Gather', graph.whole(x), name, axis=0)


def window_max(
  graph: Graph,
  x: Value,
  *,
  window: Sequence[int],
  pads: Sequence[tuple[int, int]],
) -> str:
  """The largest value of each window, (b, w) to (b, h, w, 1), as float32.

  Args:
    graph: to be added to.
    x: the values.
    window: of each axis, 1 along the first.
    pads: of each axis, which hold nothing.
  """
  # As images of one channel, with what is missing of their three sides.
  more = (1,) * (3 - len(x.shape))
  sides = [*x.shape, *more]
  window, pads = [*window, *more], [*pads, *((0, 0) for _ in more)]
  if window[0] != 1 or any(n != 1 for n in (*window[3:], *sides[3:])):
    raise NotConvertibleError('ONNX has no such window')
  wide = [sides[0], 1, *sides[1:3]]
  name = graph.reshaped(graph.whole(x), x.shape, wide)
  name = graph.add('Cast', name, to=_FLOAT)
  low, high = zip(*pads[1:3], strict=True)
  name = graph.add(
    'MaxPool', name, kernel_shape=list(window[1:3]), pads=[*low, *high]
  )
  return graph.reshaped(name, wide, x.shape)


_INT64, _FLOAT = 7, 1  # ONNX's numbers.


def _ints(numbers: Any) -> list[int]:
  return [int(x) for x in numbers]
