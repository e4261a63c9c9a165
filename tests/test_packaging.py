"""What is built and installed: sdist, wheel, editable install, commands."""

import email
import email.message
import importlib.util
import inspect
import os
import pathlib
import pydoc
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import entry_points
import pytest
import yaml

import viton_jax
from viton_jax import commands

pytestmark = pytest.mark.slow

ROOT = entry_points.ROOT
COMMANDS = (
  'convert', 'evaluate', 'export', 'infer', 'inspect', 'live', 'perceive',
  'serve', 'train', 'try_on',
)  # fmt: skip


def project_files() -> list[str]:
  """What belongs to the project; what else lies in its folder does not."""
  if (ROOT / '.git').exists():
    done = run('git', 'ls-files', cwd=ROOT)
    return [x for x in done.stdout.splitlines() if (ROOT / x).is_file()]
  made = {'__pycache__', '.venv', '.pytest_cache', '.ruff_cache'}
  return [x for x in files(ROOT) if not made & set(pathlib.Path(x).parts)]


def backend(folder: pathlib.Path, what: str) -> pathlib.Path:
  """Runs a hook of the build backend there; returns the file it made."""
  (folder / 'built').mkdir(exist_ok=True)
  done = subprocess.run(
    [
      *(sys.executable, '-c'),
      f'import setuptools.build_meta as b; print(b.{what}("built"))',
    ],
    cwd=folder,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  return folder / 'built' / done.stdout.split()[-1]


@pytest.fixture(scope='module')
def clone(tmp_path_factory) -> pathlib.Path:
  """A copy of the project, in a folder with a clone's usual name."""
  folder = tmp_path_factory.mktemp('above') / 'viton_jax'
  for name in project_files():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / name, folder / name)
  return folder


@pytest.fixture(scope='module')
def sdist(clone, tmp_path_factory) -> pathlib.Path:
  """What the unpacked sdist holds."""
  folder = tmp_path_factory.mktemp('sdist')
  with tarfile.open(backend(clone, 'build_sdist')) as archive:
    archive.extractall(folder, **entry_points.SAFE_EXTRACTION)
  (unpacked,) = folder.iterdir()
  return unpacked


@pytest.fixture(scope='module')
def wheel(sdist, tmp_path_factory) -> pathlib.Path:
  """The unpacked wheel, built from the sdist as an index's users do."""
  folder = tmp_path_factory.mktemp('wheel')
  with zipfile.ZipFile(backend(sdist, 'build_wheel')) as archive:
    archive.extractall(folder)
  return folder


@pytest.fixture(scope='module')
def bare_python(tmp_path_factory) -> pathlib.Path:
  """A Python in which nothing is installed."""
  folder = tmp_path_factory.mktemp('bare') / 'venv'
  subprocess.run(
    [sys.executable, '-m', 'venv', '--without-pip', folder], check=True
  )
  return folder / 'bin' / 'python'


def files(folder: pathlib.Path) -> set[str]:
  return {str(x.relative_to(folder)) for x in folder.rglob('*') if x.is_file()}


def run(*command, cwd, env=None) -> subprocess.CompletedProcess:
  if env is None:  # What is installed counts, not what is on the path.
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
  return subprocess.run(
    command, cwd=cwd, env=env, capture_output=True, text=True, check=False
  )


def test_sdist_is_complete(clone, sdist):
  made = re.compile(r'^(built|build)/|\.egg-info/|^(PKG-INFO|setup\.cfg)$')
  there, packed = (
    {x for x in files(folder) if not made.search(x)}
    for folder in (clone, sdist)
  )
  assert packed == there


def test_wheel_has_code_configs_and_specs_and_no_more(clone, wheel):
  packages = ('configs', 'input_pipeline', 'viton_jax')
  expected = {
    str(x.relative_to(clone))
    for package in packages
    for ending in ('*.py', '*.toml', 'py.typed', 'page/*', 'weights/*')
    for x in (clone / package).rglob(ending)
  }
  assert {x for x in files(wheel) if '.dist-info/' not in x} == expected
  assert {'viton_jax/py.typed', 'input_pipeline/py.typed'} <= expected
  assert 'configs/stage1.py' in expected


def metadata(folder: pathlib.Path) -> email.message.Message:
  (path,) = folder.glob('*.dist-info/METADATA')
  return email.message_from_string(path.read_text(encoding='utf-8'))


def test_readme_of_the_wheel_stands_alone(wheel):
  text = metadata(wheel).get_payload()
  targets = re.findall(r'\]\(([^)]*)\)', text)
  assert targets and all(x.startswith('https://') for x in targets)
  assert '![' not in text and 'arxiv.org/abs/1711.08447' in text
  assert 'Left to right' not in text  # The caption of an image.


def test_readme_of_a_published_project_links_to_it(clone, tmp_path):
  url = 'https://example.org/viton_jax'
  copy = tmp_path / 'copy'
  shutil.copytree(clone, copy)
  setup = (copy / 'setup.py').read_text()
  assert "REPOSITORY_URL = ''\n" in setup
  (copy / 'setup.py').write_text(
    setup.replace("REPOSITORY_URL = ''", f"REPOSITORY_URL = '{url}'")
  )
  backend(copy, 'prepare_metadata_for_build_wheel')
  found = metadata(copy / 'built')
  assert f'Source, {url}' in found.get_all('Project-URL')
  text = found.get_payload()
  assert f']({url}/raw/main/docs/demo.png)' in text
  assert f'[geometry]({url}/blob/main/docs/geometry.md)' in text
  targets = re.findall(r'\]\(([^)]*)\)', text)
  for target in targets:
    place = target.removeprefix(f'{url}/').partition('/main/')[2]
    assert target.startswith('https://') and (ROOT / place).exists()


