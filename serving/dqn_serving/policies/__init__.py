"""Loaded policies and how they are refreshed."""
