"""Real servers, commands and small policies, for tests and benchmarks."""
