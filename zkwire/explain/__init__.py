"""One frame: what it is, and what its bytes mean."""
