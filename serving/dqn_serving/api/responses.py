"""Bodies of the calls that do not choose actions: these classes read, write and document them."""

from typing import Annotated, Any, Literal, Self

import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType

from dqn_models.manifest import Manifest
from dqn_models.masks import ACTION_MASK
from dqn_serving.api.schemas import MAX_VERSION
from dqn_serving.policies.masks import MASKS_SENT


class Alive(Struct, frozen=True):
    """The process is alive."""

    status: str = "ok"


class Ready(Struct, frozen=True):
    """The default model's champion is loaded and warmed up."""

    model: str
    version: int
    ready: bool = True


class ModelSpaces(Struct, frozen=True):
    """The observations and actions of a version."""

    observation: Annotated[str, Meta(description="an observation in words")]
    observation_space: Annotated[dict[str, Any], Meta(description="as in the manifest")]
    example_observation: Annotated[
        Any, Meta(description="an observation that the calls accept, near the mean of those in training")
    ]
    left_out: Annotated[list[str], Meta(description="parts of observations that may be sent but are ignored")]
    action: Annotated[str, Meta(description="an action in words")]
    action_space: Annotated[dict[str, Any], Meta(description="as in the manifest")]
    example_action: Annotated[Any, Meta(description="the first action, in the form that it has in answers")]
    n_actions: Annotated[
        int,
        Meta(
            description="number of Q-values and of entries in an action mask: one per action or, if "
            "action_space.branching is true, one per value of each component, component after component"
        ),
    ]
    action_mask: Annotated[
        str | None, Meta(description="where the environment provides its action masks, as in the manifest")
    ]
    example_action_mask: Annotated[
        list[bool] | UnsetType, Meta(description="a mask that allows every action; only if requests send masks")
    ] = UNSET

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """The spaces of a version."""
        environment, mean = manifest.environment, manifest.observations.mean
        observed, acted = environment.observation_space, environment.action_space
        known = mean if len(mean) == observed.described_elements else [0.0] * observed.described_elements
        example: Any = observed.example(known)
        source = environment.action_mask
        if source == "observation":
            example[ACTION_MASK] = [1] * acted.n  # the mean of masks may allow none
        return cls(
            observation=observed.describe(),
            observation_space=observed.model_dump(mode="json"),
            example_observation=example,
            left_out=environment.left_out,
            action=acted.describe(),
            action_space=acted.model_dump(mode="json"),
            example_action=acted.action(acted.best(np.zeros((1, acted.n), np.float32))).tolist()[0],
            n_actions=acted.n,
            action_mask=source,
            example_action_mask=[True] * acted.n if source in MASKS_SENT else UNSET,
        )

    def example_request(self) -> dict[str, Any]:
        """A body that `/act` and `/q-values` accept."""
        request = {"observation": self.example_observation}
        return request if self.example_action_mask is UNSET else request | {"action_mask": self.example_action_mask}


class ModelSummary(Struct, frozen=True):
    """A model in the repository, and its versions in memory."""

    model: str
    is_default: Annotated[bool, Meta(description="whether this model answers calls that name none")]
    champion: Annotated[int | None, Meta(description="the version that answers now; null if there is none")]
    aliases: Annotated[dict[str, int], Meta(description="aliases in the repository, as of the last check")]
    versions: Annotated[list[int], Meta(description="published versions")]
    loaded_versions: Annotated[
        list[int], Meta(description="versions in memory: the champion and those that requests named")
    ]
    problem: Annotated[str | None, Meta(description="why no version answers; null if one does")]
    spaces: Annotated[
        ModelSpaces | UnsetType, Meta(description="of the champion; only if a single model is requested")
    ] = UNSET


class ModelList(Struct, frozen=True):
    """Every model, sorted by name."""

    models: list[ModelSummary]


class AliasChange(Struct, frozen=True, forbid_unknown_fields=True):
    """The version to point the alias at."""

    # JSON has one kind of number, so 2.0 is 2
    version: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_VERSION)] | Annotated[float, Meta(ge=1, le=MAX_VERSION, multiple_of=1)],
        Meta(examples=[2]),
    ]


class AliasChanged(Struct, frozen=True):
    """The version that the alias names now, the previous one, and the champion that answers."""

    model: str
    alias: str
    version: int
    previous: int | None
    champion: int | None


class RefreshAnswer(Struct, frozen=True):
    """The outcome of checking the repository."""

    model: str
    champion: Annotated[int | None, Meta(description="the version that answers now")]
    outcome: Literal["refreshed", "unchanged", "failed"]
    detail: Annotated[str | None, Meta(description="why it failed; null if it did not")]


class ProblemDocument(Struct, frozen=True, omit_defaults=True):
    """An RFC 9457 problem."""

    type: str
    title: str
    status: int
    detail: str
    reason: Annotated[str | None, Meta(description="the kind of fault, if a body was rejected")] = None
