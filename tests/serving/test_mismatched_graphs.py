"""A version whose graph does not match its manifest is refused, with the difference."""

import json
from pathlib import Path
from typing import Any

import pytest

from dqn_models.errors import PolicyError
from dqn_models.repository import ModelRepository
from dqn_models.spaces import DictSpace
from dqn_serving.policies.loaded import load
from dqn_serving.telemetry.shared_memory import SharedMetrics
from dqn_testing.spaced_models import ACTION_SPACES, OBSERVATION_SPACES
from dqn_testing.spaces import publish_space

BOX = {"type": "Box", "shape": [3], "dtype": "float32", "low": 0, "high": 1}
DIFFERENCES: dict[str, tuple[str, str, Any, str]] = {
    "fewer actions": (
        "multidiscrete",
        "action_space",
        {"type": "MultiDiscrete", "nvec": [5, 1]},
        "has 6 Q-values for 5 actions",
    ),
    "other actions": (
        "multidiscrete",
        "action_space",
        {"type": "MultiDiscrete", "nvec": [3, 2], "start": [7, 7]},
        "returns action [2, 1], but [9, 8] is greedy",
    ),
    "actions of another shape": (
        "multidiscrete",
        "action_space",
        {"type": "Discrete", "n": 6},
        "returns actions of shape [2]; its environment takes []",
    ),
    "another name of a leaf": (
        "single",
        "observation_space",
        {"type": "Dict", "spaces": {"other": BOX}},
        "takes the tensors {'observation.only': ['batch', 3]}, but its observations are {'observation.other'",
    ),
    "another shape of a leaf": (
        "scalar",
        "observation_space",
        {"type": "Box", "shape": [2], "dtype": "float32", "low": 0, "high": 1},
        "takes the tensors {'observation': ['batch']}, but its observations are {'observation': ['batch', 2]}",
    ),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_difference_is_named(tmp_path: Path, name: str) -> None:
    """Actions, leaves and shapes that differ are refused when the version is loaded, not when it is used."""
    model, field, other, sentence = DIFFERENCES[name]
    store = ModelRepository(tmp_path)
    publish_space(store, model, OBSERVATION_SPACES[model], ACTION_SPACES[model])
    path = tmp_path / model / "1" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["environment"][field] = other
    path.write_text(json.dumps(manifest))
    with pytest.raises(PolicyError) as refused:
        load(store, model, 1, 8, SharedMetrics().segment(0))
    assert f"{model} version 1 {sentence}" in str(refused.value)


def test_a_key_that_cannot_be_encoded(tmp_path: Path) -> None:
    """A key that contains a quotation mark is refused, naming the key."""
    store = ModelRepository(tmp_path)
    space = DictSpace.model_validate({"spaces": {'a"b': BOX}})
    publish_space(store, "quoted", space, ACTION_SPACES["tuple"])
    with pytest.raises(PolicyError, match="has a key that JSON cannot name plainly"):
        load(store, "quoted", 1, 8, SharedMetrics().segment(0))
