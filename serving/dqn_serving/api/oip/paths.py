"""Which call of the protocol a path names."""

from functools import lru_cache
from typing import NamedTuple

PREFIX = "/v2"


class Call(NamedTuple):
    """A path that was recognised: its template, its method, and what it names."""

    template: str
    method: str
    name: str
    model: str | None = None
    version: str | None = None


_SERVER_CALLS = {
    call.template: call
    for call in (
        Call("/v2", "GET", "metadata"),
        Call("/v2/health/live", "GET", "live"),
        Call("/v2/health/ready", "GET", "ready"),
        Call("/v2/models/stats", "GET", "stats"),
        Call("/v2/repository/index", "POST", "index"),
    )
}
_MODEL_CALLS = {"": "GET", "ready": "GET", "infer": "POST", "config": "GET", "stats": "GET"}


@lru_cache(maxsize=128)
def find_call(path: str) -> Call | None:
    """The call that a path below /v2 names; None where there is none."""
    if path in _SERVER_CALLS:
        return _SERVER_CALLS[path]
    version: str | None = None
    match path.split("/")[2:]:
        case ["models", model, "versions", version, *rest]:
            template = "/v2/models/{model}/versions/{version}"
        case ["models", model, *rest]:
            template = "/v2/models/{model}"
        case _:
            return None
    name = rest[0] if rest else ""
    if len(rest) > 1 or name not in _MODEL_CALLS or (rest and not name):
        return None
    return Call("/".join([template, *rest]), _MODEL_CALLS[name], name, model, version)


def is_below(path: str) -> bool:
    """Whether a path is the protocol's."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")
