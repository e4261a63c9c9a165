"""The HTML report of a batch job: metrics, and for each pair what was done."""

from collections.abc import Iterable, Mapping, Sequence
import html

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem;
  max-width: 1200px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: .25rem .75rem; text-align: right; }
th { font-weight: 600; opacity: .7; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; }
dt { font-weight: 600; }
dd { margin: 0; }
section { border-top: 1px solid #8886; margin-top: 1.5rem; padding-top: 1rem; }
h2 { font-size: .9rem; font-weight: 600; opacity: .7; margin: 0 0 .5rem;
  overflow-wrap: anywhere; }
.large { display: grid; gap: .5rem;
  grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); }
.steps { display: grid; gap: .5rem; margin-top: .5rem;
  grid-template-columns: repeat(auto-fill, minmax(96px, 1fr)); }
figure { margin: 0; }
figcaption { font-size: .8rem; opacity: .7; }
img { width: 100%; display: block; border-radius: 4px; background: #8882; }
.large figure { max-width: 300px; }
.failed { color: #c33; }
"""


def render(
  title: str,
  summary: Sequence[str],
  *,
  metrics: Mapping[str, Mapping[str, float]] | None,
  columns: Mapping[str, str],
  large: Sequence[str],
  pairs: Iterable[Mapping],
) -> str:
  """The whole page; images are named relative to it, nothing is fetched.

  Args:
    title: heading.
    summary: lines of text under it.
    metrics: method -> metric -> value, or None where no truth is known.
    columns: images of a pair in their order, name -> what it shows.
    large: those that are shown large; the others are behind a click.
    pairs: dicts with `name`, and `images` (column -> relative path) or
      `reason` (why it failed).
  """
  parts = [
    '<!doctype html><html lang="en"><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    f'<title>{html.escape(title)}</title><style>{_STYLE}</style>',
    f'<h1>{html.escape(title)}</h1>',
    *(f'<p>{html.escape(line)}</p>' for line in summary),
  ]
  if metrics:
    parts += _table(metrics)
  parts.append('<details><summary>What the images are</summary><dl>')
  parts += [
    f'<dt>{html.escape(name)}</dt><dd>{html.escape(what)}</dd>'
    for name, what in columns.items()
  ]
  parts.append('</dl></details>')
  for pair in pairs:
    parts += _section(pair, columns, large)
  return '\n'.join(parts) + '\n'


def _table(metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
  names = list(next(iter(metrics.values())))
  parts = ['<div class="scroll"><table><tr><th></th>']
  parts += [f'<th>{html.escape(name)}</th>' for name in names]
  for method, row in metrics.items():
    parts.append(f'<tr><th>{html.escape(method)}</th>')
    parts += [f'<td>{row[name]:.4g}</td>' for name in names]
  return [*parts, '</table></div>']


def _section(
  pair: Mapping, columns: Mapping[str, str], large: Sequence[str]
) -> list[str]:
  name = html.escape(pair['name'])
  if 'reason' in pair:
    reason = html.escape(pair['reason'])
    return [f'<section><h2>{name}</h2><p class="failed">{reason}</p></section>']
  there = [column for column in columns if column in pair['images']]

  def figures(names):
    return [
      f'<figure><a href="{source}"><img loading="lazy" src="{source}" '
      f'alt="{column} of {name}"></a><figcaption>{column}</figcaption></figure>'
      for column in names
      for source in [html.escape(pair['images'][column])]
    ]

  parts = [f'<section><h2>{name}</h2><div class="large">']
  parts += figures(column for column in there if column in large)
  parts.append('</div>')
  steps = [column for column in there if column not in large]
  if steps:
    parts.append('<details><summary>steps</summary><div class="steps">')
    parts += [*figures(steps), '</div></details>']
  return [*parts, '</section>']
