"""Examples: an environment that can drift, and a client."""
