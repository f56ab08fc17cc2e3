"""Compaction: from the log to datasets of whole, audited episodes."""
