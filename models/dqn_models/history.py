"""A model's history: an append-only log of what happened to it, who did it, when and why.

A change and its line cannot be written in one step. The line is written first and made durable, but pending: with `#`
in place of its first byte it is not JSON, so not yet an event. After the change the byte is put right; if the change
failed, the line is removed. A kill may leave one pending line, the last: it is an event if its change took place.
"""

import contextlib
import getpass
import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

from dqn_models import durable

_PENDING = b"#"


class Event(TypedDict, total=False):
    """One line of `history.jsonl`. Lines of other releases may lack keys or have more."""

    at: str
    """RFC 3339, UTC"""
    event: Literal["publish", "promote", "rollback", "prune"]
    by: str
    reason: str
    version: int
    """published, or named by `alias` from here on"""
    gate: dict[str, Any] | None
    """of a publication: the manifest's"""
    alias: str
    previous: int | None
    """what `alias` named before"""
    versions: list[int]
    """pruned versions"""
    garbage: list[int]
    """pruned directories that a crash left"""


Happened = Callable[[Event], bool]
"""Whether the change of a pending event took place."""


def now() -> datetime:
    """The present time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def who() -> str:
    """The person or job at work, as user@host (a container may have a user id without a name)."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


@contextlib.contextmanager
def recorded(path: Path, event: Event, happened: Happened) -> Iterator[None]:
    """Makes an event of the change in the block; it must be done under the model's lock."""
    stamped = {"at": now().isoformat().replace("+00:00", "Z")} | event
    durable.append_line(path, _PENDING + json.dumps(stamped, ensure_ascii=False).encode(errors="backslashreplace")[1:])
    try:
        yield
    finally:
        settle(path, happened)


def settle(path: Path, happened: Happened) -> None:
    """Completes a pending last line, or removes it; it must be done under the model's lock."""
    data = path.read_bytes() if path.exists() else b""
    start = data.rfind(b"\n", 0, -1) + 1
    if not data.startswith(_PENDING, start):
        return
    event = _parsed(data[start:].replace(_PENDING, b"{", 1))
    durable.overwrite(path, start, b"{" if event and happened(event) else b"")


def read(path: Path, happened: Happened) -> list[Event]:
    """All events, oldest first. A line torn by a crash is not an event and is left out."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    events = [event for line in lines if (event := _parsed(line)) is not None]
    if lines and lines[-1].startswith(_PENDING):
        last = _parsed(lines[-1].replace(_PENDING, b"{", 1))
        events += [last] if last and happened(last) else []
    return events


def _parsed(line: bytes) -> Event | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return cast("Event", record) if isinstance(record, dict) else None


def highest_version(events: Sequence[Event]) -> int:
    """The highest version number that the history mentions, so that no number is ever used twice."""
    numbers = [0]
    for event in events:
        numbers += [event.get("version", 0), *event.get("versions", []), *event.get("garbage", [])]
    return max(number for number in numbers if isinstance(number, int))


def previous_version(events: Sequence[Event], alias: str, current: int) -> int | None:
    """The version that `alias` named before `current`: promotions are a stack, and a rollback pops it."""
    stack: list[int] = []
    for event in events:
        if event.get("alias") != alias or not isinstance(event.get("version"), int):
            continue
        if event.get("event") == "rollback" and event["version"] in stack:
            while stack[-1] != event["version"]:
                stack.pop()
        elif not stack or stack[-1] != event["version"]:
            stack.append(event["version"])
    if current in stack:  # a line above it tells of a promotion that a crash prevented
        while stack.pop() != current:
            pass
    return stack[-1] if stack else None
