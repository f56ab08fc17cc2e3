"""Observations to Q-values."""
