"""A candidate: what a training run offers for publication."""

import dataclasses

import numpy as np
import safetensors.torch
from torch import Tensor

from dqn_models.errors import ModelError
from dqn_models.manifest import EnvironmentInfo, ObservationStatistics
from dqn_models.policy import Policy
from dqn_models.repository import ModelRepository
from dqn_models.spaces import MAX_DESCRIBED_ELEMENTS
from dqn_training.config import DQNConfig
from dqn_training.export.onnx_graph import export
from dqn_training.export.parity import check_parity
from dqn_training.learning.best import CheckpointScore
from dqn_training.learning.health import Health
from dqn_training.learning.state import Episode, TrainingState

WEIGHTS_FILE = "weights.safetensors"


@dataclasses.dataclass(frozen=True)
class WarmStart:
    """A version whose weights a run begins with."""

    parent: int
    weights: dict[str, Tensor]

    @classmethod
    def of(cls, repository: ModelRepository, model: str, version: int) -> "WarmStart":
        """Reads a version's weights. Raises ModelError when it was published without any."""
        if WEIGHTS_FILE not in repository.manifest(model, version).files:
            raise ModelError(f"{model} version {version} has no {WEIGHTS_FILE}, so a warm start is not possible.")
        return cls(version, safetensors.torch.load(repository.read_file(model, version, WEIGHTS_FILE)))


@dataclasses.dataclass(frozen=True)
class Candidate:
    """The best checkpoint of a run by its evaluations, exported and checked against its network.

    It holds neither replay buffer nor optimiser, so that a finished run leaves its memory to the next one.
    """

    config: DQNConfig
    preset: str
    environment: EnvironmentInfo
    parent: int | None  # the version that a warm start began with
    onnx: bytes
    weights: bytes  # the policy network's state dict, as safetensors
    policy: Policy
    observations: ObservationStatistics
    best: CheckpointScore
    scores: list[CheckpointScore]
    health: list[Health]
    episodes: list[Episode]
    env_steps: int
    gradient_steps: int
    wall_seconds: float


def make_candidate(
    config: DQNConfig, preset: str, environment: EnvironmentInfo, state: TrainingState, parent: int | None
) -> Candidate:
    """Exports the best weights of a finished run. Raises ParityError when the file and the network disagree."""
    best, network = state.selection.weights, state.agent.policy_network
    assert best is not None  # noqa: S101  (a run ends with an evaluation)
    state.agent.policy_parameters.copy_(best)
    onnx = export(network, environment)
    policy = Policy(onnx)
    check_parity(network, policy, environment, state.replay.observations(), config.seed)
    # cloned, because safetensors refuses views of one tensor
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    return Candidate(
        config=config,
        preset=preset,
        environment=environment,
        parent=parent,
        onnx=onnx,
        weights=safetensors.torch.save(weights),
        policy=policy,
        observations=_observation_statistics(state),
        best=state.selection.chosen,
        scores=state.selection.scores,
        health=state.monitor.history,
        episodes=state.episodes,
        env_steps=state.env_steps,
        gradient_steps=state.agent.gradient_steps,
        wall_seconds=state.wall_seconds,
    )


def _observation_statistics(state: TrainingState) -> ObservationStatistics:
    seen = state.replay.observations()
    names = seen.dtype.names
    found = ObservationStatistics(mean=[], std=[], low=[], high=[])
    for leaf in [seen] if names is None else [seen[name] for name in names]:
        flat = leaf.reshape(len(leaf), -1) if leaf[0].size <= MAX_DESCRIBED_ELEMENTS else leaf.reshape(-1, 1)
        found.mean.extend(flat.mean(axis=0, dtype=np.float64).tolist())
        found.std.extend(flat.std(axis=0, dtype=np.float64).tolist())
        found.low.extend(flat.min(axis=0).astype(np.float64).tolist())
        found.high.extend(flat.max(axis=0).astype(np.float64).tolist())
    return found
