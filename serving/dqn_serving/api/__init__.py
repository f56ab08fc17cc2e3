"""The HTTP calls, by audience."""
