"""A candidate: the result of a training run, ready to be published."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import safetensors.torch
from numpy.typing import NDArray
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
_LEAST_SECONDS = 5.0
_LEAST_STEPS = 10_000


@dataclasses.dataclass(frozen=True)
class WarmStart:
    """A published version whose weights a run starts from."""

    parent: int
    weights: dict[str, Tensor]

    @classmethod
    def of(cls, repository: ModelRepository, model: str, version: int) -> "WarmStart":
        """Reads a version's weights. Raises ModelError if it was published without weights."""
        if WEIGHTS_FILE not in repository.manifest(model, version).files:
            raise ModelError(f"{model} version {version} has no {WEIGHTS_FILE}, so a warm start is not possible.")
        return cls(version, safetensors.torch.load(repository.read_file(model, version, WEIGHTS_FILE)))


@dataclasses.dataclass(frozen=True)
class Candidate:
    """The best checkpoint of a run by its evaluations, exported and checked against the network.

    It holds neither replay buffer nor optimizer, so that a finished run frees its memory for the next one.
    """

    config: DQNConfig
    preset: str
    environment: EnvironmentInfo
    parent: int | None  # the version that a warm start began with
    onnx: bytes
    weights: bytes  # the policy network's state dict, as safetensors
    observations: ObservationStatistics
    best: CheckpointScore
    scores: list[CheckpointScore]
    health: list[Health]
    episodes: list[Episode]
    env_steps: int
    gradient_steps: int
    wall_seconds: float
    evaluation_env_steps: int
    evaluation_seconds: float  # of the evaluations in `scores`
    random_episodes: int | None
    random_mean: float | None

    @property
    def policy(self) -> Policy:
        """The exported file, loaded."""
        return Policy(self.onnx)

    def affordable_episodes(self, wanted: int, mean_length: float) -> int:
        """Number of episodes of this length that fit into half of `eval_fraction` of the training time, or 5 s if more.

        At least one. Evaluations after training may depend on time, because they no longer change the policy.
        """
        seconds = final_seconds(self.config, self.wall_seconds)
        steps = sum(score.episodes * score.mean_length for score in self.scores)
        seconds_per_episode = self.evaluation_seconds / steps * mean_length
        return max(1, min(wanted, int(seconds / max(seconds_per_episode, 1e-9))))


def report_episodes(config: DQNConfig, mean_length: float) -> int:
    """Maximum number of episodes of this length in the final evaluation, at least one.

    They take at most half of `eval_fraction` of the run's environment steps, or 10,000 if that is more: in a very fast
    environment, five seconds could take more steps than training.
    """
    steps = max(_LEAST_STEPS, config.eval_fraction / 2 * config.total_env_steps)
    return max(1, int(min(config.report_episodes, steps / max(mean_length, 1.0))))


def final_seconds(config: DQNConfig, wall_seconds: float) -> float:
    """Seconds that the final evaluation, and each policy in the gate, may take after `wall_seconds` of training."""
    return max(_LEAST_SECONDS, config.eval_fraction / 2 * wall_seconds)


def make_candidate(
    config: DQNConfig, preset: str, environment: EnvironmentInfo, state: TrainingState, parent: int | None
) -> Candidate:
    """Exports the best weights of a finished run. Raises ParityError if the file and the network disagree."""
    best, network = state.selection.weights, state.agent.policy_network
    assert best is not None  # noqa: S101  (a run ends with an evaluation)
    state.agent.policy_parameters.copy_(best)
    onnx = export(network, environment, config.reward_scale)
    seen = state.replay.observations()
    check_parity(network, Policy(onnx), environment, seen, config.seed, config.reward_scale)
    # cloned, because safetensors refuses views of one tensor
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    return Candidate(
        config=config,
        preset=preset,
        environment=environment,
        parent=parent,
        onnx=onnx,
        weights=safetensors.torch.save(weights),
        observations=observation_statistics(state.replay.observations()),
        best=state.selection.chosen,
        scores=state.selection.scores,
        health=state.monitor.history,
        episodes=state.episodes,
        env_steps=state.env_steps,
        gradient_steps=state.agent.gradient_steps,
        wall_seconds=state.wall_seconds,
        evaluation_env_steps=state.selection.env_steps,
        evaluation_seconds=state.selection.seconds,
        random_episodes=state.selection.random_episodes,
        random_mean=state.selection.random_mean,
    )


def observation_statistics(seen: NDArray[Any]) -> ObservationStatistics:
    """The manifest's statistics of observations [count, *observation_shape], leaf by leaf; those of a large leaf are
    over all its elements.
    """
    if seen.dtype.names is not None:
        leaves = [observation_statistics(seen[name]).model_dump() for name in seen.dtype.names]
        joined = {name: list(itertools.chain(*(leaf[name] for leaf in leaves))) for name in leaves[0]}
        return ObservationStatistics(**joined)
    if seen[0].size <= MAX_DESCRIBED_ELEMENTS:
        flat = seen.reshape(len(seen), -1)
    elif seen.dtype == np.uint8:
        return _pixel_statistics(seen)
    else:
        flat = seen.reshape(-1, 1)
    return ObservationStatistics(
        mean=flat.mean(axis=0, dtype=np.float64).tolist(),
        std=flat.std(axis=0, dtype=np.float64).tolist(),
        low=flat.min(axis=0).astype(np.float64).tolist(),
        high=flat.max(axis=0).astype(np.float64).tolist(),
    )


def _pixel_statistics(seen: NDArray[Any]) -> ObservationStatistics:
    """Statistics over all pixels from counts of the 256 values, as converting them to floats would take gigabytes."""
    counts = sum(np.bincount(observation.ravel(), minlength=256) for observation in seen)
    values, weights = np.arange(256), counts / np.sum(counts)
    mean = float(weights @ values)
    std = float(weights @ (values - mean) ** 2) ** 0.5
    return ObservationStatistics(mean=[mean], std=[std], low=[float(seen.min())], high=[float(seen.max())])
