"""From a Q-network to a version with its proof."""
