"""Real environments and the plans they give; a real start of two processes."""

import socket
import subprocess
import sys

import entry_points
import pytest

from viton_jax.errors import InputError
from viton_jax.runtime import cluster
from viton_jax.runtime.cluster import Plan

pytestmark = pytest.mark.slow

# What the launchers set, less what does not matter here.
OPEN_MPI_4 = {
  'OMPI_MCA_orte_hnp_uri': '1531576320.0;tcp://10.96.0.1,10.148.0.1:34911',
  'OMPI_COMM_WORLD_SIZE': '4',
  'OMPI_COMM_WORLD_RANK': '3',
  'OMPI_COMM_WORLD_LOCAL_SIZE': '2',
  'OMPI_COMM_WORLD_LOCAL_RANK': '1',
}
OPEN_MPI_5 = {
  k: v for k, v in OPEN_MPI_4.items() if k != 'OMPI_MCA_orte_hnp_uri'
} | {'PMIX_RANK': '3'}
SALLOC_SHELL = {
  'SLURM_JOB_ID': '64923',
  'SLURM_JOB_NODELIST': 'gpu[01-02]',
  'SLURM_NTASKS': '2',
  'SLURM_NNODES': '2',
  'SLURM_GPUS_ON_NODE': '4',
}
SBATCH_SCRIPT = SALLOC_SHELL | {
  'SLURM_PROCID': '0',
  'SLURM_LOCALID': '0',
  'SLURM_NODEID': '0',
}
SRUN_TASK_A_NODE = SALLOC_SHELL | {
  'SLURM_STEP_NODELIST': 'gpu[01-02]',
  'SLURM_STEP_NUM_TASKS': '2',
  'SLURM_STEP_NUM_NODES': '2',
  'SLURM_STEP_TASKS_PER_NODE': '1(x2)',
  'SLURM_PROCID': '1',
  'SLURM_LOCALID': '0',
  'SLURM_NODEID': '1',
  'CUDA_VISIBLE_DEVICES': '0,1,2,3',
}
SRUN_TASK_A_GPU = SRUN_TASK_A_NODE | {
  'SLURM_NTASKS': '8',
  'SLURM_STEP_NUM_TASKS': '8',
  'SLURM_STEP_TASKS_PER_NODE': '4(x2)',
  'SLURM_PROCID': '6',
  'SLURM_LOCALID': '2',
}
# salloc where the site has the shell itself run as a step.
INTERACTIVE_STEP = SRUN_TASK_A_NODE | {
  'SLURM_STEP_NUM_TASKS': '1',
  'SLURM_STEP_NUM_NODES': '1',
  'SLURM_STEP_TASKS_PER_NODE': '1',
  'SLURM_STEP_NODELIST': 'gpu01',
  'SLURM_PROCID': '0',
  'SLURM_NODEID': '0',
}
KUBERNETES = {
  'KUBERNETES_SERVICE_HOST': '10.0.0.1',
  'KUBERNETES_SERVICE_PORT': '443',
  'HOSTNAME': 'train-1',
  'JOB_COMPLETION_INDEX': '1',
}
OURS = {
  'VITON_JAX_COORDINATOR': 'train-0.train:12345',
  'VITON_JAX_NUM_PROCESSES': '4',
  'VITON_JAX_PROCESS_ID': '1',
}
NO_ID = {k: v for k, v in OURS.items() if 'PROCESS_ID' not in k}
ONLY_NUMBER = {'VITON_JAX_NUM_PROCESSES': '4'}
TPU_GKE = {'TPU_WORKER_ID': '1', 'TPU_WORKER_HOSTNAMES': 'tpu-0.a,tpu-1.a'}

