"""The HTTP server: try-on, pose and labels over REST, and the page.

`python -m viton_jax.serve` starts it. Modules that need JAX are imported after
the server listens (`service.Service.load`), so that it answers at once.
"""
