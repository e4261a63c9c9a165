"""From folders on disk to batches for the device; no model, no Flax."""
