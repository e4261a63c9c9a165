"""Damage of every kind, as a function of a random generator alone."""

import json
import struct

import numpy as np

_NUMBERS = (0, 1, 2, 3, 7, 8, 15, 16, 127, 128, 255)
_LARGE = (2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
_VALUES = (
  None, True, 0, -1, 5, 1e308, 1e-320, 10**30, 'x' * 300, '', '../../etc', [],
  {}, [[[[]]]], float('nan'), float('inf'), 2**63, '\ud800', 'nul\0',
)  # fmt: skip


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
  """The bytes with one to four things wrong with them."""
  for _ in range(rng.integers(1, 5)):
    kinds = [_flip, _flip, _cut, _insert, _repeat, _zero, _number, _splice]
    if data[:1] in (b'{', b'['):
      kinds += [_structure] * 6
    data = kinds[rng.integers(len(kinds))](data, rng)
  return data


def _place(data, rng, low=0):
  # Headers decide more than contents do.
  end = len(data) if rng.random() < 0.6 else min(len(data), 256)
  return int(rng.integers(low, max(end, low + 1)))


def _flip(data, rng):
  if not data:
    return data
  place = _place(data, rng)
  value = data[place] ^ (1 << int(rng.integers(8)))
  return data[:place] + bytes([value]) + data[place + 1 :]


def _cut(data, rng):
  return data[: _place(data, rng)]


def _insert(data, rng):
  place = _place(data, rng)
  return data[:place] + rng.bytes(int(rng.integers(1, 9))) + data[place:]


def _repeat(data, rng):
  place = _place(data, rng)
  piece = data[place : place + int(rng.integers(1, 65))]
  return data[:place] + piece * int(rng.choice([2, 3, 100])) + data[place:]


def _zero(data, rng):
  place = _place(data, rng)
  size = int(rng.choice([1, 4, 64, 4096]))
  return (
    data[:place] + bytes(len(data[place : place + size])) + data[place + size :]
  )


def _number(data, rng):
  place, size = _place(data, rng), int(rng.choice([1, 2, 4, 8]))
  value = (
    int(rng.choice(_NUMBERS))
    if rng.random() < 0.5
    else int(_LARGE[rng.integers(len(_LARGE))])
  )
  order = '<' if rng.random() < 0.5 else '>'
  kind = {1: 'B', 2: 'H', 4: 'I', 8: 'Q'}[size]
  packed = struct.pack(order + kind, value % 256**size)
  return data[:place] + packed + data[place + size :]


def _splice(data, rng):
  start, end = sorted((_place(data, rng), _place(data, rng)))
  return data[:start] + data[end:]


def _structure(data, rng):
  """Another value somewhere in JSON, or a member less."""
  try:
    return _restructured(json.loads(data), data, rng)
  # Newer Pythons read deeper than a function of ours can follow.
  except (ValueError, RecursionError):
    return data


def _restructured(value, data, rng):
  parents = []

  def visit(node):
    items = (
      list(node.items())
      if isinstance(node, dict)
      else list(enumerate(node))
      if isinstance(node, list)
      else []
    )
    for key, child in items:
      parents.append((node, key))
      visit(child)

  visit(value)
  if not parents:
    return data
  node, key = parents[rng.integers(len(parents))]
  if rng.random() < 0.2:
    del node[key]
  elif rng.random() < 0.1:
    return b'[' * 5000 + data + b']' * 5000
  else:
    node[key] = _VALUES[rng.integers(len(_VALUES))]
  return json.dumps(value).encode('utf-8', 'surrogatepass')
