"""A retraining round: trains a challenger and lets the gate decide whether it replaces the champion."""

import contextlib
import dataclasses
import sys
from typing import Literal, NamedTuple

import structlog

from dqn_models.manifest import EnvironmentInfo
from dqn_models.repository import ModelRepository
from dqn_training.checkpoint.store import CheckpointFile
from dqn_training.config import DQNConfig
from dqn_training.envs.instances import fit_instances
from dqn_training.envs.make import environment_for
from dqn_training.evaluation.gate import Rule
from dqn_training.publishing.publish import Published, publish
from dqn_training.publishing.trials import check_comparable
from dqn_training.run.callbacks import Callback
from dqn_training.run.candidate import Candidate, WarmStart
from dqn_training.run.directory import RunDirectory, new_run_directory
from dqn_training.run.resources import check_machine
from dqn_training.run.run import Run
from dqn_training.seeds import round_seed
from dqn_training.tracking.metrics_csv import MetricsFile
from dqn_training.tracking.progress import TrainingProgress
from dqn_training.tracking.recorder import Recorder

Start = Literal["warm", "scratch", "both"]
LOCK = "retrain"


class RoundResult(NamedTuple):
    """The result of a round: the fields of its JSON line."""

    model: str
    challenger_version: int
    champion_version: int | None  # the champion before the round
    decision: Literal["promoted", "kept"]
    reason: str
    statistics: dict[str, float | int]


@dataclasses.dataclass(frozen=True)
class Round:
    """A retraining round, in the configuration's environment, which need not be the champion's.

    Each training of a round is a run with its own directory, which `dqn-train --resume` can resume.
    """

    repository: ModelRepository
    model: str
    config: DQNConfig  # its seed is shifted in each round, so that no two rounds are the same
    preset: str
    start: Start
    rule: Rule
    progress: bool  # show progress on standard error

    def run(self) -> RoundResult:
        """Trains, gates and publishes one challenger; the first version of a model is always promoted.

        Raises what training and publishing raise, and RepositoryError if another round for the model is running.
        """
        environment = environment_for(self.config)
        config = fit_instances(self.config, environment, self._say)
        check_machine(config, environment)
        check_comparable(environment, self.repository, self.model)
        with self.repository.job(self.model, LOCK), contextlib.ExitStack() as locks:
            champion = self.repository.alias(self.model)
            starts: dict[Start, list[int | None]] = {"warm": [champion], "scratch": [None], "both": [champion, None]}
            parents = starts[self.start] if champion else [None]
            trained = [self._train(config, environment, parent, locks) for parent in parents]
            published = self._publish(max(trained, key=lambda one: one.candidate.best.mean))
            for one in trained:
                one.directory.finish(published.as_json())
                CheckpointFile(one.directory.checkpoint).remove()
        gate = published.manifest.gate
        return RoundResult(
            model=self.model,
            challenger_version=published.manifest.version,
            champion_version=champion,
            decision="promoted" if published.promoted else "kept",
            reason=gate.reason if gate else "It is the first version of its model.",
            statistics=gate.statistics if gate else {},
        )

    def _train(
        self, config: DQNConfig, environment: EnvironmentInfo, parent: int | None, locks: contextlib.ExitStack
    ) -> "_Trained":
        """Trains from a version's weights or from scratch; the run's directory stays locked until the round ends."""
        warm = WarmStart.of(self.repository, self.model, parent) if parent else None
        seed = round_seed(config.seed, max(self.repository.versions(self.model), default=0))
        config = dataclasses.replace(config, seed=seed)
        directory = RunDirectory(new_run_directory(f"{self.model}-round"))
        locks.enter_context(directory.locked())
        fields = {"name": self.model, "preset": self.preset, "gate": self.rule, "parent": parent}
        directory.begin(self.repository.root, config, **fields)
        recorder = Recorder(config, MetricsFile(directory.metrics))
        progress = None
        with contextlib.closing(recorder), contextlib.ExitStack() as stack:
            callbacks: list[Callback] = [recorder]
            if self.progress:
                title = f"{self.model}, retraining, {'warm start' if warm else 'from scratch'}"
                progress = stack.enter_context(TrainingProgress(config, title))
                callbacks = [progress, recorder]
            say = progress.say if progress else self._say
            run = Run(config, self.preset, environment, callbacks, warm, directory, say=say)
            return _Trained(run.train(), directory, progress)

    def _publish(self, best: "_Trained") -> Published:
        """Gates and publishes the better candidate of the round, showing the progress of the episodes played."""
        asked = (best.candidate, self.repository, self.model, self.rule, "dqn-retrain", best.directory)
        if best.progress is None:
            return publish(*asked)
        with best.progress as progress:
            return publish(*asked, progress.judging)

    def _say(self, line: str) -> None:
        if self.progress:
            print(line, file=sys.stderr)
        else:
            structlog.get_logger().info(line)


class _Trained(NamedTuple):
    """A finished training run of a round."""

    candidate: Candidate
    directory: RunDirectory
    progress: TrainingProgress | None
