"""From transitions to a Q-network."""
