"""The episodes that a candidate plays before it is published: for the gate, and for the manifest.

Their number may depend on time, because nothing here changes the policy.
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
"""Called while episodes are played, with their purpose and the environment steps so far."""


class Trials:
    """Plays a candidate's episodes. The caller must close it.

    Attributes:
        env_steps: environment steps of all evaluations of the candidate, including those during training.
    """

    def __init__(self, candidate: Candidate, watch: Watch = lambda *_: None) -> None:
        self._candidate = candidate
        self._evaluator = make_evaluator(candidate.config, candidate.environment)
        self._watch = watch
        self.env_steps = candidate.evaluation_env_steps

    def close(self) -> None:
        """Closes the evaluator."""
        self._evaluator.close()

    def report(self) -> Evaluation:
        """The evaluation for the manifest, on seeds used neither to select the checkpoint nor to gate it."""
        candidate = self._candidate
        mean_length = self._episode_length()
        played = self._play_as_affordable("test", report_episodes(candidate.config, mean_length), mean_length)
        baseline = {"random_mean": candidate.random_mean, "random_episodes": candidate.random_episodes or 0}
        return summarize(_joined(played), first_seed("test", candidate.config.seed)).model_copy(update=baseline)

    def gate(
        self, repository: ModelRepository, model: str, champion: int, rule: Rule, published: Manifest | None
    ) -> GateResult:
        """Compares the candidate with the champion, and with the best version if that is not the champion.

        Raises ValueError if the champion has other observations or actions, so that they cannot be compared.
        """
        manifest = repository.manifest(model, champion)
        _check_comparable(self._candidate.environment, manifest)
        rivals = [(manifest, _graph(repository, manifest))]
        best = self._best(repository, model, published)
        if best is not None and best[0].version != champion:
            rivals.append(best)
        lengths = [self._episode_length(), *(rival.evaluation.mean_length for rival, _ in rivals)]
        played = self._play_as_affordable("gate", self._candidate.config.gate_episodes, max(lengths), fewest=2)
        counts = [
            len(each.returns) for each in played
        ]  # native vector environments of different sizes start differently
        incumbents = []
        for rival, onnx in rivals:
            theirs = [self._play(onnx, "gate", sum(counts[:index]), count) for index, count in enumerate(counts)]
            incumbents.append(Incumbent(rival.version, _joined(theirs).returns))
        best_so_far = incumbents[1] if len(incumbents) > 1 else None
        result = judge(_joined(played).returns, incumbents[0], best_so_far, rule)
        other = _other_environment(self._candidate.environment, manifest)
        return result.model_copy(update={"reason": result.reason + other})

    def _episode_length(self) -> float:
        """Expected episode length of the candidate: that of its best evaluation, or the limit if that was truncated."""
        best, environment = self._candidate.best, self._candidate.environment
        limit = step_limit(self._candidate.config.episode_step_limit, environment)
        return min(limit, environment.max_episode_steps or math.inf) if best.cut else best.mean_length

    def _play_as_affordable(self, purpose: Purpose, wanted: int, mean_length: float, fewest: int = 1) -> list[Episodes]:
        """Plays the candidate while time allows, first as many episodes as the timing in training suggests."""
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
        """Plays a policy in the candidate's environment, on the seeds for this purpose from number `first` on."""
        seed = first_seed(purpose, self._candidate.config.seed) + first
        played = self._evaluator.play(onnx, seed, episodes, tick=lambda steps: self._watch(_WORDS[purpose], steps))
        self.env_steps += played.env_steps
        return played

    def _best(
        self, repository: ModelRepository, model: str, published: Manifest | None
    ) -> tuple[Manifest, bytes] | None:
        """The best other version by test evaluation in the candidate's environment, with its graph, or None."""
        manifests = [repository.manifest(model, version) for version in repository.versions(model)]
        environment = self._candidate.environment
        rivals = [rival for rival in manifests if rival.environment == environment and rival != published]
        for manifest in sorted(rivals, key=lambda rival: -rival.evaluation.mean):
            try:
                return manifest, _graph(repository, manifest)
            except ModelError:  # damaged, or pruned in the meantime: take the next best
                continue
        return None


def _joined(parts: list[Episodes]) -> Episodes:
    return Episodes(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def play_test_episodes(candidate: Candidate) -> Evaluation:
    """Evaluates a candidate on the test seeds, as for its manifest."""
    with contextlib.closing(Trials(candidate)) as trials:
        return trials.report()


def _graph(repository: ModelRepository, manifest: Manifest) -> bytes:
    """A version's verified ONNX file. Raises ModelError if it cannot be used."""
    repository.load_policy(manifest.model, manifest.version)
    return repository.read_file(manifest.model, manifest.version, ONNX_FILE)


def check_comparable(environment: EnvironmentInfo, repository: ModelRepository, model: str) -> None:
    """Raises ValueError if a model's champion, if any, has other observations or actions."""
    champion = repository.alias(model)
    if champion is not None:
        _check_comparable(environment, repository.manifest(model, champion))


def _check_comparable(environment: EnvironmentInfo, champion: Manifest) -> None:
    expected, trained = onnx_info(environment), champion.environment
    tensors_differ = champion.onnx.inputs != expected.inputs or champion.onnx.outputs != expected.outputs
    if tensors_differ or _integers(trained) != _integers(environment):
        raise ValueError(
            f"{environment.id} does not fit the model {champion.model}: its champion, version {champion.version}, "
            f"was trained in {trained.id} and has other observations or actions. Use another --name."
        )


def _other_environment(environment: EnvironmentInfo, champion: Manifest) -> str:
    """A sentence if the champion was trained in another environment than the one of this comparison.

    An environment whose numbers have other bounds counts as another one.
    """
    trained, played = champion.environment, environment
    if (trained.id, trained.kwargs, trained.wrappers) == (played.id, played.kwargs, played.wrappers):
        changed = _changed_bounds(played, trained)
        said = f" Since the champion was trained, the bounds of {', '.join(changed)} have changed in {played.id}."
        return said if changed else ""
    now, before = (
        " ".join([each.id, *([str(each.kwargs)] if each.kwargs else []), *(wrapper.name for wrapper in each.wrappers)])
        for each in (played, trained)
    )
    return f" Both played {now}; the champion was trained in {before}."


def _changed_bounds(played: EnvironmentInfo, trained: EnvironmentInfo) -> list[str]:
    """What has other bounds, in two environments with the same leaves: leaves of observations by name, or actions."""
    leaves = zip(played.observation_space.leaves, trained.observation_space.leaves, strict=True)
    changed = [now.name if now.path else "its observations" for now, before in leaves if now.space != before.space]
    return [*changed, *["its actions"] * (played.action_space != trained.action_space)]


def _integers(environment: EnvironmentInfo) -> list[LeafSpace]:
    """The spaces in which integers identify something; the bounds of Boxes may differ between arguments."""
    leaves = [leaf.space for leaf in environment.observation_space.leaves]
    return [space for space in (*leaves, environment.action_space) if not isinstance(space, BoxSpace)]
