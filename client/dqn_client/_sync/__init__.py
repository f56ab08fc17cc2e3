# Generated from client/dqn_client/_async/__init__.py by scripts/unasync.py: change that file, then run `make generate`.
"""The blocking client: generated from `_async`, not edited."""
