"""Clients of dqn-serve: `PolicyClient`, and `AsyncPolicyClient` for asyncio. Imports nothing else of this project."""

try:
    import httpx  # noqa: F401  (only to report what is missing)
    import msgspec  # noqa: F401
    import sniffio  # noqa: F401
    import websockets  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"dqn_client needs the extra 'client', whose package {error.name} is not installed: "
        "pip install 'dqn-policy-server[client]'.",
        name=error.name,
    ) from error

from dqn_client._async.client import AsyncPolicyClient
from dqn_client._async.stream import AsyncStream
from dqn_client._sync.client import PolicyClient
from dqn_client._sync.stream import Stream
from dqn_client.api import Action, Actions, Manifest, Model, Promotion, QValues, QValuesBatch, Readiness, Refresh
from dqn_client.errors import (
    AccessDeniedError,
    ConnectionLostError,
    NotFoundError,
    NotReadyError,
    PolicyClientError,
    RequestRefusedError,
    TimedOutError,
    UnexpectedResponseError,
)
from dqn_client.retries import RetryPolicy

__all__ = [
    "AccessDeniedError",
    "Action",
    "Actions",
    "AsyncPolicyClient",
    "AsyncStream",
    "ConnectionLostError",
    "Manifest",
    "Model",
    "NotFoundError",
    "NotReadyError",
    "PolicyClient",
    "PolicyClientError",
    "Promotion",
    "QValues",
    "QValuesBatch",
    "Readiness",
    "Refresh",
    "RequestRefusedError",
    "RetryPolicy",
    "Stream",
    "TimedOutError",
    "UnexpectedResponseError",
]
