"""A challenger: what one training run offers for publication, with the checkpoint that its evaluations chose."""

import contextlib
import dataclasses
import time
from collections.abc import Callable

import torch
from torch import Tensor

from dqn_models.manifest import EnvironmentInfo, Lineage
from dqn_models.policy import Policy
from dqn_training.config import DQNConfig
from dqn_training.envs.checks import FaultyEnvironmentError
from dqn_training.evaluation.play import play
from dqn_training.export.onnx_graph import export
from dqn_training.export.parity import check_parity
from dqn_training.learning.best import CheckpointScore
from dqn_training.learning.loop import train
from dqn_training.learning.state import TrainingState, make_state
from dqn_training.run.checkpoints import Checkpoints
from dqn_training.seeds import first_seed

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


def train_challenger(
    config: DQNConfig,
    preset: str,
    environment: EnvironmentInfo,
    watch: Watcher,
    *,
    parent: int | None = None,
    weights: dict[str, Tensor] | None = None,
    checkpoints: Checkpoints | None = None,
) -> Challenger:
    """Runs training to its end and returns its best checkpoint.

    With `weights`, those of version `parent`, it is a warm start. With `checkpoints` it goes on from the last of
    them, if there is one, and keeps new ones. Raises ParityError when the export is not faithful, KeyboardInterrupt
    with a sentence when interrupted, FaultyEnvironmentError with the step when the environment fails.
    """
    torch.set_num_threads(1)  # more threads make networks of this size slower
    started = time.perf_counter()
    last = checkpoints.last() if checkpoints else None
    how = config if last is None else dataclasses.replace(config, vectorization=last["vectorization"])
    with contextlib.closing(make_state(how, environment, weights)) as state:
        if checkpoints is not None:
            checkpoints.begin(state, last)
            started -= state.wall_seconds
        try:
            for _ in train(config, environment, state):
                if state.env_steps >= state.selection.due and state.agent.gradient_steps:
                    _evaluate(config, environment, state)
                state.wall_seconds = time.perf_counter() - started
                watch(state, state.selection.scores)
                if checkpoints is not None:
                    checkpoints.keep(state)
            if not state.selection.scores or state.selection.scores[-1].env_steps != state.env_steps:
                _evaluate(config, environment, state)
                watch(state, state.selection.scores)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_interrupted(state)) from None
        except FaultyEnvironmentError as fault:
            steps = f"Training ended after {state.env_steps:,} environment steps; nothing was published."
            raise FaultyEnvironmentError(f"{fault} {steps}") from fault
        state.wall_seconds = time.perf_counter() - started
    return _finish(config, preset, environment, state, parent)


def _evaluate(config: DQNConfig, environment: EnvironmentInfo, state: TrainingState) -> None:
    """Plays the choosing episodes with the present policy network, through its export; looks for signs of collapse."""
    state.selection.due = state.env_steps - state.env_steps % config.eval_every + config.eval_every
    policy = Policy(export(state.agent.policy_network, environment))
    seed = first_seed("selection", config.seed)
    episodes = play(policy, environment, seed, config.eval_episodes, config.episode_step_limit)
    score = CheckpointScore(state.env_steps, float(episodes.returns.mean()))
    state.monitor.record(state.env_steps, state.agent.q_network, state.replay)
    state.selection.add(score, state.agent.policy_parameters, config.stop_return)


def _interrupted(state: TrainingState) -> str:
    best = f" The best evaluation so far was {state.selection.chosen.mean:.1f}." if state.selection.scores else ""
    return (
        f"Interrupted after {state.env_steps:,} environment steps.{best} Nothing was published, and what was published "
        "before is as it was."
    )


def _finish(
    config: DQNConfig,
    preset: str,
    environment: EnvironmentInfo,
    state: TrainingState,
    parent: int | None,
) -> Challenger:
    assert state.selection.weights is not None  # noqa: S101  (there was at least one evaluation)
    network = state.agent.policy_network
    state.agent.policy_parameters.copy_(state.selection.weights)
    onnx = export(network, environment)
    policy = Policy(onnx)
    check_parity(network, policy, environment, state.replay.observations(), config.seed)
    return Challenger(
        config=config,
        preset=preset,
        environment=environment,
        lineage=Lineage(parent_version=parent, origin="warm-start" if state.warm else "scratch"),
        onnx=onnx,
        policy=policy,
        state=state,
    )
