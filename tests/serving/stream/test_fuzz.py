"""Whatever a client sends, it gets an error frame or an action, and the stream continues."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dqn_testing.server import Server
from tests.serving.stream.client import JSON, MSGPACK, RIGHT, Stream, stream

pytestmark = pytest.mark.slow

MANY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(st.characters(codec="utf-8"), max_size=70)
)
PACKED_SCALARS = (
    SCALARS | st.binary(max_size=20) | st.datetimes() | st.builds(msgspec.msgpack.Ext, st.just(5), st.binary())
)


def values(scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Frames that are more or less valid, and anything else."""
    anything = st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    )
    observations = st.lists(st.integers(-5, 5) | st.floats(-9, 9), min_size=4, max_size=4)
    right = {
        "epsilon": st.floats(0, 1),
        "seed": st.integers(0, 2**63 - 1),
        "action_mask": st.lists(st.booleans(), min_size=2, max_size=2),
        "id": st.integers() | st.text(max_size=64),
    }
    nearly = {name: strategy | anything for name, strategy in right.items()}
    wrong = nearly | dict.fromkeys(("observation", "observations", "version", "x"), anything)
    return (
        st.fixed_dictionaries({"observation": observations}, optional=nearly)
        | st.fixed_dictionaries({}, optional=wrong)
        | anything
    )


def check(client: Stream, frame: bytes | str) -> None:
    """Sends a frame and a valid one; both are answered as documented."""
    answer = client.ask_raw(frame)
    if answer["type"] != "action":
        assert answer["type"] == "error"
        assert answer["status"] in (400, 422)
        assert answer["title"]
        assert answer["reason"]
        assert answer["detail"].endswith(".")
        assert len(answer["detail"]) < 600
    assert client.ask(observation=RIGHT) == {"type": "action", "action": 1, "version": 1}


def test_values_as_json(server: Server) -> None:
    """JSON that is a frame, almost a frame or something else, including NaN and infinities."""
    with stream(server, "/act/stream", JSON) as client:

        @MANY
        @given(values(SCALARS))
        def sent(value: Any) -> None:
            check(client, json.dumps(value))

        sent()


def test_values_as_msgpack(server: Server) -> None:
    """MessagePack that is a frame, almost a frame or something else, with every type."""
    with stream(server, "/act/stream", MSGPACK) as client:

        @MANY
        @given(values(PACKED_SCALARS) | st.dictionaries(st.integers() | st.floats(), SCALARS, max_size=3))
        def sent(value: Any) -> None:
            try:
                frame = msgspec.msgpack.encode(value)
            except (
                OverflowError,
                NotImplementedError,
                ValueError,
            ):  # more than 64 bits, or times that it cannot express
                return
            check(client, frame)

        sent()


@pytest.mark.parametrize("subprotocol", [JSON, MSGPACK])
def test_any_bytes(server: Server, subprotocol: str) -> None:
    """Arbitrary bytes, and valid frames with some bytes changed."""
    frame = {"observation": RIGHT, "epsilon": 0.5, "seed": 3, "action_mask": [True, False], "id": "a"}
    right = json.dumps(frame).encode() if subprotocol == JSON else msgspec.msgpack.encode(frame)
    with stream(server, "/act/stream", subprotocol) as client:

        @MANY
        @given(st.binary(max_size=60), st.integers(0, len(right)), st.integers(0, 3))
        def sent(noise: bytes, place: int, gone: int) -> None:
            for content in (noise, right[:place] + noise[:4] + right[place + gone :]):
                if subprotocol == MSGPACK:
                    check(client, content)
                else:
                    client.connection.send(content, text=True)  # as text, whether it is UTF-8 or not
                    check_next(client)

        sent()


def check_next(client: Stream) -> None:
    """The next answer is as documented, and so is that to a valid frame."""
    answer = client.receive()
    assert answer["type"] in ("action", "error")
    assert client.ask(observation=RIGHT) == {"type": "action", "action": 1, "version": 1}


def test_sizes_that_are_not_there(server: Server) -> None:
    """Containers that claim billions of entries, even nested ones, cost nothing."""
    claims = [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"]
    with stream(server, "/act/stream", MSGPACK) as client:
        for claim in claims:
            for frame in (claim, claim * 200, b"\x81\xabobservation" + claim, b"\x81\xa1x" + claim, b"\x91" * 5000):
                check(client, frame)
