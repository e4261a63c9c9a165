"""Label maps of the people in a photo."""
