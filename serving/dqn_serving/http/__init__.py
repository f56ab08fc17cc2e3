"""Connections and requests below the framework."""
