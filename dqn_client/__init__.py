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

__all__ = [
    "AccessDeniedError",
    "Action",
    "Actions",
    "AsyncPolicyClient",
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
    "TimedOutError",
    "UnexpectedAnswerError",
]
