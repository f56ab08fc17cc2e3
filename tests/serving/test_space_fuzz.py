"""Observations of several parts, changed at random: exactly what the typed decoders refuse is explained."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dqn_models.repository import ModelRepository
from dqn_serving.api.explain_observations import check_observations
from dqn_serving.policies.loaded import LoadedPolicy, load
from dqn_serving.policies.observations import DECODE_ERRORS, ObservationReader
from dqn_serving.problems import Problem
from dqn_serving.telemetry.shared_memory import SharedMetrics
from dqn_testing.spaced_models import OBSERVATION_SPACES, observe, plain, publish_spaces

numbers = st.one_of(st.integers(-4, 4), st.integers(), st.floats(allow_nan=False, allow_infinity=False))
scalars = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=3))
keys = st.one_of(st.sampled_from(["image", "goal", "near", "mission", "only", "goal.objects"]), st.text(max_size=3))
values = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=3))
)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoadedPolicy]:
    """A policy for each space."""
    store, segment = ModelRepository(tmp_path_factory.mktemp("spaces")), SharedMetrics().segment(0)
    publish_spaces(store)
    return {model: load(store, model, 1, 8, segment) for model in OBSERVATION_SPACES}


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a value, with each key or index in it."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


def change(document: dict[str, Any], data: st.DataObject) -> None:
    """Replaces, removes or adds something at a random place; the observation itself is one."""
    container, key = data.draw(st.sampled_from(list(places(document))))
    kind = data.draw(st.sampled_from(["replace", "remove", "add"]))
    if kind == "add" and isinstance(container[key], dict):
        container[key][data.draw(keys)] = data.draw(values)
    elif kind == "add" and isinstance(container[key], list):
        container[key].append(data.draw(values))
    elif kind == "remove" and container is not document:
        del container[key]
    else:
        container[key] = data.draw(values)


def read(reader: ObservationReader, encoded: bytes) -> Any:
    """What the decoders make of an observation; None if they refuse it."""
    try:
        return reader.decode_one(msgspec.Raw(encoded))
    except DECODE_ERRORS:
        return None


@given(model=st.sampled_from(sorted(OBSERVATION_SPACES)), data=st.data())
@settings(max_examples=600, deadline=None)
def test_refused_is_explained_and_accepted_is_read(
    loaded: dict[str, LoadedPolicy], model: str, data: st.DataObject
) -> None:
    """JSON and MessagePack agree with the explanation about what fits; what fits becomes the right row."""
    document: dict[str, Any] = {"observation": deepcopy(plain(observe(model)))}
    for _ in range(data.draw(st.integers(0, 2))):
        change(document, data)
    policy, observation = loaded[model], document["observation"]
    packable = all(-(2**63) <= number < 2**64 for number in integers(observation))
    readers = [(policy.observations, json.dumps(observation).encode())]
    readers += [(policy.packed_observations, msgspec.msgpack.encode(observation))] if packable else []
    refusal = None
    try:
        check_observations(document, policy.observations, model)
    except Problem as problem:
        refusal = problem
    if refusal is not None:
        assert (refusal.status, refusal.detail.startswith("observation")) == (422, True)
        assert [read(reader, encoded) for reader, encoded in readers] == [None] * len(readers)
        return
    expected = OBSERVATION_SPACES[model].flatten(observation)
    for reader, encoded in readers:
        row = np.array([read(reader, encoded)], reader.dtype)[0]
        assert row.tobytes() == expected.tobytes() or np.array_equal(row, expected)


def integers(value: Any) -> Iterator[int]:
    """All integers in a value."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from integers(inner)
    elif isinstance(value, int):
        yield value