def test_python_versions_are_those_of_continuous_integration(wheel):
  workflow = yaml.safe_load((ROOT / '.github/workflows/ci.yml').read_text())
  tested = workflow['jobs']['test']['strategy']['matrix']['python']
  classifiers = metadata(wheel).get_all('Classifier')
  said = [x.rpartition(' ')[2] for x in classifiers if ':: 3.' in x]
  assert said == tested
  assert metadata(wheel)['Requires-Python'] == f'>={tested[0]}'


def test_commands_are_the_entry_points(wheel):
  (path,) = wheel.glob('*.dist-info/entry_points.txt')
  found = dict(re.findall(r'^(\S+) = (\S+)$', path.read_text(), re.MULTILINE))
  assert found == {
    f'viton-{x.replace("_", "-")}': f'viton_jax.commands:{x}' for x in COMMANDS
  }
  for name in COMMANDS:
    assert callable(getattr(commands, name))
    assert importlib.util.find_spec(f'viton_jax.{name}')


@pytest.mark.parametrize(
  'name, arguments, message',
  [
    ('inspect', ['nowhere'], 'nowhere'),
    ('train', [], '--workdir'),
    ('try_on', ['--person', 'x'], '--garment'),
  ],
)
def test_commands_end_as_their_modules_do(name, arguments, message, tmp_path):
  # A script, as an installation writes one, anywhere on the disk.
  script = tmp_path / 'command'
  script.write_text(f'from viton_jax.commands import {name}\n{name}()\n')
  variables = entry_points.environment() | {'PYTHONPATH': str(ROOT)}
  command, module = (
    run(sys.executable, *what, *arguments, cwd=tmp_path, env=variables)
    for what in ([script], ['-m', f'viton_jax.{name}'])
  )
  assert command.returncode == module.returncode == 2
  assert message in command.stderr and 'Traceback' not in command.stderr
  assert command.stderr == module.stderr


def test_editable_install_also_works_in_the_folder_above(
  clone, bare_python, tmp_path
):
  with zipfile.ZipFile(backend(clone, 'build_editable')) as archive:
    names = archive.namelist()
    (path_file,) = [x for x in names if x.endswith('.pth')]
    archive.extract(path_file, tmp_path)
  (packages,) = bare_python.parents[1].glob('lib/python*/site-packages')
  shutil.copy(tmp_path / path_file, packages)
  try:
    for folder in (clone.parent, clone, tmp_path):
      done = run(
        *(bare_python, '-c'),
        'import viton_jax, input_pipeline, configs; '
        'print(viton_jax.__file__, viton_jax.__version__)',
        cwd=folder,
      )
      assert done.stdout.split() == [
        str(clone / 'viton_jax' / '__init__.py'),
        viton_jax.__version__,
      ], done.stderr
  finally:
    (packages / path_file).unlink()


MODULES = [
  'viton_jax.try_on',
  'viton_jax.perception',
  'viton_jax.serving.artifact',
  'input_pipeline.prepare',
  'input_pipeline.synthetic',
]


@pytest.mark.parametrize('module', MODULES)
def test_a_python_without_the_project_is_told_in_one_sentence(
  module, clone, bare_python
):
  done = run(bare_python, '-m', module, '--help', cwd=clone)
  assert done.returncode == 2
  (line,) = done.stderr.splitlines()
  assert line.startswith(f'error: {bare_python} has no ') and 'jax' in line
  assert f'pip install --editable {clone}' in line
  activate = clone / '.venv' / 'bin' / 'activate'
  activate.parent.mkdir(parents=True)
  activate.touch()
  try:
    done = run(bare_python, '-m', module, '--help', cwd=clone)
  finally:
    shutil.rmtree(clone / '.venv')
  assert done.stderr.endswith(f'type: source {activate}\n')


def test_other_import_errors_are_not_hidden(clone, bare_python):
  # A program that asks for the package, not a command of ours.
  done = run(bare_python, '-c', 'import viton_jax.losses', cwd=clone)
  assert done.returncode == 1 and 'ModuleNotFoundError' in done.stderr
  # A command of ours in the right Python, with a defect.
  broken = clone / 'viton_jax' / 'broken.py'
  broken.write_text('import jax, a_module_that_nobody_has\n')
  try:
    done = run(sys.executable, '-m', 'viton_jax.broken', cwd=clone)
  finally:
    broken.unlink()
  assert done.returncode == 1
  assert "No module named 'a_module_that_nobody_has'" in done.stderr


def test_the_package_shows_what_is_public():
  assert set(viton_jax.__all__) <= set(dir(viton_jax))
  signature = inspect.signature(viton_jax.try_on)
  assert list(signature.parameters)[:3] == ['person', 'garment', 'checkpoint']
  text = pydoc.plain(pydoc.render_doc(viton_jax))
  assert re.search(r'try_on\(\s*person', text) and 'class TryOnResult' in text
