"""What the environment says of the processes of a job; starts nothing.

A process finds out how many there are and which it is:

  1. VITON_JAX_COORDINATOR (host:port), VITON_JAX_NUM_PROCESSES and
     VITON_JAX_PROCESS_ID, as launch/local.sh sets them. Of these,
     JOB_COMPLETION_INDEX (an indexed Job of Kubernetes), Open MPI or SLURM may
     stand in for the last, and JAX_COORDINATOR_ADDRESS for the first.
  2. Open MPI and SLURM, where a step has several tasks.
  3. TPU machines that work as one, on GKE or as TPU VMs: JAX knows them.

JAX_NUM_PROCESSES and the like are not read, neither by JAX nor here, and an
indexed Job without VITON_JAX_NUM_PROCESSES is so many jobs of one process.
VITON_JAX_NUM_PROCESSES=1 says that there is one where the signs mislead.
"""

from collections.abc import Mapping
import dataclasses
import re

from viton_jax.errors import InputError

COORDINATOR = 'VITON_JAX_COORDINATOR'
NUM_PROCESSES = 'VITON_JAX_NUM_PROCESSES'
PROCESS_ID = 'VITON_JAX_PROCESS_ID'


@dataclasses.dataclass(frozen=True)
class Plan:
  """How to start this process.

  Attributes:
    source: who says so, for the log.
    method: JAX's name of what finds the values that are None here; None: the
      first that JAX knows, 'deactivate': none is to be found.
    coordinator: 'host:port' of process 0.
    num_processes: how many processes there are, 2 or more.
    process_id: 0 .. num_processes - 1.
    local_device_ids: which of the devices that this process sees are its own;
      () all of them, None: JAX_LOCAL_DEVICE_IDS says.
  """

  source: str
  method: str | None = 'deactivate'
  coordinator: str | None = None
  num_processes: int | None = None
  process_id: int | None = None
  local_device_ids: tuple[int, ...] | None = ()


def from_environment(
  env: Mapping[str, str], *, on_tpu_vm: bool = False
) -> Plan | None:
  """What the environment says; touches nothing.

  Args:
    env: the environment's variables. An empty one counts as not set.
    on_tpu_vm: this is a TPU VM, whose metadata server JAX asks.

  Returns:
    the plan; None: one process, nothing to start.

  Raises:
    InputError: variables contradict each other, or one is missing or wrong.
  """
  step = _open_mpi(env) or _slurm(env)
  ours = [x for x in (COORDINATOR, NUM_PROCESSES, PROCESS_ID) if env.get(x)]
  if ours or (step is None and env.get('JAX_COORDINATOR_ADDRESS')):
    return _explicit(env, step, ours or ['JAX_COORDINATOR_ADDRESS'])
  if step:
    # JAX itself reads JAX_COORDINATOR_ADDRESS.
    return _checked(step, env.get('JAX_COORDINATOR_ADDRESS'))
  if 'cpu' == env.get('JAX_PLATFORMS'):
    return None  # A TPU's host, used without its TPU.
  hosts = env.get('TPU_PROCESS_ADDRESSES') or env.get('TPU_WORKER_HOSTNAMES')
  slices = number(env, 'MEGASCALE_NUM_SLICES') or 1
  if hosts:
    several = hosts.count(',') + slices > 1
    return Plan('TPU on Kubernetes', 'gketpu') if several else None
  return Plan('TPU VM', 'gcetpu') if on_tpu_vm else None


def _explicit(env, step, ours) -> Plan | None:
  """The plan where variables of ours are set; `step`: the scheduler's."""
  count = number(env, NUM_PROCESSES)
  index = number(env, PROCESS_ID)
  completion = number(env, 'JOB_COMPLETION_INDEX')
  if count is None:
    if step is None:
      raise InputError(
        f'{ours[0]} is set but {NUM_PROCESSES} is not; set it to the number '
        'of processes, the same in all of them.'
      )
    count = step.num_processes
  if count < 1:
    raise InputError(f'{NUM_PROCESSES}={count}: there is at least 1 process.')
  if step and step.num_processes != count:
    step = None  # The scheduler counts something else.

  stated = {
    PROCESS_ID: index,
    'JOB_COMPLETION_INDEX': completion,
    step.source if step else 'nobody': step.process_id if step else None,
  }
  stated = {k: v for k, v in stated.items() if v is not None}
  if len(set(stated.values())) > 1 and count > 1:
    said = ', '.join(f'{k} says {v}' for k, v in stated.items())
    raise InputError(
      f'which process is this? {said}; unset {PROCESS_ID}, or unset '
      f'{NUM_PROCESSES} where each is a job of its own.'
    )
  if count == 1 and not index:
    return None
  if not stated:
    raise InputError(
      f'{NUM_PROCESSES}={count}, but nothing says which process this is; set '
      f'{PROCESS_ID} to 0 .. {count - 1}, a different one in each.'
    )
  name, index = next(iter(stated.items()))
  if index >= count:
    raise InputError(
      f'{name}={index} with {NUM_PROCESSES}={count}: processes are counted '
      f'from 0 to {count - 1}.'
    )

  coordinator, general = env.get(COORDINATOR), 'JAX_COORDINATOR_ADDRESS'
  if coordinator and env.get(general, coordinator) != coordinator:
    raise InputError(
      f'{COORDINATOR}={coordinator}, but {general}={env[general]}; unset one.'
    )
  coordinator = coordinator or env.get(general)
  method = 'deactivate'
  if not coordinator and step and step.method != 'deactivate':
    method = step.method
  elif not coordinator and env.get('KUBERNETES_SERVICE_HOST'):
    method = None  # JAX has no name for Kubernetes; it asks its API.
  elif not coordinator:
    raise InputError(
      f'{NUM_PROCESSES}={count}, but {COORDINATOR} is not set; set it to '
      'host:port of process 0, any free port, the same in all processes.'
    )
  devices = _all_devices(env)
  if step and PROCESS_ID not in stated:
    devices = step.local_device_ids
  source = 'VITON_JAX variables'
  return _checked(
    Plan(source, method, None, count, index, devices), coordinator
  )


