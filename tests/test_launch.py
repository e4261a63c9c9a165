"""The launchers: help, dry runs, processes on one machine, manifests."""

import os
import pathlib
import shlex
import signal
import subprocess
import time

import entry_points
import pytest

FOLDER = entry_points.ROOT / 'launch'
SCRIPTS = {
  'launch/demo.sh': 'usage: launch/demo.sh',
  'launch/test.sh': 'usage: launch/test.sh',
  'launch/local.sh': 'usage: launch/local.sh',
  'launch/tpu_vm.sh': 'usage: launch/tpu_vm.sh',
  'launch/slurm_train.sbatch': 'usage: sbatch',
  'launch/slurm_infer.sbatch': 'usage: sbatch',
}
INSTALLING = ['launch/demo.sh', 'launch/test.sh']
TPU = ('launch/tpu_vm.sh', '--dry_run', '--name', 'n', '--zone', 'z')


def shell(*command, **variables):
  return subprocess.run(
    ['bash', *map(str, command)],
    cwd=entry_points.ROOT,
    env=os.environ | variables,
    capture_output=True,
    text=True,
    check=False,
    timeout=300,
  )


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


def test_demo_runs_every_part():
  lines = shell('launch/demo.sh', '--dry_run', '--pairs', '7').stdout
  modules = ['synthetic', 'prepare', 'train', 'train', 'infer']
  places = [lines.find(f'.{module} ') for module in modules]
  assert -1 not in places and sorted(places) == places
  assert '--num_pairs 7' in lines


