"""Errors in an observation of several parts name the part, in JSON, MessagePack and tensors."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from dqn_testing.server import Server
from dqn_testing.spaced_models import observe, plain
from tests.serving.stream.client import JSON, MSGPACK, stream


def put(*path: Any) -> Callable[[Any], None]:
    """A function that puts the last of these at the place named by the others."""

    def change(observation: Any) -> None:
        for key in path[:-2]:
            observation = observation[key]
        observation[path[-2]] = path[-1]

    return change


EXPECTED_KEYS = "nested version 1 expects an object with image, goal, hands, flags, height of it."
FAULTS: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "a text in a leaf": (
        put("goal", "position", 1, "x"),
        "type",
        "goal.position[1] is 'x'; nested version 1 expects a finite float32 number.",
    ),
    "beyond float32": (
        put("goal", "position", 0, 1e39),
        "non_finite",
        "goal.position[0] is 1e+39; nested version 1 expects a finite float32 number.",
    ),
    "a wrong shape": (
        put("image", [[1, 2]]),
        "shape",
        "image has shape [1, 2]; nested version 1 expects [3, 4, 3].",
    ),
    "a scalar for a list": (
        put("hands", 3),
        "shape",
        "hands has shape []; nested version 1 expects a list of shape [2].",
    ),
    "a list for a scalar": (
        put("height of it", [1]),
        "type",
        "height of it is a list of 1; nested version 1 expects a finite float32 number.",
    ),
    "a pixel out of range": (
        put("image", 2, 3, 1, 256),
        "out_of_range",
        "image[2][3][1] is 256; nested version 1 expects an integer from 0 to 255.",
    ),
    "a component out of its own range": (
        put("hands", 1, 2),
        "out_of_range",
        "hands[1] is 2; nested version 1 expects an integer from -2 to 1.",
    ),
    "a bit out of range": (
        put("goal", "near", 0, 1, 2),
        "out_of_range",
        "goal.near[0][1] is 2; nested version 1 expects an integer from 0 to 1.",
    ),
    "a float for an integer": (
        put("hands", 0, 1.5),
        "type",
        "hands[0] is 1.5; nested version 1 expects an integer from 1 to 3.",
    ),
    "a boolean for a number": (
        put("goal", "position", 0, bool(1)),
        "type",
        "goal.position[0] is true; nested version 1 expects a finite float32 number.",
    ),
    "a missing key": (lambda found: found.pop("goal"), "fields", f"\\b has no goal; {EXPECTED_KEYS}"),
    "a missing key further in": (
        lambda found: found["goal"].pop("near"),
        "fields",
        "goal has no near; nested version 1 expects an object with position, near.",
    ),
    "an unknown key": (put("speed", 3), "fields", f"\\b has an unknown key 'speed'; {EXPECTED_KEYS}"),
    "a list for an object": (
        put("goal", [1, 2]),
        "type",
        "goal is a list of 2; nested version 1 expects an object with position, near.",
    ),
    "an object for an array": (
        put("goal", "near", {"0": [0, 1]}),
        "type",
        "goal.near is an object; nested version 1 expects an array of 1.",
    ),
    "a long array": (
        put("goal", "near", [[0, 1], [0, 1]]),
        "shape",
        "goal.near has 2 entries; nested version 1 expects an array of 1.",
    ),
    "null": (put("flags", None), "type", "flags has the value null; nested version 1 expects a list of shape [2, 2]."),
}


def at(path: str, detail: str) -> str:
    """The sentence about the observation at `path`."""
    return path + (detail.removeprefix("\\b") if detail.startswith("\\b") else f".{detail}")


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_name_the_leaf(spaced: Server, fault: str) -> None:
    """A 422 names the part, its value and what is expected: alone, in a batch, and in both kinds of streams."""
    right = plain(observe("nested"))
    wrong = deepcopy(right)
    change, reason, detail = FAULTS[fault]
    change(wrong)
    answer = spaced.post("/models/nested/act", {"observation": wrong})
    assert (answer.status_code, answer.json()["reason"]) == (422, reason)
    assert answer.json()["detail"] == at("observation", detail)
    answer = spaced.post("/models/nested/q-values", {"observations": [right, wrong]})
    assert (answer.status_code, answer.json()["detail"]) == (422, at("observations[1]", detail))
    for encoding in (JSON, MSGPACK):
        with stream(spaced, "/models/nested/act/stream", encoding) as opened:
            refused = opened.ask(observation=wrong)
            assert (refused["type"], refused["reason"], refused["detail"]) == (
                "error",
                reason,
                at("observation", detail),
            )
            assert opened.ask(observation=right)["type"] == "action"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite(spaced: Server, value: float) -> None:
    """NaN and infinities, which are not JSON but which programs send, are named as well."""
    wrong = plain(observe("nested"))
    wrong["goal"]["position"][1] = value
    shown = "NaN" if value != value else "Infinity"  # noqa: PLR0124  (NaN)
    expected = f"observation.goal.position[1] is {shown}; nested version 1 expects a finite float32 number."
    answer = spaced.post("/models/nested/act", {"observation": wrong})
    assert (answer.status_code, answer.json()["detail"]) == (422, expected)
    with stream(spaced, "/models/nested/act/stream", MSGPACK) as opened:
        assert opened.ask(observation=wrong)["detail"] == expected


@pytest.mark.parametrize(
    ("model", "observation", "detail"),
    [
        ("nested", [1, 2], f"observation is a list of 2; {EXPECTED_KEYS}"),
        ("tuple", {"a": 1}, "observation is an object; tuple version 1 expects an array of 3."),
        ("tuple", ["text", -2, 3], "observation[1] is -2; tuple version 1 expects an integer from -1 to 1."),
        ("tuple", [None, 1], "observation has 2 entries; tuple version 1 expects an array of 3."),
        ("scalar", [0.5], "observation is a list of 1; scalar version 1 expects a finite float32 number."),
        ("scalar", {}, "observation is an object; scalar version 1 expects a finite float32 number."),
        (
            "multidiscrete",
            [[1, -3], [1, 1]],
            "observation[0][1] is -3; multidiscrete version 1 expects an integer from -2 to 2.",
        ),
        (
            "multibinary",
            [[0, 1, 0], [0, 3, 0]],
            "observation[1][1] is 3; multibinary version 1 expects an integer from 0 to 1.",
        ),
    ],
)
def test_other_forms(spaced: Server, model: str, observation: Any, detail: str) -> None:
    """Tuples, scalars and arrays of integers say what they expect."""
    answer = spaced.post(f"/models/{model}/act", {"observation": observation})
    assert (answer.status_code, answer.json()["detail"]) == (422, detail)


def refuse(server: Server, model: str, *inputs: dict[str, Any]) -> str:
    """The error of an infer call."""
    response = server.post(f"/v2/models/{model}/infer", {"inputs": inputs})
    assert response.status_code == 422, response.text
    return str(response.json()["error"])


def test_tensors(spaced: Server) -> None:
    """Missing, repeated and unknown tensors, other batches and elements out of range are named."""
    first = {"name": "observation.1", "shape": [2], "datatype": "INT64", "data": [0, 1]}
    second = {"name": "observation.2", "shape": [2], "datatype": "INT64", "data": [5, 6]}
    needed = "tuple version 1 expects one tensor for each of observation.1, observation.2; 'action_mask' is optional."
    assert refuse(spaced, "tuple", first) == f"The inputs are 'observation.1'; {needed}"
    assert refuse(spaced, "tuple", first, first, second).endswith(needed)
    assert refuse(spaced, "tuple", first, second, second | {"name": "observation.0"}).endswith(needed)
    assert (
        refuse(spaced, "tuple", first, second | {"shape": [1], "data": [5]})
        == "observation.2 has 1 observations, but observation.1 has 2; expected the same number."
    )
    assert (
        refuse(spaced, "tuple", first, second | {"data": [5, 2_000]})
        == "data[1] is 2000; tuple version 1 expects an integer from 0 to 1999."
    )
    table = {"name": "observation", "shape": [1, 2, 2], "datatype": "INT64", "data": [1, -2, 1, 4]}
    assert (
        refuse(spaced, "multidiscrete", table)
        == "element 3 of the data is 4; multidiscrete version 1 expects an integer from -2 to 2."
    )
