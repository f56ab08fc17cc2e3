"""HTTP connections and requests, below the framework."""
