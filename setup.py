"""Package metadata and dependencies of viton_jax."""

import pathlib
import re

from setuptools import find_packages, setup

_ROOT = pathlib.Path(__file__).parent
_VERSION = re.search(
  r"__version__ = '([^']+)'", (_ROOT / 'viton_jax/__init__.py').read_text()
).group(1)

setup(
  name='viton_jax',
  version=_VERSION,
  description='Image-based virtual try-on in JAX and Flax.',
  long_description=(_ROOT / 'README.md').read_text(),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  python_requires='>=3.11',
  packages=find_packages(include=['viton_jax*', 'input_pipeline*', 'configs*']),
  package_data={'viton_jax.perception': ['specs/*.toml']},
  install_requires=[
    'absl-py>=2.1',
    'clu>=0.0.12',
    # jax.export reads and writes programs with it, without requiring it.
    'flatbuffers>=24.3',
    'flax>=0.12',
    'h5py>=3.10',
    # tfds needs it on every Python but declares it for old ones only.
    'importlib_resources>=6.0',
    'jax>=0.10',
    'ml_collections>=1.0',
    'numpy>=2.0',
    # The windowed wheel needs libGL, libxcb and glib from the system.
    'opencv-python-headless>=4.10',
    'optax>=0.2.5',
    'orbax-checkpoint>=0.11.20',
    'safetensors>=0.5',
    'scipy>=1.13',
    # clu's metric writers import it without declaring it.
    'tensorboard>=2.18',
    'tensorflow-cpu>=2.18',
    'tensorflow-datasets>=4.9.7',
    'threadpoolctl>=3.5',
    'tqdm>=4.66',
  ],
  extras_require={
    # In an environment of its own: Beam needs an older protobuf than the
    # rest would take.
    'beam': ['apache-beam>=2.65', 'protobuf<7'],
    'bench': ['torch>=2.5'],  # to be compared with
    'dev': [
      'onnx>=1.17',  # to make small models in tests
      'onnxruntime>=1.20',
      'pillow>=10.0',  # to write photos as telephones and shops do
      'pytest>=8.0',
      'pytest-xdist>=3.6',
      'ruff>=0.8',
      'scikit-image>=0.24',  # reference for SSIM, a real photograph
    ],
    'gpu': ['jax[cuda13]>=0.10'],
    'onnx': ['onnxruntime>=1.20'],
    'tpu': ['jax[tpu]>=0.10'],
  },
)
