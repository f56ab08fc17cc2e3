"""The manifest: everything known about one version, as one JSON document.

This file documents `manifest.json`: each class is an object in it, with the meaning of each field. Readers ignore
unknown fields, so a newer writer may add some without a new `schema_version`.
"""

import hashlib
import json
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dqn_models.errors import ManifestError
from dqn_models.masks import MaskSource
from dqn_models.spaces import ActionSpace, ObservationSpace

SCHEMA_VERSION: Literal[2] = 2
"""The version that is written. Version 1 had only Box and Discrete observations and Discrete actions."""
_READABLE = (1, 2)


class Document(BaseModel):
    """An immutable JSON object whose unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class FileEntry(Document):
    """One file of the version."""

    size: int = Field(ge=0, description="bytes")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")

    @classmethod
    def of(cls, data: bytes) -> "FileEntry":
        """The entry of a file with this content."""
        return cls(size=len(data), sha256=hashlib.sha256(data).hexdigest())


class TensorSpec(Document):
    """An input or output of the graph; the first dimension is the batch."""

    name: str
    dtype: str = Field(description="as NumPy names it, e.g. float32")
    shape: list[int | str] = Field(description='"batch", then fixed sizes')


class OnnxInfo(Document):
    """Properties of the ONNX file."""

    opset: int
    ir_version: int
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]


class WrapperInfo(Document):
    """A wrapper applied to the environment."""

    name: str = Field(description="class name in gymnasium.wrappers, or module:Class")
    kwargs: dict[str, Any] = {}


class EnvironmentInfo(Document):
    """The environment that the policy was trained in; its spaces are those after the wrappers."""

    id: str
    kwargs: dict[str, Any] = {}
    wrappers: list[WrapperInfo] = Field(default=[], description="innermost first")
    gymnasium_version: str
    observation_space: ObservationSpace
    left_out: list[str] = Field(
        default=[], description="paths of the parts of an observation that no network can read, such as text"
    )
    action_space: ActionSpace
    action_mask: MaskSource | None = Field(
        default=None,
        description='where the environment provides its action mask: in info["action_mask"] (info), by action_masks() '
        "(method), or as action_mask in its observations (observation); null: no mask",
    )
    max_episode_steps: int | None = None
    reward_threshold: float | None = None


class TrainingInfo(Document):
    """How the policy was trained; enough to reproduce it."""

    preset: str
    config: dict[str, Any] = Field(description="every field of DQNConfig")
    seed: int
    env_steps: int
    gradient_steps: int
    episodes: int
    wall_seconds: float
    evaluation_env_steps: int | None = Field(
        default=None,
        description="environment steps of all evaluations: selection, random baseline, gate and final test",
    )
    libraries: dict[str, str] = Field(description="versions by library name")
    git_commit: str | None = None
    run: str | None = Field(default=None, description="id of the run (run.json), which publishes at most one version")


class Evaluation(Document):
    """Undiscounted returns of complete greedy episodes, played with the exported ONNX file."""

    episodes: int
    seed: int = Field(description="first environment seed; test seeds are disjoint from the selection and gate seeds")
    mean: float
    std: float
    min: float
    max: float
    ci95: tuple[float, float] = Field(description="95 % bootstrap interval of the mean, low and high")
    mean_length: float = Field(description="mean episode length, steps")
    cut_short: int = Field(default=0, description="episodes truncated by the step limit")
    random_mean: float | None = Field(default=None, description="mean return of random actions, if measured")
    random_episodes: int = Field(default=0, description="number of episodes behind random_mean")


class ObservationStatistics(Document):
    """Statistics of the observations seen in training, one number per element in C order (Discrete: one element).

    Those of a Dict or Tuple are listed leaf by leaf. A leaf with more than MAX_DESCRIBED_ELEMENTS elements has one
    number for all of them.
    """

    mean: list[float]
    std: list[float]
    low: list[float]
    high: list[float]


class Lineage(Document):
    """Where the initial weights came from."""

    parent_version: int | None = None
    origin: Literal["scratch", "warm-start"] = "scratch"


class GateResult(Document):
    """The gate's decision when the version was published, and why."""

    champion_version: int
    rule: str
    decision: Literal["promoted", "kept"]
    reason: str
    statistics: dict[str, float | int]


class ManifestDraft(Document):
    """A manifest before the version exists: everything that the publisher knows."""

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    model: str
    onnx: OnnxInfo
    environment: EnvironmentInfo
    training: TrainingInfo
    evaluation: Evaluation
    observations: ObservationStatistics
    lineage: Lineage = Lineage()
    gate: GateResult | None = None


class Manifest(ManifestDraft):
    """A published version's manifest."""

    version: int = Field(ge=1)
    created_at: datetime = Field(description="RFC 3339, UTC")
    files: dict[str, FileEntry]

    @classmethod
    def parse(cls, data: bytes, where: str) -> "Manifest":
        """Parses a manifest; `where` names it in errors.

        Raises ManifestError if it is not a manifest of a schema version that this release reads.
        """
        try:
            raw = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"{where} is not valid JSON: {error}.") from error
        found = raw.get("schema_version") if isinstance(raw, dict) else None
        if found not in _READABLE or isinstance(found, bool):
            raise ManifestError(
                f"{where} has schema_version {found!r}; this release reads {' and '.join(map(str, _READABLE))}. "
                "Upgrade, or publish the model again."
            )
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ManifestError(f"{where}: field {place!r}: {first['msg']}.") from error

    def dump(self) -> bytes:
        """The manifest as indented UTF-8 JSON with a final newline."""
        return (self.model_dump_json(indent=2) + "\n").encode()
