"""The policy: an immutable map from observations to Q-values and actions, one ONNX file run by ONNX Runtime."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqn_models.errors import PolicyError
from dqn_models.manifest import TensorSpec
from dqn_models.masks import BoolArray
from dqn_models.spaces import ActionSpace

# ONNX Runtime reads this on import, which happens only here. Otherwise it contacts a host of its vendor and keeps a
# machine id and an event queue in the home directory.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
Observations = NDArray[Any]
Actions = NDArray[Any]
"""int64, or float32 for a discretized Box."""

_DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int64)": "int64"}
_ACTION_DTYPES = ("int64", "float32")
_LEAF = "observation."
_WARM_UP_BATCHES = (1, 2, 64)
_ERRORS_ONLY = 3


def _session(data: bytes, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _spec(value: ort.NodeArg) -> TensorSpec:
    shape = ["batch" if index == 0 else size for index, size in enumerate(value.shape)]
    return TensorSpec(name=value.name, dtype=_DTYPES.get(value.type, value.type), shape=shape)


class Policy:
    """Maps observations to Q-values and greedy actions. Safe to share between threads.

    A batch of observations is one array [batch, *observation_shape]. If the graph has one input per leaf of an
    observation, it is a structured array [batch] with one field per leaf; its dtype is the space's `row_dtype`.

    Attributes:
        inputs, outputs: the graph's tensors as in the manifest.
        observation_shape: shape of one observation, without the batch dimension; () if it has several leaves.
        observation_dtype: float32, uint8 (pixels), int64 (Discrete), or a structured dtype.
        n_actions: number of Q-values: one per action or, if actions branch, one per value of each component.
        action_shape, action_dtype: of one action, as in the environment's action space.
        session: the ONNX Runtime session.
    """

    def __init__(self, data: bytes, *, where: str = "the ONNX file", threads: int = 1) -> None:
        """Loads a serialized ONNX graph; `where` names it in errors, `threads` is the number of threads per run.

        Raises PolicyError if it does not load or is not a policy, which has an input `observation` or inputs
        `observation.NAME`, and outputs `q_values` (float32 [batch, n_actions]) and `action` (int64 or float32
        [batch, ...]).
        """
        try:
            self.session = _session(data, threads)
        except Exception as error:  # ONNX Runtime's exceptions have no common public base
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise PolicyError(f"{where} does not load in ONNX Runtime {ort.__version__}: {reason}") from error
        self.inputs = [_spec(value) for value in self.session.get_inputs()]
        self.outputs = [_spec(value) for value in self.session.get_outputs()]
        self._check_signature(where)
        outputs = {value.name: value for value in self.outputs}
        self.n_actions = int(outputs["q_values"].shape[1])
        self.action_shape = _fixed(outputs["action"])
        self.action_dtype = np.dtype(outputs["action"].dtype)
        self._fields = [value.name.removeprefix(_LEAF) for value in self.inputs if value.name.startswith(_LEAF)]
        if self._fields:
            formats = [
                (name, value.dtype, _fixed(value)) for name, value in zip(self._fields, self.inputs, strict=True)
            ]
            self.observation_shape: tuple[int, ...] = ()
            self.observation_dtype: np.dtype[Any] = np.dtype(formats, align=True)
        else:
            self.observation_shape, self.observation_dtype = _fixed(self.inputs[0]), np.dtype(self.inputs[0].dtype)

    def _check_signature(self, where: str) -> None:
        outputs = {value.name: value for value in self.outputs}
        names = [value.name for value in self.inputs]
        fixed = [size for value in (*self.inputs, *self.outputs) for size in value.shape[1:]]
        is_policy = (
            (names == ["observation"] or (names and all(name.startswith(_LEAF) for name in names)))
            and set(outputs) == {"q_values", "action"}
            and (outputs["q_values"].dtype, len(outputs["q_values"].shape)) == ("float32", 2)
            and outputs["action"].dtype in _ACTION_DTYPES
            and len(outputs["action"].shape) >= 1
            and all(isinstance(size, int) for size in fixed)
        )
        if not is_policy:
            described = f"inputs {_described(self.inputs)} and outputs {_described(self.outputs)}"
            raise PolicyError(
                f"{where} is not a policy: it has {described}; expected input observation [batch, ...], or one input "
                "observation.NAME for each leaf, and outputs q_values float32 [batch, n_actions] and action int64 or "
                "float32 [batch, ...]."
            )
        for value in self.inputs:
            if value.dtype not in _DTYPES.values():
                raise PolicyError(
                    f"{where} takes observations of dtype {value.dtype}; expected float32, uint8 or int64."
                )

    def run(self, observations: Observations) -> tuple[FloatArray, Actions]:
        """Q-values [batch, n_actions] and greedy actions [batch, *action_shape] for a batch of observations.

        The observations must have the policy's dtype; actions are in the environment's form.
        """
        q_values, actions = self.session.run(["q_values", "action"], self._feed(observations))
        return q_values, actions

    def q_values(self, observations: Observations) -> FloatArray:
        """Q-values [batch, n_actions] only, which is faster; their argmax is the index of the greedy action."""
        q_values: FloatArray = self.session.run(["q_values"], self._feed(observations))[0]
        return q_values

    def act(self, observations: Observations) -> Actions:
        """Greedy actions [batch, *action_shape] for a batch of observations."""
        actions: Actions = self.session.run(["action"], self._feed(observations))[0]
        return actions

    def choose(self, observations: Observations, masks: BoolArray, actions: ActionSpace) -> IntArray:
        """Indices of the best allowed `actions`, [batch, ...], for a batch of observations.

        `masks` [batch, n_actions] is True where an action is allowed; each row must allow at least one.
        """
        return actions.best(self.q_values(observations), masks)

    def _feed(self, observations: Observations) -> dict[str, Observations]:
        if not self._fields:
            return {"observation": observations}
        return {_LEAF + name: np.ascontiguousarray(observations[name]) for name in self._fields}

    def warm_up(self) -> None:
        """Runs batches of zeros of several sizes, so that the first real request does not pay for allocation.

        Raises PolicyError if the graph does not run or returns shapes other than it declares.
        """
        for batch in _WARM_UP_BATCHES:
            zeros = np.zeros((batch, *self.observation_shape), self.observation_dtype)
            try:
                q_values, actions = self.run(zeros)
            except Exception as error:  # ONNX Runtime's exceptions have no common public base
                raise PolicyError(f"The policy does not run on a batch of {batch}: {error}") from error
            if q_values.shape != (batch, self.n_actions) or actions.shape != (batch, *self.action_shape):
                raise PolicyError(
                    f"For a batch of {batch} the policy returns q_values {list(q_values.shape)} and action "
                    f"{list(actions.shape)}; expected [{batch}, {self.n_actions}] and {[batch, *self.action_shape]}."
                )


class PreparedRun:
    """Runs a policy on single observations with preallocated tensors, which takes a third less time.

    Not safe to share between threads.
    """

    def __init__(self, policy: Policy) -> None:
        self._session = policy.session
        self._observation = np.zeros((1, *policy.observation_shape), policy.observation_dtype)
        self._q_values = np.zeros((1, policy.n_actions), np.float32)
        self._action = np.zeros((1, *policy.action_shape), policy.action_dtype)
        self._binding = self._session.io_binding()
        # On a CPU these share the arrays' memory: the graph reads what is written into the arrays.
        of = ort.OrtValue.ortvalue_from_numpy
        for value in policy.inputs:
            field = value.name.removeprefix(_LEAF)
            array = self._observation if field == value.name else self._observation[field]  # contiguous: one row
            self._binding.bind_ortvalue_input(value.name, of(array))
        self._binding.bind_ortvalue_output("q_values", of(self._q_values))
        self._binding.bind_ortvalue_output("action", of(self._action))

    def __call__(self, observation: Any) -> tuple[FloatArray, Actions]:
        """Q-values [1, n_actions] and greedy action [1, *action_shape], valid until the next call.

        The observation is a number or nested lists of the policy's shape, with elements that its dtype can hold; with
        several leaves, a tuple of these in the order of the inputs.
        """
        self._observation[0] = observation
        self._session.run_with_iobinding(self._binding)
        return self._q_values, self._action


def _fixed(tensor: TensorSpec) -> tuple[int, ...]:
    """The shape without the batch dimension."""
    return tuple(int(size) for size in tensor.shape[1:])


def _described(tensors: list[TensorSpec]) -> str:
    return ", ".join(f"{value.name} {value.dtype} {value.shape}" for value in tensors) or "none"
