"""The study of how often to train."""
