"""A version in memory, ready to answer: its policy and everything that can be prepared before a request arrives."""

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
from dqn_models.spaces import MAX_JOINT_ACTIONS, ActionSpace, DiscreteSpace
from dqn_serving.policies.observations import ObservationReader
from dqn_serving.problems import Served
from dqn_serving.telemetry.metrics import ModelMeasures
from dqn_serving.telemetry.shared_memory import Values, WorkerSegment

Key = tuple[str, int]
Index: TypeAlias = int | tuple[int, ...]
"""The index of an action; a tuple if actions branch."""
_MAX_ANSWERS = MAX_JOINT_ACTIONS


@dataclass(frozen=True, slots=True, eq=False)
class LoadedPolicy:
    """One loaded, verified and warmed-up version. Immutable except for its counters and cached answers."""

    manifest: Manifest
    digest: str
    """SHA-256 of the manifest's file."""
    policy: Policy
    prepared: PreparedRun
    """For single observations, on the event loop."""
    observations: ObservationReader
    packed_observations: ObservationReader
    """The same for MessagePack."""
    greedy_answers: "Answers"
    """Rendered answers by the index of their greedy action; kept here, so that they are dropped with the version."""
    served: Served
    """The model and version that its answers name; also its key."""
    measures: ModelMeasures
    """The metrics of its model."""
    action_counts: Values
    """How often each action (by index), or value of a component, was chosen; float64, on the worker's segment."""
    action_space: ActionSpace
    """Maps the indices of Q-values to actions."""
    branches: tuple[int, ...]
    """Number of Q-values per component if actions branch; else empty."""
    actions: list[Any]
    """The action of each index as it appears in JSON: an integer, or nested lists of numbers; empty if actions branch.
    """

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
        """An action as it appears in JSON."""
        if isinstance(index, tuple):
            return self.action_space.action(np.array(index)).tolist()
        return self.actions[index]

    def count_branches(self, index: tuple[int, ...]) -> None:
        """Counts the value of each component of an action that branches."""
        for position in self.action_space.q_positions(np.array(index)).tolist():
            self.action_counts[position] += 1

    def __str__(self) -> str:
        """Its name in messages."""
        return f"{self.model} version {self.version}"


class Answers(dict[Index, Any]):
    """Rendered answers by action; of very many actions only the first ones are kept."""

    def keep(self, index: Index, answer: Any) -> None:
        """Keeps an answer if there is room for it."""
        if len(self) < _MAX_ANSWERS:
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

    Its actions are counted on `segment`, continuing from when this version was last loaded. With `lenient_masks`,
    requests need not send the action masks that it was trained with.

    Raises what `RepositoryReader.load` raises, and PolicyError if the graph does not do what the manifest says.
    """
    digest = repository.manifest_digest(model, version)  # first: if it is replaced meanwhile, this is the old one
    manifest, policy = repository.load(model, version)
    if (manifest.model, manifest.version) != (model, version):
        found = f"{manifest.model} version {manifest.version}"
        raise PolicyError(f"The manifest of {model} version {version} is that of {found}.")
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
    """Raises PolicyError if the tensors of the graph do not match the environment's spaces."""
    name, environment = f"{manifest.model} version {manifest.version}", manifest.environment
    space, actions = environment.observation_space, environment.action_space
    if actions.n != policy.n_actions:
        raise PolicyError(f"{name} has {policy.n_actions} Q-values for {actions.n} actions.")
    expected = {leaf.input_name: ["batch", *leaf.space.tensor_shape] for leaf in space.leaves}
    found = {tensor.name: tensor.shape for tensor in policy.inputs}
    if list(found.items()) != list(expected.items()):
        raise PolicyError(f"{name} takes the tensors {found}, but its observations are {expected}.")
    if (found_shape := list(policy.action_shape)) != (shape := list(actions.tensor_shape)):
        raise PolicyError(f"{name} returns actions of shape {found_shape}; its environment takes {shape}.")


def _check_greedy(manifest: Manifest, policy: Policy, reader: ObservationReader) -> None:
    """Refuses a graph whose actions are not its greedy ones: it would be served with other actions than evaluated."""
    q_values, actions = policy.run(reader.example())
    space = manifest.environment.action_space
    greedy = space.action(space.best(q_values))
    if not np.allclose(actions, greedy):
        name = f"{manifest.model} version {manifest.version}"
        raise PolicyError(f"{name} returns action {actions[0].tolist()}, but {greedy[0].tolist()} is greedy.")
