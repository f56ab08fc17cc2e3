"""Searches settings for an environment (Akiba et al., 2019: Optuna)."""
