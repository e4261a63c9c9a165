"""Training: stages, steps, state, schedules, data feed, logs."""
