"""Numbers of a run over its environment steps, for a file, TensorBoard and MLflow."""
