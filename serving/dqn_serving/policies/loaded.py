"""A version in memory, ready to answer: its policy and everything that can be prepared before a request comes."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from dqn_models.errors import PolicyError
from dqn_models.layout import ONNX_FILE
from dqn_models.manifest import Manifest
from dqn_models.policy import Policy, PreparedRun
from dqn_models.reader import RepositoryReader
from dqn_models.spaces import MOST_JOINT_ACTIONS, ActionSpace, DiscreteSpace
from dqn_serving.policies.observations import ObservationReader
from dqn_serving.problems import Served
from dqn_serving.telemetry.metrics import ModelMeasures
from dqn_serving.telemetry.shared_memory import Values, WorkerSegment

Key = tuple[str, int]
Index: TypeAlias = int | tuple[int, ...]
"""Of an action; a tuple where actions branch."""
_MOST_ANSWERS = MOST_JOINT_ACTIONS


@dataclass(frozen=True, slots=True, eq=False)
class LoadedPolicy:
    """One loaded, verified and warmed-up version. Immutable but for what is counted and kept of its answers."""

    manifest: Manifest
    digest: str
    """SHA-256 of the manifest's file."""
    policy: Policy
    prepared: PreparedRun
    """For the event loop, where one observation comes alone."""
    observations: ObservationReader
    packed_observations: ObservationReader
    """The same for MessagePack."""
    greedy_answers: "Answers"
    """What a call has rendered once for a greedy action; kept here, since it ends with the version."""
    served: Served
    """What its answers say of themselves, and its key."""
    measures: ModelMeasures
    """Where its model is counted."""
    action_counts: Values
    """How often each action (by index), or value of a component, was answered; float64, on the worker's segment."""
    action_space: ActionSpace
    """Which actions the indices of Q-values are."""
    branches: tuple[int, ...]
    """How many Q-values each component of an action has, where actions branch."""
    actions: list[Any]
    """The action of each index, as JSON has it: an integer, or nested lists of numbers; empty where actions branch."""

    @property
    def model(self) -> str:
        """The model's name."""
        return self.manifest.model

    @property
    def version(self) -> int:
        """The version's number."""
        return self.manifest.version

    @property
    def sha256(self) -> str:
        """SHA-256 of the ONNX file."""
        return self.manifest.files[ONNX_FILE].sha256

    def action(self, index: Index) -> Any:
        """An action as JSON has it."""
        if isinstance(index, tuple):
            return self.action_space.action(np.array(index)).tolist()
        return self.actions[index]

    def count_branches(self, index: tuple[int, ...]) -> None:
        """Counts each component of an action that branches."""
        for position in self.action_space.q_positions(np.array(index)).tolist():
            self.action_counts[position] += 1

    def __str__(self) -> str:
        """As messages name it."""
        return f"{self.model} version {self.version}"


class Answers(dict[Index, Any]):
    """What was rendered once for each action; where there are a great many actions, for the first of them."""

    def keep(self, index: Index, answer: Any) -> None:
        """Keeps an answer if there is room."""
        if len(self) < _MOST_ANSWERS:
            self[index] = answer


def as_index(found: NDArray[np.int64]) -> Index:
    """The index of one action, an array of shape () or [branches]."""
    return tuple(found.tolist()) if found.ndim else int(found)


def load(
    repository: RepositoryReader,
    model: str,
    version: int,
    max_batch_size: int,
    segment: WorkerSegment,
    *,
    lenient_masks: bool = False,
) -> LoadedPolicy:
    """Reads, verifies, loads and warms up a version; slow, so never called on the event loop.

    Its actions are counted on `segment`, from where they were when this version was loaded last. With `lenient_masks`
    requests need not bring the action masks that it was trained with.

    Raises what `RepositoryReader.load` raises, and PolicyError if the graph does not do what the manifest says.
    """
    digest = repository.manifest_digest(model, version)  # first: if it is replaced meanwhile, this is the old one
    manifest, policy = repository.load(model, version)
    if (manifest.model, manifest.version) != (model, version):
        raise PolicyError(f"The manifest of {model} version {version} is another version's.")
    _check_tensors(manifest, policy)
    environment, n_actions = manifest.environment, policy.n_actions
    space = environment.action_space
    reader = ObservationReader(environment, policy, max_batch_size, lenient_masks=lenient_masks)
    packed = ObservationReader(
        environment, policy, max_batch_size, msgspec.msgpack.Decoder, lenient_masks=lenient_masks
    )
    _check_greedy(manifest, policy, reader)
    first = space.start if isinstance(space, DiscreteSpace) else 0
    return LoadedPolicy(
        manifest=manifest,
        digest=digest,
        policy=policy,
        prepared=PreparedRun(policy),
        observations=reader,
        greedy_answers=Answers(),
        served=Served(model, version),
        measures=ModelMeasures(segment, model),
        packed_observations=packed,
        action_counts=segment.values(("actions", model, str(version), str(first), str(n_actions)), n_actions),
        action_space=space,
        branches=space.branches,
        actions=[] if space.branches else space.action(np.arange(n_actions)).tolist(),
    )


def _check_tensors(manifest: Manifest, policy: Policy) -> None:
    """Raises PolicyError if the graph does not take or answer what the environment's spaces have."""
    name, environment = f"{manifest.model} version {manifest.version}", manifest.environment
    space, actions = environment.observation_space, environment.action_space
    if actions.n != policy.n_actions:
        raise PolicyError(f"{name} has {policy.n_actions} Q-values for {actions.n} actions.")
    expected = {leaf.input_name: ["batch", *leaf.space.tensor_shape] for leaf in space.leaves}
    found = {tensor.name: tensor.shape for tensor in policy.inputs}
    if list(found.items()) != list(expected.items()):
        raise PolicyError(f"{name} takes the tensors {found}, but its observations are {expected}.")
    if (found_shape := list(policy.action_shape)) != (shape := list(actions.tensor_shape)):
        raise PolicyError(f"{name} answers actions of shape {found_shape}; its environment's have {shape}.")


def _check_greedy(manifest: Manifest, policy: Policy, reader: ObservationReader) -> None:
    """A graph whose actions are not the environment's would be judged by others than it is served with: refuse it."""
    q_values, actions = policy.run(reader.example())
    space = manifest.environment.action_space
    greedy = space.action(space.best(q_values))
    if not np.allclose(actions, greedy):
        name = f"{manifest.model} version {manifest.version}"
        raise PolicyError(f"{name} answers action {actions[0].tolist()}, but {greedy[0].tolist()} is greedy.")
