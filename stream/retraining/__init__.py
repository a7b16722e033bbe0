"""One retraining, its lock, report, schedule."""
