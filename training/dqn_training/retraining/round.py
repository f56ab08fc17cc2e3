"""The retraining job: a round trains a challenger and lets the gate decide whether it takes the champion's place."""

from typing import Literal, NamedTuple

import safetensors.torch
from torch import Tensor

from dqn_models.errors import ModelError
from dqn_models.repository import ModelRepository
from dqn_training.config import DQNConfig
from dqn_training.envs.make import environment_for
from dqn_training.evaluation.gate import Rule
from dqn_training.publishing.publish import WEIGHTS_FILE, publish
from dqn_training.run.challenger import Challenger, Watcher, train_challenger
from dqn_training.run.resources import check_machine

Start = Literal["warm", "scratch", "both"]
LOCK = "retrain"


class RoundResult(NamedTuple):
    """What a round came to; the fields of its JSON line."""

    model: str
    challenger_version: int
    champion_version: int | None  # the champion before the round
    decision: Literal["promoted", "kept"]
    reason: str
    statistics: dict[str, float | int]


def run_round(
    repository: ModelRepository, model: str, config: DQNConfig, preset: str, start: Start, rule: Rule, watch: Watcher
) -> RoundResult:
    """Trains, publishes and judges one challenger; the first version of a model is promoted at once.

    The environment is the configuration's, which need not be the champion's: both play in it. Raises what training and
    publishing raise; only one round for a model runs at a time (RepositoryError for the second).
    """
    environment = environment_for(config)
    check_machine(config, environment)
    with repository.job(model, LOCK):
        champion = repository.alias(model)
        candidates = []
        if champion is not None and start in ("warm", "both"):
            weights = _weights(repository, model, champion)
            candidates.append(train_challenger(config, preset, environment, watch, parent=champion, weights=weights))
        if champion is None or start in ("scratch", "both"):
            candidates.append(train_challenger(config, preset, environment, watch))
        challenger: Challenger = max(candidates, key=lambda candidate: candidate.state.selection.chosen.mean)
        published = publish(challenger, repository, model, rule, by="dqn-retrain")
    gate = published.manifest.gate
    return RoundResult(
        model=model,
        challenger_version=published.manifest.version,
        champion_version=champion,
        decision="promoted" if published.promoted else "kept",
        reason=gate.reason if gate else "It is the first version of its model.",
        statistics=gate.statistics if gate else {},
    )


def _weights(repository: ModelRepository, model: str, version: int) -> dict[str, Tensor]:
    """A version's weights. Raises ModelError when it was published without any."""
    if WEIGHTS_FILE not in repository.manifest(model, version).files:
        raise ModelError(f"{model} version {version} has no {WEIGHTS_FILE}, so a warm start is not possible.")
    weights: dict[str, Tensor] = safetensors.torch.load(repository.read_file(model, version, WEIGHTS_FILE))
    return weights
