"""`nextclick data report`."""
