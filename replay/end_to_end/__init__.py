"""A log through a real worker: demo, certified lists."""
