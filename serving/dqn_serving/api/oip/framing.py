"""What the headers of a request say of its body, and where its JSON ends and its binary tensors begin."""

from typing import NamedTuple

from starlette.types import Scope

from dqn_serving.problems import Problem

LENGTH = b"inference-header-content-length"
_MAX_DIGITS = 18
_READ = frozenset({LENGTH, b"content-encoding", b"accept-encoding"})

Headers = dict[bytes, bytes]


class Frame(NamedTuple):
    """The JSON of a body and the raw tensors after it."""

    json: memoryview
    binary: memoryview


def collect(scope: Scope) -> Headers:
    """The headers that matter here, without white space around; one that comes several times is joined as HTTP says."""
    headers: Headers = {}
    for name, value in scope["headers"]:
        if name in _READ:
            headers[name] = headers[name] + b", " + value.strip() if name in headers else value.strip()
    return headers


def split(body: bytes, headers: Headers) -> Frame:
    """Splits by the header Inference-Header-Content-Length alone, whatever the Content-Type. Raises Problem (400)."""
    view = memoryview(body)
    text = headers.get(LENGTH)
    if text is None:
        return Frame(view, view[len(view) :])
    if not text.isdigit() or len(text) > _MAX_DIGITS or int(text) > len(body):
        found = text[:40].decode("latin-1")
        detail = f"Inference-Header-Content-Length is {found!r}; expected is a number of at most {len(body)} bytes."
        raise Problem(400, detail, reason="not_json")
    length = int(text)
    return Frame(view[:length], view[length:])
