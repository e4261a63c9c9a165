"""SS-NAN, the parser of VITON's real-time demo, in Flax, from its Keras file.

A ResNet-101 with the stem and the dilations of PSPNet sees the image in three
sizes; a small network says for each place how much each size counts, and their
features are added up by that [1, 2]. The size of everything is read from the
file, so a smaller network of the same build works too.

References:
  [1] Zhao et al.: "Self-supervised neural aggregation networks for human
      parsing", CVPR workshops 2017.
  [2] Chen et al.: "Attention to scale: scale-aware semantic image
      segmentation", CVPR 2016.
"""

from collections.abc import Callable
import functools
import pathlib
import re

from flax import linen as nn
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from viton_jax.errors import InputError
from viton_jax.geometry import interpolation
from viton_jax.io import finite, hdf5
from viton_jax.perception import fitting
from viton_jax.perception.spec_types import Spec

_SCALES = (0.5, 0.75, 1.0)
_STRIDE = 8
# Of the four stages: dilation of the 3 x 3 convolutions, and the first stride.
_STAGES = ((2, 1, 1), (3, 1, 2), (4, 2, 1), (5, 4, 1))
_EPSILON = 1e-5
_WEIGHTS = {
  'kernel:0': ('params', 'kernel'),
  'bias:0': ('params', 'bias'),
  'gamma:0': ('params', 'scale'),
  'beta:0': ('params', 'bias'),
  'moving_mean:0': ('batch_stats', 'mean'),
  'moving_variance:0': ('batch_stats', 'var'),
}


class Backbone(nn.Module):
  """The residual network; layers are named as in the Keras file.

  Attributes:
    width: channels of the stem; 64 in SS-NAN.
    blocks: of each stage; (3, 4, 23, 3) in SS-NAN.
  """

  width: int
  blocks: tuple[int, ...]

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """(b, h, w, 3) float32 -> (b, h / 8, w / 8, 32 * width) float32."""

    def conv(x, channels, size, name, stride=1, dilation=1):
      x = nn.Conv(
        channels,
        (size, size),
        (stride, stride),
        kernel_dilation=(dilation, dilation),
        use_bias=False,
        name=name,
      )(x)
      return nn.BatchNorm(
        use_running_average=True, epsilon=_EPSILON, name=f'{name}_bn'
      )(x)

    x = nn.relu(conv(x, self.width, 3, 'conv1_1_3x3_s2', stride=2))
    x = nn.relu(conv(x, self.width, 3, 'conv1_2_3x3'))
    x = nn.relu(conv(x, 2 * self.width, 3, 'conv1_3_3x3'))
    x = nn.max_pool(x, (3, 3), (2, 2), 'SAME')
    for (stage, dilation, stride), count in zip(
      _STAGES, self.blocks, strict=True
    ):
      inner = self.width * 2 ** (stage - 2)
      for block in range(1, count + 1):
        name = f'conv{stage}_{block}'
        step = stride if block == 1 else 1
        x = nn.relu(x)
        y = nn.relu(conv(x, inner, 1, f'{name}_1x1_reduce', step))
        y = nn.relu(conv(y, inner, 3, f'{name}_3x3', dilation=dilation))
        y = conv(y, 4 * inner, 1, f'{name}_1x1_increase')
        if block == 1:
          x = conv(x, 4 * inner, 1, f'{name}_1x1_proj', step)
        x = x + y
    return nn.relu(x)


class SsNan(nn.Module):
  """The whole network.

  Attributes:
    width: of the backbone.
    blocks: of the backbone.
    attention: channels of the attention's hidden layer; 512 in SS-NAN.
    classes: 20 in SS-NAN.
  """

  width: int = 64
  blocks: tuple[int, ...] = (3, 4, 23, 3)
  attention: int = 512
  classes: int = 20

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """(b, h, w, 3) float32 minus the mean -> (b, h / 8, w / 8, classes)."""
    backbone = Backbone(self.width, self.blocks)
    height, width = x.shape[1:3]
    features = [
      resize_tf1(
        backbone(resize_tf1(x, int(height * s), int(width * s))),
        height // _STRIDE,
        width // _STRIDE,
      )
      for s in _SCALES
    ]
    y = jnp.concatenate(features, -1)
    y = nn.relu(nn.Conv(self.attention, (3, 3), name='mask_att_conv')(y))
    y = nn.Conv(len(_SCALES), (3, 3), name='mask_att_prob')(y)
    weights = nn.softmax(y)
    mixed = sum(f * weights[..., i, None] for i, f in enumerate(features))
    return nn.Conv(self.classes, (3, 3), name='mask_denseclass_conv')(mixed)


