"""What moves between two trainings."""