@pytest.mark.parametrize(
  'command, words',
  [
    (['launch/demo.sh', '--nonsense'], '--nonsense'),
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


def test_continuous_integration_runs_the_test_command():
  assert 'launch/test.sh' in (entry_points.ROOT / '.ci' / 'run').read_text()


# ------------------------------------------------------------------- local.sh
def local(*arguments, **variables):
  return shell('launch/local.sh', *arguments, **variables)


def test_local_numbers_lines_and_tells_processes_apart():
  program = (
    'echo $VITON_JAX_PROCESS_ID $VITON_JAX_NUM_PROCESSES; '
    'echo $VITON_JAX_COORDINATOR >&2; printf end'
  )
  done = local('--processes', 3, '--port', 4567, '--', 'bash', '-c', program)
  assert done.returncode == 0, done.stderr
  assert sorted(done.stdout.splitlines()) == sorted(
    f'[{i}] {line}'
    for i in range(3)
    for line in (f'{i} 3', 'localhost:4567', 'end')
  )


def test_local_free_ports_differ():
  ports = set()
  for _ in range(2):
    done = local('--dry_run', '--processes', 1, '--', 'true')
    ports |= {x for x in done.stdout.split() if 'COORDINATOR=' in x}
  assert len(ports) == 2


@pytest.mark.parametrize(
  'gpus, processes, dealt',
  [
    ('0,1,2,3', 2, ['0,1', '2,3']),
    ('5,7', 2, ['5', '7']),
    ('GPU-a,GPU-b,GPU-c', 1, ['GPU-a,GPU-b,GPU-c']),
  ],
)
def test_local_deals_out_gpus(gpus, processes, dealt):
  done = local(
    '--processes',
    processes,
    '--dry_run',
    '--',
    'true',
    CUDA_VISIBLE_DEVICES=gpus,
    JAX_PLATFORMS='',
  )
  found = [
    word.partition('=')[2]
    for word in shlex.split(done.stdout)
    if word.startswith('CUDA_VISIBLE_DEVICES=')
  ]
  assert found == dealt
  on_cpu = local(
    '--dry_run', '--', 'true', CUDA_VISIBLE_DEVICES=gpus, JAX_PLATFORMS='cpu'
  )
  assert 'CUDA_VISIBLE_DEVICES' not in on_cpu.stdout


def test_local_refuses_uneven_gpus():
  done = local('--', 'true', CUDA_VISIBLE_DEVICES='0,1,2', JAX_PLATFORMS='')
  assert done.returncode == 2 and '3 GPUs' in done.stderr


ONE_FAILS = """
trap 'echo last words; exit 0' TERM
sleep 600 & echo $! > "$PIDS/$VITON_JAX_PROCESS_ID"
if [ $VITON_JAX_PROCESS_ID = 1 ]; then
  until [ -s "$PIDS/0" ]; do sleep 0.1; done
  exit 7
fi
wait
"""
DEAF = ONE_FAILS.replace('echo last words; exit 0', '')


def gone(pids: pathlib.Path) -> bool:
  """Whether the processes named there have ended (or are zombies)."""
  for file in pids.iterdir():
    try:
      stat = pathlib.Path(f'/proc/{file.read_text().strip()}/stat').read_text()
    except FileNotFoundError:
      continue
    if stat.rpartition(')')[2].split()[0] != 'Z':
      return False
  return True


@pytest.mark.parametrize('program', [ONE_FAILS, DEAF])
def test_local_ends_all_when_one_fails(program, tmp_path):
  done = local(
    '--processes',
    2,
    '--grace',
    1,
    '--',
    'bash',
    '-c',
    program,
    PIDS=str(tmp_path),
  )
  assert done.returncode == 7
  assert 'process 1 ended with code 7' in done.stderr
  assert ('[0] last words' in done.stdout) == (program is ONE_FAILS)
  assert len(list(tmp_path.iterdir())) == 2 and gone(tmp_path)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_local_passes_signals_on(number):
  program = "trap 'echo saved; exit 0' TERM INT; echo up; sleep 600 & wait"
  with subprocess.Popen(
    ['bash', 'launch/local.sh', '--', 'bash', '-c', program],
    cwd=entry_points.ROOT,
    stdout=subprocess.PIPE,
    text=True,
  ) as process:
    up = [process.stdout.readline() for _ in range(2)]
    time.sleep(0.3)
    process.send_signal(number)
    rest = process.communicate(timeout=300)[0]
  assert sorted(up) == ['[0] up\n', '[1] up\n']
  assert sorted(rest.split('\n')[:2]) == ['[0] saved', '[1] saved']
  assert process.returncode == 0


def test_local_joins_real_processes():
  variables = entry_points.environment(devices=2)
  done = local('--', 'python', 'launch/env_report.py', **variables)
  assert done.returncode == 0, done.stdout + done.stderr
  for i in range(2):
    assert f'[{i}] process {i} of 2 (' in done.stdout
    assert f'[{i}] devices   4 x cpu, 2 of them in this process' in done.stdout


# ---------------------------------------------------------------------- SLURM
FAKE = {
  'srun': 'echo "srun $*"; [ "$STEP" = wait ] || exit "$STEP"; '
  'sleep 600 > /dev/null & trap "kill $!; echo saving; exit 0" TERM; '
  'echo $$ > "$BIN/pid"; wait',
  # Returns when the step has ended, which is the hardest for the caller.
  'scancel': 'echo "scancel $*"; pid=$(cat "$BIN/pid"); kill -TERM "$pid"; '
  'while kill -0 "$pid" 2> /dev/null; do sleep 0.01; done',
  'scontrol': 'echo "scontrol $*"',
}


@pytest.fixture
def slurm(tmp_path):
  """A folder of commands that only say how they were called."""
  for name, text in FAKE.items():
    (tmp_path / name).write_text(f'#!/usr/bin/env bash\n{text}\n')
    (tmp_path / name).chmod(0o755)
  return {
    'PATH': f'{tmp_path}:{os.environ["PATH"]}',
    'BIN': str(tmp_path),
    'SLURM_JOB_ID': '77',
    'SLURM_SUBMIT_DIR': str(entry_points.ROOT),
    'SLURM_CPUS_PER_TASK': '4',
  }


def venv_of(tmp_path) -> str:
  folder = tmp_path / 'venv' / 'bin'
  folder.mkdir(parents=True)
  (folder / 'python').symlink_to('/bin/true')
  return str(folder.parent)


@pytest.mark.parametrize(
  'code, restarts, requeued',
  [
    (0, 0, False),
    (2, 0, False),
    (4, 0, False),
    (5, 0, True),
    (5, 100, False),
  ],
)
def test_slurm_queues_again_only_what_lost_a_peer(
  code, restarts, requeued, slurm, tmp_path
):
  slurm |= {'VENV': venv_of(tmp_path), 'SLURM_RESTART_COUNT': str(restarts)}
  done = shell(
    'launch/slurm_train.sbatch', '--config', 'c', STEP=str(code), **slurm
  )
  assert done.returncode == code, done.stderr
  assert '-m viton_jax.train --config c' in done.stdout
  assert ('scontrol requeue 77' in done.stdout) == requeued


def test_slurm_saves_and_queues_again_before_time_is_over(slurm, tmp_path):
  # As SLURM does it: a copy of the script, elsewhere.
  copy = tmp_path / 'slurm_script'
  copy.write_text((FOLDER / 'slurm_train.sbatch').read_text())
  slurm |= {'VENV': venv_of(tmp_path), 'STEP': 'wait'}
  with subprocess.Popen(
    ['bash', copy, '--config', 'c'],
    env=os.environ | slurm,
    stdout=subprocess.PIPE,
    text=True,
  ) as process:
    while not (tmp_path / 'pid').exists():
      assert process.poll() is None
      time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGUSR1)
    said = process.communicate(timeout=300)[0]
  order = ['scancel --signal=TERM 77', 'saving', 'scontrol requeue 77']
  places = [said.find(x) for x in order]
  assert -1 not in places and sorted(places) == places, said
  assert process.returncode == 0


@pytest.mark.parametrize(
  'arguments, shard',
  [
    ([], '3/8'),
    (['--shards', '32'], '3/32'),
  ],
)
def test_slurm_array_task_does_its_shard(arguments, shard, slurm, tmp_path):
  slurm |= {
    'VENV': venv_of(tmp_path),
    'SLURM_ARRAY_TASK_ID': '3',
    'SLURM_ARRAY_TASK_COUNT': '8',
    'STEP': '0',
  }
  done = shell(
    'launch/slurm_infer.sbatch', *arguments, '--out_dir', 'o', **slurm
  )
  assert done.returncode == 0, done.stderr
  assert f'-m viton_jax.infer --shard {shard} --out_dir o' in done.stdout


def test_slurm_array_with_gaps_needs_the_number_of_shards(slurm):
  slurm |= {'SLURM_ARRAY_TASK_ID': '7', 'SLURM_ARRAY_TASK_COUNT': '2'}
  done = shell('launch/slurm_infer.sbatch', '--out_dir', 'o', **slurm)
  assert done.returncode == 2 and '--shards' in done.stderr


def test_slurm_scripts_ask_for_a_signal_and_requeueing():
  for name in ('train', 'infer'):
    text = (FOLDER / f'slurm_{name}.sbatch').read_text()
    head = [x for x in text.splitlines() if x.startswith('#SBATCH')]
    assert '#SBATCH --requeue' in head
    assert '#SBATCH --signal=B:USR1@120' in head
    assert '#SBATCH --open-mode=append' in head


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


# ----------------------------------------------------------------- Kubernetes
def manifests(name: str) -> list[dict]:
  yaml = pytest.importorskip('yaml')
  text = (FOLDER / 'kubernetes' / name).read_text()
  return list(yaml.safe_load_all(text))


def job_of(name: str) -> tuple[dict, dict]:
  """The spec of a file's Job and its one container."""
  document = manifests(name)[-1]
  spec = document['spec']
  if document['kind'] == 'JobSet':
    assert document['apiVersion'] == 'jobset.x-k8s.io/v1alpha2'
    (replicated,) = spec['replicatedJobs']
    assert replicated['replicas'] == 1
    spec = replicated['template']['spec']
  else:
    assert document['apiVersion'] == 'batch/v1' and document['kind'] == 'Job'
  (container,) = spec['template']['spec']['containers']
  return spec, container


def variables_of(container) -> dict[str, str]:
  return {x['name']: x['value'] for x in container.get('env', [])}


NAMES = ['infer.yaml', 'train-job.yaml', 'train-jobset.yaml', 'train-tpu.yaml']


@pytest.mark.parametrize('name', NAMES)
def test_jobs_are_indexed_and_complete(name):
  spec, container = job_of(name)
  assert spec['completionMode'] == 'Indexed'
  assert spec['completions'] == spec['parallelism']
  pod = spec['template']['spec']
  assert pod['restartPolicy'] == 'Never'
  assert pod['terminationGracePeriodSeconds'] >= 120
  mounted = {x['name'] for x in container['volumeMounts']}
  assert mounted == {x['name'] for x in pod['volumes']}
  (image,) = {container['image']}
  assert image in ('viton-jax:cuda', 'viton-jax:tpu')
  for rule in spec.get('podFailurePolicy', {}).get('rules', []):
    if 'onExitCodes' in rule:
      assert rule['onExitCodes']['containerName'] == container['name']
  words = container['command'] + container['args']
  assert 'viton_jax.infer' in ' '.join(words) or 'viton_jax.train' in words
  for value in variables_of(container).values():
    assert isinstance(value, str)  # Kubernetes refuses numbers here.


def test_no_kubernetes_file_is_left_out():
  assert sorted(x.name for x in (FOLDER / 'kubernetes').iterdir()) == NAMES


@pytest.mark.parametrize(
  'name, host',
  [
    ('train-job.yaml', 'viton-train-0.viton-train'),
    ('train-jobset.yaml', 'viton-train-hosts-0-0.viton-train'),
  ],
)
def test_pods_of_a_training_start_together(name, host):
  from viton_jax.runtime import cluster

  spec, container = job_of(name)
  variables = variables_of(container)
  for index in range(spec['completions']):
    plan = cluster.from_environment(
      variables
      | {'JOB_COMPLETION_INDEX': str(index), 'KUBERNETES_SERVICE_HOST': 'x'}
    )
    assert plan.process_id == index
    assert plan.num_processes == spec['completions']
    assert plan.coordinator.rpartition(':')[0] == host
    port = int(plan.coordinator.rpartition(':')[2])
    assert {'containerPort': port} in container['ports']


def test_service_of_the_plain_job_is_headless():
  service, job = manifests('train-job.yaml')
  assert service['spec']['clusterIP'] == 'None'
  assert service['spec']['publishNotReadyAddresses'] is True
  assert service['spec']['selector'] == {'job-name': job['metadata']['name']}
  subdomain = job['spec']['template']['spec']['subdomain']
  assert subdomain == service['metadata']['name']


def test_pods_of_an_inference_stay_alone_and_cover_all_shards():
  from viton_jax.jobs import shards
  from viton_jax.runtime import cluster

  spec, container = job_of('infer.yaml')
  variables = variables_of(container) | {'KUBERNETES_SERVICE_HOST': 'x'}
  found = set()
  for index in range(spec['completions']):
    here = variables | {'JOB_COMPLETION_INDEX': str(index)}
    assert cluster.from_environment(here) is None
    words = shell(
      '-c', container['args'][0].replace('exec python', 'echo'), **here
    ).stdout.split()
    found.add(shards.parse(words[words.index('--shard') + 1]))
  assert len(found) == spec['completions'] == found.pop().count


def test_flags_of_the_manifests_exist():
  """Inference's; those of the training are fields of its config."""
  from configs import stage1

  config = stage1.get_config('')
  for name in ('train-job.yaml', 'train-jobset.yaml', 'train-tpu.yaml'):
    for word in job_of(name)[1]['args']:
      flag = word.removeprefix('--').partition('=')[0]
      if flag.startswith('config.'):
        value = config
        for part in flag.split('.')[1:]:
          value = value[part]
      else:
        assert flag in ('config', 'workdir')
  accepted = entry_points.run('viton_jax.infer', '--help').stdout
  words = job_of('infer.yaml')[1]['args'][0].split()
  for word in words:
    assert not word.startswith('--') or f'{word} ' in accepted.replace(
      '\n', ' '
    )


def test_tpu_pods_ask_for_a_whole_slice():
  spec, container = job_of('train-tpu.yaml')
  pod = spec['template']['spec']
  topology = pod['nodeSelector']['cloud.google.com/gke-tpu-topology']
  x, y = map(int, topology.split('x'))
  chips = container['resources']['limits']['google.com/tpu']
  assert x * y == chips * spec['completions']
  assert not variables_of(container)


# --------------------------------------------------------------------- Docker
def test_dockerfile_takes_base_and_platform_as_arguments():
  text = (FOLDER / 'docker' / 'Dockerfile').read_text()
  instructions = [x for x in text.splitlines() if x and x[0].isupper()]
  assert instructions[0].startswith('ARG BASE=')
  assert instructions[1] == 'FROM ${BASE}'
  for platform in ('cpu)', 'cuda)', 'tpu)'):
    assert platform in text
  base = instructions[0].partition('=')[2]
  assert '/' not in base and '.' not in base.partition(':')[0]
  for line in instructions:
    if line.startswith('COPY') and ' . ' not in line:
      for source in line.split()[1:-1]:
        assert (entry_points.ROOT / source).exists(), source
