"""The README's commands: help and dry run, and that CI calls the tests."""

import subprocess

import entry_points
import pytest

SCRIPTS = ['launch/demo.sh', 'launch/test.sh']


def shell(*command):
  return subprocess.run(
      ['bash', *command],
      cwd=entry_points.ROOT,
      capture_output=True,
      text=True,
      check=False,
  )


@pytest.mark.parametrize('script', SCRIPTS)
def test_help(script):
  done = shell(script, '--help')
  assert done.returncode == 0 and done.stdout.startswith(f'usage: {script}')


@pytest.mark.parametrize('script', SCRIPTS)
def test_dry_run_shows_commands_and_runs_none(script, tmp_path, monkeypatch):
  monkeypatch.setenv('VENV', str(tmp_path / 'venv'))
  done = shell(script, '--dry_run')
  assert done.returncode == 0, done.stderr
  assert '-m venv' in done.stdout and 'pip install' in done.stdout
  assert not (tmp_path / 'venv').exists()


def test_demo_runs_every_part():
  lines = shell('launch/demo.sh', '--dry_run', '--pairs', '7').stdout
  modules = ['synthetic', 'prepare', 'train', 'train', 'infer']
  places = [lines.find(f'.{module} ') for module in modules]
  assert -1 not in places and sorted(places) == places
  assert '--num_pairs 7' in lines


def test_unknown_option_is_refused():
  done = shell('launch/demo.sh', '--nonsense')
  assert done.returncode == 2 and '--nonsense' in done.stderr


def test_continuous_integration_runs_the_test_command():
  assert 'launch/test.sh' in (entry_points.ROOT / '.ci' / 'run').read_text()
