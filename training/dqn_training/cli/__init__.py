"""The commands of training: each with its flags and what it does."""
