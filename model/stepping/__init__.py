"""One step of a wave: state in, top-20 out."""
