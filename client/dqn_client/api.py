"""Each call of the native API as a value, with the immutable type of its result. Nothing is sent here.

Unknown fields in a response are ignored.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypedDict, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from dqn_client.batches import separated
from dqn_client.encoding import Observation, Observations, Values, flat_mask, to_json
from dqn_client.errors import NotFoundError

Result = TypeVar("Result")
ActionValue: TypeAlias = Any
"""An action as the environment takes it: an integer, or (nested) lists of numbers in the shape of its action space.

If the action space has arrays, pass `np.asarray(action, env.action_space.dtype)` to `env.step`.
"""


class Action(Struct, frozen=True):
    """The action for one observation."""

    action: ActionValue
    model: str
    version: int
    propensity: float | None = None
    """Probability with which this action was selected; only if `epsilon` was given."""
    q_values: tuple[float, ...] | None = None
    """Of all joint actions, or of the values of all components; only from a stream opened with `q_values=True`."""


class Actions(Struct, frozen=True):
    """The actions for a batch, in its order."""

    actions: tuple[ActionValue, ...]
    model: str
    version: int
    propensity: tuple[float, ...] | None = None


class QValues(Struct, frozen=True):
    """The Q-values [actions] of one observation, and the selected action."""

    q_values: tuple[float, ...]
    action: ActionValue
    model: str
    version: int
    propensity: float | None = None


class QValuesBatch(Struct, frozen=True):
    """The Q-values [batch, actions] of a batch, and the selected actions."""

    q_values: tuple[tuple[float, ...], ...]
    actions: tuple[ActionValue, ...]
    model: str
    version: int
    propensity: tuple[float, ...] | None = None


class Model(Struct, frozen=True):
    """A model in the server's repository, and which of its versions are in memory."""

    model: str
    is_default: bool
    """Whether calls without a model name use this one."""
    champion: int | None
    """The version that answers by default, or None."""
    aliases: dict[str, int]
    versions: tuple[int, ...]
    loaded_versions: tuple[int, ...]
    problem: str | None = None
    """Why there is no champion; None if there is one."""
    spaces: dict[str, Any] | None = None
    """Observation and action space of its champion, with examples; from `PolicyClient.model` only."""


class Models(Struct, frozen=True):
    """The body of `GET /models`."""

    models: tuple[Model, ...]


class Readiness(Struct, frozen=True):
    """Whether the server can act; usable as a boolean."""

    ready: bool
    model: str | None = None
    version: int | None = None
    detail: str | None = None
    """Why the server cannot act."""

    def __bool__(self) -> bool:
        """Whether the server can act."""
        return self.ready


class Promotion(Struct, frozen=True):
    """The version that an alias names now, the previous one, and the champion that answers."""

    model: str
    alias: str
    version: int
    previous: int | None
    champion: int | None


class Refresh(Struct, frozen=True):
    """The result of a check of the server's repository."""

    model: str
    champion: int | None
    outcome: Literal["refreshed", "unchanged", "failed"]
    detail: str | None = None
    """Why the refresh failed."""


Manifest = dict[str, Any]
"""A version's manifest: the JSON object in its `manifest.json`."""


class SelectionOptions(TypedDict, total=False):
    """How the action is selected; without any of these, greedily among all."""

    epsilon: float | None
    """Probability of a uniformly random action, in [0, 1]; the result then includes `propensity`."""
    seed: int | None
    """Makes the random selection reproducible."""
    action_mask: Values | None
    """Booleans (or 0 and 1), one for each Q-value, or [batch, Q-values] for a batch; False is never selected. For one
    observation also a tuple of masks, one for each component of an action, as in Gymnasium."""


class ActOptions(SelectionOptions, total=False):
    """The options of a call, besides its observation."""

    version: int | str | None
    """A version number or an alias; default: the champion."""


@dataclass(frozen=True)
class Call(Generic[Result]):
    """One request and the decoder of its response."""

    method: str
    path: str
    decode: Callable[[bytes], Result]
    body: bytes | None = None
    may_repeat: bool = True
    """Whether to send the request again after losing the connection, although the server may have received it."""


