"""Two photos in, one image out, at the size of the photo."""
