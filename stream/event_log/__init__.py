"""The log as columns; windows; the archive."""
