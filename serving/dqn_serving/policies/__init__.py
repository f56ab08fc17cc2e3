"""Loaded policies and how they are kept fresh."""
