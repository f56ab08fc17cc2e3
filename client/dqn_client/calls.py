"""Each call of the native API as a value: what is sent, and how the answer is read. No input or output happens here."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypedDict, TypeVar
from urllib.parse import quote

import msgspec

from dqn_client import answers
from dqn_client.encoding import Observation, Values, to_json
from dqn_client.errors import NotFoundError

Answer = TypeVar("Answer")


class Choosing(TypedDict, total=False):
    """How the action is chosen, where not greedily among all."""

    epsilon: float | None
    """Probability of an action chosen uniformly at random; the answer then has the `propensity` of its action."""
    seed: int | None
    """Makes the random choice repeatable."""
    action_mask: Values | None
    """Booleans, one for each action (for a batch: or one list for each observation); False: never chosen."""


class Options(Choosing, total=False):
    """What a call to act may say beside its observation."""

    version: int | str | None
    """A version's number, or an alias (default: champion)."""


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """One request and the reader of its answer."""

    method: str
    path: str
    read: Callable[[bytes], Answer]
    body: bytes | None = None
    may_repeat: bool = True
    """Whether to send it again when the connection was lost after it may have arrived."""


def _reader(kind: type[Answer]) -> Callable[[bytes], Answer]:
    return msgspec.json.Decoder(kind).decode


_read_action = _reader(answers.Action)
_read_actions = _reader(answers.Actions)
_read_q_values = _reader(answers.QValues)
_read_q_values_batch = _reader(answers.QValuesBatch)
_read_models = _reader(answers.Models)
_read_model = _reader(answers.Model)
_read_manifest = _reader(answers.Manifest)
_read_promotion = _reader(answers.Promotion)
_read_refresh = _reader(answers.Refresh)

ready = Call("GET", "/readyz", _reader(answers.Readiness))
models = Call("GET", "/models", _read_models)


def act(prefix: str, observation: Observation, **options: Any) -> Call[answers.Action]:
    """`prefix` is "" for the server's default model, else `model_path(name)`."""
    return Call("POST", f"{prefix}/act", _read_action, _body("observation", observation, **options))


def act_batch(prefix: str, observations: Values, **options: Any) -> Call[answers.Actions]:
    """The same for many observations."""
    return Call("POST", f"{prefix}/act", _read_actions, _body("observations", observations, **options))


def q_values(prefix: str, observation: Observation, **options: Any) -> Call[answers.QValues]:
    """`POST /q-values` for one observation."""
    return Call("POST", f"{prefix}/q-values", _read_q_values, _body("observation", observation, **options))


def q_values_batch(prefix: str, observations: Values, **options: Any) -> Call[answers.QValuesBatch]:
    """`POST /q-values` for many observations."""
    return Call("POST", f"{prefix}/q-values", _read_q_values_batch, _body("observations", observations, **options))


def model(name: str) -> Call[answers.Model]:
    """`GET /models/{model}`."""
    return Call("GET", model_path(name), _read_model)


def manifest(name: str, version: int | str) -> Call[answers.Manifest]:
    """`GET /models/{model}/versions/{version}`."""
    return Call("GET", f"{model_path(name)}/versions/{_segment(str(version))}", _read_manifest)


def promote(name: str, version: int, alias: str) -> Call[answers.Promotion]:
    """`PUT /models/{model}/aliases/{alias}`; repeated late, it could undo a promotion that came in between."""
    body = to_json({"version": version})
    return Call("PUT", f"{model_path(name)}/aliases/{_segment(alias)}", _read_promotion, body, may_repeat=False)


def refresh(name: str) -> Call[answers.Refresh]:
    """`POST /models/{model}/refresh`."""
    return Call("POST", f"{model_path(name)}/refresh", _read_refresh, b"")


def model_path(name: str) -> str:
    """Where the calls for a model are."""
    return f"/models/{_segment(name)}"


def default_model(known: Iterable[answers.Model]) -> str:
    """The model that the server's calls without a model's name mean. Raises NotFoundError where there is none."""
    for one in known:
        if one.is_default:
            return one.model
    raise NotFoundError(404, "Not Found", "The server has no default model; name one: PolicyClient(url, model=...).")


def _segment(name: str) -> str:
    """A name as one segment of a path, also where it is "..", which URL libraries would resolve."""
    return name.replace(".", "%2E") if name in {".", ".."} else quote(name, safe="")


def _body(
    field: str,
    value: Observation,
    *,
    version: int | str | None = None,
    epsilon: float | None = None,
    seed: int | None = None,
    action_mask: Values | None = None,
) -> bytes:
    fields = {field: value, "version": version, "epsilon": epsilon, "seed": seed, "action_mask": action_mask}
    return to_json({name: value for name, value in fields.items() if value is not None})