PLANS = {
  'a laptop': ({'HOME': '/home/me', 'SHELL': '/bin/bash'}, None),
  'empty variables': ({k: '' for k in OURS}, None),
  'ours': (
    OURS,
    Plan('VITON_JAX variables', 'deactivate', 'train-0.train:12345', 4, 1),
  ),
  'ours, one process': (
    OURS | {'VITON_JAX_NUM_PROCESSES': '1', 'VITON_JAX_PROCESS_ID': '0'},
    None,
  ),
  'ours, chosen devices': (
    OURS | {'JAX_LOCAL_DEVICE_IDS': '2,3'},
    Plan(
      'VITON_JAX variables', 'deactivate', 'train-0.train:12345', 4, 1, None
    ),
  ),
  "JAX's address for ours": (
    OURS
    | {
      'VITON_JAX_COORDINATOR': '',
      'JAX_COORDINATOR_ADDRESS': 'train-0.train:12345',
    },
    Plan('VITON_JAX variables', 'deactivate', 'train-0.train:12345', 4, 1),
  ),
  'an indexed job': (
    KUBERNETES | NO_ID,
    Plan('VITON_JAX variables', 'deactivate', 'train-0.train:12345', 4, 1),
  ),
  'an indexed job that asks Kubernetes': (
    KUBERNETES | ONLY_NUMBER,
    Plan('VITON_JAX variables', None, None, 4, 1),
  ),
  'pods of their own': (KUBERNETES, None),
  'Open MPI 4': (OPEN_MPI_4, Plan('Open MPI', 'ompi', None, 4, 3, (1,))),
  'Open MPI 4, two of four GPUs each': (
    OPEN_MPI_4 | {'CUDA_VISIBLE_DEVICES': '0,1,2,3'},
    Plan('Open MPI', 'ompi', None, 4, 3, (2, 3)),
  ),
  'Open MPI 5': (
    OPEN_MPI_5 | {'VITON_JAX_COORDINATOR': 'n1:4000'},
    Plan('VITON_JAX variables', 'deactivate', 'n1:4000', 4, 3, (1,)),
  ),
  "Open MPI 5, JAX's address": (
    OPEN_MPI_5 | {'JAX_COORDINATOR_ADDRESS': 'n1:4000'},
    Plan('Open MPI', 'deactivate', 'n1:4000', 4, 3, (1,)),
  ),
  'mpirun -n 1': (OPEN_MPI_4 | {'OMPI_COMM_WORLD_SIZE': '1'}, None),
  'salloc': (SALLOC_SHELL, None),
  'salloc, shell in a step': (INTERACTIVE_STEP, None),
  'sbatch without srun': (SBATCH_SCRIPT, None),
  'srun -n 1': (
    SRUN_TASK_A_NODE | {'SLURM_NTASKS': '1', 'SLURM_STEP_NUM_TASKS': '1'},
    None,
  ),
  'an older srun -n 1': (
    {k: v for k, v in SRUN_TASK_A_NODE.items() if k != 'SLURM_STEP_NUM_TASKS'}
    | {'SLURM_NTASKS': '1'},
    None,
  ),
  'srun, a task a node': (
    SRUN_TASK_A_NODE,
    Plan('SLURM', 'slurm', None, 2, 1, ()),
  ),
  'srun, a task a GPU': (
    SRUN_TASK_A_GPU,
    Plan('SLURM', 'slurm', None, 8, 6, (2,)),
  ),
  'srun, a task for two GPUs': (
    SRUN_TASK_A_GPU
    | {
      'SLURM_STEP_NUM_TASKS': '4',
      'SLURM_STEP_TASKS_PER_NODE': '2(x2)',
      'SLURM_PROCID': '3',
      'SLURM_LOCALID': '1',
    },
    Plan('SLURM', 'slurm', None, 4, 3, (2, 3)),
  ),
  'srun, uneven nodes': (
    SRUN_TASK_A_GPU
    | {
      'SLURM_STEP_NUM_TASKS': '5',
      'SLURM_STEP_TASKS_PER_NODE': '4,1',
      'SLURM_PROCID': '4',
      'SLURM_LOCALID': '0',
    },
    Plan('SLURM', 'slurm', None, 5, 4, ()),
  ),
  'srun, each task sees its GPU alone': (
    SRUN_TASK_A_GPU | {'CUDA_VISIBLE_DEVICES': '0'},
    Plan('SLURM', 'slurm', None, 8, 6, ()),
  ),
  'srun --gpus-per-task 4': (
    SRUN_TASK_A_GPU | {'SLURM_GPUS_PER_TASK': '4'},
    Plan('SLURM', 'slurm', None, 8, 6, ()),
  ),
  'srun without GPUs': (
    {
      k: v
      for k, v in SRUN_TASK_A_GPU.items()
      if k not in ('CUDA_VISIBLE_DEVICES', 'SLURM_GPUS_ON_NODE')
    },
    Plan('SLURM', 'slurm', None, 8, 6, (2,)),
  ),
  'srun with a chosen port': (
    SRUN_TASK_A_NODE | {'VITON_JAX_COORDINATOR': 'gpu01:5000'},
    Plan('VITON_JAX variables', 'deactivate', 'gpu01:5000', 2, 1, ()),
  ),
  'srun said to be single': (
    SRUN_TASK_A_NODE | {'VITON_JAX_NUM_PROCESSES': '1'},
    None,
  ),
  'ours in an salloc shell': (
    SALLOC_SHELL | OURS,
    Plan('VITON_JAX variables', 'deactivate', 'train-0.train:12345', 4, 1),
  ),
  'TPU pod on GKE': (TPU_GKE, Plan('TPU on Kubernetes', 'gketpu')),
  'TPU pod on GKE, in an indexed job': (
    KUBERNETES | TPU_GKE,
    Plan('TPU on Kubernetes', 'gketpu'),
  ),
  'one TPU host on GKE': (
    TPU_GKE | {'TPU_WORKER_HOSTNAMES': 'localhost'},
    None,
  ),
  'TPU slices of one host': (
    TPU_GKE | {'TPU_WORKER_HOSTNAMES': 'a', 'MEGASCALE_NUM_SLICES': '2'},
    Plan('TPU on Kubernetes', 'gketpu'),
  ),
  "a TPU's host without its TPU": (TPU_GKE | {'JAX_PLATFORMS': 'cpu'}, None),
}

