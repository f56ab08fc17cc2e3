"""Where the JSON of a body ends and its binary tensors begin."""

from typing import NamedTuple

from starlette.types import Scope

from serving.problems import Problem

HEADER = b"inference-header-content-length"
_MAX_DIGITS = 18


class Frame(NamedTuple):
    """The JSON of a body and the raw tensors after it."""

    json: memoryview
    binary: memoryview


def split(body: bytes, scope: Scope) -> Frame:
    """Splits by the header Inference-Header-Content-Length alone, whatever the Content-Type. Raises Problem (400)."""
    lengths = [value for name, value in scope["headers"] if name == HEADER]
    view = memoryview(body)
    if not lengths:
        return Frame(view, view[len(view) :])
    text = lengths[0]
    if len(lengths) > 1 or not text.isdigit() or len(text) > _MAX_DIGITS or int(text) > len(body):
        found = b", ".join(lengths)[:40].decode("latin-1")
        detail = f"Inference-Header-Content-Length is {found!r}; expected is a number of at most {len(body)} bytes."
        raise Problem(400, detail, reason="not_json")
    return Frame(view[: int(text)], view[int(text) :])