def _checked(plan: Plan, coordinator: str | None) -> Plan:
  """Puts the coordinator in, if there is one; raises where none is found."""
  if coordinator:
    if not re.fullmatch(r'.+:[0-9]{1,5}', coordinator):
      raise InputError(
        f'coordinator {coordinator!r} is not host:port; write e.g. '
        'node001:12345.'
      )
    return dataclasses.replace(
      plan, coordinator=coordinator, method='deactivate'
    )
  if plan.method == 'deactivate':
    raise InputError(
      f'{plan.source} does not say where process 0 runs; set {COORDINATOR} '
      'to its host:port, any free port (mpirun -x passes it on).'
    )
  return plan


def _open_mpi(env) -> Plan | None:
  count = number(env, 'OMPI_COMM_WORLD_SIZE')
  if count is None or count < 2:
    return None
  # Open MPI 5 no longer has the variable in which JAX finds the coordinator.
  known = env.get('OMPI_MCA_orte_hnp_uri')
  return Plan(
    'Open MPI',
    'ompi' if known else 'deactivate',
    num_processes=count,
    process_id=_needed(env, 'OMPI_COMM_WORLD_RANK'),
    local_device_ids=_share_of_devices(
      env,
      number(env, 'OMPI_COMM_WORLD_LOCAL_RANK') or 0,
      number(env, 'OMPI_COMM_WORLD_LOCAL_SIZE') or 1,
    ),
  )


def _slurm(env) -> Plan | None:
  """The step of `srun`; not the shell of salloc, nor the script of sbatch.

  In these two SLURM_NTASKS is what a step would have, and there is one process.
  """
  needed = ('SLURM_JOB_ID', 'SLURM_STEP_NODELIST', 'SLURM_PROCID')
  if not all(env.get(x) for x in needed):
    return None
  count = number(env, 'SLURM_STEP_NUM_TASKS')
  if count is None:
    count = number(env, 'SLURM_NTASKS')
  if count is None or count < 2:
    return None
  nodes = number(env, 'SLURM_STEP_NUM_NODES') or 1
  node = number(env, 'SLURM_NODEID') or 0
  tasks = _tasks_per_node(env.get('SLURM_STEP_TASKS_PER_NODE', ''))
  return Plan(
    'SLURM',
    'slurm',
    num_processes=count,
    process_id=_needed(env, 'SLURM_PROCID'),
    local_device_ids=_share_of_devices(
      env,
      _needed(env, 'SLURM_LOCALID'),
      tasks[node] if node < len(tasks) else -(-count // nodes),
    ),
  )


def _tasks_per_node(text: str) -> list[int]:
  """'2(x3),1' -> [2, 2, 2, 1]."""
  found = re.findall(r'([0-9]+)(?:\(x([0-9]+)\))?', text)
  return [int(tasks) for tasks, times in found for _ in range(int(times or 1))]


def _share_of_devices(env, index: int, count: int) -> tuple[int, ...] | None:
  """Devices of task `index` of the `count` tasks on this machine.

  JAX gives a task of SLURM or Open MPI one device, the one with its number:
  one task a node would leave all but the first GPU idle, and a task that SLURM
  lets see nothing but its own GPU would ask for one that is not there.
  """
  everything = _all_devices(env)
  bound = any(
    env.get(x, 'none') != 'none'
    for x in ('SLURM_GPUS_PER_TASK', 'SLURM_GPU_BIND')
  ) or 'gpu' in env.get('SLURM_TRES_PER_TASK', '')
  if everything is None or count == 1 or bound:
    return everything
  visible = next(
    (
      len(env[x].split(','))
      for x in ('CUDA_VISIBLE_DEVICES', 'ROCR_VISIBLE_DEVICES')
      if env.get(x)
    ),
    None,
  )
  if visible is None:
    visible = number(env, 'SLURM_GPUS_ON_NODE')
  elif visible < count:
    return everything  # Too few to share: each task has been given its own.
  if not visible:
    return (index,)
  if visible % count:
    raise InputError(
      f'{visible} GPUs cannot be shared evenly by {count} tasks on this '
      'machine; start one task a machine or one a GPU.'
    )
  each = visible // count
  return tuple(range(index * each, (index + 1) * each))


def _all_devices(env) -> tuple[int, ...] | None:
  return None if env.get('JAX_LOCAL_DEVICE_IDS') else ()


def number(env: Mapping[str, str], name: str) -> int | None:
  """A variable as a number; None where it is not set or empty."""
  text = env.get(name, '')
  if not text:
    return None
  if not text.isdecimal():
    raise InputError(f'{name}={text!r} is not a number, 0 or more; correct it.')
  return int(text)


def _needed(env, name: str) -> int:
  value = number(env, name)
  if value is None:
    raise InputError(
      f'{name} is not set, though others of its kind are; pass the whole '
      'environment on to the processes.'
    )
  return value
