"""A version in memory, ready to answer: its policy and everything that can be prepared before a request comes."""

from dataclasses import dataclass
from typing import Any

import msgspec

from dqn_models.errors import PolicyError
from dqn_models.layout import ONNX_FILE
from dqn_models.manifest import Manifest
from dqn_models.policy import Observations, Policy, PreparedRun
from dqn_models.reader import RepositoryReader
from dqn_models.spaces import DiscreteSpace
from dqn_serving.policies.observations import ObservationReader
from dqn_serving.problems import Served
from dqn_serving.telemetry.metrics import ModelMeasures
from dqn_serving.telemetry.shared_memory import Values, WorkerSegment

Key = tuple[str, int]


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
    greedy_answers: dict[int, Any]
    """What a call has rendered once for a greedy action, by its index; kept here, since it ends with the version."""
    served: Served
    """What its answers say of themselves, and its key."""
    measures: ModelMeasures
    """Where its model is counted."""
    action_counts: Values
    """How often each action (by index) was answered; float64, on the worker's segment."""
    start: int
    """The environment's action with index 0."""

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

    def __str__(self) -> str:
        """As messages name it."""
        return f"{self.model} version {self.version}"


def load(
    repository: RepositoryReader, model: str, version: int, max_batch_size: int, segment: WorkerSegment
) -> LoadedPolicy:
    """Reads, verifies, loads and warms up a version; slow, so never called on the event loop.

    Its actions are counted on `segment`, from where they were when this version was loaded last.

    Raises what `RepositoryReader.load` raises, and PolicyError if the graph does not do what the manifest says.
    """
    digest = repository.manifest_digest(model, version)  # first: if it is replaced meanwhile, this is the old one
    manifest, policy = repository.load(model, version)
    if (manifest.model, manifest.version) != (model, version):
        raise PolicyError(f"The manifest of {model} version {version} is another version's.")
    space = _checked_space(manifest, policy)
    reader = ObservationReader(manifest, policy, max_batch_size)
    _check_greedy(manifest, policy, reader.example(), space.start)
    start, n_actions = space.start, policy.n_actions
    return LoadedPolicy(
        manifest=manifest,
        digest=digest,
        policy=policy,
        prepared=PreparedRun(policy),
        observations=reader,
        greedy_answers={},
        served=Served(model, version),
        measures=ModelMeasures(segment, model),
        packed_observations=ObservationReader(manifest, policy, max_batch_size, msgspec.msgpack.Decoder),
        action_counts=segment.values(("actions", model, str(version), str(start), str(n_actions)), n_actions),
        start=start,
    )


def _checked_space(manifest: Manifest, policy: Policy) -> DiscreteSpace:
    """The actions. Raises PolicyError if they, or the observations, are not what this server serves."""
    space, name = manifest.environment.action_space, f"{manifest.model} version {manifest.version}"
    if not isinstance(space, DiscreteSpace) or policy.observation_dtype.names:
        raise PolicyError(
            f"{name} has observations of several parts, or such actions, which this server does not serve."
        )
    if space.n != policy.n_actions:
        raise PolicyError(f"{name} has {policy.n_actions} Q-values for {space.n} actions.")
    return space


def _check_greedy(manifest: Manifest, policy: Policy, observation: Observations, start: int) -> None:
    """A graph whose actions are not the environment's would answer nonsense later: refuse it now."""
    q_values, actions = policy.run(observation)
    if actions[0] != (greedy := q_values[0].argmax() + start):
        name = f"{manifest.model} version {manifest.version}"
        raise PolicyError(f"{name} answers action {actions[0]}, but {greedy} is greedy.")
