"""A run on disk: its directory, and checkpoints from which it goes on."""
