"""Serves the policies of a model repository over HTTP and keeps them fresh."""
