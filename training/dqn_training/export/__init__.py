"""Export of a Q-network to ONNX, with a check that both compute the same."""
