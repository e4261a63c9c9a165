"""Two photos in, one picture out, at the size of the photo."""
