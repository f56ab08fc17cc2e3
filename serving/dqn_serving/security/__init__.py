"""Who may call, and certificates."""
