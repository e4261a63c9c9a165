"""Report of versions, devices, memory and environment variables.

It also works where packages are missing, and names them.
"""

import importlib.metadata
import importlib.util
import os
import pathlib
import platform

import viton_jax

_PACKAGES = (
  ('jax', 'jax'),
  ('jaxlib', 'jaxlib'),
  ('flax', 'flax'),
  ('optax', 'optax'),
  ('orbax', 'orbax-checkpoint'),
  ('numpy', 'numpy'),
  ('scipy', 'scipy'),
)
# Each of these wheels installs the module cv2.
_OPENCV = (
  'opencv-python-headless',
  'opencv-python',
  'opencv-contrib-python-headless',
  'opencv-contrib-python',
)
_PREFIXES = (
  'JAX_',
  'XLA_',
  'VITON_JAX_',
  'NCCL_',
  'LIBTPU_',
  'TPU_WORKER_',
  'MEGASCALE_',
)
_NAMES = (
  'CUDA_VISIBLE_DEVICES',
  'ROCR_VISIBLE_DEVICES',
  'SLURM_JOB_ID',
  'OMP_NUM_THREADS',
  'GLIBC_TUNABLES',
)
_SECRET = ('KEY', 'TOKEN', 'SECRET', 'PASSWORD')
_GIB = 2**30


def report() -> str:
  """Returns the report of this process as lines of text.

  It initialises JAX's devices: call `distributed.initialize` before.
  """
  versions = {'viton_jax': viton_jax.__version__} | _versions()
  lines = [
    ('versions', ', '.join(f'{k} {v}' for k, v in versions.items())),
    ('host', _host()),
  ]
  lines += _devices()
  lines += [('set', text) for text in _variables(os.environ)]
  return '\n'.join(f'{name:<9} {text}' for name, text in lines)


def missing() -> list[str]:
  """Packages that viton_jax needs everywhere and that are not installed."""
  return [name for name, version in _versions().items() if version == 'missing']


def cores() -> int:
  """Number of cores this process may use: affinity and container quota."""
  if hasattr(os, 'sched_getaffinity'):
    count = len(os.sched_getaffinity(0))
  else:
    count = os.cpu_count() or 1
  limit = _cpu_limit()
  return max(1, min(count, round(limit))) if limit else count


def _versions() -> dict[str, str]:
  found = {'python': platform.python_version()}
  found |= {name: _version(package) for name, package in _PACKAGES}
  opencv = [x for x in _OPENCV if _version(x) != 'missing']
  if opencv:
    found['opencv'] = _version(opencv[0])
  else:
    # Packages of Linux distributions have no metadata of pip.
    here = importlib.util.find_spec('cv2') is not None
    found['opencv'] = 'of the system' if here else 'missing'
  return found


def _version(package: str) -> str:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return 'missing'


def _host() -> str:
  text = f'{platform.system()} {platform.machine()}, {cores()} cores'
  memory = _memory()
  if memory:
    text += f', {memory / _GIB:.1f} GiB of memory'
  return text


def _cpu_limit() -> float | None:
  """Cores that a container may use at once; None: no limit is known."""
  quota, _, period = _read('/sys/fs/cgroup/cpu.max').partition(' ')
  return int(quota) / int(period) if quota.isdecimal() and period else None


def _memory() -> int | None:
  """Bytes of memory, or of the container's limit where that is less."""
  try:
    whole = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
  except (AttributeError, OSError, ValueError):
    return None
  limit = _read('/sys/fs/cgroup/memory.max')
  return min(whole, int(limit)) if limit.isdecimal() else whole


def _read(path: str) -> str:
  try:
    return pathlib.Path(path).read_text().strip()
  except (OSError, UnicodeDecodeError):
    return ''


def _devices() -> list[tuple[str, str]]:
  try:
    import jax  # Here, because the report also names a JAX that is broken.

    devices, local = jax.devices(), jax.local_devices()
  except ImportError as error:
    return [('devices', f'unknown: {error}')]
  except RuntimeError as error:
    return [('devices', f'none: {" ".join(str(error).split())}')]
  # Of a GPU it is e.g. 'cuda 13000', of a CPU its name again.
  version = ' '.join(local[0].client.platform_version.split())
  name = devices[0].platform
  lines = [('platform', name if version == name else f'{name}, {version}')]
  for kind in dict.fromkeys(d.device_kind for d in devices):
    here = [d for d in local if d.device_kind == kind]
    count = sum(d.device_kind == kind for d in devices)
    text = f'{count} x {kind}'
    if jax.process_count() > 1:
      text += f', {len(here)} of them in this process'
    limit = _memory_limit(here[0]) if here else None
    if limit:
      text += f', {limit / _GIB:.1f} GiB each for JAX'
    lines.append(('devices', text))
  lines.append(('process', f'{jax.process_index()} of {jax.process_count()}'))
  return lines


def _memory_limit(device) -> int | None:
  """Bytes that JAX may use of a device; None: it does not say."""
  try:
    return (device.memory_stats() or {}).get('bytes_limit')
  except (RuntimeError, NotImplementedError):
    return None


def _variables(env) -> list[str]:
  """'NAME=value' of variables that configure JAX, without secrets."""
  return [
    f'{name}={"..." if any(x in name for x in _SECRET) else env[name]}'
    for name in sorted(env)
    if name.startswith(_PREFIXES) or name in _NAMES
  ]
