"""Bodies of the calls that do not choose actions: these classes read, write and document them."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from dqn_serving.api.schemas import MAX_VERSION


class Alive(Struct, frozen=True):
    """The process answers."""

    status: str = "ok"


class Ready(Struct, frozen=True):
    """The default model's champion is loaded and warmed up."""

    model: str
    version: int
    ready: bool = True


class ModelSummary(Struct, frozen=True):
    """A model in the repository, and its versions in memory."""

    model: str
    is_default: Annotated[bool, Meta(description="whether calls that name no model mean this one")]
    champion: Annotated[int | None, Meta(description="the version that answers now; null if there is none")]
    aliases: Annotated[dict[str, int], Meta(description="aliases as the repository had them at the last look")]
    versions: Annotated[list[int], Meta(description="published versions")]
    loaded_versions: Annotated[
        list[int], Meta(description="versions in memory: the champion and those that were named")
    ]
    problem: Annotated[str | None, Meta(description="why no version answers; null if one does")]


class ModelList(Struct, frozen=True):
    """Every model, sorted by name."""

    models: list[ModelSummary]


class AliasChange(Struct, frozen=True, forbid_unknown_fields=True):
    """The version that the alias is to name."""

    # JSON has one kind of number, so 2.0 is 2
    version: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_VERSION)] | Annotated[float, Meta(ge=1, le=MAX_VERSION, multiple_of=1)],
        Meta(examples=[2]),
    ]


class AliasChanged(Struct, frozen=True):
    """What the alias names now, what it named before, and which version answers."""

    model: str
    alias: str
    version: int
    previous: int | None
    champion: int | None


class RefreshAnswer(Struct, frozen=True):
    """The outcome of the look at the repository."""

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
    reason: Annotated[str | None, Meta(description="the kind of fault of a body that was refused")] = None
