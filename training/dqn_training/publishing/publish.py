"""From a candidate to a version: the gate, the test episodes, the publication and, if the gate opens, the promotion."""

import math
from functools import partial
from typing import Any, NamedTuple

from dqn_models.errors import ModelError, PromotionError
from dqn_models.layout import CHAMPION, ONNX_FILE
from dqn_models.manifest import EnvironmentInfo, Evaluation, GateResult, Lineage, Manifest, ManifestDraft, TrainingInfo
from dqn_models.policy import Policy
from dqn_models.repository import ModelRepository
from dqn_training.checkpoint.store import CheckpointFile
from dqn_training.evaluation.gate import Incumbent, Rule, judge
from dqn_training.evaluation.play import Episodes, play, summarize
from dqn_training.export.onnx_graph import onnx_info
from dqn_training.interrupts import held_back
from dqn_training.publishing.card import model_card
from dqn_training.run.candidate import WEIGHTS_FILE, Candidate
from dqn_training.run.directory import RunDirectory, git_commit, library_versions
from dqn_training.seeds import Purpose, first_seed
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
) -> Published:
    """Judges, publishes and, if the gate opens or there is no champion yet, promotes a candidate.

    Runs of one model are judged one after another, each against the champion that the one before left. A run with a
    `directory` publishes once, even if it is killed at any instant; its result is written there. Raises
    RepositoryError when the repository refuses, ValueError when candidate and champion cannot be compared, and
    KeyboardInterrupt with a sentence that says what was published.
    """
    done = "Interrupted; nothing was published."
    run = directory.read_description().id if directory else None
    try:
        with repository.job(model, "publish", wait_seconds=math.inf):
            manifest = _version_of(run, repository, model)
            while True:  # again if somebody promotes by hand while this candidate is judged
                champion = repository.alias(model)
                gate = _gate(candidate, repository, manifest, model, champion, rule)
                promoted = gate is None or gate.decision == "promoted"
                reason = gate.reason if gate else "the first version of its model"
                if manifest is None:
                    draft, files = _draft(candidate, model, gate, run), _files(candidate, model)
                with held_back():
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


def play_test_episodes(candidate: Candidate) -> Evaluation:
    """Plays the episodes that a manifest reports; their seeds neither chose the checkpoint nor gate it."""
    episodes = _play(candidate, "test", candidate.config.report_episodes, candidate.policy)
    return summarize(episodes, first_seed("test", candidate.config.seed))


def _play(candidate: Candidate, purpose: Purpose, episodes: int, policy: Policy) -> Episodes:
    """Episodes of a policy in the candidate's environment, with its seeds for this purpose."""
    seed = first_seed(purpose, candidate.config.seed)
    return play(policy, candidate.environment, seed, episodes, candidate.config.episode_step_limit)


def _version_of(run: str | None, repository: ModelRepository, model: str) -> Manifest | None:
    """What a run published before it was killed."""
    manifests = (repository.manifest(model, version) for version in reversed(repository.versions(model)))
    return next((manifest for manifest in manifests if manifest.training.run == run), None) if run else None


def _was_champion(repository: ModelRepository, manifest: Manifest) -> bool:
    return any(
        event["event"] == "promote" and event.get("alias") == CHAMPION and event.get("version") == manifest.version
        for event in repository.history(manifest.model)
    )


def _gate(
    candidate: Candidate,
    repository: ModelRepository,
    published: Manifest | None,
    model: str,
    champion: int | None,
    rule: Rule,
) -> GateResult | None:
    """The decision about a candidate, or the one that its published version has; None for a model's first version.

    Raises ValueError when the champion is for other observations or actions: then they cannot be compared.
    """
    if published is not None and (
        _was_champion(repository, published) or champion == (published.gate and published.gate.champion_version)
    ):
        return published.gate
    if champion is None:
        return None
    champion_policy = repository.load_policy(model, champion)
    manifest = repository.manifest(model, champion)
    _check_comparable(candidate.environment, manifest)
    best = _best(candidate, repository, model, published)
    played = partial(_play, candidate, "gate", candidate.config.gate_episodes)
    result = judge(
        played(candidate.policy).returns,
        Incumbent(champion, played(champion_policy).returns),
        None if best is None or best[0] == champion else Incumbent(best[0], played(best[1]).returns),
        rule,
    )
    return result.model_copy(update={"reason": result.reason + _other_environment(candidate.environment, manifest)})


def _other_environment(environment: EnvironmentInfo, champion: Manifest) -> str:
    """A sentence where the champion was trained in another environment than that in which both have just played."""
    trained, played = champion.environment, environment
    if (trained.id, trained.kwargs, trained.wrappers) == (played.id, played.kwargs, played.wrappers):
        return ""
    now, before = (
        " ".join(filter(None, [each.id, str(each.kwargs or ""), *(wrapper.name for wrapper in each.wrappers)]))
        for each in (played, trained)
    )
    return f" Both played {now}; the champion was trained for {before}."


def _best(
    candidate: Candidate, repository: ModelRepository, model: str, published: Manifest | None
) -> tuple[int, Policy] | None:
    """The other version with the best test evaluation in the candidate's environment, or None."""
    manifests = [repository.manifest(model, version) for version in repository.versions(model)]
    rivals = [rival for rival in manifests if rival.environment == candidate.environment and rival != published]
    for manifest in sorted(rivals, key=lambda rival: -rival.evaluation.mean):
        try:
            return manifest.version, repository.load_policy(model, manifest.version)
        except ModelError:  # damaged, or pruned by now: the next best is the measure
            continue
    return None


def _files(candidate: Candidate, model: str) -> dict[str, bytes]:
    title = f"{model}: {candidate.environment.id}, preset {candidate.preset}, seed {candidate.config.seed}"
    curve = training_curve(title, candidate.episodes, candidate.scores, candidate.health)
    return {ONNX_FILE: candidate.onnx, WEIGHTS_FILE: candidate.weights, "training_curve.png": curve}


def _check_comparable(environment: EnvironmentInfo, champion: Manifest) -> None:
    expected = onnx_info(environment)
    if champion.onnx.inputs != expected.inputs or champion.onnx.outputs != expected.outputs:
        raise ValueError(
            f"{environment.id} does not fit the model {champion.model}: its champion, version {champion.version}, "
            f"was trained for {champion.environment.id} and takes other observations or actions. Use another --name."
        )


def _draft(candidate: Candidate, model: str, gate: GateResult | None, run: str | None) -> ManifestDraft:
    config, parent = candidate.config, candidate.parent
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
            libraries=library_versions(),
            git_commit=git_commit(),
            run=run,
        ),
        evaluation=play_test_episodes(candidate),
        observations=candidate.observations,
        lineage=Lineage(parent_version=parent, origin="scratch" if parent is None else "warm-start"),
        gate=gate,
    )
