"""Protocols in words: for --list_protocols, metrics.json and the report."""

from collections.abc import Sequence

from viton_jax.evaluation.protocols import (
  NOT_REPRODUCED,
  PROTOCOLS,
  Figure,
  Protocol,
)


def card(protocol: Protocol, figures: Sequence[Figure]) -> dict:
  """What a reader must know of a protocol to compare figures; for JSON."""
  return {
    'name': protocol.name,
    'source': protocol.source,
    'size': _size(protocol.size) or 'of the results',
    'truth_resize': (
      'means of areas'
      if protocol.truth_resize == 'area'
      else f'Pillow {protocol.truth_resize}'
    )
    + ', where its size differs',
    'real_set': (
      'all pictures of the truth folder'
      if protocol.real_set == 'all'
      else 'the true pictures of the pairs'
    ),
    'figures': {x.name: parameters(x) for x in figures},
    'notes': list(protocol.notes),
  }


def parameters(figure: Figure) -> dict:
  """Every parameter of a figure that says something; for JSON."""
  row = {
    'library': figure.library,
    'variant': figure.variant,
    'resize': figure.resize and f'Pillow bilinear to {_size(figure.resize)}',
    'network': figure.extractor,
    'prepared_as': figure.prepared,
    'layer': figure.tap,
    'splits': figure.splits,
    'seed': figure.seed,
    'times': figure.scale if figure.scale != 1 else None,
    'better': 'higher' if figure.higher else 'lower',
    'hides': figure.hides,
    'only_with': f'--figures {figure.name}' if figure.optional else None,
  }
  return {name: value for name, value in row.items() if value not in ('', None)}


def describe() -> str:
  """Every parameter of every protocol, to be read on a terminal."""
  lines = []
  for protocol in PROTOCOLS.values():
    row = card(protocol, protocol.figures)
    lines += [protocol.name, f'  source: {protocol.source}']
    for name in ('size', 'truth_resize', 'real_set'):
      lines.append(f'  {name}: {row[name]}')
    for name, values in row['figures'].items():
      lines.append(f'  {name}')
      lines += [f'    {key}: {value}' for key, value in values.items()]
    lines += [f'  note: {note}' for note in protocol.notes]
    lines.append('')
  lines += [
    f'{name}\n  cannot be reproduced: {why}'
    for name, why in NOT_REPRODUCED.items()
  ]
  return '\n'.join(lines)


def _size(size: tuple[int, int] | None) -> str | None:
  return f'{size[0]} x {size[1]} (height x width)' if size else None
