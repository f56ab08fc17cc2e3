"""Calls a dqn-serve: `PolicyClient`, and `AsyncPolicyClient` for asyncio. Imports nothing else of this project."""

from dqn_client.aio import AsyncPolicyClient
from dqn_client.answers import Action, Actions, Manifest, Model, Promotion, QValues, QValuesBatch, Readiness, Refresh
from dqn_client.client import PolicyClient
from dqn_client.errors import (
    AccessDeniedError,
    ConnectionLostError,
    NotFoundError,
    NotReadyError,
    PolicyClientError,
    RequestRefusedError,
    TimedOutError,
    UnexpectedAnswerError,
)
from dqn_client.retries import Retries
from dqn_client.stream.aio import AsyncStream
from dqn_client.stream.blocking import Stream

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
    "Retries",
    "Stream",
    "TimedOutError",
    "UnexpectedAnswerError",
]
