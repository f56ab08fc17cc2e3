"""What differs between the two clients: `aio` and `blocking` define the same names. Everything else is generated."""
