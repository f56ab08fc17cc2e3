"""Recording: from decisions and outcomes in memory to durable rows of the log."""
