"""What calls answer: immutable typed values. Fields that this release does not know are ignored."""

from typing import Any, Literal

from msgspec import Struct


class Action(Struct, frozen=True):
    """The action for one observation."""

    action: int
    model: str
    version: int
    propensity: float | None = None
    """The probability with which this action was chosen; only where `epsilon` was given."""
    q_values: tuple[float, ...] | None = None
    """One for each action; only from a stream that was opened with `q_values=True`."""


class Actions(Struct, frozen=True):
    """The actions for a batch, in its order."""

    actions: tuple[int, ...]
    model: str
    version: int
    propensity: tuple[float, ...] | None = None


class QValues(Struct, frozen=True):
    """The Q-value of every action and the action chosen, for one observation."""

    q_values: tuple[float, ...]
    action: int
    model: str
    version: int
    propensity: float | None = None


class QValuesBatch(Struct, frozen=True):
    """The Q-values of every action, [batch, actions], and the actions chosen, for a batch."""

    q_values: tuple[tuple[float, ...], ...]
    actions: tuple[int, ...]
    model: str
    version: int
    propensity: tuple[float, ...] | None = None


class Model(Struct, frozen=True):
    """A model in the server's repository and what of it is in memory."""

    model: str
    is_default: bool
    """Whether calls that name no model mean this one."""
    champion: int | None
    """The version that answers; None where none does."""
    aliases: dict[str, int]
    versions: tuple[int, ...]
    loaded_versions: tuple[int, ...]
    problem: str | None = None
    """Why no version answers."""


class Models(Struct, frozen=True):
    """The body of `GET /models`."""

    models: tuple[Model, ...]


class Readiness(Struct, frozen=True):
    """Whether the server can act; true or false in an `if`."""

    ready: bool
    model: str | None = None
    version: int | None = None
    detail: str | None = None
    """Why it cannot."""

    def __bool__(self) -> bool:
        """Whether the server can act."""
        return self.ready


class Promotion(Struct, frozen=True):
    """What an alias names now and named before, and which version answers."""

    model: str
    alias: str
    version: int
    previous: int | None
    champion: int | None


class Refresh(Struct, frozen=True):
    """What the server's look at the repository led to."""

    model: str
    champion: int | None
    outcome: Literal["refreshed", "unchanged", "failed"]
    detail: str | None = None
    """Why it failed."""


Manifest = dict[str, Any]
"""A version's manifest as the JSON object that it is."""
