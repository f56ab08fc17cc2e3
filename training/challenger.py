"""A challenger: what one training run offers for publication, with the checkpoint that its evaluations chose."""

import dataclasses
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from models.manifest import EnvironmentInfo, Lineage
from models.policy import Policy
from training.artifact.curve import CheckpointScore
from training.artifact.evaluation import play
from training.artifact.export import export
from training.artifact.parity import check_parity
from training.config import DQNConfig
from training.learning.loop import TrainingState, make_state, train
from training.seeds import first_seed

Watcher = Callable[[TrainingState, list[CheckpointScore]], None]
"""Called after every step of the environments, to show where training is."""


@dataclasses.dataclass(frozen=True)
class Challenger:
    """The best checkpoint of a run by the choosing seeds, exported and checked against its network."""

    config: DQNConfig
    preset: str
    environment: EnvironmentInfo
    lineage: Lineage
    onnx: bytes
    policy: Policy
    state: TrainingState  # the run at its end, with the chosen weights in its policy network
    scores: list[CheckpointScore]
    chosen: CheckpointScore
    wall_seconds: float


_UNPLAYED = CheckpointScore(0, -math.inf)


@dataclasses.dataclass
class _Selection:
    """Scores so far, and the weights of the best (the latest of equals)."""

    scores: list[CheckpointScore] = dataclasses.field(default_factory=list)
    chosen: CheckpointScore = _UNPLAYED
    weights: Tensor | None = None
    reached: int = 0  # evaluations in succession with the return that ends training

    def evaluate(self, config: DQNConfig, environment: EnvironmentInfo, state: TrainingState) -> None:
        """Plays the choosing episodes with the present policy network, through its export."""
        policy = Policy(export(state.agent.policy_network, environment))
        seed = first_seed("choose", config.seed)
        episodes = play(policy, environment, seed, config.eval_episodes, config.episode_step_limit)
        score = CheckpointScore(state.env_steps, float(episodes.returns.mean()))
        self.scores.append(score)
        if score.mean >= self.chosen.mean:
            self.chosen, self.weights = score, state.agent.policy_parameters.clone()
        enough = config.stop_return is not None and score.mean >= config.stop_return
        self.reached = self.reached + 1 if enough else 0


def train_challenger(
    config: DQNConfig,
    preset: str,
    environment: EnvironmentInfo,
    watch: Watcher,
    *,
    parent: int | None = None,
    weights: dict[str, Tensor] | None = None,
) -> Challenger:
    """Runs training to its end and returns its best checkpoint.

    With `weights`, those of version `parent`, it is a warm start. Raises ParityError when the export is not faithful,
    KeyboardInterrupt with a sentence when interrupted.
    """
    torch.set_num_threads(1)  # more threads make networks of this size slower
    started = time.perf_counter()
    state = make_state(config, environment, weights)
    selection = _Selection()
    try:
        due = config.eval_every
        for _ in train(config, environment, state):
            if state.env_steps >= due and state.agent.gradient_steps:
                due = state.env_steps - state.env_steps % config.eval_every + config.eval_every
                selection.evaluate(config, environment, state)
            watch(state, selection.scores)
            if selection.reached >= config.stop_evaluations:
                break
        if not selection.scores or selection.scores[-1].env_steps != state.env_steps:
            selection.evaluate(config, environment, state)
            watch(state, selection.scores)
    except KeyboardInterrupt:
        best = f" The best evaluation so far was {selection.chosen.mean:.1f}." if selection.scores else ""
        raise KeyboardInterrupt(
            f"Interrupted after {state.env_steps:,} environment steps.{best} Nothing was published, and what was "
            "published before is as it was."
        ) from None
    return _finish(config, preset, environment, state, selection, started, parent)


def _finish(
    config: DQNConfig,
    preset: str,
    environment: EnvironmentInfo,
    state: TrainingState,
    selection: _Selection,
    started: float,
    parent: int | None,
) -> Challenger:
    assert selection.weights is not None  # noqa: S101  (there was at least one evaluation)
    network = state.agent.policy_network
    state.agent.policy_parameters.copy_(selection.weights)
    wall_seconds = time.perf_counter() - started
    onnx = export(network, environment)
    policy = Policy(onnx)
    check_parity(network, policy, environment, state.replay.seen(), config.seed)
    return Challenger(
        config=config,
        preset=preset,
        environment=environment,
        lineage=Lineage(parent_version=parent, origin="warm-start" if state.warm else "scratch"),
        onnx=onnx,
        policy=policy,
        state=state,
        scores=selection.scores,
        chosen=selection.chosen,
        wall_seconds=wall_seconds,
    )
