"""Compares runs by their metrics files."""
