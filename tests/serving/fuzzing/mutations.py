"""Inputs for the entry points: valid ones, with some bytes changed."""

import json
import re
from random import Random

import msgspec

_ONE = {"observation": [0.1, -0.2, 3e-2, 4]}
_MANY = {"observations": [[0.1, -0.2, 0.3, 0.4], [1, 2, 3, 4]]}
_TENSOR = {"name": "observation", "shape": [1, 4], "datatype": "FP32", "data": [0.1, 0.2, 0.3, 0.4]}
_LAKE = {"name": "observation", "shape": [2, 1], "datatype": "INT64", "data": [[3], [15]]}
_BINARY = {"name": "observation", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}
_SENT_BACK = {"outputs": [{"name": "q_values", "parameters": {"binary_data": True}}, {"name": "action"}]}
_OPTIONS = {"epsilon": 0.5, "seed": 7, "version": 1, "action_mask": [True, False]}
_HEAD = (
    b"POST %b HTTP/1.1\r\nHost: localhost:8000\r\nContent-Length: %d\r\nAccept: */*\r\nConnection: keep-alive\r\n"
    b"X-Request-ID: a1\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n%b"
)
_FRAME = _ONE | {"id": 3, "epsilon": 0.5, "seed": 1, "action_mask": [True, False]}


def _masked(kind: int, payload: bytes) -> bytes:
    """A frame as a client sends it, with a mask that changes nothing."""
    return bytes([kind, 0x80 | len(payload)]) + bytes(4) + payload


def _dump(document: object) -> bytes:
    return json.dumps(document).encode()


