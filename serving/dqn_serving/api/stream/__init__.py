"""A stream: observations in and actions out over a WebSocket, for control loops."""
