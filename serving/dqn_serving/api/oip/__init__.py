"""The Open Inference Protocol V2 over REST, below /v2, as KServe, Triton and MLServer speak it."""
