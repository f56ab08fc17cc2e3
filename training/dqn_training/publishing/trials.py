"""The episodes that a candidate plays before it is published: against the champion, and for the manifest.

How many there are depends on time: nothing here changes the policy.
"""

import contextlib
import math
import time
from collections.abc import Callable

import numpy as np

from dqn_models.errors import ModelError
from dqn_models.layout import ONNX_FILE
from dqn_models.manifest import EnvironmentInfo, Evaluation, GateResult, Manifest
from dqn_models.repository import ModelRepository
from dqn_models.spaces import BoxSpace, LeafSpace
from dqn_training.evaluation.gate import Incumbent, Rule, judge
from dqn_training.evaluation.play import Episodes, step_limit, summarize
from dqn_training.export.onnx_graph import onnx_info
from dqn_training.run.candidate import Candidate, final_seconds, report_episodes
from dqn_training.run.evaluation import make_evaluator
from dqn_training.seeds import Purpose, first_seed

_WORDS: dict[Purpose, str] = {"test": "final evaluation", "gate": "gate"}

Watch = Callable[[str, int], None]
"""Called while episodes are played, with what they are for and the environment steps so far."""


class Trials:
    """Plays a candidate's episodes. To be closed by the caller.

    Attributes:
        env_steps: what all evaluations of the candidate have taken, those during training included.
    """

    def __init__(self, candidate: Candidate, watch: Watch = lambda *_: None) -> None:
        self._candidate = candidate
        self._evaluator = make_evaluator(candidate.config, candidate.environment)
        self._watch = watch
        self.env_steps = candidate.evaluation_env_steps

    def close(self) -> None:
        """Ends the evaluator."""
        self._evaluator.close()

    def report(self) -> Evaluation:
        """The evaluation for the manifest; its seeds neither chose the checkpoint nor gate it."""
        candidate = self._candidate
        mean_length = self._episode_length()
        played = self._play_as_affordable("test", report_episodes(candidate.config, mean_length), mean_length)
        beside = {"random_mean": candidate.random_mean, "random_episodes": candidate.random_episodes or 0}
        return summarize(_joined(played), first_seed("test", candidate.config.seed)).model_copy(update=beside)

    def gate(
        self, repository: ModelRepository, model: str, champion: int, rule: Rule, published: Manifest | None
    ) -> GateResult:
        """Compares the candidate with the champion, and with the best version where that is another.

        Raises ValueError when the champion is for other observations or actions: then they cannot be compared.
        """
        manifest = repository.manifest(model, champion)
        _check_comparable(self._candidate.environment, manifest)
        rivals = [(manifest, _graph(repository, manifest))]
        best = self._best(repository, model, published)
        if best is not None and best[0].version != champion:
            rivals.append(best)
        lengths = [self._episode_length(), *(rival.evaluation.mean_length for rival, _ in rivals)]
        played = self._play_as_affordable("gate", self._candidate.config.gate_episodes, max(lengths), fewest=2)
        counts = [len(each.returns) for each in played]  # a vector environment starts alike only in equal numbers
        incumbents = []
        for rival, onnx in rivals:
            theirs = [self._play(onnx, "gate", sum(counts[:index]), count) for index, count in enumerate(counts)]
            incumbents.append(Incumbent(rival.version, _joined(theirs).returns))
        best_so_far = incumbents[1] if len(incumbents) > 1 else None
        result = judge(_joined(played).returns, incumbents[0], best_so_far, rule)
        other = _other_environment(self._candidate.environment, manifest)
        return result.model_copy(update={"reason": result.reason + other})

    def _episode_length(self) -> float:
        """Expected steps of an episode of the candidate: as its best evaluation had it, if that played whole ones."""
        best, environment = self._candidate.best, self._candidate.environment
        limit = step_limit(self._candidate.config.episode_step_limit, environment)
        return min(limit, environment.max_episode_steps or math.inf) if best.cut else best.mean_length

    def _play_as_affordable(self, purpose: Purpose, wanted: int, mean_length: float, fewest: int = 1) -> list[Episodes]:
        """Plays the candidate while there is time for more episodes: first as many as training lets expect."""
        self._evaluator.open()
        candidate, started = self._candidate, time.perf_counter()
        seconds = final_seconds(candidate.config, candidate.wall_seconds)
        played: list[Episodes] = []
        count, episodes = 0, max(fewest, candidate.affordable_episodes(wanted, mean_length))
        while episodes:
            played.append(self._play(candidate.onnx, purpose, count, episodes))
            count += episodes
            spent = time.perf_counter() - started
            more = int(count * (seconds / spent - 1))
            episodes = min(wanted - count, more) if more >= count / 10 else 0
        return played

    def _play(self, onnx: bytes, purpose: Purpose, first: int, episodes: int) -> Episodes:
        """Episodes of a policy in the candidate's environment, from the `first` of its seeds for this purpose on."""
        seed = first_seed(purpose, self._candidate.config.seed) + first
        played = self._evaluator.play(onnx, seed, episodes, tick=lambda steps: self._watch(_WORDS[purpose], steps))
        self.env_steps += played.env_steps
        return played

    def _best(
        self, repository: ModelRepository, model: str, published: Manifest | None
    ) -> tuple[Manifest, bytes] | None:
        """The other version with the best test evaluation in the candidate's environment and its graph, or None."""
        manifests = [repository.manifest(model, version) for version in repository.versions(model)]
        environment = self._candidate.environment
        rivals = [rival for rival in manifests if rival.environment == environment and rival != published]
        for manifest in sorted(rivals, key=lambda rival: -rival.evaluation.mean):
            try:
                return manifest, _graph(repository, manifest)
            except ModelError:  # damaged, or pruned by now: the next best is the measure
                continue
        return None


