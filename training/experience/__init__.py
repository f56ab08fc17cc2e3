"""From environments to transitions."""
