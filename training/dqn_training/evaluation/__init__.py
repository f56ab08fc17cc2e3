"""A policy file to numbers."""
