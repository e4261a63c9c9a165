"""Devices, processes, signals, compiled programs, progress."""
