"""Serving: calling an exported try-on without the library that trained it."""
