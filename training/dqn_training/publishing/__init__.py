"""A trained policy to a version in the repository."""
