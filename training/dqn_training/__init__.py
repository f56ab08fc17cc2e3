"""Trains and evaluates DQN policies and publishes them to the model repository.

from dqn_training import evaluate, publish, train
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dqn_training.api import evaluate, publish, train

__all__ = ["evaluate", "publish", "train"]


def __getattr__(name: str) -> Any:
    """Imports the learning stack, which takes seconds, on first use of one of these."""
    if name in __all__:
        return getattr(import_module("dqn_training.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
