"""Resumable training state on disk."""