# The sentence has to name all of these.
REFUSED = {
  'no number': (
    {'VITON_JAX_COORDINATOR': 'a:1'},
    ['VITON_JAX_COORDINATOR', 'VITON_JAX_NUM_PROCESSES'],
  ),
  "JAX's address alone": (
    {'JAX_COORDINATOR_ADDRESS': 'a:1'},
    ['JAX_COORDINATOR_ADDRESS', 'NUM_PROCESSES'],
  ),
  'no coordinator': (
    {k: v for k, v in OURS.items() if 'COORD' not in k},
    ['VITON_JAX_COORDINATOR', 'host:port'],
  ),
  'no process': (NO_ID, ['VITON_JAX_PROCESS_ID', '0 .. 3']),
  'process out of range': (
    OURS | {'VITON_JAX_PROCESS_ID': '4'},
    ['VITON_JAX_PROCESS_ID=4', '0 to 3'],
  ),
  'pod out of range': (
    KUBERNETES | NO_ID | {'JOB_COMPLETION_INDEX': '7'},
    ['JOB_COMPLETION_INDEX=7', '0 to 3'],
  ),
  'second of one': (
    OURS | {'VITON_JAX_NUM_PROCESSES': '1'},
    ['VITON_JAX_PROCESS_ID=1', 'VITON_JAX_NUM_PROCESSES=1'],
  ),
  'none': (OURS | {'VITON_JAX_NUM_PROCESSES': '0'}, ['NUM_PROCESSES=0']),
  'words': (OURS | {'VITON_JAX_PROCESS_ID': 'one'}, ["PROCESS_ID='one'"]),
  'negative': (OURS | {'VITON_JAX_PROCESS_ID': '-1'}, ["PROCESS_ID='-1'"]),
  'no port': (
    OURS | {'VITON_JAX_COORDINATOR': 'node1'},
    ["'node1'", 'host:port'],
  ),
  'two coordinators': (
    OURS | {'JAX_COORDINATOR_ADDRESS': 'b:2'},
    ['train-0.train:12345', 'b:2'],
  ),
  'another pod': (
    KUBERNETES | OURS | {'JOB_COMPLETION_INDEX': '2'},
    ['PROCESS_ID says 1', 'COMPLETION_INDEX says 2'],
  ),
  'another task': (
    SRUN_TASK_A_NODE
    | OURS
    | {'VITON_JAX_NUM_PROCESSES': '2', 'VITON_JAX_PROCESS_ID': '0'},
    ['VITON_JAX_PROCESS_ID says 0', 'SLURM says 1'],
  ),
  'Open MPI 5': (OPEN_MPI_5, ['Open MPI', 'VITON_JAX_COORDINATOR']),
  'torn environment': (
    {k: v for k, v in OPEN_MPI_4.items() if k != 'OMPI_COMM_WORLD_RANK'},
    ['OMPI_COMM_WORLD_RANK'],
  ),
  'uneven GPUs': (
    SRUN_TASK_A_GPU | {'CUDA_VISIBLE_DEVICES': '0,1,2,3,4'},
    ['5 GPUs', '4 tasks'],
  ),
}


@pytest.mark.parametrize('name', PLANS)
def test_plan(name):
  env, plan = PLANS[name]
  assert cluster.from_environment(env) == plan


@pytest.mark.parametrize('name', REFUSED)
def test_refused(name):
  env, words = REFUSED[name]
  with pytest.raises(InputError) as error:
    cluster.from_environment(env)
  sentence = str(error.value)
  assert all(word in sentence for word in words), sentence
  assert '\n' not in sentence and sentence.endswith('.')


