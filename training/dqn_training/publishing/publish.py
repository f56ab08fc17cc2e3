"""From a challenger to a version: the gate, the manifest, the publication and, if the gate opens, the promotion."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import safetensors.torch

from dqn_models.layout import CHAMPION, ONNX_FILE
from dqn_models.manifest import (
    MOST_DESCRIBED_ELEMENTS,
    EnvironmentInfo,
    GateResult,
    Manifest,
    ManifestDraft,
    ObservationStatistics,
    TrainingInfo,
)
from dqn_models.repository import ModelRepository
from dqn_training.evaluation.gate import Rule, judge
from dqn_training.evaluation.play import play, summarize
from dqn_training.export.onnx_graph import onnx_info
from dqn_training.publishing.card import model_card
from dqn_training.run.challenger import Challenger
from dqn_training.run.interrupts import held_back
from dqn_training.run.provenance import git_commit, library_versions
from dqn_training.seeds import first_seed
from dqn_training.tracking.curve import training_curve

WEIGHTS_FILE = "weights.safetensors"


class Published(NamedTuple):
    """A published challenger, and whether it is the champion now."""

    manifest: Manifest
    promoted: bool


def compare(challenger: Challenger, repository: ModelRepository, model: str, champion: int, rule: Rule) -> GateResult:
    """Plays challenger and champion on the same gate seeds, in the challenger's environment, and judges.

    Raises ValueError when the champion is for other observations or actions: then they cannot be compared.
    """
    incumbent = repository.load_policy(model, champion)
    _check_comparable(challenger.environment, repository.manifest(model, champion))
    config = challenger.config
    seed = first_seed("gate", config.seed)
    returns = [
        play(policy, challenger.environment, seed, config.gate_episodes, config.episode_step_limit).returns
        for policy in (challenger.policy, incumbent)
    ]
    return judge(returns[0], returns[1], champion, rule)


def publish(
    challenger: Challenger,
    repository: ModelRepository,
    model: str,
    rule: Rule,
    by: str,
    *,
    run: str | None = None,
    record: Callable[[Published], None] = lambda _: None,
) -> Published:
    """Judges, publishes and, if the gate opens or there is no champion yet, promotes a challenger.

    Of the run with the id `run`, a version that is there already is not published again; what a kill cut off after
    that is done. `record` is called with the result before an interrupt can come between. Raises RepositoryError when
    the repository refuses, and PromotionError when somebody else promoted meanwhile (the version is published then).
    """
    champion = repository.alias(model)
    known = _version_of(run, repository, model)
    if known is not None:
        gate = known.gate
    else:
        gate = None if champion is None else compare(challenger, repository, model, champion, rule)
        draft = _draft(challenger, model, gate, run)
        files = _files(challenger, model)
    reason = gate.reason if gate else "the first version of its model"
    promoted = gate is None or gate.decision == "promoted"
    if known is not None:  # others may have promoted since
        promoted = promoted and champion in (known.version, gate.champion_version if gate else None)
    done = "Interrupted; nothing was published."
    try:
        with held_back():
            manifest = known or repository.publish(draft, files, {"MODEL_CARD.md": model_card}, by=by, reason=reason)
            if promoted and champion != manifest.version:
                repository.promote(model, manifest.version, alias=CHAMPION, replacing=champion, by=by, reason=reason)
            done = f"Interrupted after {model} version {manifest.version} was published{' and promoted' * promoted}."
            published = Published(manifest, promoted)
            record(published)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(done) from None
    return published


def _version_of(run: str | None, repository: ModelRepository, model: str) -> Manifest | None:
    """What a run published before it was killed."""
    manifests = (repository.manifest(model, version) for version in reversed(repository.versions(model)))
    return next((manifest for manifest in manifests if manifest.training.run == run), None) if run else None


def _files(challenger: Challenger, model: str) -> dict[str, bytes]:
    state = challenger.state
    title = f"{model}: {challenger.environment.id}, preset {challenger.preset}, seed {challenger.config.seed}"
    curve = training_curve(title, state.episodes, state.selection.scores, state.monitor.history)
    return {ONNX_FILE: challenger.onnx, WEIGHTS_FILE: _weights(challenger), "training_curve.png": curve}


def _check_comparable(environment: EnvironmentInfo, champion: Manifest) -> None:
    expected = onnx_info(environment)
    if champion.onnx.inputs != expected.inputs or champion.onnx.outputs != expected.outputs:
        raise ValueError(
            f"{environment.id} does not fit the model {champion.model}: its champion, version {champion.version}, "
            f"was trained for {champion.environment.id} and takes other observations or actions. Use another --name."
        )


def _draft(challenger: Challenger, model: str, gate: GateResult | None, run: str | None) -> ManifestDraft:
    config, state = challenger.config, challenger.state
    seed = first_seed("test", config.seed)
    report = play(challenger.policy, challenger.environment, seed, config.report_episodes, config.episode_step_limit)
    return ManifestDraft(
        model=model,
        onnx=onnx_info(challenger.environment),
        environment=challenger.environment,
        training=TrainingInfo(
            preset=challenger.preset,
            config=config.to_json(),
            seed=config.seed,
            env_steps=state.env_steps,
            gradient_steps=state.agent.gradient_steps,
            episodes=len(state.episodes),
            wall_seconds=round(challenger.state.wall_seconds, 3),
            libraries=library_versions(),
            git_commit=git_commit(),
            run=run,
        ),
        evaluation=summarize(report, seed),
        observations=_observation_statistics(challenger),
        lineage=challenger.lineage,
        gate=gate,
    )


def _weights(challenger: Challenger) -> bytes:
    """The policy network's weights; cloned, because safetensors refuses views of one tensor."""
    state_dict = challenger.state.agent.policy_network.state_dict()
    return safetensors.torch.save({name: tensor.clone() for name, tensor in state_dict.items()})


def _observation_statistics(challenger: Challenger) -> ObservationStatistics:
    seen = challenger.state.replay.observations()
    flat = seen.reshape(len(seen), -1) if seen[0].size <= MOST_DESCRIBED_ELEMENTS else seen.reshape(-1, 1)
    return ObservationStatistics(
        mean=flat.mean(axis=0, dtype=np.float64).tolist(),
        std=flat.std(axis=0, dtype=np.float64).tolist(),
        low=flat.min(axis=0).astype(np.float64).tolist(),
        high=flat.max(axis=0).astype(np.float64).tolist(),
    )