SEEDS: dict[str, list[bytes]] = {
    "native": [
        *(b"\0" + _dump(body) for body in (_ONE, _MANY, _ONE | _OPTIONS, _MANY | {"action_mask": [[True, True]] * 2})),
        *(b"\2" + _dump(body) for body in ({"observation": 3}, {"observations": [1, 2, 15]}, {"observation": [3]})),
    ],
    "infer": [
        *(b"\0\7\0" + _dump({"inputs": [_TENSOR], **more}) for more in ({}, _SENT_BACK, {"parameters": _OPTIONS})),
        b"\1\7\0" + _dump({"inputs": [_LAKE], "id": "1"}),
        b"\0\7\1" + _dump({"inputs": [_BINARY]}) + bytes(16),
        b"\0\0\1" + _dump({"inputs": [_BINARY], "parameters": {"binary_data_output": True}}) + bytes(range(16)),
        b"\2\1\0" + _dump({"inputs": [_TENSOR]}),
    ],
    "head": [
        *(_HEAD % (path, 4, b"{}\r\n") for path in (b"/act", b"/q-values?x=1", b"/v2/models/lake/infer")),
        b"POST /act HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /act HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ],
    "frame": [
        *(b"\0" + _dump(frame) for frame in (_ONE, _FRAME)),
        *(b"\1" + msgspec.msgpack.encode(frame) for frame in (_ONE, _FRAME)),
        b"\2" + _dump({"observation": 3}),
        b"\3" + msgspec.msgpack.encode({"observation": 3, "id": "x"}),
    ],
    "piece": [
        b"\0" + _masked(0x81, _dump(_ONE)) * 2,
        b"\x14" + _masked(0x01, _dump(_ONE)[:9]) + _masked(0x89, b"ping") + _masked(0x80, _dump(_ONE)[9:]),
        b"\5" + _masked(0x82, b"{}") + _masked(0x8A, b"") + _masked(0x88, b"\x03\xe8bye"),
    ],
}
TOKENS: dict[str, list[bytes]] = {
    "native": [
        *(b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"null", b"true", b"false", b" ", b"\n", b"\0", b"\xff"),
        *(
            b"0",
            b"-0",
            b"1e400",
            b"-1e39",
            b"1e-400",
            b"9" * 40,
            b"0.1",
            b"1.",
            b"NaN",
            b"Infinity",
            b"-",
            b"1e",
            b"\\u0000",
        ),
        *(b'"observation":', b'"observations":', b'"version":', b'"epsilon":', b'"seed":', b'"action_mask":'),
        *(b'"champion"', b'"\\ud800"', b"[[", b"]]", b"[" * 2000, b'{"observation":' * 600),
    ],
    "frame": [
        *(b"[", b"]", b"{", b"}", b",", b":", b'"', b"null", b"true", b"0", b"-1", b"1e400", b"9" * 40, b"[" * 2000),
        *(b'"observation":', b'"id":', b'"epsilon":', b'"seed":', b'"action_mask":', b'"\\ud800"', b"\xabobservation"),
        *(b"\xca\x7f\x80\0\0", b"\xcb\x7f\xf8" + bytes(6), b"\xcf" + b"\xff" * 8, b"\xdd\xff\xff\xff\xff"),
        *(b"\xc4\x04", b"\xd9", b"\xc1", b"\x80", b"\xc0", b"\xde\xff\xff", b"\xc7\x08\xff", b"\x91" * 2000, b"\xff"),
    ],
    "piece": [
        *(
            b"\x81",
            b"\x82",
            b"\x01",
            b"\x80",
            b"\x88\x82",
            b"\x89\x80",
            b"\x8a\x80",
            b"\xc1",
            b"\x91",
            b"\x83",
            b"\x8f",
        ),
        *(b"\xfe\0\x10", b"\xfe\xff\xff", b"\xff" + b"\x7f" * 8, b"\xff" * 9, b"\x85", b"\x05", bytes(4), b"{}"),
    ],
    "infer": [
        *(
            b"[",
            b"]",
            b"{",
            b"}",
            b",",
            b":",
            b'"',
            b"null",
            b"true",
            b"\xff",
            b"[" * 2000,
            b"0",
            b"-1",
            b"1e400",
            b"9" * 20,
        ),
        *(b'"inputs":', b'"outputs":', b'"parameters":', b'"name":', b'"shape":', b'"datatype":', b'"data":', b'"id":'),
        *(b'"binary_data_size":', b'"binary_data":', b'"binary_data_output":', b'"classification":', b'"BYTES"'),
        *(b'"observation"', b'"q_values"', b'"action"', b'"FP32"', b'"FP64"', b'"INT64"', b'"UINT8"', b"\x1f\x8b\x08"),
    ],
    "head": [
        *(b"\r\n", b"\n", b"\r", b":", b" ", b"\t", b"\0", b"\x7f", b"\xff", b"%2e", b"/", b"?", b"#", b"http://x"),
        *(
            b"Content-Length: 2\r\n",
            b"Content-Length: +4\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Expect: 100-continue\r\n",
        ),
        *(
            b"Connection: close\r\n",
            b"Upgrade: h2c\r\n",
            b"X-Request-ID: b2\r\n",
            b"tracestate: a=b\r\n",
            b"\r\n continued",
        ),
        *(b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"GET", b"PUT", b"/act", b"/models/lake/act", b"Host: y\r\n", b"; ,"),
    ],
}
_NUMBER = re.compile(rb"-?[0-9][0-9.eE+-]*")


def mutated(door: str, random: Random) -> bytes:
    """A seed input of an entry point with a few changes."""
    data = random.choice(SEEDS[door])
    for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3, 5))):
        data = random.choice(_MUTATIONS)(data, door, random)
    return data or b"\0"


def _insert(data: bytes, door: str, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice(TOKENS[door]) + data[at:]


def _remove(data: bytes, _door: str, random: Random) -> bytes:
    start = random.randrange(len(data) + 1)
    return data[:start] + data[start + random.choice((1, 1, 2, 4, 16)) :]


def _repeat(data: bytes, _door: str, random: Random) -> bytes:
    start = random.randrange(len(data) + 1)
    end = start + random.choice((1, 2, 8, 32))
    return data[:end] + data[start:end] * random.choice((1, 1, 2, 70)) + data[end:]


def _change_byte(data: bytes, _door: str, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]


def _change_number(data: bytes, door: str, random: Random) -> bytes:
    numbers = list(_NUMBER.finditer(data))
    if not numbers:
        return data
    start, end = random.choice(numbers).span()
    return data[:start] + random.choice(TOKENS[door]) + data[end:]


def _splice(data: bytes, door: str, random: Random) -> bytes:
    other = random.choice(SEEDS[door])
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other)) :]


_MUTATIONS = (_insert, _remove, _repeat, _change_byte, _change_number, _splice)
