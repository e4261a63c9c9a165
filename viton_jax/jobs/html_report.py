"""The HTML report of a batch job: metrics, and a row of images a pair."""

from collections.abc import Iterable, Mapping, Sequence
import html

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em; color: #222; }
table { border-collapse: collapse; }
th, td { padding: 4px 10px; text-align: right; }
th { font-weight: 600; color: #555; }
table.pairs { margin-top: 2em; }
table.pairs th { text-align: center; }
table.pairs td { padding: 3px; text-align: left; }
img { width: 144px; display: block; }
.failed { color: #a00; }
small { color: #777; }
"""


def render(
  title: str,
  summary: Sequence[str],
  *,
  metrics: Mapping[str, Mapping[str, float]] | None,
  columns: Sequence[str],
  pairs: Iterable[Mapping],
) -> str:
  """The whole page; images are named relative to it, nothing is fetched.

  Args:
    title: heading.
    summary: lines of text under it.
    metrics: method -> metric -> value, or None where no truth is known.
    columns: names of the images of a pair.
    pairs: dicts with `name`, and `images` (column -> relative path) or
      `reason` (why it failed).
  """
  parts = [
    '<!doctype html><html lang="en"><meta charset="utf-8">',
    f'<title>{html.escape(title)}</title><style>{_STYLE}</style>',
    f'<h1>{html.escape(title)}</h1>',
    *(f'<p>{html.escape(line)}</p>' for line in summary),
  ]
  if metrics:
    names = list(next(iter(metrics.values())))
    parts.append('<table><tr><th></th>')
    parts += [f'<th>{html.escape(name)}</th>' for name in names]
    for method, row in metrics.items():
      parts.append(f'<tr><th>{html.escape(method)}</th>')
      parts += [f'<td>{row[name]:.4g}</td>' for name in names]
    parts.append('</table>')
  parts.append('<table class="pairs"><tr>')
  parts += [f'<th>{html.escape(name)}</th>' for name in columns]
  for pair in pairs:
    parts.append('<tr>')
    name = html.escape(pair['name'])
    if 'reason' in pair:
      reason = html.escape(pair['reason'])
      parts.append(
        f'<td class="failed" colspan="{len(columns)}">{name}: {reason}</td>'
      )
      continue
    for column in columns:
      source = html.escape(pair['images'].get(column, ''))
      image = f'<img loading="lazy" src="{source}" alt="{column}">'
      parts.append(f'<td>{image if source else ""}</td>')
    parts.append(f'<tr><td colspan="{len(columns)}"><small>{name}</small></td>')
  parts.append('</table>')
  return '\n'.join(parts) + '\n'
