"""viton_jax: image-based virtual try-on in JAX and Flax."""

import os

__version__ = '0.1.0'

# TensorFlow only decodes and feeds data here. Left alone it greets every
# command with lines about an option that does not concern that.
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
