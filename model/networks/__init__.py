"""The one interface, and one file per network."""
