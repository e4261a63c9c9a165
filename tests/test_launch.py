"""The launchers: help, dry runs, bad input, continuous integration, images."""

import os
import shutil
import subprocess
import sys

import entry_points
from entry_points import shell
import pytest
import yaml

sys.path.insert(0, str(entry_points.ROOT))

from launch import audit  # noqa: E402

FOLDER = entry_points.ROOT / 'launch'
SCRIPTS = {
  'launch/demo.sh': 'usage: launch/demo.sh',
  'launch/demo_web.sh': 'usage: launch/demo_web.sh',
  'launch/fuzz.sh': 'usage: launch/fuzz.sh',
  'launch/release.sh': 'usage: launch/release.sh',
  'launch/soak.sh': 'usage: launch/soak.sh',
  'launch/test.sh': 'usage: launch/test.sh',
  'launch/local.sh': 'usage: launch/local.sh',
  'launch/tpu_vm.sh': 'usage: launch/tpu_vm.sh',
  'launch/slurm_train.sbatch': 'usage: sbatch',
  'launch/slurm_infer.sbatch': 'usage: sbatch',
}
INSTALLING = [
  'launch/demo.sh',
  'launch/demo_web.sh',
  'launch/fuzz.sh',
  'launch/release.sh',
  'launch/soak.sh',
  'launch/test.sh',
]
TPU = ('launch/tpu_vm.sh', '--dry_run', '--name', 'n', '--zone', 'z')


@pytest.mark.parametrize('script', SCRIPTS)
def test_help(script):
  done = shell(script, '--help')
  assert done.returncode == 0 and done.stdout.startswith(SCRIPTS[script])
  assert '--dry_run' in done.stdout


def test_every_script_is_known_and_parses():
  scripts = [*FOLDER.glob('*.sh'), *FOLDER.glob('*.sbatch')]
  sourced = {'launch/environment.sh', 'launch/slurm.sh'}
  names = {str(x.relative_to(entry_points.ROOT)) for x in scripts}
  assert names == set(SCRIPTS) | sourced
  for script in scripts:
    assert shell('-n', script).returncode == 0
    name = f'launch/{script.name}'
    assert name in sourced or os.access(script, os.X_OK), name


@pytest.mark.parametrize('script', INSTALLING)
def test_dry_run_shows_commands_and_runs_none(script, tmp_path, monkeypatch):
  monkeypatch.setenv('VENV', str(tmp_path / 'venv'))
  done = shell(script, '--dry_run')
  assert done.returncode == 0, done.stderr
  assert '-m venv' in done.stdout and 'pip install' in done.stdout
  assert not (tmp_path / 'venv').exists()


@pytest.mark.parametrize(
  'report, said, code',
  [
    ('', 'got no answer', 0),
    ('{"dependencies": [{"name": "a", "skip_reason": "x"}]}', 'none of the', 0),
    (
      '{"dependencies": [{"name": "a", "version": "1", "vulns": []},'
      '{"name": "b", "version": "2", "vulns": [{"id": "CVE-1",'
      '"fix_versions": ["3"]}]}, {"name": "c", "skip_reason": "x"}]}',
      'b 2: CVE-1, mended in 3\n2 of 3 packages audited, 1 unsafe',
      1,
    ),
  ],
)
def test_audit_fails_for_what_is_known_alone(report, said, code):
  found, ended = audit.judge(report)
  assert said in found and ended == code


def test_demo_dresses_at_once():
  lines = shell('launch/demo.sh', '--dry_run', '--test_pairs', '7').stdout
  places = [lines.find(f'.{module} ') for module in ('synthetic', 'infer')]
  assert -1 not in places and sorted(places) == places
  assert '--num_test_pairs 7' in lines
  assert '.train ' not in lines and '--checkpoint' not in lines


def test_demo_trains_with_every_part():
  lines = shell('launch/demo.sh', '--dry_run', '--train', '--pairs', '7').stdout
  modules = ['synthetic', 'prepare', 'train', 'train', 'infer']
  places = [lines.find(f'.{module} ') for module in modules]
  assert -1 not in places and sorted(places) == places
  assert '--num_pairs 7' in lines


def test_demo_of_two_photos_trains_nothing(tmp_path):
  for name in ('me.jpg', 'shirt.jpg'):
    (tmp_path / name).write_bytes(b'')
  photos = [str(tmp_path / x) for x in ('me.jpg', 'shirt.jpg')]
  lines = shell('launch/demo.sh', '--dry_run', '--photos', *photos).stdout
  places = [lines.find(x) for x in ('[photos]', ' fetch blazepose', '.try_on ')]
  assert -1 not in places and sorted(places) == places
  assert '.train ' not in lines and photos[0] in lines


@pytest.mark.parametrize(
  'command, words',
  [
    (['launch/demo.sh', '--nonsense'], '--nonsense'),
    (['launch/demo.sh', '--photos', 'no.jpg', 'no.png'], '--photos needs two'),
    (['launch/demo.sh', '--train', '--photos', *2 * [__file__]], 'not both'),
    (['launch/demo_web.sh', 'nonsense'], 'nonsense'),
    (['launch/demo_web.sh', '--port'], '--port needs a value'),
    (['launch/local.sh', '--nonsense'], '--nonsense'),
    (['launch/local.sh', '--processes', '2'], 'command'),
    (['launch/local.sh', '--processes', '0', '--', 'true'], 'one process'),
    (['launch/local.sh', '--processes', 'two', '--', 'true'], '--processes'),
    (['launch/tpu_vm.sh', '--name', 'n', '--', 'true'], '--zone'),
    (['launch/slurm_train.sbatch'], 'flags'),
    (['launch/slurm_train.sbatch', '--config', 'c'], 'sbatch'),
    (['launch/slurm_infer.sbatch', '--data_dir', 'd'], 'array'),
    (['launch/slurm_infer.sbatch', '--shards', '0', 'x'], '--shards'),
  ],
)
def test_bad_input_is_refused(command, words):
  done = shell(*command)
  assert done.returncode == 2 and done.stderr.startswith('error: ')
  assert words in done.stderr


