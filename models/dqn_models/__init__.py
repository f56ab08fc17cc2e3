"""The contract between training and serving: manifests, the model repository and the ONNX policy."""
