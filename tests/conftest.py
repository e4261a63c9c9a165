"""Tests run stricter than production.

Eight CPU devices, strict dtype promotion; pyproject.toml turns warnings into
errors. TensorFlow is told to be quiet before anybody imports it.
"""

import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

import jax  # noqa: E402

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_dtype_promotion', 'strict')
