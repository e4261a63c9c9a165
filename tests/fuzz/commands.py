"""Runs every command as a process on damaged input, and on odd arguments.

  python tests/fuzz/commands.py --minutes 5 --seed 1
  python tests/fuzz/commands.py --seed 1 --case 12

A case is a function of (seed, number). It ends well if the exit code is one of
the project's, nothing that looks like a traceback is printed, an error is one
line that begins with 'error: ' or argparse's usage, no temporary file is left,
and it takes less than 120 seconds.
"""

import argparse
import atexit
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import entry_points  # noqa: E402
import infer_jobs  # noqa: E402
from mutations import mutate  # noqa: E402

_ROOT = pathlib.Path(__file__).parents[2]
_TESTS = pathlib.Path(__file__).parents[1]
_SECONDS = 120
_CODES = (0, 1, 2, 3, 4, 130)  # 1: absl's --help.
_ODD = (
  '', '/', '/dev/null', '/dev/zero', '..', 'x' * 300, 'a\nb', '-1', '0', '1e9',
  '99999999999999999999', 'nan', ':paired', '1/0', '~nobody/x', 'a\udcffb',
)  # fmt: skip


def _seeds(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """Sound input of the commands in a folder of the case's own."""
  raw = folder / 'raw'
  shutil.copytree(_TESTS / 'goldens' / 'raw_seed0', raw)
  net = folder / 'net.safetensors'
  shutil.copy(pathlib.Path(__file__).parent / 'sound.safetensors', net)
  pairs = raw / 'viton_test_pairs.txt'
  pairs.write_bytes((raw / 'viton_train_pairs.txt').read_bytes())
  job = folder / 'job'
  job.mkdir()
  (job / 'settings.json').write_text(
    f'{{"layout": "viton", "data_dir": "{raw}", "output": "png"}}'
  )
  (job / 'manifest.jsonl').write_text(
    '{"name": "000000_0_000000_1", "status": "failed", "reason": "no"}\n'
  )
  (job / '.jobs').mkdir()
  np.savez(folder / 'batch.npz', person=np.zeros((1, 64, 64, 3), np.uint8))
  tf1 = folder / 'tf1'
  shutil.copytree(_TESTS / 'goldens' / 'tf1_stage2_ngf8', tf1)
  return {'raw': raw, 'net': net, 'job': job, 'tf1': tf1}


@functools.cache
def _exported() -> pathlib.Path:
  """A small try-on as StableHLO and ONNX, and a batch of one for it."""
  folder = pathlib.Path(tempfile.mkdtemp(prefix='viton_jax_fuzz_'))
  atexit.register(shutil.rmtree, folder, ignore_errors=True)
  networks, exported = folder / 'networks', folder / 'exported'
  infer_jobs.write_networks(networks)
  entry_points.run(
    'viton_jax.export',
    *('--checkpoint', networks, '--out_dir', exported),
    *('--format', 'stablehlo,onnx'),
  )
  specs = json.loads((exported / 'manifest.json').read_text())['inputs']
  batch = {
    name: np.ones((1, *spec['shape'][1:]), spec['dtype'])
    for name, spec in specs.items()
  }
  np.savez(exported / 'batch.npz', **batch)
  return exported


def _commands(folder: pathlib.Path) -> list[tuple[str, list[str], list[str]]]:
  """(module, its arguments, files or folders that may be damaged) of each."""
  place = str(folder)
  raw, net = f'{place}/raw', f'{place}/net.safetensors'
  out = ['--out_dir', f'{place}/out']
  masks = f'{raw}/women_top/000001_1.jpg'
  return [
    ('viton_jax.inspect', [net], [net]),
    ('viton_jax.inspect', [f'{place}/tf1'], [f'{place}/tf1']),
    ('viton_jax.convert', ['--safetensors', net, *out], [net]),
    (
      'viton_jax.convert',
      ['--safetensors', net, '--to', 'safetensors', *out],
      [net],
    ),
    (
      'viton_jax.show_match',
      [
        *('--garment_photo', masks, '--person_mask', masks),
        *('--out', f'{place}/out.png'),
      ],
      [masks],
    ),
    (
      'input_pipeline.prepare',
      [
        *('--data_dir', raw, '--pairs', 'viton_train_pairs.txt', *out),
        *('--format', 'packed', '--workers', '0', '--height', '64'),
        *('--width', '64'),
      ],
      [raw],
    ),
    (
      'input_pipeline.prepare',
      ['--data_dir', raw, '--pairs', 'viton_train_pairs.txt', *out]
      + ['--dry_run'],
      [raw],
    ),
    (
      'viton_jax.infer',
      ['--merge', '--out_dir', f'{place}/job'],
      [f'{place}/job', raw],
    ),
    (
      'viton_jax.infer',
      ['--data_dir', raw, '--checkpoint', net, *out, '--dry_run'],
      [net, raw],
    ),
    *(
      (
        f'viton_jax.serving.{name}',
        [
          *(f'{place}/exported', '--inputs', f'{place}/exported/batch.npz'),
          *('--outputs', f'{place}/tried.npz'),
        ],
        [f'{place}/exported', f'{place}/exported/manifest.json'],
      )
      for name in ('artifact', 'onnx_runtime')
    ),
    (
      'viton_jax.train',
      [
        *('--config', 'configs/stage1.py:smoke', '--workdir', f'{place}/w'),
        *('--config.data.dir', raw, '--dry_run'),
      ],
      [],
    ),
    (
      'input_pipeline.synthetic',
      [*out, '--num_pairs', '1', '--height', '64', '--workers', '1'],
      [],
    ),
    ('input_pipeline.packed', [f'{place}/batch.npz'], []),
  ]


def attempt(seed: int, case: int, wanted: str | None = None) -> str | None:
  """What is wrong with the way that a case ends, or None.

  Args:
    seed, case: see above.
    wanted: of all commands, this module's alone.
  """
  rng = np.random.default_rng([seed, case])
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    _seeds(folder)
    commands = [x for x in _commands(folder) if wanted in (None, x[0])]
    module, arguments, places = commands[rng.integers(len(commands))]
    arguments = list(arguments)
    if module.startswith('viton_jax.serving'):
      shutil.copytree(_exported(), folder / 'exported')
    ending = ''
    if places and rng.random() < 0.6:
      place = pathlib.Path(places[rng.integers(len(places))])
      files = (
        [place]
        if place.is_file()
        else sorted(x for x in place.rglob('*') if x.is_file())
      )
      for _ in range(int(rng.integers(1, 4))):
        one = files[rng.integers(len(files))]
        one.write_bytes(mutate(one.read_bytes(), rng))
      what = f'damaged {one.relative_to(folder)}'
    elif rng.random() < 0.75:
      spot = int(rng.integers(len(arguments)))
      odd = _ODD[rng.integers(len(_ODD))]
      arguments[spot] = odd.replace('\0', '')
      what = f'argument {spot} is {odd[:20]!r}'
    else:
      ending = str(
        rng.choice(['> /dev/full', '| head -1', '>&-', 'limit', 'readonly'])
      )
      what = ending
    command = [sys.executable, '-m', module, *map(os.fsencode, arguments)]
    shell = {'limit': 'ulimit -f 8; "$@"', 'readonly': 'cd /proc; "$@"'}
    script = shell.get(ending, f'"$@" {ending}')
    before = set(folder.rglob('*'))
    try:
      done = subprocess.run(
        ['bash', '-c', script, 'bash', *command],
        cwd=folder,  # Odd names of folders are made there.
        capture_output=True,
        timeout=_SECONDS,
        check=False,
        env=os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(_ROOT)},
      )
    except subprocess.TimeoutExpired:
      return f'{module}, {what}: hangs'
    said = done.stderr.decode(errors='replace')
    left = [
      x.name
      for x in set(folder.rglob('*')) - before
      if 'partial' in x.name and not (x.is_dir() and '.jobs' in x.parts)
    ]
  about = f'{module}, {what}: exit code {done.returncode}'
  if left:
    return f'{about}, leaves {left[:3]}'
  if 'Traceback' in said or done.returncode not in _CODES:
    return f'{about}, {said[-300:]!r}'
  lines = [x for x in said.splitlines() if x.startswith('error: ')]
  usage = re.search(r'(?m)^\S+.*: error: ', said)
  if done.returncode == 2 and len(lines) != 1 and not usage:
    return f'{about}, {len(lines)} errors: {said[-300:]!r}'
  return None


def main() -> int:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--minutes', type=float, default=5)
  parser.add_argument('--seed', type=int, default=int(time.time()))
  parser.add_argument('--case', type=int, help='this one alone')
  parser.add_argument('--module', help='cases of this command alone')
  arguments = parser.parse_args()
  seed, found, case = arguments.seed, 0, 0
  if arguments.case is not None:
    wrong = attempt(seed, arguments.case, arguments.module)
    print(wrong or 'ends well')
    return int(wrong is not None)
  end = time.monotonic() + 60 * arguments.minutes
  while time.monotonic() < end:
    wrong = attempt(seed, case, arguments.module)
    if wrong:
      found += 1
      print(
        f'python tests/fuzz/commands.py --seed {seed} --case {case}'
        f'{f" --module {arguments.module}" if arguments.module else ""}'
        f'  # {wrong}',
        flush=True,
      )
    case += 1
  print(f'{case} commands tried, {found} did not end well')
  return int(bool(found))


if __name__ == '__main__':
  sys.exit(main())
