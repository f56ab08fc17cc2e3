"""The retraining job."""
