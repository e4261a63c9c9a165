"""The documents: a site without warnings, links that lead somewhere."""

import os
import pathlib
import re
import subprocess
import sys

import entry_points
import pytest
import yaml

import viton_jax

ROOT = entry_points.ROOT
LINK = re.compile(r'\[[^\]]*\]\(([^)#\s]+)[^)]*\)')


@pytest.fixture(scope='module')
def site(tmp_path_factory) -> pathlib.Path:
  pytest.importorskip('material', reason='the dev extra brings mkdocs-material')
  pytest.importorskip('mkdocstrings')
  folder = tmp_path_factory.mktemp('site')
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'mkdocs', 'build', '--strict'),
      *('--site-dir', str(folder)),
    ],
    cwd=ROOT,
    env=os.environ | {'NO_MKDOCS_2_WARNING': '1'},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  return folder


def test_site_has_a_page_for_each_document(site):
  pages = {x.stem for x in site.glob('*.html')} - {'404'}
  assert pages == {x.stem for x in (ROOT / 'docs').glob('*.md')}


def test_site_fetches_nothing_elsewhere(site):
  fetched = re.compile(
    r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(\w+:)?//'
  )
  for page in site.rglob('*.html'):
    assert not fetched.search(page.read_text(encoding='utf-8')), page


def test_reference_has_the_public_names(site):
  page = (site / 'reference.html').read_text(encoding='utf-8')
  headings = re.findall(r'<h\d id="([\w.]+)" class="doc doc-heading"', page)
  public = {f'viton_jax.geometry.{x}' for x in viton_jax.geometry.__all__}
  public |= {
    'viton_jax.TryOnResult',
    'viton_jax.photo.try_on.try_on',
    'viton_jax.models.EncoderDecoder',
    'viton_jax.models.Refinement',
    'viton_jax.convert.read_tf1_checkpoint',
    'viton_jax.training.loop.train_and_evaluate',
    'viton_jax.perception.estimate_pose',
    'viton_jax.perception.parse_person',
    'input_pipeline.layouts.open_layout',
    'input_pipeline.sample.Sample',
  }
  assert public <= set(headings)


def test_links_between_files_lead_somewhere():
  documents = [*ROOT.glob('*.md'), *(ROOT / 'docs').glob('*.md')]
  links = [
    (path.name, path.parent / link)
    for path in documents
    for link in LINK.findall(path.read_text(encoding='utf-8'))
    if '://' not in link
  ]
  assert len(links) > 30
  assert [x for x in links if not x[1].exists()] == []


# `a/b.py`, `a/b/`, `a/b.py:c`: what looks like a path of ours.
PATH = re.compile(
  r'`((?:viton_jax|input_pipeline|configs|launch|tests|benchmarks|docs)/'
  r'[\w./*-]*)'
)


def test_files_that_documents_name_exist():
  documents = [*ROOT.glob('*.md'), *(ROOT / 'docs').glob('*.md')]
  named = [
    (path.name, name)
    for path in documents
    if path.name != 'CHANGELOG.md'
    for name in PATH.findall(path.read_text(encoding='utf-8'))
  ]
  assert len(named) > 30
  assert [x for x in named if not list(ROOT.glob(x[1].rstrip('.')))] == []


def test_citation_says_the_version_and_what_the_format_requires():
  citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
  assert citation['version'] == viton_jax.__version__
  assert {'cff-version', 'message', 'title', 'authors'} <= set(citation)
  paper = citation['preferred-citation']
  assert {'type', 'title', 'authors'} <= set(paper) and paper['year'] == 2018
