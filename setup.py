"""Package metadata and dependencies of viton_jax."""

import pathlib
import re

from setuptools import find_packages, setup

# Where the project is published, e.g. 'https://example.org/viton_jax'. Empty
# until it is: an index then shows the README without images and links of ours.
REPOSITORY_URL = ''

_ROOT = pathlib.Path(__file__).parent
_VERSION = re.search(
  r"__version__ = '([^']+)'", (_ROOT / 'viton_jax/__init__.py').read_text()
).group(1)
# An image of the tree, and the paragraph in italics that explains it.
_IMAGE = re.compile(r'!\[([^\]]*)\]\((?!https?:)([^)]+)\)')
_CAPTION = r'\n+(?:\*[^*]+\*\n+)?'
_LINK = re.compile(r'(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)]+)\)')
_COMMANDS = (
  'train', 'infer', 'evaluate', 'try_on', 'perceive', 'serve', 'live', 'export',
  'convert', 'inspect',
)  # fmt: skip

_SERVE = [
  'fastapi>=0.115',
  'granian>=2.7',
  'prometheus-client>=0.20',
  # Older ones take minutes for forms that are made for that.
  'python-multipart>=0.0.34',
]
_SCALE = [
  *_SERVE,
  'ray[serve]>=2.60',  # replicas on several machines
]
_LIVE = [
  'pygame-ce>=2.5',  # the window; SDL is in its wheel
  'websockets>=13.0',  # asks a server to do the work
]


def long_description(text: str, repository_url: str) -> str:
  """The README for an index, which knows nothing of the files beside it."""
  if not repository_url:
    text = re.sub(_IMAGE.pattern + _CAPTION, '', text)
    return _LINK.sub(r'\1', text)
  text = _IMAGE.sub(rf'![\1]({repository_url}/raw/main/\2)', text)
  return _LINK.sub(rf'[\1]({repository_url}/blob/main/\2)', text)


def project_urls(repository_url: str) -> dict[str, str]:
  urls = {'Paper': 'https://arxiv.org/abs/1711.08447'}
  if repository_url:
    urls |= {
      'Source': repository_url,
      'Documentation': f'{repository_url}/tree/main/docs',
      'Changelog': f'{repository_url}/blob/main/CHANGELOG.md',
      'Issues': f'{repository_url}/issues',
    }
  return urls


setup(
  name='viton_jax',
  version=_VERSION,
  description='Image-based virtual try-on in JAX and Flax.',
  long_description=long_description(
    (_ROOT / 'README.md').read_text(), REPOSITORY_URL
  ),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  license_files=['LICENSE'],
  project_urls=project_urls(REPOSITORY_URL),
  keywords=[
    'virtual try-on',
    'VITON',
    'thin-plate spline',
    'shape context',
    'computer vision',
    'JAX',
    'Flax',
  ],
  classifiers=[
    'Development Status :: 4 - Beta',
    'Intended Audience :: Developers',
    'Intended Audience :: Science/Research',
    'Operating System :: POSIX :: Linux',
    'Programming Language :: Python :: 3',
    'Programming Language :: Python :: 3.11',
    'Programming Language :: Python :: 3.12',
    'Programming Language :: Python :: 3.13',
    'Topic :: Scientific/Engineering :: Artificial Intelligence',
    'Topic :: Scientific/Engineering :: Image Processing',
    'Typing :: Typed',
  ],
  python_requires='>=3.11',
  # Named although it is the default: an editable install then puts the folder
  # on the path instead of a finder, which would lose against a folder that is
  # called viton_jax, as every clone is, in the working directory.
  package_dir={'': '.'},
  packages=find_packages(include=['viton_jax*', 'input_pipeline*', 'configs*']),
  package_data={
    'input_pipeline': ['py.typed'],
    'viton_jax': ['py.typed'],
    'viton_jax.checkpoints': ['weights/*'],
    'viton_jax.perception': ['specs/*.toml', 'parsing/weights/*'],
    'viton_jax.server': ['page/*'],
    'viton_jax.serving': ['page/*'],
  },
  entry_points={
    'console_scripts': [
      f'viton-{name.replace("_", "-")} = viton_jax.commands:{name}'
      for name in _COMMANDS
    ]
  },
  install_requires=[
    'absl-py>=2.1',
    'clu>=0.0.12',
    # jax.export reads and writes programs with it, without requiring it.
    'flatbuffers>=24.3',
    'flax>=0.12',
    'google-crc32c>=1.5',
    'h5py>=3.10',
    # tfds needs it on every Python but declares it for old ones only.
    'importlib_resources>=6.0',
    'jax>=0.10',
    'jaxtyping>=0.3',
    'ml_collections>=1.0',
    'numpy>=2.0',
    # The windowed wheel needs libGL, libxcb and glib from the system.
    'opencv-python-headless>=4.10',
    'optax>=0.2.5',
    'orbax-checkpoint>=0.11.20',
    'safetensors>=0.5',
    'scipy>=1.13',
    'simplejpeg>=1.8',  # tells of damaged JPEGs; OpenCV fills in
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
      'ai-edge-litert>=2.0',
      *_SERVE,
      *_LIVE,
      'axe-playwright-python>=0.1.4',  # axe-core: can everybody use the page?
      'beartype>=0.20',  # checks jaxtyping's shapes in tests
      'hypothesis>=6.100',  # structured inputs for readers
      'import-linter>=2.3',
      'mkdocs-material>=9.6',
      'mkdocstrings[python]>=0.29',
      'onnx>=1.17',  # exports, and makes small models in tests
      'onnxruntime>=1.20',
      'pillow>=10.0',  # to write photos as telephones and shops do
      'playwright>=1.50',  # drives Debian's chromium, brings no browser
      'pre-commit>=4.0',
      'pyright[nodejs]>=1.1.400',  # with its own Node.js
      'pytest>=8.0',
      'pytest-timeout>=2.3',
      'pytest-xdist>=3.6',
      'ruff>=0.8',
      'scikit-image>=0.24',  # reference for SSIM, a real photograph
      'setuptools>=77',  # builds the wheel that the tests look into
    ],
    'gpu': ['jax[cuda13]>=0.10'],
    'live': _LIVE,
    # onnx says how large a file's arrays are before onnxruntime makes them.
    'onnx': ['onnx>=1.17', 'onnxruntime>=1.20'],
    'onnx_export': ['onnx>=1.17', 'onnxruntime>=1.20'],
    'photos': ['ai-edge-litert>=2.0'],  # runs BlazePose fast on CPUs
    'scale': _SCALE,
    'serve': _SERVE,
    'tpu': ['jax[tpu]>=0.10'],
  },
)
