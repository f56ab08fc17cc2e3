"""Bodies of the calls that do not choose actions: these classes read, write and document them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _example(**fields: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [fields]})


class Alive(BaseModel):
    """The process answers."""

    model_config = _example(status="ok")

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """The default model's champion is loaded and warmed up."""

    model_config = _example(ready=True, model="cartpole", version=3)

    ready: Literal[True] = True
    model: str
    version: int


class ModelSummary(BaseModel):
    """A model in the repository, and its versions in memory."""

    model_config = _example(
        model="cartpole",
        is_default=True,
        champion=3,
        aliases={"champion": 3, "challenger": 4},
        versions=[1, 2, 3, 4],
        loaded_versions=[3],
        problem=None,
    )

    model: str
    is_default: bool = Field(description="whether calls that name no model mean this one")
    champion: int | None = Field(description="the version that answers now; null if there is none")
    aliases: dict[str, int] = Field(description="aliases as the repository had them at the last look")
    versions: list[int] = Field(description="published versions")
    loaded_versions: list[int] = Field(description="versions in memory: the champion and those that requests named")
    problem: str | None = Field(description="why no version answers; null if one does")


class ModelList(BaseModel):
    """Every model, sorted by name."""

    models: list[ModelSummary]


def _integer_of_json(value: Any) -> Any:
    """JSON has one kind of number, so 2.0 is 2."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class AliasChange(BaseModel):
    """The version that the alias is to name."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"version": 2}]})

    version: Annotated[int, BeforeValidator(_integer_of_json)] = Field(ge=1, lt=10**18)


class AliasChanged(BaseModel):
    """What the alias names now, what it named before, and which version answers."""

    model_config = _example(model="cartpole", alias="champion", version=2, previous=3, champion=2)

    model: str
    alias: str
    version: int
    previous: int | None
    champion: int | None


class RefreshAnswer(BaseModel):
    """The outcome of the look at the repository."""

    model_config = _example(model="cartpole", champion=4, outcome="refreshed", detail=None)

    model: str
    champion: int | None = Field(description="the version that answers now")
    outcome: Literal["refreshed", "unchanged", "failed"]
    detail: str | None = Field(description="why it failed; null if it did not")


class ProblemDocument(BaseModel):
    """An RFC 9457 problem."""

    type: str
    title: str
    status: int
    detail: str
    reason: str | None = Field(default=None, description="the kind of fault of a body that was refused")


DOCUMENTED = (AliasChange, AliasChanged, ModelSummary, RefreshAnswer, ProblemDocument)
"""Whose schemas `/openapi.json` has from here rather than from the framework."""