def _decoder(kind: type[Result]) -> Callable[[bytes], Result]:
    return msgspec.json.Decoder(kind).decode


_decode_action = _decoder(Action)
_decode_actions = _decoder(Actions)
_decode_q_values = _decoder(QValues)
_decode_q_values_batch = _decoder(QValuesBatch)
_decode_models = _decoder(Models)
_decode_model = _decoder(Model)
_decode_manifest = _decoder(Manifest)
_decode_promotion = _decoder(Promotion)
_decode_refresh = _decoder(Refresh)

ready = Call("GET", "/readyz", _decoder(Readiness))
models = Call("GET", "/models", _decode_models)


def act(prefix: str, observation: Observation, **options: Any) -> Call[Action]:
    """`POST /act` for one observation; `prefix` is "" for the server's default model, else `model_path(name)`."""
    return Call("POST", f"{prefix}/act", _decode_action, _body("act", "observation", observation, **options))


def act_batch(prefix: str, observations: Observations, **options: Any) -> Call[Actions]:
    """`POST /act` for many observations."""
    return Call("POST", f"{prefix}/act", _decode_actions, _body("act_batch", "observations", observations, **options))


def q_values(prefix: str, observation: Observation, **options: Any) -> Call[QValues]:
    """`POST /q-values` for one observation."""
    return Call(
        "POST", f"{prefix}/q-values", _decode_q_values, _body("q_values", "observation", observation, **options)
    )


def q_values_batch(prefix: str, observations: Observations, **options: Any) -> Call[QValuesBatch]:
    """`POST /q-values` for many observations."""
    return Call(
        "POST",
        f"{prefix}/q-values",
        _decode_q_values_batch,
        _body("q_values_batch", "observations", observations, **options),
    )


def model(name: str) -> Call[Model]:
    """`GET /models/{model}`."""
    return Call("GET", model_path(name), _decode_model)


def manifest(name: str, version: int | str) -> Call[Manifest]:
    """`GET /models/{model}/versions/{version}`."""
    return Call("GET", f"{model_path(name)}/versions/{_segment(str(version))}", _decode_manifest)


def promote(name: str, version: int, alias: str) -> Call[Promotion]:
    """`PUT /models/{model}/aliases/{alias}`; a late repetition could undo a promotion made in between."""
    body = to_json({"version": version})
    return Call("PUT", f"{model_path(name)}/aliases/{_segment(alias)}", _decode_promotion, body, may_repeat=False)


def refresh(name: str) -> Call[Refresh]:
    """`POST /models/{model}/refresh`."""
    return Call("POST", f"{model_path(name)}/refresh", _decode_refresh, b"")


def model_path(name: str) -> str:
    """The path prefix of a model's calls."""
    return f"/models/{_segment(name)}"


def default_model(known: Iterable[Model]) -> str:
    """The name of the server's default model. Raises NotFoundError if it has no default."""
    for candidate in known:
        if candidate.is_default:
            return candidate.model
    raise NotFoundError(404, "Not Found", "The server has no default model; name one with `model=...`.")


def _segment(name: str) -> str:
    """A name as one segment of a path, even if it is "..", which URL libraries would resolve.

    In the C locale Python represents the bytes of a non-ASCII argument as surrogates; these are sent as the bytes.
    """
    return name.replace(".", "%2E") if name in {".", ".."} else quote(name, safe="", errors="surrogateescape")


def _body(
    method: str,
    field: str,
    value: Observation | Observations,
    *,
    version: int | str | None = None,
    epsilon: float | None = None,
    seed: int | None = None,
    action_mask: Values | None = None,
    **unknown: object,
) -> bytes:
    """The JSON body of a call; `method` is the client's method, which the TypeError for an unknown option names."""
    for name in unknown:
        hint = "; the client's constructor takes it" if name == "model" else ""
        raise TypeError(f"{method}() got an unexpected keyword argument {name!r}{hint}")
    if field == "observations":
        value = separated(value)
    elif action_mask is not None:
        action_mask = flat_mask(action_mask)
    fields = {field: value, "version": version, "epsilon": epsilon, "seed": seed, "action_mask": action_mask}
    return to_json({name: value for name, value in fields.items() if value is not None})
