"""What differs between the two clients: `aio` and `blocking` have the same names. All else is generated."""
