"""A training run: from its settings, or its last checkpoint, to a candidate for publication."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence

import torch

from dqn_models.manifest import EnvironmentInfo
from dqn_training.config import DQNConfig
from dqn_training.envs.checks import FaultyEnvironmentError
from dqn_training.envs.masks import describe_masks
from dqn_training.envs.spaces import describe_branching
from dqn_training.learning.loop import train
from dqn_training.learning.state import TrainingState, make_state
from dqn_training.run.callbacks import Callback, Clock
from dqn_training.run.candidate import Candidate, WarmStart, make_candidate
from dqn_training.run.checkpoints import Checkpoints
from dqn_training.run.directory import RunDirectory
from dqn_training.run.evaluation import ENOUGH_EPISODES, Evaluation, make_evaluator

_LEFT_OUT = "These parts of the observations are left out, since the network cannot read them: {}."

_NO_TIME_LIMIT = (
    "The environment has no time limit: evaluations truncate episodes after 1,000 steps (--episode-step-limit)."
)


@dataclasses.dataclass(frozen=True)
class Run:
    """What to train, from which weights, and with which callbacks.

    With a `directory`, which the caller has locked, it writes checkpoints there and resumes from the last one;
    without, it writes nothing to disk. `say` shows the user a sentence.
    """

    config: DQNConfig
    preset: str
    environment: EnvironmentInfo
    callbacks: Sequence[Callback] = ()
    warm: WarmStart | None = None
    directory: RunDirectory | None = None
    checkpoint_seconds: float = 10.0
    say: Callable[[str], None] = lambda _: None
    enough_episodes: int = ENOUGH_EPISODES  # for an evaluation; 0: each is played when it is due, if by one episode

    def train(self) -> Candidate:
        """Trains to the end and returns the best checkpoint.

        Raises ParityError if the exported graph disagrees with the network, KeyboardInterrupt with a sentence if
        interrupted, FaultyEnvironmentError naming the step if the environment fails, CheckpointError if the checkpoint
        cannot be used, and ValueError if the settings do not fit the environment or the weights.
        """
        torch.set_num_threads(1)  # more threads make networks of this size slower
        checkpoints, last = None, None
        if self.directory is not None:
            checkpoints = Checkpoints(self.directory.checkpoint, self.checkpoint_seconds, self.say)
            last = checkpoints.last()
        config = self.config if last is None else dataclasses.replace(self.config, vectorization=last["vectorization"])
        parent, weights = (self.warm.parent, self.warm.weights) if self.warm else (None, None)
        with contextlib.closing(make_state(config, self.environment, weights)) as state:
            if self.environment.left_out:
                self.say(_LEFT_OUT.format(", ".join(self.environment.left_out)))
            if self.environment.action_space.branches:
                self.say(describe_branching(self.environment))
            if self.config.action_masks == "auto" and (said := describe_masks(self.environment)):
                self.say(said)
            if self.environment.max_episode_steps is None and self.config.episode_step_limit is None:
                self.say(_NO_TIME_LIMIT)
            if checkpoints is not None:
                checkpoints.restore(state, last)
            with contextlib.closing(make_evaluator(self.config, self.environment)) as evaluator:
                asked = (self.config, self.environment, evaluator, self._show_evaluation, self.enough_episodes)
                evaluation = Evaluation(*asked)
                self._follow(state, [evaluation, Clock(), *self.callbacks], checkpoints)
            return make_candidate(self.config, self.preset, self.environment, state, parent)

    def _show_evaluation(self, state: TrainingState, steps: int, most: int) -> None:
        for callback in self.callbacks:
            callback.evaluating(state, steps, most)

    def _follow(self, state: TrainingState, callbacks: list[Callback], checkpoints: Checkpoints | None) -> None:
        """Trains to the end; checkpoints are each step's last callback, so that they include the others' state."""
        if checkpoints is not None:
            callbacks.append(checkpoints)
        with self._explained(state, checkpoints):
            for callback in callbacks:
                callback.begin(state)
            steps = [callback.step for callback in callbacks]
            for _ in train(self.config, self.environment, state):
                for step in steps:
                    step(state)
            for callback in callbacks:
                callback.end(state)

    @contextlib.contextmanager
    def _explained(self, state: TrainingState, checkpoints: Checkpoints | None) -> Iterator[None]:
        """Adds to the error of a run that ends early how far it came and how to resume it."""
        try:
            yield
        except KeyboardInterrupt:
            scores = state.selection.scores
            best = f" The best evaluation so far was {state.selection.chosen.mean:.1f}." if scores else ""
            raise KeyboardInterrupt(
                f"Interrupted after {state.env_steps:,} environment steps.{best} Nothing was published; existing "
                "versions are unchanged."
            ) from None
        except FaultyEnvironmentError as fault:
            sentence = f"{fault} Training ended after {state.env_steps:,} environment steps; nothing was published."
            if checkpoints is not None and self.directory is not None:
                checkpoints.end(state)
                if self.directory.checkpoint.exists():
                    sentence += f" The checkpoint is kept. {self.directory.how_to_resume()}"
            raise FaultyEnvironmentError(sentence) from fault
