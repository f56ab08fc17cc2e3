"""A repository with small policies and one server for the tests of a module."""

from dqn_testing.fixtures import empty, repository, secure, server, spaced, spaced_store, tls_files

__all__ = ["empty", "repository", "secure", "server", "spaced", "spaced_store", "tls_files"]