def resize_tf1(x: jax.Array, height: int, width: int) -> jax.Array:
  """Bilinear as TensorFlow 1 has it: (b, h, w, c) -> (b, height, width, c)."""
  rows, columns = (
    interpolation.linear_weights(fitting.enlarge_positions(n, size, 'tf1'), n)
    for n, size in zip(x.shape[1:3], (height, width), strict=True)
  )
  return jnp.einsum(
    'yh,bhwc,xw->byxc', rows, x, columns, precision=lax.Precision.HIGHEST
  )


def load(path: pathlib.Path, spec: Spec) -> Callable[[np.ndarray], np.ndarray]:
  """Reads SS-NAN's weights; again only if the file changes.

  Args:
    path: the HDF5 file that Keras wrote.
    spec: with the input's size and the number of classes.

  Returns:
    (1, h, w, 3) float32, placed and minus the mean -> (h / 8, w / 8, classes)
    float32 logits.

  Raises:
    InputError: no HDF5 file, or the weights of another network.
  """
  stat = path.stat()
  return _load(path.resolve(), spec, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=2)
def _load(path, spec, mtime: int, size: int):
  del mtime, size  # They make a changed file another key of the cache.
  network, variables = build(read_weights(path), str(path))
  if network.classes != len(spec.to_lip20):
    raise InputError(
      f'{path}: has {network.classes} classes, but the spec '
      f"'{spec.name}' has {len(spec.to_lip20)}; get "
      f'{pathlib.PurePath(spec.file).name}'
    )
  variables = jax.device_put(variables)
  apply = jax.jit(network.apply)
  return lambda tensor: np.asarray(apply(variables, tensor)[0])


def read_weights(path: pathlib.Path) -> dict[tuple[str, str], np.ndarray]:
  """Reads every weight of a Keras file.

  Args:
    path: HDF5, with the backbone as a model in the model or not.

  Returns:
    (layer, weight) -> float32 array, as ('conv1_2_3x3', 'kernel:0').

  Raises:
    InputError: no HDF5 file, or a damaged one.
  """
  found = hdf5.read(path, lambda name: name.split('/')[-1] in _WEIGHTS)
  # Keras puts every weight into groups of its layer.
  return {
    (parts[-2], parts[-1]): np.asarray(values, np.float32)
    for name, values in found.items()
    if len(parts := name.split('/')) > 1
  }


def build(
  weights: dict[tuple[str, str], np.ndarray], name: str
) -> tuple[SsNan, dict]:
  """Makes the network that a file's weights are of.

  Args:
    weights: of `read_weights`.
    name: of the file, for errors.

  Returns:
    the network and its variables.

  Raises:
    InputError: a weight is missing, of another shape or not finite.
  """

  def channels(layer):
    kernel = weights.get((layer, 'kernel:0'))
    if kernel is None or kernel.ndim != 4:
      raise InputError(
        f"{name}: has no weights of the layer '{layer}', so it is not SS-NAN "
        '(AttResnet101FCN); give its .h5 file'
      )
    return kernel.shape[-1]

  blocks = []
  for stage, *_ in _STAGES:
    found = [
      re.fullmatch(rf'conv{stage}_(\d+)_3x3', layer) for layer, _ in weights
    ]
    blocks.append(max((int(x[1]) for x in found if x), default=1))
  network = SsNan(
    channels('conv1_1_3x3_s2'),
    tuple(blocks),
    channels('mask_att_conv'),
    channels('mask_denseclass_conv'),
  )
  shapes = jax.eval_shape(
    network.init,
    jax.random.key(0),
    jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32),
  )
  variables = {'params': {}, 'batch_stats': {}}
  by_place = {place: key for key, place in _WEIGHTS.items()}
  norms = {'scale': 'gamma:0', 'bias': 'beta:0'}
  for keys, wanted in jax.tree_util.tree_leaves_with_path(shapes):
    collection, *modules, leaf = [x.key for x in keys]
    layer = modules[-1]
    key = by_place[collection, leaf]
    if layer.endswith('_bn') and leaf in norms:
      key = norms[leaf]
    elif leaf == 'bias':
      key = 'bias:0'
    value = weights.get((layer, key))
    if value is None or value.shape != wanted.shape:
      got = 'is missing' if value is None else f'has shape {value.shape}'
      raise InputError(
        f'{name}: the weight {layer}/{key} {got} instead of having shape '
        f'{wanted.shape}, so it is not SS-NAN (AttResnet101FCN)'
      )
    finite.check(
      [(f'the weight {layer}/{key}', value)],
      name,
      remedy='copy the file again',
    )
    place = variables[collection]
    for module in modules:
      place = place.setdefault(module, {})
    place[leaf] = value
  return network, variables
