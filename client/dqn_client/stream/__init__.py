"""Streams: observations out and actions in over one WebSocket, for control loops."""
