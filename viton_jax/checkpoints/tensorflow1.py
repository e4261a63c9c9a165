"""Reads checkpoints of the original's networks, as TensorFlow 1 saved them.

A saver's file may hold one network or both; the variables' names say which.
Kernels keep TensorFlow's shapes.
"""

import math
import os
import pathlib
import re
from typing import Any

import numpy as np

from viton_jax.checkpoints.checkpoint import Checkpoint
from viton_jax.errors import InputError
from viton_jax.io import files, finite
from viton_jax.models.shapes import abstract_variables

_SIZE = (256, 192)  # What the released code works at.

# What training with TensorFlow leaves in a file beside the networks.
_BOOKKEEPING = re.compile(
  r'(^|/)(global_step|beta[12]_power(_\d+)?)$|/Adam(_\d+)?$'
)
_STEP = 'global_step'

_NORM = {
  'batchnorm/Variable': ('params', 'scale'),
  'batchnorm/Variable_1': ('params', 'bias'),
  'batchnorm/Variable_2': ('batch_stats', 'mean'),
  'batchnorm/Variable_3': ('batch_stats', 'var'),
}


def tf1_names(network: str) -> dict[str, tuple[str, str, str]]:
  """TensorFlow's variable names and where each goes.

  Args:
    network: 'encoder_decoder' or 'refinement'.

  Returns:
    name -> (collection, layer, variable), e.g.
    'generator/encoder_2/conv/filter' -> ('params', 'encoder_2', 'kernel').
  """
  names = {}
  if network == 'encoder_decoder':
    for side, kind in (('encoder', 'conv'), ('decoder', 'deconv')):
      for k in range(1, 7):
        layer = f'{side}_{k}'
        prefix = f'generator/{layer}'
        names[f'{prefix}/{kind}/filter'] = ('params', layer, 'kernel')
        if k > 1:  # The outermost layers have no normalisation.
          for name, (collection, variable) in _NORM.items():
            names[f'{prefix}/{name}'] = (collection, f'{layer}_norm', variable)
  elif network == 'refinement':
    for k in (1, 2, 3):
      prefix, layer = f'refine_generator/g_256_conv{k}', f'conv_{k}'
      names[f'{prefix}/weights'] = ('params', layer, 'kernel')
      names[f'{prefix}/LayerNorm/gamma'] = ('params', f'{layer}_norm', 'scale')
      names[f'{prefix}/LayerNorm/beta'] = ('params', f'{layer}_norm', 'bias')
    prefix = 'refine_generator/g_1024_final'
    names[f'{prefix}/weights'] = ('params', 'final', 'kernel')
    names[f'{prefix}/biases'] = ('params', 'final', 'bias')
  else:
    raise ValueError(f'network is {network!r}.')
  return names


def read_tf1_checkpoint(path: str | pathlib.Path) -> dict[str, dict[str, Any]]:
  """Reads the networks in a TensorFlow-1 saver's file.

  Args:
    path: the prefix ('model/stage1/model-15000'), one of its files, or a folder
      with a `checkpoint` file or a single saver's file. V1 and V2 files.

  Returns:
    'encoder_decoder' and 'refinement', whichever are inside, each the network's
    variables as NumPy float32 arrays.

  Raises:
    InputError: no such file or a damaged one; none of our networks in it; a
      variable that is missing, unknown or of a wrong shape.
  """
  return {
    network: checkpoint.variables
    for network, checkpoint in read_tf1(path).items()
  }


def read_tf1(path: str | pathlib.Path) -> dict[str, Checkpoint]:
  """As `read_tf1_checkpoint`, with the step and what else is known."""
  prefix = find_tf1_checkpoint(path)
  values = _read_values(prefix)
  step = np.asarray(values.pop(_STEP, max(_step_of(prefix), 0)))
  if step.dtype.kind not in 'iu' or step.size != 1:
    raise InputError(
      f'{prefix}: {_STEP} is no whole number; give a checkpoint as the '
      'released code wrote it.'
    )
  networks = {
    network: names
    for network in ('encoder_decoder', 'refinement')
    if (names := tf1_names(network)).keys() & values.keys()
  }
  if not networks:
    found = ', '.join(sorted(values)[:3])
    raise InputError(
      f"{prefix}: holds none of VITON's networks (its variables are {found} "
      "...); give a checkpoint of VITON's stage 1 or stage 2."
    )
  known = {name for names in networks.values() for name in names}
  unknown = sorted(
    name for name in values.keys() - known if not _BOOKKEEPING.search(name)
  )
  if unknown:
    raise InputError(
      f'{prefix}: has variables that belong to no network of VITON: '
      f'{_list(unknown)}; give a checkpoint as the released code wrote it.'
    )
  result = {}
  for network, names in networks.items():
    missing = sorted(names.keys() - values.keys())
    if missing:
      raise InputError(
        f'{prefix}: the {network} lacks {_list(missing)}; give a complete '
        'checkpoint.'
      )
    _check_shapes(prefix, network, values)
    variables = {}
    for name, (collection, layer, variable) in names.items():
      variables.setdefault(collection, {}).setdefault(layer, {})[variable] = (
        values[name]
      )
    result[network] = Checkpoint(
      path=prefix,
      step=int(step),
      network=network,
      features=features_of(variables),
      fidelity='original',
      size=_SIZE,
      variables=variables,
      config={},
    )
  return result


