"""The log: files of SQLite that processes write, and what reads them."""
