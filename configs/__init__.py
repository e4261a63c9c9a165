"""One file a run; `python -m viton_jax.train --config configs/stage1.py`."""
