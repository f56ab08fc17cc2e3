"""Things to try: an environment to drift, clients to read."""