@pytest.mark.parametrize(
  'arguments, given',
  [
    ([], ['--dist', 'loadfile']),
    (['--fast'], ['loadfile', '-m', 'not slow']),
    (['--fast', '-k', 'tps'], ['-m', 'not slow', '-k', 'tps']),
    (['tests/test_models.py'], ['loadfile', 'tests/test_models.py']),
  ],
)
def test_all_linters_run_before_the_tests(arguments, given):
  steps = shell('launch/test.sh', '--dry_run', *arguments).stdout.splitlines()
  words = [step.removeprefix('+ ').split('/')[-1] for step in steps[-5:]]
  assert words[:3] == ['ruff check .', 'ruff format --check .', 'lint-imports']
  assert 'pyright' in steps[-2] and ' -m pytest ' in steps[-1]
  assert steps[-1].endswith(' '.join(given))


def ci_commands() -> list[str]:
  """What continuous integration runs, here and on GitHub."""
  root = entry_points.ROOT
  workflow = yaml.safe_load((root / '.github/workflows/ci.yml').read_text())
  job = workflow['jobs']['test']
  return ['.ci/run', *(x['run'] for x in job['steps'] if 'run' in x)]


@pytest.mark.parametrize('command', ci_commands())
def test_continuous_integration_runs_the_whole_test_command(command):
  done = shell('-c', command, DRY_RUN='1')
  assert done.returncode == 0, done.stderr
  assert done.stdout == shell('launch/test.sh', '--dry_run').stdout != ''


def test_gpu_demo_installs_what_gpus_need(tmp_path):
  done = shell('launch/demo.sh', '--dry_run', '--gpu', VENV=str(tmp_path / 'v'))
  assert f'--editable {entry_points.ROOT}[gpu]\n' in done.stdout
  # Where there is no GPU it says so before it installs anything.
  commands = tmp_path / 'bin'
  commands.mkdir()
  (commands / 'nvidia-smi').write_text('#!/bin/sh\nexit 9\n')
  (commands / 'nvidia-smi').chmod(0o755)
  path = f'{commands}:{os.environ["PATH"]}'
  done = shell('launch/demo.sh', '--gpu', PATH=path, VENV=str(tmp_path / 'v'))
  assert done.returncode == 2 and done.stderr.startswith('error: --gpu')
  assert not (tmp_path / 'v').exists()


# ------------------------------------------------------------------------ TPU
def test_tpu_vm_brings_installs_and_runs():
  done = shell(*TPU, '--spot', '--delete', '--', 'python', '-m', 'a b')
  assert done.returncode == 0, done.stderr
  order = [
    'tpu-vm create n --zone z',
    '--spot',
    'git archive',
    'tpu-vm scp',
    'install_project tpu',
    'python -m a\\ b',
    'tpu-vm delete n',
  ]
  places = [done.stdout.find(x) for x in order]
  assert -1 not in places and sorted(places) == places, done.stdout
  assert done.stdout.count('--worker=all') == 3
  assert not (entry_points.ROOT / 'build' / 'viton_jax.tar.gz').exists()


# --------------------------------------------------------------------- Docker
def instructions() -> list[tuple[str, str]]:
  """The Dockerfile's instructions and their arguments."""
  text = (FOLDER / 'docker' / 'Dockerfile').read_text().replace('\\\n', ' ')
  lines = [x for x in text.splitlines() if x and not x.startswith('#')]
  return [(x.split()[0], x.partition(' ')[2]) for x in lines]


def test_docker_base_is_an_argument():
  (first, base), (second, image) = instructions()[:2]
  assert (first, second, image) == ('ARG', 'FROM', '${BASE}')
  name, _, value = base.partition('=')
  # Of no registry in particular.
  assert name == 'BASE' and '/' not in value and value.startswith('python:3.')


@pytest.mark.parametrize(
  'platform, target',
  [
    ('cpu', '.[serve]'),
    ('cuda', '.[gpu,serve]'),
    ('tpu', '.[tpu,serve]'),
    ('abacus', None),
  ],
)
def test_docker_installs_what_the_platform_needs(platform, target, tmp_path):
  (tmp_path / 'python').write_text('#!/bin/sh\necho "$@"\n')
  (tmp_path / 'python').chmod(0o755)
  (command,) = [x for what, x in instructions() if 'pip install' in x]
  path = f'{tmp_path}:{os.environ["PATH"]}'
  done = shell('-c', command, PATH=path, PLATFORM=platform)
  if target is None:
    assert done.returncode == 2 and 'PLATFORM=abacus' in done.stderr
  else:
    assert done.stdout.split()[-2:] == ['--editable', target]


def test_docker_dependencies_install_from_the_files_of_their_layer(tmp_path):
  copies = [x.split() for what, x in instructions() if what == 'COPY']
  assert copies.pop() == ['.', '.']
  for *sources, target in copies:
    (tmp_path / target).mkdir(exist_ok=True)
    for source in sources:
      shutil.copy(entry_points.ROOT / source, tmp_path / target)
  subprocess.run(
    [
      *(sys.executable, '-c'),
      'import setuptools.build_meta as b; b.build_editable("built")',
    ],
    cwd=tmp_path,
    env=os.environ | {'PYTHONWARNINGS': 'error::UserWarning'},
    check=True,
    capture_output=True,
  )
  assert list((tmp_path / 'built').glob('*.whl'))
