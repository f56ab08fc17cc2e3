"""From requests to decisions: admission, micro-batches, exploration."""
