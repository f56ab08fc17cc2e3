"""BentoML, as in its documentation; $MODEL is the path of the ONNX file."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1)  # type: ignore[misc]
class Acting:
    """Observation to greedy action."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options)

    @bentoml.api  # type: ignore[misc]
    def act(self, observation: list[float]) -> dict[str, int]:
        """The greedy action."""
        (actions,) = self.session.run(["action"], {"observation": np.array([observation], np.float32)})
        return {"action": int(actions[0])}
