"""The server as a process: sockets, workers, signals."""
