"""From folders on disk to batches for the device; no model, no Flax."""

# First of all: it says so where this Python lacks the project's libraries, and
# keeps TensorFlow quiet.
import viton_jax as _viton_jax  # noqa: F401
