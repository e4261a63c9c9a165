"""The HTML report of a batch job: metrics, and for each pair what was done."""

from collections.abc import Iterable, Mapping, Sequence

from viton_jax.io import html_pages
from viton_jax.io.html_pages import Cell


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
  body = [html_pages.paragraph(line) for line in summary]
  if metrics:
    names = list(next(iter(metrics.values())))
    rows = {
      method: [Cell(f'{row[name]:.4g}') for name in names]
      for method, row in metrics.items()
    }
    arrows = {name: '↑' if 'ssim' in name else '↓' for name in names}
    body.append(
      html_pages.table(
        [Cell(f'{name} {arrows[name]}') for name in names],
        rows,
        corner='method',
      )
    )
  body.append(
    html_pages.fold(
      'What the images are', [html_pages.definitions(dict(columns))]
    )
  )
  for pair in pairs:
    body += _section(pair, columns, large)
  return html_pages.document(title, body)


def _section(
  pair: Mapping, columns: Mapping[str, str], large: Sequence[str]
) -> list[str]:
  heading = f'<section><h3>{html_pages.escaped(pair["name"])}</h3>'
  if 'reason' in pair:
    reason = html_pages.paragraph(pair['reason'], kind='failed')
    return [heading, reason, '</section>']
  there = [column for column in columns if column in pair['images']]

  def pictures(names):
    return [
      html_pages.picture(
        pair['images'][column], column, of=pair['name'], link=True
      )
      for column in names
    ]

  parts = [heading, '<div class="large">']
  parts += pictures(column for column in there if column in large)
  parts.append('</div>')
  steps = [column for column in there if column not in large]
  if steps:
    parts.append(
      html_pages.fold(
        'steps', ['<div class="steps">', *pictures(steps), '</div>']
      )
    )
  return [*parts, '</section>']