def find_tf1_checkpoint(path: str | pathlib.Path) -> pathlib.Path:
  """The prefix of a saver's files, see `read_tf1_checkpoint`."""
  path = pathlib.Path(path)
  if path.is_dir():
    return _newest_in(path)
  prefix = path.with_name(
    re.sub(r'\.(index|meta|data-\d+-of-\d+)$', '', path.name)
  )
  index, v1 = prefix.with_name(prefix.name + '.index'), prefix
  if not (index.is_file() or v1.is_file()):
    raise InputError(
      f'{path}: no such TensorFlow checkpoint; give the prefix of its files, '
      "e.g. model/stage1/model-15000, or the files' folder."
    )
  if index.is_file() and not list(
    prefix.parent.glob(f'{_glob_escape(prefix.name)}.data-*')
  ):
    raise InputError(
      f'{prefix}: its .data file is missing; copy it beside the .index file.'
    )
  return prefix


def _newest_in(folder):
  """What the folder's `checkpoint` file names, or the highest step."""
  prefixes = (
    {file.with_suffix('') for file in folder.glob('*.index')}
    | {  # V1 files have no ending of their own.
      file for file in folder.glob('model-*') if file.name[6:].isdigit()
    }
  )
  if not prefixes:
    raise InputError(
      f'{folder}: holds no TensorFlow checkpoint (no *.index file); give the '
      'folder or the prefix of one.'
    )
  state = folder / 'checkpoint'
  if state.is_file():
    text = files.read(state, limit=1 << 20).decode(errors='replace')
    named = re.search(r'^model_checkpoint_path:\s*"(.*)"', text, re.MULTILINE)
    # It may say where the files once were; their name is what counts.
    chosen = folder / pathlib.PurePosixPath(named[1]).name if named else None
    if chosen is not None and chosen in prefixes:
      return find_tf1_checkpoint(chosen)
  return find_tf1_checkpoint(max(prefixes, key=lambda p: (_step_of(p), p.name)))


def _step_of(prefix):
  number = re.search(r'-(\d+)$', prefix.name)
  return int(number[1]) if number else -1


def _glob_escape(name):
  return re.sub(r'([\[*?])', r'[\1]', name)


def tensorflow():
  """The module; it takes seconds to import, and nobody else needs it here."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  import tensorflow as tf

  return tf


def _read_values(prefix):
  """name -> array of every variable but the optimiser's, and the step."""
  tf = tensorflow()
  try:
    reader = tf.train.load_checkpoint(str(prefix))
    shapes, types = (
      reader.get_variable_to_shape_map(),
      reader.get_variable_to_dtype_map(),
    )
    wanted = [x for x in shapes if x == _STEP or not _BOOKKEEPING.search(x)]
    size = sum(math.prod(shapes[x]) * types[x].size for x in wanted)
    # TensorFlow allocates what the index says.
    if size > _bytes_of(prefix):
      raise ValueError(f'its variables have {size} bytes, the files fewer')
    return {x: np.asarray(reader.get_tensor(x)) for x in wanted}
  except Exception as error:  # Its reader raises whatever C++ did.
    reason = ' '.join(str(error).split())[:200]
    raise InputError(
      f'{prefix}: cannot be read as a TensorFlow checkpoint ({reason}); it '
      'may be truncated: copy or download its files again.'
    ) from error


def _bytes_of(prefix):
  """Of the files with the values; those of V1 may be packed a little."""
  v2 = list(prefix.parent.glob(f'{_glob_escape(prefix.name)}.data-*'))
  sizes = (x.stat().st_size for x in v2 or [prefix])
  return sum(sizes) * (1 if v2 else 2)


def _check_shapes(prefix, network, values):
  """Every variable against the network whose width the file itself tells."""
  expected = expected_shapes(network, values)
  for name, shape in expected.items():
    value = values[name]
    if value.shape != shape:
      raise InputError(
        f'{prefix}: {name} is {value.shape}, but the rest of the {network} '
        f'wants {shape}; give a checkpoint of one network.'
      )
    if value.dtype != np.float32:
      raise InputError(
        f'{prefix}: {name} is {value.dtype}, not float32; give a checkpoint '
        'as the released code wrote it.'
      )
  finite.check(
    ((name, values[name]) for name in expected),
    prefix,
    remedy='give an earlier step.',
  )


def expected_shapes(
  network: str, values: dict[str, np.ndarray]
) -> dict[str, tuple[int, ...]]:
  """TensorFlow's variable names -> shapes, for the ngf that the values have."""
  first = {
    'encoder_decoder': 'generator/encoder_1/conv/filter',
    'refinement': 'refine_generator/g_256_conv1/weights',
  }[network]
  features = max(1, *values[first].shape[-1:])
  variables = abstract_variables(network, features)
  return {
    name: variables[collection][layer][variable].shape
    for name, (collection, layer, variable) in tf1_names(network).items()
  }


def features_of(variables: dict[str, Any]) -> int:
  """Channels of the first convolution (ngf) of either network."""
  params = variables['params']
  first = params['encoder_1' if 'encoder_1' in params else 'conv_1']
  return int(first['kernel'].shape[-1])


def _list(names):
  shown = ', '.join(names[:5])
  return shown if len(names) <= 5 else f'{shown} and {len(names) - 5} more'
