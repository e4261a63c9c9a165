"""People and garments as photos show them; the same data as `plain`.

The style is a set of painters with the names of the plain ones, so that
whatever composes a person from them draws in either style.
"""
