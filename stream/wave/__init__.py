"""One wave: what is stepped, by which version."""