def _joined(parts: list[Episodes]) -> Episodes:
    return Episodes(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def play_test_episodes(candidate: Candidate) -> Evaluation:
    """Plays the episodes that a manifest reports of this candidate."""
    with contextlib.closing(Trials(candidate)) as trials:
        return trials.report()


def _graph(repository: ModelRepository, manifest: Manifest) -> bytes:
    """A version's ONNX file, verified. Raises ModelError when it cannot be used."""
    repository.load_policy(manifest.model, manifest.version)
    return repository.read_file(manifest.model, manifest.version, ONNX_FILE)


def check_comparable(environment: EnvironmentInfo, repository: ModelRepository, model: str) -> None:
    """Raises ValueError where a model's champion, if there is one, takes other observations or actions."""
    champion = repository.alias(model)
    if champion is not None:
        _check_comparable(environment, repository.manifest(model, champion))


def _check_comparable(environment: EnvironmentInfo, champion: Manifest) -> None:
    expected, trained = onnx_info(environment), champion.environment
    tensors_differ = champion.onnx.inputs != expected.inputs or champion.onnx.outputs != expected.outputs
    if tensors_differ or _integers(trained) != _integers(environment):
        raise ValueError(
            f"{environment.id} does not fit the model {champion.model}: its champion, version {champion.version}, "
            f"was trained for {trained.id} and takes other observations or actions. Use another --name."
        )


def _other_environment(environment: EnvironmentInfo, champion: Manifest) -> str:
    """A sentence where the champion was trained in another environment than that in which both have just played.

    One whose numbers have other bounds is another, since something of it has changed.
    """
    trained, played = champion.environment, environment
    if (trained.id, trained.kwargs, trained.wrappers) == (played.id, played.kwargs, played.wrappers):
        changed = _changed_bounds(played, trained)
        said = f" Since the champion was trained, {played.id} has other bounds of {', '.join(changed)}."
        return said if changed else ""
    now, before = (
        " ".join([each.id, *([str(each.kwargs)] if each.kwargs else []), *(wrapper.name for wrapper in each.wrappers)])
        for each in (played, trained)
    )
    return f" Both played {now}; the champion was trained for {before}."


def _changed_bounds(played: EnvironmentInfo, trained: EnvironmentInfo) -> list[str]:
    """What has other bounds, in two environments with the same leaves: leaves of observations by name, or actions."""
    leaves = zip(played.observation_space.leaves, trained.observation_space.leaves, strict=True)
    changed = [now.name if now.path else "its observations" for now, before in leaves if now.space != before.space]
    return [*changed, *["its actions"] * (played.action_space != trained.action_space)]


def _integers(environment: EnvironmentInfo) -> list[LeafSpace]:
    """The spaces in which an integer is the name of something; the bounds of numbers may change with arguments."""
    leaves = [leaf.space for leaf in environment.observation_space.leaves]
    return [space for space in (*leaves, environment.action_space) if not isinstance(space, BoxSpace)]
