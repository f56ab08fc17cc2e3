"""A run of training: its directory, its checkpoints, what follows it, and the candidate that it ends with."""
