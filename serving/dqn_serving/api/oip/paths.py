"""The paths of the protocol's calls."""

PREFIX = "/v2"
_MODEL_CALLS = {"": "GET", "ready": "GET", "infer": "POST", "config": "GET", "stats": "GET"}
TEMPLATES = (
    ("/v2", "GET", "metadata"),
    ("/v2/health/live", "GET", "live"),
    ("/v2/health/ready", "GET", "ready"),
    ("/v2/models/stats", "GET", "stats"),
    ("/v2/repository/index", "POST", "index"),
    *(
        (template + (f"/{name}" if name else ""), method, name)
        for template in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
        for name, method in _MODEL_CALLS.items()
    ),
)
"""Template, method and name of each; the first that fits a path is meant."""


def is_below(path: str) -> bool:
    """Whether a path is the protocol's."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")
