"""Pieces of HTML pages that need nothing from outside.

One style for all of them: it works on a telephone (360 px), in dark mode, and
printed. Everything that is not made here is escaped here.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import html

import numpy as np

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --bar: #4a7ab8;
  --bad: #c22; --good: #17803d; }
@media (prefers-color-scheme: dark) {
  :root { --bar: #7aa7dd; --bad: #f77; --good: #6c6; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem;
  max-width: 1200px; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
h3 { font-size: .9rem; font-weight: 600; margin: 0 0 .5rem; }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; overflow-wrap: normal; }
caption { text-align: left; padding: .25rem 0; }
th, td { padding: .25rem .75rem; text-align: right; vertical-align: top; }
th:first-child { text-align: left; position: sticky; left: 0;
  background: Canvas; }
thead th { border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; }
td small { display: block; white-space: nowrap; opacity: .75; }
td { font-variant-numeric: tabular-nums; white-space: nowrap; }
th[scope=row] { white-space: nowrap; }
dl { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr;
  gap: .1rem 1rem; }
dt { font-weight: 600; }
dd { margin: 0; }
@media (max-width: 500px) { dl { grid-template-columns: 1fr; }
  dd { margin: 0 0 .4rem; } th, td { padding: .25rem .5rem; } }
section { border-top: 1px solid var(--line); margin-top: 1.5rem;
  padding-top: 1rem; }
.large { display: grid; gap: .5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(140px, 30%), 1fr)); }
.large figure { max-width: 300px; }
.steps { display: grid; gap: .5rem; margin-top: .5rem;
  grid-template-columns: repeat(auto-fill, minmax(96px, 1fr)); }
.cases .large {
  grid-template-columns: repeat(auto-fit, minmax(72px, 1fr)); }
.cases { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr)); }
.charts { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(260px, 100%), 1fr)); }
figure { margin: 0; }
figcaption { font-size: .8rem; }
img { width: 100%; display: block; border-radius: 4px;
  background: var(--soft); }
svg { width: 100%; height: auto; display: block; }
svg rect { fill: var(--bar); }
svg line { stroke: currentColor; opacity: .5; }
svg text { font-size: 11px; fill: currentColor; }
.warning { border-left: 4px solid var(--bad); padding-left: .75rem; }
.failed { color: var(--bad); }
details { margin: .5rem 0; }
summary { cursor: pointer; }
"""


@dataclasses.dataclass(frozen=True)
class Cell:
  """A cell of a table.

  Attributes:
    text: in it.
    below: in small letters under it.
    bold: whether the text is bold.
    title: explains it where a mouse points.
  """

  text: str
  below: str = ''
  bold: bool = False
  title: str = ''


def document(title: str, body: Iterable[str]) -> str:
  """A whole page: heading and parts that are HTML already."""
  heading = html.escape(title)
  return '\n'.join(
    [
      '<!doctype html><html lang="en"><head><meta charset="utf-8">',
      '<meta name="viewport" content="width=device-width, initial-scale=1">',
      f'<title>{heading}</title><style>{_STYLE}</style></head><body>',
      f'<h1>{heading}</h1>',
      *body,
      '</body></html>\n',
    ]
  )


def escaped(text: str) -> str:
  """Text as it may stand in HTML."""
  return html.escape(text)


def paragraph(text: str, *, kind: str = '') -> str:
  """A paragraph; `kind` is a class of the style: 'warning', 'failed'."""
  start = f'<p class="{kind}">' if kind else '<p>'
  return f'{start}{html.escape(text)}</p>'


def table(
  columns: Sequence[Cell],
  rows: Mapping[str, Sequence[Cell]],
  *,
  corner: str = '',
) -> str:
  """A table that scrolls sideways where it is too wide.

  Args:
    columns: headings.
    rows: heading -> its cells, as many as columns.
    corner: heading of the headings.
  """
  head = ''.join(
    f'<th scope="col"{_title(x)}>{html.escape(x.text)}</th>' for x in columns
  )
  lines = [
    '<div class="scroll" tabindex="0"><table><thead><tr>',
    f'<th scope="col">{html.escape(corner)}</th>{head}</tr></thead><tbody>',
  ]
  for name, cells in rows.items():
    row = ''.join(f'<td{_title(cell)}>{_inside(cell)}</td>' for cell in cells)
    lines.append(f'<tr><th scope="row">{html.escape(name)}</th>{row}</tr>')
  return '\n'.join([*lines, '</tbody></table></div>'])


def _title(cell: Cell) -> str:
  return f' title="{html.escape(cell.title)}"' if cell.title else ''


def _inside(cell: Cell) -> str:
  text = html.escape(cell.text)
  if cell.bold:
    text = f'<b>{text}</b>'
  return text + (f'<small>{html.escape(cell.below)}</small>' * bool(cell.below))


def definitions(items: Mapping[str, str]) -> str:
  """A list of terms and what they are."""
  rows = (
    f'<dt>{html.escape(name)}</dt><dd>{html.escape(what)}</dd>'
    for name, what in items.items()
  )
  return '\n'.join(['<dl>', *rows, '</dl>'])


def fold(heading: str, body: Iterable[str], *, opened: bool = False) -> str:
  """Parts behind a click."""
  start = '<details open>' if opened else '<details>'
  return '\n'.join(
    [start, f'<summary>{html.escape(heading)}</summary>', *body, '</details>']
  )


def picture(source: str, caption: str, *, of: str, link: bool = False) -> str:
  """A picture with its caption.

  Args:
    source: relative path, or what `jpeg_source` gives.
    caption: under it.
    of: what it belongs to, for those who do not see it.
    link: whether a click opens the file.
  """
  source, caption = html.escape(source), html.escape(caption)
  image = (
    f'<img loading="lazy" src="{source}" alt="{caption} of {html.escape(of)}">'
  )
  if link:
    image = f'<a href="{source}">{image}</a>'
  return f'<figure>{image}<figcaption>{caption}</figcaption></figure>'


def jpeg_source(jpeg: bytes) -> str:
  """A JPEG file as a source that stands in the page itself."""
  return 'data:image/jpeg;base64,' + base64.b64encode(jpeg).decode()


def histogram(values: np.ndarray, caption: str, *, bins: int = 30) -> str:
  """How often values occur, as SVG, with the mean as a line.

  Args:
    values: (n,) finite numbers, at least one.
    caption: under it.
    bins: bars.
  """
  low, high = float(values.min()), float(values.max())
  if low == high:
    low, high = low - 0.5, high + 0.5
  counts, _ = np.histogram(values, bins, (low, high))
  width, height, base = 300, 100, 80
  step = width / bins
  bars = ''.join(
    f'<rect x="{i * step + 0.5:.1f}" y="{base - tall:.1f}" '
    f'width="{step - 1:.1f}" height="{tall:.1f}"/>'
    for i, tall in enumerate((counts / counts.max() * base).tolist())
    if tall
  )
  at = (float(values.mean()) - low) / (high - low) * width
  text = html.escape(caption)
  return (
    f'<figure><svg viewBox="0 0 {width} {height}" role="img" '
    f'aria-label="histogram of {text}">{bars}'
    f'<line x1="0" y1="{base}" x2="{width}" y2="{base}"/>'
    f'<line x1="{at:.1f}" y1="0" x2="{at:.1f}" y2="{base}"/>'
    f'<text x="0" y="96">{low:.4g}</text>'
    f'<text x="{width}" y="96" text-anchor="end">{high:.4g}</text></svg>'
    f'<figcaption>{text}</figcaption></figure>'
  )
