"""Models beside each other: compare, tune, challenger, gate."""