def test_tpu_vm_asks_its_metadata():
  assert cluster.from_environment({}, on_tpu_vm=True).method == 'gcetpu'
  assert cluster.from_environment({'JAX_PLATFORMS': 'cpu'}, on_tpu_vm=True) is (
    None
  )
  single = {'VITON_JAX_NUM_PROCESSES': '1'}
  assert cluster.from_environment(single, on_tpu_vm=True) is None


@pytest.mark.parametrize('method', ['ompi', 'slurm', 'gketpu', 'gcetpu'])
def test_jax_knows_the_methods(method):
  from jax._src.clusters import ClusterEnv  # What `initialize` chooses from.

  assert method in [x.name for x in ClusterEnv._cluster_types]


PROGRAM = """
from viton_jax import errors
from viton_jax.runtime import distributed
def main():
  print(distributed.initialize(), flush=True)
  import jax, jax.numpy as jnp
  mine = jnp.full((jax.local_device_count(), 1), 10.0 ** jax.process_index())
  total = jax.pmap(lambda x: jax.lax.psum(x, 'i'), axis_name='i')(mine)
  print('total', float(total.sum()), jax.local_device_count(), flush=True)
errors.run(main)
"""


def free_port() -> int:
  with socket.socket() as probe:
    probe.bind(('', 0))
    return probe.getsockname()[1]


def start(devices=1, **variables) -> subprocess.Popen:
  clean = {
    k: v
    for k, v in entry_points.environment(devices).items()
    if not k.startswith(('SLURM_', 'OMPI_', 'VITON_JAX_', 'JOB_COMPLETION'))
  }
  return subprocess.Popen(
    [sys.executable, '-c', PROGRAM],
    cwd=entry_points.ROOT,
    env=clean | variables,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def finish(process) -> tuple[int, str, str]:
  try:
    out, err = process.communicate(timeout=300)
  finally:
    process.kill()
  return process.returncode, out, err


def as_ours(port, number):
  return {
    'VITON_JAX_COORDINATOR': f'localhost:{port}',
    'VITON_JAX_NUM_PROCESSES': '2',
    'VITON_JAX_PROCESS_ID': str(number),
  }


def as_slurm(port, number):
  return SRUN_TASK_A_NODE | {
    'SLURM_STEP_NODELIST': 'localhost',
    'SLURM_PROCID': str(number),
    'SLURM_NODEID': str(number),
    'JAX_COORDINATOR_PORT': str(port),
  }


@pytest.mark.parametrize('setting', [as_ours, as_slurm])
def test_two_processes_start_and_add_up(setting):
  port = free_port()
  # Two devices each, so that a process that took only its first would show.
  processes = [start(devices=2, **setting(port, i)) for i in range(2)]
  for i, process in enumerate(processes):
    code, out, err = finish(process)
    assert code == 0, err
    assert f'process {i} of 2' in out and f'localhost:{port}' in out
    assert 'total 44.0 2' in out  # 2 x (1 + 1 + 10 + 10), on two of the four


def test_without_a_sign_it_does_nothing():
  code, out, err = finish(start())
  assert code == 0 and out.splitlines()[0] == 'None', err


@pytest.mark.parametrize('number', [0, 1])
def test_waiting_in_vain_ends_in_a_sentence(number):
  port = free_port()
  code, out, err = finish(
    start(**as_ours(port, number), VITON_JAX_START_TIMEOUT='2')
  )
  (line,) = [x for x in err.splitlines() if x.startswith('error: ')]
  assert code == 2 and out == ''
  assert f'process {number} of 2' in line and f'localhost:{port}' in line
  remedy = ['VITON_JAX_NUM_PROCESSES=1', 'firewall'][number]
  assert remedy in line and 'Check failure' not in err


def test_a_taken_port_ends_in_a_sentence():
  with socket.socket(socket.AF_INET6) as taken:
    taken.bind(('::', 0))
    taken.listen()
    port = taken.getsockname()[1]
    code, _, err = finish(
      start(**as_ours(port, 0), VITON_JAX_START_TIMEOUT='20')
    )
  assert code == 2 and f'localhost:{port}: port {port}' in err, err
  assert 'give another one' in err and 'Traceback' not in err


def test_a_late_start_is_refused():
  code = 'import jax; jax.devices()' + PROGRAM
  env = entry_points.environment() | as_ours(free_port(), 0)
  done = subprocess.run(
    [sys.executable, '-c', code],
    cwd=entry_points.ROOT,
    env=env,
    capture_output=True,
    text=True,
    check=False,
    timeout=300,
  )
  assert done.returncode == 1 and 'must be called before' in done.stderr
