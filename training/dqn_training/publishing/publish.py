"""From a candidate to a version: gate, publication and promotion."""

import contextlib
import math
from typing import Any, NamedTuple

from dqn_models.errors import PromotionError
from dqn_models.layout import CHAMPION, ONNX_FILE
from dqn_models.manifest import GateResult, Lineage, Manifest, ManifestDraft, TrainingInfo
from dqn_models.repository import ModelRepository
from dqn_training.checkpoint.store import CheckpointFile
from dqn_training.evaluation.gate import Rule
from dqn_training.export.onnx_graph import onnx_info
from dqn_training.interrupts import deferred_interrupts
from dqn_training.publishing.card import model_card
from dqn_training.publishing.trials import Trials, Watch
from dqn_training.run.candidate import WEIGHTS_FILE, Candidate
from dqn_training.run.directory import RunDirectory, git_commit, library_versions
from dqn_training.tracking.curve import training_curve


class Published(NamedTuple):
    """A published candidate, and whether it became the champion."""

    manifest: Manifest
    promoted: bool

    def as_json(self) -> dict[str, Any]:
        """The manifest with `promoted`, as `dqn-train` prints it and result.json keeps it."""
        return self.manifest.model_dump(mode="json") | {"promoted": self.promoted}


def publish(
    candidate: Candidate,
    repository: ModelRepository,
    model: str,
    rule: Rule,
    by: str,
    directory: RunDirectory | None = None,
    watch: Watch = lambda *_: None,
) -> Published:
    """Evaluates and publishes a candidate, and promotes it if it passes the gate or there is no champion yet.

    Candidates for one model are gated one at a time, each against the current champion. Publishing a run with a
    `directory` is idempotent, even if it is killed at any instant; the result is written there.

    Args:
        candidate: the result of a run.
        repository: where to publish.
        model: name of the model.
        rule: the gate's rule.
        by: who publishes, for the history.
        directory: the run's directory, which the caller has locked.
        watch: called while episodes are played.

    Raises RepositoryError if the repository cannot be written, ValueError if candidate and champion cannot be compared,
    and KeyboardInterrupt with a sentence that says what was published.
    """
    done = "Interrupted; nothing was published."
    run = directory.read_description().id if directory else None
    try:
        with (
            repository.job(model, "publish", wait_seconds=math.inf),
            contextlib.closing(Trials(candidate, watch)) as trials,
        ):
            manifest = _version_of(run, repository, model)
            while True:  # repeat if another version is promoted manually while this candidate is evaluated
                champion = repository.alias(model)
                gate = _gate(trials, repository, manifest, model, champion, rule)
                promoted = gate is None or gate.decision == "promoted"
                reason = gate.reason if gate else "the first version of its model"
                if manifest is None:
                    draft, files = _draft(candidate, model, gate, trials, run), _files(candidate, model)
                with deferred_interrupts():
                    manifest = manifest or repository.publish(
                        draft, files, {"MODEL_CARD.md": model_card}, by=by, reason=reason
                    )
                    done = f"Interrupted after {model} version {manifest.version} was published."
                    if promoted and not _was_champion(repository, manifest):
                        try:
                            repository.promote(model, manifest.version, replacing=champion, by=by, reason=reason)
                        except PromotionError:
                            continue
                    published = Published(manifest, promoted)
                    if promoted:
                        done = f"Interrupted after {model} version {manifest.version} was published and promoted."
                    if directory is not None:
                        directory.finish(published.as_json())
                        CheckpointFile(directory.checkpoint).remove()
                return published
    except KeyboardInterrupt:
        raise KeyboardInterrupt(done) from None


def _version_of(run: str | None, repository: ModelRepository, model: str) -> Manifest | None:
    """The version that a run published before it was killed, if any."""
    manifests = (repository.manifest(model, version) for version in reversed(repository.versions(model)))
    return next((manifest for manifest in manifests if manifest.training.run == run), None) if run else None


def _was_champion(repository: ModelRepository, manifest: Manifest) -> bool:
    return any(
        event["event"] == "promote" and event.get("alias") == CHAMPION and event.get("version") == manifest.version
        for event in repository.history(manifest.model)
    )


def _gate(
    trials: Trials,
    repository: ModelRepository,
    published: Manifest | None,
    model: str,
    champion: int | None,
    rule: Rule,
) -> GateResult | None:
    """The gate's decision, reusing that of an already published version; None for a model's first version."""
    if published is not None and (
        _was_champion(repository, published) or champion == (published.gate and published.gate.champion_version)
    ):
        return published.gate
    return None if champion is None else trials.gate(repository, model, champion, rule, published)


def _files(candidate: Candidate, model: str) -> dict[str, bytes]:
    title = f"{model}: {candidate.environment.id}, preset {candidate.preset}, seed {candidate.config.seed}"
    curve = training_curve(title, candidate.episodes, candidate.scores, candidate.health)
    return {ONNX_FILE: candidate.onnx, WEIGHTS_FILE: candidate.weights, "training_curve.png": curve}


def _draft(candidate: Candidate, model: str, gate: GateResult | None, trials: Trials, run: str | None) -> ManifestDraft:
    config, parent, evaluation = candidate.config, candidate.parent, trials.report()
    return ManifestDraft(
        model=model,
        onnx=onnx_info(candidate.environment),
        environment=candidate.environment,
        training=TrainingInfo(
            preset=candidate.preset,
            config=config.to_json(),
            seed=config.seed,
            env_steps=candidate.env_steps,
            gradient_steps=candidate.gradient_steps,
            episodes=len(candidate.episodes),
            wall_seconds=round(candidate.wall_seconds, 3),
            evaluation_env_steps=trials.env_steps,
            libraries=library_versions(),
            git_commit=git_commit(),
            run=run,
        ),
        evaluation=evaluation,
        observations=candidate.observations,
        lineage=Lineage(parent_version=parent, origin="scratch" if parent is None else "warm-start"),
        gate=gate,
    )
