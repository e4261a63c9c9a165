"""Continuous try-on: frames of a camera in, the same frames dressed out.

What costs time is done for a key frame a few times a second, in a thread of its
own, and carried to every frame by optical flow. `step.py` has the stages of a
frame as pure functions of a `State`, `keys.py` the work of a key frame,
`engine.py` the thread. docs/live.md says where the time goes.
"""
