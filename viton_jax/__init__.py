"""viton_jax: image-based virtual try-on in JAX and Flax."""

__version__ = '0.1.0'
