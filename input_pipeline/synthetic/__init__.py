"""Drawn people and garments with true try-ons, in the raw VITON layout.

`python -m input_pipeline.synthetic --help` writes a data set; `render_pair`
gives one pair in memory, with the known correspondence between the flat and
the worn garment.
"""

from input_pipeline.synthetic.pairs import SyntheticPair, render_pair

__all__ = ['SyntheticPair', 'render_pair']
