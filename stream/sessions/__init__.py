"""Session state: store, partition, offsets, recovery."""
